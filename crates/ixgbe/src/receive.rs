//! Receiving: what the device has filled goes to the batch, free buffers take the place (82599 datasheet, section
//! 7.1).
//!
//! An advanced descriptor holds the buffer's address when it is given to the device (7.1.6.1), and what became of it
//! when it comes back (7.1.6.2). The ring is always full: each slot taken is given a free buffer at once, and the tail
//! stays one behind. A whole frame in one buffer takes the short way, in runs; everything else is `unusual`.

use crate::Error;
use crate::interrupts::Interrupt;
use crate::running::Running;
use crate::told::Wanted;
use ringway_dma::{Descriptor, Keeper, Kept, Park, Quiesced, Ring};
use ringway_packet::{Batch, Pool, ReceiveBuffers, Receiving, Refused, Whole};
use ringway_pci::Doorbell;
use ringway_port::{Failure, ReceiveCounters};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The second word of a descriptor that came back (section 7.1.6.2).
const DONE: u64 = 1 << 0;
const END_OF_PACKET: u64 = 1 << 1;
/// Any error of the MAC: such frames are dropped before they get here, unless the device lies.
const RECEIVE_ERROR: u64 = 1 << 29;
const LENGTH_SHIFT: u32 = 32;
/// A whole frame in one buffer.
const WHOLE: Whole =
    Whole { mask: (DONE | END_OF_PACKET | RECEIVE_ERROR) as u32, value: (DONE | END_OF_PACKET) as u32 };
/// The second word of a descriptor that the device has not come to.
const IDLE: u64 = 0;

/// The longest chain of descriptors that a frame may take: 16 KiB in pieces of 1 KiB.
const MAXIMUM_SEGMENTS: u32 = 16;

/// What the device shares and must outlive its use of it.
#[derive(Debug)]
struct State {
    ring: Ring<Descriptor>,
    buffers: ReceiveBuffers,
}

impl Park for State {
    fn release(self: Box<Self>, stopped: &Quiesced) {
        let Self { ring, buffers } = *self;
        buffers.release(stopped);
        drop(ring);
    }
}

/// A receive queue. Its cache lines are its own: another thread has its neighbour.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ReceiveQueue {
    state: Kept<State>,
    /// The next descriptor to come back.
    next: u32,
    /// The longest frame in one buffer.
    capacity: u32,
    tail: Doorbell,
    failure: Failure,
    counters: Arc<ReceiveCounters>,
    interrupt: Option<Interrupt>,
}

impl ReceiveQueue {
    /// A queue on `ring`, with a buffer in every slot.
    pub(crate) fn new(
        running: &Arc<Running>,
        ring: Ring<Descriptor>,
        tail: Doorbell,
        pool: &Pool,
        interrupt: Option<Interrupt>,
    ) -> Result<Self, Error> {
        let device = running.name().to_owned();
        let count = ring.count();
        let buffers = ReceiveBuffers::new(pool, count, 0, running.function.attachment())
            .map_err(|source| Error::Packet { device: device.clone(), source })?;
        let keeper = Arc::clone(running) as Arc<dyn Keeper>;
        let mut state = Kept::new(State { ring, buffers }, keeper);
        let State { ring, buffers } = &mut *state;
        for slot in 0..count {
            let descriptor = ring.at(slot);
            if !buffers.fill(slot, &descriptor.address) {
                return Err(Error::PoolTooSmall { device, wanted: count, had: slot });
            }
            descriptor.word.store(IDLE, Ordering::Relaxed);
        }
        Ok(Self {
            capacity: state.buffers.writable(),
            state,
            next: 0,
            tail,
            failure: Failure::none(&device),
            counters: Arc::default(),
            interrupt,
        })
    }

    /// Gives all descriptors but one to the device: with head and tail equal it would take the ring for empty (section
    /// 7.1.9). To be called when the queue is enabled.
    pub(crate) fn publish(&self) {
        self.tail.ring(self.state.ring.mask());
    }

    pub(crate) fn counters(&self) -> &Arc<ReceiveCounters> {
        &self.counters
    }

    /// Takes whole frames in one buffer, up to the ring's end, and counts them. Returns how many.
    #[inline(always)]
    fn take_run(&mut self, batch: &mut Batch) -> usize {
        let Self { state, next, counters, .. } = self;
        let State { ring, buffers } = &mut **state;
        let first = *next;
        buffers.exchange_run(batch, ring, first, (IDLE, WHOLE), |taken, bytes| {
            *next = first.wrapping_add(taken as u32);
            counters.received(taken as u64, bytes);
        })
    }

    /// Takes whole frames in one buffer with what is wanted of their descriptors, up to the ring's end. Returns how many, and
    /// their bytes.
    pub(crate) fn take_told(
        &mut self,
        batch: &mut Batch,
        wanted: &Wanted,
    ) -> Result<(u32, u64), ringway_port::Error> {
        let Self { state, next, capacity, failure, .. } = self;
        let State { ring, buffers } = &mut **state;
        let capacity = *capacity;
        let mut round = buffers.receive(batch).map_err(|error| failure.packet(error))?;
        let mut bytes = 0u64;
        let taken = round.exchange_told(ring, *next, IDLE, |first, second| {
            let length = (second >> LENGTH_SHIFT) as u16;
            if second as u32 & WHOLE.mask != WHOLE.value || u32::from(length) > capacity {
                return None;
            }
            bytes = bytes.wrapping_add(length.into());
            Some(wanted.told(first, second, length.into()))
        });
        *next = next.wrapping_add(taken);
        Ok((taken, bytes))
    }

    /// Whether nothing has failed.
    pub(crate) fn check(&self) -> Result<(), ringway_port::Error> {
        self.failure.check()
    }

    /// Notes why the queue works no longer.
    pub(crate) fn fail(&mut self, reason: &'static str) -> ringway_port::Error {
        self.failure.set(reason)
    }

    /// Whether packets can go to this batch.
    pub(crate) fn accept(&self, batch: &Batch) -> Result<(), ringway_port::Error> {
        if batch.pool().is_same(self.state.buffers.pool()) {
            Ok(())
        } else {
            Err(self.failure.packet(ringway_packet::Error::WrongPool))
        }
    }

    /// The next descriptor to come back.
    pub(crate) fn position(&self) -> u32 {
        self.next
    }

    /// Whether the batch has room for what the device has filled next.
    #[inline(always)]
    pub(crate) fn has_more(&self, batch: &Batch) -> bool {
        batch.room() != 0 && self.state.ring.at(self.next).word.load(Ordering::Acquire) & DONE != 0
    }

    /// Gives what was taken, and has a free buffer again, back to the device.
    #[inline(always)]
    pub(crate) fn give_back(&self) {
        self.tail.ring(self.next.wrapping_sub(1) & self.state.ring.mask());
    }

    /// Counts packets and their bytes.
    pub(crate) fn count(&self, packets: u64, bytes: u64) {
        self.counters.received(packets, bytes);
    }

    /// Receives what lies behind the ring's end, and what is no whole frame in one buffer.
    #[cold]
    #[inline(never)]
    fn receive_rest(&mut self, batch: &mut Batch, taken: usize) -> Result<usize, ringway_port::Error> {
        let before = batch.len().wrapping_sub(taken);
        let first = self.next.wrapping_sub(taken as u32);
        let outcome = self.accept(batch).and_then(|()| self.take_rest(batch));
        if self.next != first {
            self.give_back();
        }
        outcome.map(|()| batch.len().wrapping_sub(before))
    }

    fn take_rest(&mut self, batch: &mut Batch) -> Result<(), ringway_port::Error> {
        self.failure.check()?;
        while self.has_more(batch) {
            if self.take_run(batch) != 0 {
                continue;
            }
            match self.take_unusual(batch, None)? {
                Unusual::Nothing => break,
                Unusual::Packet { bytes, .. } => self.count(1, bytes),
                Unusual::Dropped { .. } | Unusual::Starved { .. } => {}
                Unusual::Broken(reason) => return Err(self.failure.set(reason)),
            }
        }
        Ok(())
    }

    /// Takes the next frame, which is no whole one in one buffer, or says what is there instead.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_unusual(
        &mut self,
        batch: &mut Batch,
        wanted: Option<&Wanted>,
    ) -> Result<Unusual, ringway_port::Error> {
        let State { ring, buffers } = &mut *self.state;
        let mut round = buffers.receive(batch).map_err(|error| self.failure.packet(error))?;
        let outcome = unusual(ring, &mut round, self.next, wanted);
        drop(round);
        match outcome {
            Unusual::Packet { descriptors, .. } => self.next = self.next.wrapping_add(descriptors),
            Unusual::Dropped { descriptors } => {
                self.next = self.next.wrapping_add(descriptors);
                self.counters.erroneous(1);
            }
            Unusual::Starved { wanted } if !self.state.buffers.restock(wanted) => {
                self.counters.starved();
                return Ok(Unusual::Nothing);
            }
            Unusual::Nothing | Unusual::Starved { .. } | Unusual::Broken(_) => {}
        }
        Ok(outcome)
    }
}

impl ringway_port::ReceiveQueue for ReceiveQueue {
    fn receive(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        let taken = if self.failure.is_set() { 0 } else { self.take_run(batch) };
        if taken == 0 || self.has_more(batch) {
            return self.receive_rest(batch, taken);
        }
        self.give_back();
        Ok(taken)
    }

    fn pool(&self) -> &Pool {
        self.state.buffers.pool()
    }

    fn interrupt(&self) -> Option<&Arc<OwnedFd>> {
        self.interrupt.as_ref().map(|interrupt| &interrupt.counter)
    }

    fn enable_interrupt(&mut self) -> bool {
        // A packet from before is found below, one that comes after interrupts.
        if let Some(interrupt) = &self.interrupt {
            interrupt.enable();
        }
        self.state.ring.at(self.next).word.load(Ordering::Acquire) & DONE == 0
    }

    fn disable_interrupt(&mut self) {
        if let Some(interrupt) = &self.interrupt {
            interrupt.disable();
        }
    }
}

/// What the next descriptor is, if it is no packet in one buffer that can be taken at once.
pub(crate) enum Unusual {
    /// The device has not come so far.
    Nothing,
    /// A packet waits, but there are too few buffers at hand to take its place.
    Starved { wanted: usize },
    /// A packet in several descriptors was taken.
    Packet { descriptors: u32, bytes: u64 },
    /// Something that is no packet; its buffers stay in their slots.
    Dropped { descriptors: u32 },
    /// The device breaks its rules.
    Broken(&'static str),
}

fn unusual(
    ring: &Ring<Descriptor>,
    round: &mut Receiving<'_>,
    next: u32,
    wanted: Option<&Wanted>,
) -> Unusual {
    // How far does the frame go? The device hands out its descriptors in order, and all of them at once or soon.
    let mut descriptors = 0u32;
    let mut wrong = false;
    let last = loop {
        let descriptor = ring.at(next.wrapping_add(descriptors));
        let word = descriptor.word.load(Ordering::Acquire);
        if word & DONE == 0 {
            return Unusual::Nothing;
        }
        descriptors = descriptors.wrapping_add(1);
        wrong |= word & RECEIVE_ERROR != 0;
        if word & END_OF_PACKET != 0 {
            break (descriptor.address.load(Ordering::Relaxed), word);
        }
        if descriptors >= MAXIMUM_SEGMENTS.min(ring.mask()) {
            return Unusual::Broken("it filled more descriptors than a frame can take without ending it");
        }
    };
    if !wrong {
        match take(ring, round, next, descriptors) {
            Ok(bytes) => {
                // A packet's last descriptor speaks for all of it (section 7.1.6.2).
                if let Some(wanted) = wanted {
                    round.tell_last(&wanted.told(last.0, last.1, 0));
                }
                return Unusual::Packet { descriptors, bytes };
            }
            Err(Refused::NoRoom) => return Unusual::Starved { wanted: descriptors as usize },
            Err(_) => {}
        }
    }
    for n in 0..descriptors {
        let slot = next.wrapping_add(n);
        let descriptor = ring.at(slot);
        // A slot whose segment was taken before the frame turned out to be wrong gets a free buffer.
        if !round.relend(slot, &descriptor.address) && !round.give(slot, &descriptor.address) {
            return Unusual::Broken("it damaged a frame while the pool had no buffer left");
        }
        descriptor.word.store(IDLE, Ordering::Relaxed);
    }
    Unusual::Dropped { descriptors }
}

/// Takes a frame of several descriptors, or of one: all of it, or nothing of it stays in the batch.
fn take(
    ring: &Ring<Descriptor>,
    round: &mut Receiving<'_>,
    next: u32,
    descriptors: u32,
) -> Result<u64, Refused> {
    if round.stock() < descriptors as usize {
        return Err(Refused::NoRoom);
    }
    let mut bytes = 0u64;
    for n in 0..descriptors {
        let slot = next.wrapping_add(n);
        let descriptor = ring.at(slot);
        let length = (descriptor.word.load(Ordering::Acquire) >> LENGTH_SHIFT) as u16;
        let taken =
            if n == 0 { round.take(slot, length.into()) } else { round.take_segment(slot, length.into()) };
        if let Err(refused) = taken {
            if n > 0 {
                round.drop_last();
            }
            return Err(if refused == Refused::NoRoom { Refused::Empty } else { refused });
        }
        bytes = bytes.wrapping_add(length.into());
    }
    for n in 0..descriptors {
        let slot = next.wrapping_add(n);
        let descriptor = ring.at(slot);
        round.give(slot, &descriptor.address);
        descriptor.word.store(IDLE, Ordering::Relaxed);
    }
    Ok(bytes)
}
