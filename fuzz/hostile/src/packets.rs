//! Hostile packets: frames of all kinds, spoilt as a script says, through the forwarder between two emulated cards, into a
//! capture file and back, and past the flow table. Everywhere the counts add up: what went in came out, or was counted
//! where it was dropped.

use crate::case::Seen;
use crate::memory::Violation;
use crate::run::mutate;
use crate::script::{Random, Script};
use ringway::engine::{Direction, Options, Rewrite, Task, Touch, WhenFull};
use ringway::ports::drivers;
use ringway::tasks::capturing::Capturing;
use ringway::tasks::flows::{FlowTable, Observer};
use ringway_dma::AddressSpace;
use ringway_flow::samples::Kind;
use ringway_model::ixgbe::{self, Ixgbe};
use ringway_model::virtio::{self, VirtioNet};
use ringway_packet::{Pool, PoolOptions};
use ringway_pci::Function;
use ringway_port::{Opened, PortOptions};
use ringway_traffic::capture::{Reader, RotatingWriter, Rotation};
use std::collections::VecDeque;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BUFFERS: u32 = 1024;
const RING: u32 = 64;
/// What a card takes from a wire, without FCS (IEEE 802.3, clause 3.2.7).
const SHORTEST: usize = 60;
const LONGEST: usize = 1514;

/// The number of the first transmit queue of a virtio-net (virtio 1.2, section 5.1.2).
const TRANSMIT: u16 = 1;

/// A card of either kind.
pub(crate) enum Card {
    Ixgbe(ixgbe::Handle),
    Virtio(virtio::Handle),
}

impl Card {
    pub(crate) fn open(
        space: &AddressSpace,
        pool: &Pool,
        is_virtio: bool,
        index: u8,
    ) -> Result<(Self, Opened), Violation> {
        let name = format!("emulated:{index}");
        let (backend, card) = if is_virtio {
            let (backend, card) = VirtioNet::create(space, virtio::Options { name, ..Default::default() });
            (backend, Self::Virtio(card))
        } else {
            let personality = ixgbe::Personality::Backplane82599;
            let (backend, card) =
                Ixgbe::create(space, ixgbe::Options { name, personality, ..Default::default() });
            (backend, Self::Ixgbe(card))
        };
        let options = PortOptions { receive_ring: RING, transmit_ring: RING, ..PortOptions::default() };
        let function = Function::new(backend).map_err(said)?;
        let mut port = drivers::open(function, pool, &options).map_err(said)?;
        port.control.set_promiscuous(true).map_err(said)?;
        Ok((card, port))
    }

    pub(crate) fn inject(&mut self, frame: &[u8]) -> bool {
        match self {
            Self::Ixgbe(card) => card.inject(frame),
            Self::Virtio(card) => card.inject(frame),
        }
    }

    pub(crate) fn step(&mut self) {
        match self {
            Self::Ixgbe(card) => card.step(),
            Self::Virtio(card) => card.step(),
        };
    }

    pub(crate) fn take_sent(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Ixgbe(card) => card.take_sent(),
            Self::Virtio(card) => card.take_sent(),
        }
    }

    /// The cable goes in or out.
    pub(crate) fn flap(&mut self, up: bool) {
        match self {
            Self::Ixgbe(card) => card.set_link(up),
            Self::Virtio(card) => card.set_link(up),
        }
    }

    /// A queue stands still for a while, or holds its completions back and gives them in another order.
    pub(crate) fn disturb(&mut self, queue: u16, script: &mut Script<'_>) {
        let Self::Virtio(card) = self else { return };
        let faults = card.faults();
        match script.byte() % 4 {
            0 => faults.stall(queue, true),
            1 => faults.stall(queue, false),
            2 => faults.hold(queue),
            _ => {
                let mut order: Vec<usize> = (0..faults.held(queue)).collect();
                // Received packets come in the order of their completions, so only sent ones may change it.
                if queue == TRANSMIT {
                    order.reverse();
                }
                faults.release(queue, &order);
            }
        }
    }

    /// Everything as it should be.
    pub(crate) fn mend(&mut self) {
        self.flap(true);
        if let Self::Virtio(card) = self {
            let faults = card.faults();
            for queue in 0..2 {
                faults.stall(queue, false);
                let order: Vec<usize> = (0..faults.held(queue)).collect();
                faults.release(queue, &order);
            }
            faults.clear();
        }
    }

    /// Packets that it was to send while the cable was out: virtio-net drops them, as it may.
    pub(crate) fn lost(&self) -> u64 {
        match self {
            Self::Ixgbe(_) => 0,
            Self::Virtio(card) => card.statistics().link_down,
        }
    }
}

pub(crate) fn said(error: impl Display) -> Violation {
    error.to_string()
}

/// A frame of any kind, with up to seven changes.
fn frame(script: &mut Script<'_>) -> Vec<u8> {
    let kinds = Kind::ALL;
    let kind = kinds.get(script.below(kinds.len()));
    let mut frame = kind.map(|kind| kind.packet(u32::from(script.byte()))).unwrap_or_default();
    let mut random = Random::new(script.half().into());
    for _ in 0..script.byte() % 8 {
        mutate(&mut frame, &[], &mut random);
    }
    if script.byte() % 8 == 1 {
        frame.resize(script.below(LONGEST), script.byte());
    }
    frame
}

/// Plays a script: each ten bytes or so are a frame.
///
/// # Errors
/// What does not add up.
pub fn play(bytes: &[u8]) -> Result<Seen, Violation> {
    let mut script = Script::new(bytes);
    let (kinds, when_full) = (script.byte(), script.byte());
    let frames: Vec<Vec<u8>> =
        std::iter::from_fn(|| (!script.is_over()).then(|| frame(&mut script))).take(300).collect();
    let malformed = observe(&frames)?;
    let on_wire: Vec<Vec<u8>> = frames
        .into_iter()
        .map(|mut frame| {
            frame.resize(frame.len().clamp(SHORTEST, LONGEST), 0);
            frame
        })
        .collect();
    let refused = forward(&on_wire, kinds, when_full)?;
    capture(&on_wire, kinds & 4 != 0)?;
    Ok(Seen { faults: malformed + refused, opened: true, ..Seen::default() })
}

/// All of them past the parser and the flow table, the shortest too. How many were malformed.
fn observe(frames: &[Vec<u8>]) -> Result<u64, Violation> {
    // A small table: what finds no room in it must be counted too.
    let mut observer = Observer::new(FlowTable::new(16, false).map_err(said)?);
    for (time, frame) in (0..).zip(frames) {
        observer.look(frame, frame.len(), time);
    }
    let (seen, bytes) = (observer.seen, frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
    let listed: u64 = observer.table.flows().iter().map(|flow| flow.both().packets).sum();
    let kinds: u64 = observer.faults.entries().iter().map(|fault| fault.packets).sum();
    let all = frames.len() as u64;
    let unlisted = observer.table.unlisted().packets;
    if (seen.all.packets, seen.all.bytes) != (all, bytes)
        || seen.sound + seen.malformed != all
        || kinds != seen.malformed
        || listed + unlisted + seen.without_tuple.packets != all
    {
        return Err(format!(
            "of {all} frames the flows are {seen:?}, {listed} listed, {unlisted} not, {kinds} faulty"
        ));
    }
    Ok(seen.malformed)
}

/// From one card to another. How many found no room on the way.
fn forward(frames: &[Vec<u8>], kinds: u8, when_full: u8) -> Result<u64, Violation> {
    let space = AddressSpace::emulated();
    let pool = Pool::new(&space, PoolOptions { buffers: BUFFERS, ..PoolOptions::default() }).map_err(said)?;
    let (mut left, left_port) = Card::open(&space, &pool, kinds & 1 == 1, 0)?;
    let (mut right, right_port) = Card::open(&space, &pool, kinds & 2 == 2, 1)?;
    let Opened { control: mut left_control, mut receive, transmit: left_transmit } = left_port;
    let Opened { control: mut right_control, receive: right_receive, mut transmit } = right_port;
    let (Some(receive), Some(transmit)) = (receive.pop(), transmit.pop()) else {
        return Err("a port without queues".to_owned());
    };
    let waits = when_full & 1 == 1;
    let options = Options {
        batch: 1 + usize::from(when_full >> 3),
        when_full: if waits { WhenFull::Wait } else { WhenFull::Drop },
        touch: Touch::Read,
        ..Options::default()
    };
    let mut direction = Direction::new(receive, transmit, Rewrite::default(), &options);
    let (mut taken, mut refused, mut out) = (VecDeque::new(), 0u64, 0u64);
    let mut collect = |right: &mut Card, taken: &mut VecDeque<Vec<u8>>| -> Result<(), Violation> {
        while let Some(frame) = right.take_sent() {
            out += 1;
            // In their order; what was dropped on the way is missing in between.
            while taken.pop_front().ok_or("a frame came out that never went in")? != frame {}
        }
        Ok(())
    };
    for (number, frame) in frames.iter().enumerate() {
        if left.inject(frame) {
            taken.push_back(frame.clone());
        } else {
            refused += 1;
        }
        // Bursts, so that rings fill up; the sending side is served more seldom.
        if number % 7 == 3 {
            direction.round(None).map_err(said)?;
        }
        if number % (8 + usize::from(when_full)) == 7 {
            right.step();
            collect(&mut right, &mut taken)?;
        }
    }
    for _ in 0..frames.len() + 2 {
        direction.round(None).map_err(said)?;
        right.step();
        collect(&mut right, &mut taken)?;
    }
    direction.drain(Instant::now() + Duration::from_secs(60)).map_err(said)?;
    let counted = direction.counters().read();
    let (received, sent) = (
        left_control.statistics().map_err(said)?.received(),
        right_control.statistics().map_err(said)?.sent(),
    );
    let arrived = frames.len() as u64 - refused;
    let lost_on_the_way = counted.dropped + counted.unsent;
    if received.packets + received.errors != arrived
        || counted.forwarded + counted.dropped != received.packets
        || sent.packets + sent.errors != counted.forwarded
        || out != sent.packets
        || (waits && lost_on_the_way > 0)
    {
        return Err(format!(
            "{arrived} arrived and {refused} did not, {received:?} received, {counted:?} forwarded, {sent:?} sent, {out} out"
        ));
    }
    drop((direction, left_control, right_control, left_transmit, right_receive));
    if (pool.available(), pool.lost()) != (BUFFERS, 0) {
        return Err(format!("{} of {BUFFERS} buffers came back", pool.available()));
    }
    Ok(refused + lost_on_the_way)
}

/// A file that goes when the case ends.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("ringway-hostile-{}-{number}.pcapng", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// From a card into a file, and out of the file again.
fn capture(frames: &[Vec<u8>], is_virtio: bool) -> Result<(), Violation> {
    let file = Temporary::new();
    let space = AddressSpace::emulated();
    let pool = Pool::new(&space, PoolOptions { buffers: BUFFERS, ..PoolOptions::default() }).map_err(said)?;
    let (mut card, mut port) = Card::open(&space, &pool, is_virtio, 2)?;
    let Some(receive) = port.receive.pop() else { return Err("a port without queues".to_owned()) };
    let writer = RotatingWriter::create(&file.0, &["card"], Rotation::default()).map_err(said)?;
    let (mut task, mut capture) = Capturing::start(receive, 32, usize::MAX, None, writer).map_err(said)?;
    let mut taken = Vec::new();
    for frame in frames {
        if card.inject(frame) {
            taken.push(frame);
        } else {
            task.round(None).map_err(said)?;
            if card.inject(frame) {
                taken.push(frame);
            }
        }
    }
    while task.round(None).map_err(said)?.received > 0 {}
    let received = port.control.statistics().map_err(said)?.received();
    capture.finish(None);
    let seen = capture.read();
    if let Some(error) = capture.failure() {
        return Err(error.to_string());
    }
    if received.packets != taken.len() as u64 || seen.written + seen.dropped != received.packets {
        return Err(format!("{} captured, {received:?}, {seen:?}", taken.len()));
    }
    let mut reader = Reader::open(&file.0).map_err(said)?;
    let mut read = 0;
    let mut expected = taken.iter();
    while let Some(captured) = reader.next_frame().map_err(said)? {
        read += 1;
        // What the writer had no room for is missing in between.
        if !expected.any(|frame| frame.as_slice() == &*captured.bytes) {
            return Err(format!("frame {read} of the file was never captured"));
        }
    }
    if read != seen.written {
        return Err(format!("{} written, {read} in the file", seen.written));
    }
    drop((task, port));
    Ok(())
}
