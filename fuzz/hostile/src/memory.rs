//! What the device reaches and what it must not, seen from both sides.
//!
//! Buffers of the pool are found by asking: an address that is refused because nothing was lent there is one of a pool. From
//! then on each buffer's number says where it is for the program and for the device, and after each step the books are
//! compared: lent (to the device's own eyes), held (in the program's hands), free. A second pool, all of whose packets the
//! program holds with a pattern in them, is mapped and never lent.

use crate::beneath::Beneath;
use crate::script::Script;
use ringway_dma::{AddressSpace, DeviceView, Fault, Iova};
use ringway_packet::{Batch, HEADROOM, Packet, Pool, PoolOptions};
use std::collections::BTreeSet;

/// The size of a buffer of these pools.
const SIZE: u64 = 2048;
const GUARDS: u32 = 8;
/// Where addresses begin to be handed out, and how far pools are looked for.
const FIRST: u64 = 1 << 32;
const SEARCHED: u64 = 64 << 20;

/// What broke: a sentence.
pub type Violation = String;

/// The memory of one case.
#[derive(Debug)]
pub struct Memory {
    /// What everything is mapped in.
    pub space: AddressSpace,
    /// The buffers that the driver works with.
    pub pool: Pool,
    guards: Vec<Packet>,
    guard_base: u64,
    device_base: u64,
    program_base: usize,
    view: DeviceView,
    /// The pool's memory past all of that, once it was asked for.
    beneath: Option<Beneath>,
    refused: u64,
    made: u64,
}

impl Memory {
    /// A pool of so many buffers, and the guards.
    pub fn new(space: &AddressSpace, buffers: u32) -> Result<Self, Violation> {
        let cannot = |error: ringway_packet::Error| format!("no pool: {error}");
        let mut view = space.device_view().ok_or("the space has no device's side")?;
        let guard_pool =
            Pool::new(space, PoolOptions { buffers: GUARDS, ..PoolOptions::default() }).map_err(cannot)?;
        let guard_base = find(&mut view, FIRST).ok_or("the guards are not where they are looked for")?;
        let mut guards = Vec::new();
        while let Ok(mut packet) = guard_pool.packet() {
            let room = packet.frame_mut().tailroom();
            packet.frame_mut().append(room).map_err(cannot)?.fill(pattern(guards.len()));
            guards.push(packet);
        }
        let pool = Pool::new(space, PoolOptions { buffers, ..PoolOptions::default() }).map_err(cannot)?;
        let behind = guard_base + u64::try_from(guard_pool.bytes()).unwrap_or(0);
        let device_base = find(&mut view, behind).ok_or("the pool is not where it is looked for")?;
        let all: Vec<Packet> = std::iter::from_fn(|| pool.packet().ok()).collect();
        let lowest = all.iter().map(|packet| packet.data().as_ptr() as usize).min();
        let program_base = lowest.ok_or("the pool is empty")? - HEADROOM as usize;
        drop(all);
        Ok(Self {
            space: space.clone(),
            pool,
            guards,
            guard_base,
            device_base,
            program_base,
            view,
            beneath: None,
            refused: 0,
            made: 0,
        })
    }

    /// Accesses that were made, and those that were refused.
    pub fn accesses(&self) -> (u64, u64) {
        (self.made, self.refused)
    }

    /// The numbers of the buffers that a device has.
    pub fn lent(&mut self) -> BTreeSet<u32> {
        let mut byte = [0];
        let mut burst = self.view.burst();
        (0..self.pool.buffers())
            .filter(|&number| {
                burst.read(Iova::new(self.device_base + u64::from(number) * SIZE), &mut byte).is_ok()
            })
            .collect()
    }

    /// The number of the buffer that a piece of a packet lies in, all of it.
    pub fn number(&self, piece: &[u8]) -> Result<u32, Violation> {
        let offset = (piece.as_ptr() as usize).checked_sub(self.program_base);
        let number = offset.map(|offset| offset / SIZE as usize);
        match (number, offset) {
            (Some(number), Some(offset))
                if number < self.pool.buffers() as usize
                    && offset % SIZE as usize + piece.len() <= SIZE as usize =>
            {
                Ok(number as u32)
            }
            _ => Err(format!("a packet of {} bytes lies in no buffer, or leaves its own", piece.len())),
        }
    }

    /// Compares the books. `held` are the program's batches.
    pub fn check(&mut self, held: &mut [Batch]) -> Result<(), Violation> {
        let lent = self.lent();
        let mut seen = BTreeSet::new();
        for batch in held {
            for frame in batch.frames() {
                for piece in frame.segments() {
                    let number = self.number(piece)?;
                    if !seen.insert(number) {
                        return Err(format!("buffer {number} was handed out twice"));
                    }
                    if lent.contains(&number) {
                        return Err(format!("buffer {number} is the program's and a device's"));
                    }
                }
            }
        }
        let known = lent.len() + seen.len() + (self.pool.available() + self.pool.lost()) as usize;
        // What was lost may still be marked as lent: it never comes back either way.
        if known > (self.pool.buffers() + self.pool.lost()) as usize {
            return Err(format!(
                "{} lent, {} held, {} free and {} lost are more than {} buffers",
                lent.len(),
                seen.len(),
                self.pool.available(),
                self.pool.lost(),
                self.pool.buffers()
            ));
        }
        self.check_guards()
    }

    /// Nothing that is mapped and not lent has changed.
    pub fn check_guards(&self) -> Result<(), Violation> {
        for (index, packet) in self.guards.iter().enumerate() {
            if packet.data().iter().any(|&byte| byte != pattern(index)) {
                return Err(format!("guard {index} was written to"));
            }
        }
        Ok(())
    }

    /// After the end of a port: every buffer is back, or counted as lost.
    pub fn check_end(&mut self, may_lose: bool) -> Result<(), Violation> {
        let (free, lost, all) = (self.pool.available(), self.pool.lost(), self.pool.buffers());
        if free + lost != all {
            return Err(format!("{free} free and {lost} lost are not {all} buffers"));
        }
        if lost > 0 && !may_lose {
            return Err(format!("{lost} buffers are lost of a device that could be stopped"));
        }
        let lent = self.lent().len();
        if lent > lost as usize {
            return Err(format!("{lent} buffers are lent with nothing open, {lost} of them lost"));
        }
        self.check_guards()
    }

    /// The end of the case: nothing stays mapped.
    pub fn end(self) -> Result<(), Violation> {
        let Self { space, pool, guards, view, .. } = self;
        drop((pool, guards, view));
        let usage = space.usage();
        if usage.mappings == 0 && usage.stranded_bytes == 0 {
            return Ok(());
        }
        Err(format!("memory is still mapped: {usage:?}"))
    }

    /// An access by the device, anywhere, of any length. What isn't lent is refused.
    pub fn strike(&mut self, script: &mut Script<'_>, areas: &[((u16, u64), u64)]) -> Result<(), Violation> {
        let buffers = u64::from(self.pool.buffers());
        let inside = u64::from(script.half()) % SIZE;
        let kind = script.byte() % 8;
        let place = match kind {
            0..3 => self.device_base + u64::from(script.half()) % buffers * SIZE + inside,
            3 => self.guard_base + u64::from(script.half()) % u64::from(GUARDS) * SIZE + inside,
            4 => script.double(),
            5 => (FIRST + u64::from(script.word())).wrapping_sub(u64::from(script.byte())),
            _ => {
                let Some(&(_, base)) = script.below(areas.len()).checked_sub(0).and_then(|at| areas.get(at))
                else {
                    return Ok(());
                };
                base.wrapping_add(u64::from(script.half()) % 0x800)
            }
        };
        let length = [1, 2, 8, 60, 2048, 4096][script.below(6)];
        let value = script.byte();
        let lent = self.lent();
        let outcome = if script.byte() & 1 == 0 {
            self.view.write(Iova::new(place), &vec![value; length])
        } else {
            let mut read = vec![0; length];
            self.view.read(Iova::new(place), &mut read)
        };
        match outcome {
            Ok(()) => self.made += 1,
            Err(_) => self.refused += 1,
        }
        let allowed = |base: u64, count: u64| place >= base && place < base + count * SIZE;
        if allowed(self.guard_base, GUARDS.into()) && outcome.is_ok() {
            return Err(format!("{length} bytes at {place:#x}, never lent, gave {outcome:?}"));
        }
        if allowed(self.device_base, buffers) {
            let (first, last) =
                ((place - self.device_base) / SIZE, (place - self.device_base + length as u64 - 1) / SIZE);
            let is_one_lent = first == last && lent.contains(&(first as u32));
            if is_one_lent != outcome.is_ok() {
                return Err(format!(
                    "{length} bytes at {place:#x}, {}, gave {outcome:?}",
                    if is_one_lent { "lent" } else { "not lent as a whole" }
                ));
            }
        }
        Ok(())
    }

    /// Writes random bytes over some of the pool's memory, whoever has it: the driver, the program, a device or nobody. No
    /// borrow of it may be alive.
    pub fn write_beneath(&mut self, script: &mut Script<'_>) -> Result<(), Violation> {
        let beneath = match self.beneath.take() {
            Some(beneath) => beneath,
            None => Beneath::of(self.program_base)?,
        };
        let all = u64::from(self.pool.buffers()) * SIZE;
        let inside = if script.byte() & 1 == 0 { 0 } else { u64::from(script.half()) % SIZE };
        let place = u64::from(script.half()) % u64::from(self.pool.buffers()) * SIZE + inside;
        let length = [1, 8, 128, SIZE, 5 * SIZE, all][script.below(6)].min(all - place);
        let mut state = script.double();
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                (state >> 56) as u8
            })
            .collect();
        let outcome = beneath.write(place, &bytes);
        self.beneath = Some(beneath);
        outcome
    }

    /// Two bytes of a ring.
    pub fn load(&mut self, place: u64) -> u16 {
        self.view.load_u16(Iova::new(place & !1)).unwrap_or(0)
    }

    /// Writes a ring's entry.
    pub fn store(&mut self, place: u64, value: u64, bytes: u8) {
        let done = match bytes {
            2 => self.view.store_u16(Iova::new(place & !1), value as u16),
            4 => self.view.store_u32(Iova::new(place & !3), value as u32),
            _ => self.view.store_u64(Iova::new(place & !7), value),
        };
        match done {
            Ok(()) => self.made += 1,
            Err(_) => self.refused += 1,
        }
    }
}

/// What is in a guard.
fn pattern(index: usize) -> u8 {
    0xa5 ^ index as u8
}

/// The first place from `start` on that is a buffer's, lent to nobody.
fn find(view: &mut DeviceView, start: u64) -> Option<u64> {
    let mut byte = [0];
    let mut burst = view.burst();
    (start..start + SEARCHED)
        .step_by(4096)
        .find(|&place| matches!(burst.read(Iova::new(place), &mut byte), Err(Fault::NotLent { .. })))
}
