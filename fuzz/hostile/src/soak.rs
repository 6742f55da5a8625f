//! Forwarding with sequence numbers while faults are injected: links flap, queues stand still for a while, completions are
//! held back and come in another order, buffers run short. What comes out is in order, once, and undamaged; what doesn't was
//! counted.

use crate::case::Seen;
use crate::memory::Violation;
use crate::packets::{Card, said};
use crate::script::Script;
use ringway::engine::{Direction, Options, Rewrite, Task, WhenFull};
use ringway_dma::AddressSpace;
use ringway_packet::{Batch, Pool, PoolOptions};
use ringway_port::Opened;
use std::time::{Duration, Instant};

const BUFFERS: u32 = 512;
/// Turns of a case.
const TURNS: u64 = 4_000;
/// Rounds in which everything that is still under way arrives.
const SETTLING: usize = 400;

/// Frame `number`: its number, and bytes that depend on it.
fn frame(number: u64) -> Vec<u8> {
    let length = 60 + (number % 1400) as usize;
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    frame.extend(number.to_be_bytes());
    frame.extend(
        (frame.len()..length).map(|place| (place as u64).wrapping_mul(37).wrapping_add(number) as u8),
    );
    frame
}

/// The number of a frame that is undamaged.
fn number(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*bytes.get(14..22)?.first_chunk()?);
    (bytes == frame(number)).then_some(number)
}

/// Plays a script again and again for a while.
///
/// # Errors
/// What was lost, doubled, out of order or damaged.
pub fn play(bytes: &[u8]) -> Result<Seen, Violation> {
    let mut script = Script::new(bytes);
    let kinds = script.byte();
    let space = AddressSpace::emulated();
    let pool = Pool::new(&space, PoolOptions { buffers: BUFFERS, ..PoolOptions::default() }).map_err(said)?;
    let (mut left, left_port) = Card::open(&space, &pool, kinds & 1 == 1, 0)?;
    let (mut right, right_port) = Card::open(&space, &pool, kinds & 2 == 2, 1)?;
    let Opened { control: mut left_control, mut receive, transmit: left_transmit } = left_port;
    let Opened { control: mut right_control, receive: right_receive, mut transmit } = right_port;
    let (Some(receive), Some(transmit)) = (receive.pop(), transmit.pop()) else {
        return Err("a port without queues".to_owned());
    };
    let when_full = if kinds & 4 == 4 { WhenFull::Wait } else { WhenFull::Drop };
    let options = Options { when_full, ..Options::default() };
    let mut direction = Direction::new(receive, transmit, Rewrite::default(), &options);
    let (mut taken, mut out, mut last, mut faults) = (0u64, 0u64, None, 0u64);
    let mut hoard: Vec<Batch> = Vec::new();
    let mut look = |right: &mut Card| -> Result<(), Violation> {
        while let Some(bytes) = right.take_sent() {
            out += 1;
            let found = number(&bytes).ok_or("a frame came out damaged")?;
            if last.is_some_and(|last| found <= last) {
                return Err(format!("frame {found} came after {last:?}"));
            }
            last = Some(found);
        }
        Ok(())
    };
    for turn in 0..TURNS {
        if script.is_over() {
            // From the start again, at another place of the run.
            script = Script::new(bytes);
        }
        match script.byte() % 32 {
            0 => left.flap(script.byte() & 1 == 0),
            1 => right.flap(script.byte() & 1 == 0),
            2 | 3 => left.disturb(0, &mut script),
            4 | 5 => right.disturb(1, &mut script),
            6 => {
                // Somebody keeps buffers.
                let mut batch = Batch::new(&pool, 64);
                while batch.room() > 0
                    && let Ok(packet) = pool.packet()
                {
                    // There is room.
                    let _ = batch.push(packet);
                }
                hoard.push(batch);
            }
            7 => hoard.clear(),
            8..20 => {
                taken += u64::from(left.inject(&frame(turn)));
                continue;
            }
            20..26 => {
                direction.round(None).map_err(said)?;
                continue;
            }
            _ => {
                right.step();
                left.step();
                look(&mut right)?;
                continue;
            }
        }
        faults += 1;
    }
    hoard.clear();
    for card in [&mut left, &mut right] {
        card.mend();
    }
    for _ in 0..SETTLING {
        left.step();
        direction.round(None).map_err(said)?;
        right.step();
        look(&mut right)?;
    }
    direction.drain(Instant::now() + Duration::from_secs(60)).map_err(said)?;
    let counted = direction.counters().read();
    let received = left_control.statistics().map_err(said)?.received();
    let sent = right_control.statistics().map_err(said)?.sent();
    let lost = right.lost();
    if received.packets + received.errors != taken
        || counted.forwarded + counted.dropped != received.packets
        || sent.packets != counted.forwarded
        || out + lost != sent.packets
        || counted.unsent != 0
    {
        return Err(format!(
            "{taken} taken, {received:?} received, {counted:?} forwarded, {sent:?} sent, {out} out, {lost} lost on a dead link"
        ));
    }
    drop((direction, left_control, right_control, left_transmit, right_receive));
    if (pool.available(), pool.lost()) != (BUFFERS, 0) {
        return Err(format!("{} of {BUFFERS} buffers came back", pool.available()));
    }
    Ok(Seen { faults, drops: counted.dropped, opened: true, ..Seen::default() })
}
