//! The split virtqueue, driver's side (virtio 1.2, section 2.7).
//!
//! Three areas in memory that both sides see: descriptors, the available ring (driver writes, device reads) and the
//! used ring (device writes, driver reads). This module moves indices and knows when to tell the other side; what the
//! descriptors point at is the business of the queues in `net`.
//!
//! What the device writes (the used ring) is read once and checked: the index may advance by no more than what was
//! made available, and ids are looked up by the queues in their own records.
//!
//! Nobody wants interrupts while a ring is polled. With the event index that is said by an event that is far away, which
//! is moved on before the device comes near it; so the line that the device reads is seldom written.

mod areas;
mod restoring;
mod sync;
mod telling;
#[cfg(test)]
mod tests;

pub(crate) use areas::Areas;
pub(crate) use restoring::Restoring;

use crate::Error;
use crate::transport::Transport;
use areas::Rings;
use ringway_dma::{Descriptor, Pair, Ring, barrier};
use ringway_pci::Doorbell;
use std::sync::atomic::Ordering;
use telling::Words;

/// Descriptor flags (section 2.7.5).
pub(crate) mod flag {
    pub(crate) const NEXT: u64 = 1;
    pub(crate) const WRITE: u64 = 2;
    pub(crate) const INDIRECT: u64 = 4;
}

/// How far the driver reads on before it moves an event that it doesn't want. When it is set, the event is 65535 entries
/// ahead of the driver, and the device at most 32768.
const FAR: u16 = 1 << 14;

/// The second word of a descriptor: length, flags, next.
#[inline(always)]
pub(crate) const fn word(length: u32, flags: u64, next: u16) -> u64 {
    length as u64 | (flags << 32) | ((next as u64) << 48)
}

/// A virtqueue that the device knows.
#[derive(Debug)]
pub(crate) struct SplitRing {
    rings: Rings,
    areas: Areas,
    vector: Option<u16>,
    doorbell: Doorbell,
    /// Which queue it is.
    index: u16,
    /// What was made available, and published up to `published`.
    next_available: u16,
    published: u16,
    /// Up to where the used ring was read.
    last_used: u16,
    /// Up to where it was read when the event was moved far away.
    far_from: u16,
    /// The available ring holds its own indices.
    ordered: bool,
    /// Entries in a row, up to the last one, that hold their own index.
    own: u32,
    event_index: bool,
    /// The program wants interrupts.
    listening: bool,
}

impl SplitRing {
    /// Tells the device of the areas and enables the queue.
    pub(crate) fn start(
        transport: &dyn Transport,
        index: u16,
        areas: Areas,
        event_index: bool,
        vector: Option<u16>,
    ) -> Result<Self, Error> {
        let rings = Rings::new(&areas).map_err(Error::dma(transport.name()))?;
        let told = areas.told(vector).map_err(Error::dma(transport.name()))?;
        // Nothing can fail behind this: the device knows of the memory from here on.
        let doorbell = transport.start_queue(index, &told)?;
        Ok(Self { vector, ..Self::new(rings, areas, doorbell, index, event_index) })
    }

    fn new(rings: Rings, areas: Areas, doorbell: Doorbell, index: u16, event_index: bool) -> Self {
        let mut ring = Self {
            rings,
            areas,
            vector: None,
            doorbell,
            index,
            next_available: 0,
            published: 0,
            last_used: 0,
            far_from: 0,
            ordered: true,
            own: 0,
            event_index,
            listening: false,
        };
        ring.number();
        ring.silence();
        ring
    }

    /// Takes the queue from the device, and gives it back empty (section 2.6.1). What the descriptors point at stays.
    pub(crate) fn restart(&mut self, transport: &dyn Transport) -> Result<(), Error> {
        transport.reset_queue(self.index)?;
        let told = self.areas.told(self.vector).map_err(Error::dma(transport.name()))?;
        let Self { rings, .. } = &*self;
        for index in [&rings.available_index, &rings.used_index, &rings.used_flags, &rings.available_event] {
            index.at(0).store(0, Ordering::Relaxed);
        }
        (self.next_available, self.published, self.last_used, self.far_from) = (0, 0, 0, 0);
        self.number();
        if self.listening {
            self.listen();
        } else {
            self.silence();
        }
        barrier::full();
        self.doorbell = transport.start_queue(self.index, &told)?;
        Ok(())
    }

    /// Fills the available ring with its own indices: chains that are offered in this order need no entry written.
    fn number(&mut self) {
        (self.ordered, self.own) = (true, self.mask().wrapping_add(1));
        for index in 0..=self.mask() {
            self.rings.available.at(index).store(index as u16, Ordering::Relaxed);
        }
    }

    /// The descriptor table.
    #[inline(always)]
    pub(crate) fn descriptors(&self) -> &Ring<Descriptor> {
        &self.rings.descriptors
    }

    /// The number of descriptors minus one.
    #[inline(always)]
    pub(crate) fn mask(&self) -> u32 {
        self.rings.descriptors.mask()
    }

    /// How many chains came back since the last [`consume`](Self::consume). `None`: more than the device had, its index
    /// jumped.
    #[inline(always)]
    pub(crate) fn ready(&self) -> Option<u16> {
        let ready = self.rings.used().wrapping_sub(self.last_used);
        (ready <= self.published.wrapping_sub(self.last_used)).then_some(ready)
    }

    /// The n-th chain that came back: its id and how many bytes the device wrote. Both are the device's claims.
    #[inline(always)]
    pub(crate) fn completed(&self, n: u16) -> (u32, u32) {
        let pair = self.rings.used.at(self.last_used.wrapping_add(n).into());
        (pair.first.load(Ordering::Relaxed), pair.second.load(Ordering::Relaxed))
    }

    /// Where the device says which chains came back.
    #[inline(always)]
    pub(crate) fn said(&self) -> &Ring<Pair> {
        &self.rings.used
    }

    /// The entries of the next `count` chains that came back, or those up to the end of the ring.
    #[inline(always)]
    pub(crate) fn completions(&self, count: u16) -> &[Pair] {
        let run = self.rings.used.run(self.last_used.into());
        run.get(..usize::from(count)).unwrap_or(run)
    }

    /// The descriptor that comes back next if all of them are with the device, come back in order and are offered again at
    /// once.
    #[inline(always)]
    pub(crate) fn in_step(&self) -> Option<u32> {
        let whole = u32::from(self.next_available.wrapping_sub(self.last_used)) & self.mask() == 0;
        (self.ordered && whole).then_some(self.last_used.into())
    }

    /// In step, marks `count` chains as read and offers their descriptors again.
    #[inline(always)]
    pub(crate) fn turn(&mut self, count: u32) {
        self.next_available = self.next_available.wrapping_add(count as u16);
        self.consume(count as u16);
    }

    /// Makes chains of one descriptor each available: `chains` of them, from the descriptor `first` on.
    #[inline(always)]
    pub(crate) fn offer_run(&mut self, first: u32, chains: u32) {
        if self.ordered && (u32::from(self.next_available) ^ first) & self.mask() == 0 {
            self.next_available = self.next_available.wrapping_add(chains as u16);
        } else {
            self.offer_each(first, chains);
        }
    }

    #[cold]
    fn offer_each(&mut self, first: u32, chains: u32) {
        (0..chains).for_each(|n| self.offer((first.wrapping_add(n) & self.mask()) as u16));
    }

    /// Only the id of the n-th chain that came back.
    #[inline(always)]
    pub(crate) fn completed_id(&self, n: u16) -> u32 {
        self.rings.used.at(self.last_used.wrapping_add(n).into()).first.load(Ordering::Relaxed)
    }

    /// The chain that was offered in the place of the n-th that came back.
    #[inline(always)]
    pub(crate) fn offered_as(&self, n: u16) -> u32 {
        self.rings.available.at(self.last_used.wrapping_add(n).into()).load(Ordering::Relaxed).into()
    }

    /// The available ring holds its own indices: chains need not be looked at one by one.
    #[inline(always)]
    pub(crate) fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Marks `count` chains as read.
    #[inline(always)]
    pub(crate) fn consume(&mut self, count: u16) {
        self.last_used = self.last_used.wrapping_add(count);
        if self.last_used.wrapping_sub(self.far_from) >= FAR && self.event_index {
            self.say();
        }
    }

    /// Where the next chain is offered: what a loop keeps in a register, and gives to [`offered`](Self::offered).
    #[inline(always)]
    pub(crate) fn next_offer(&self) -> u16 {
        self.next_available
    }

    /// Makes a chain available at `place`, from the descriptor `head` on.
    #[inline(always)]
    pub(crate) fn offer_at(&self, place: u16, head: u16) {
        self.rings.available.at(place.into()).store(head, Ordering::Relaxed);
    }

    /// Everything before `next` was offered, in any order. Seen by the device after [`publish`](Self::publish).
    #[inline(always)]
    pub(crate) fn offered(&mut self, next: u16) {
        if next != self.next_available {
            (self.ordered, self.own) = (false, 0);
        }
        self.next_available = next;
    }

    /// Makes one chain available. When the whole ring was offered in its own order, it is ordered again.
    #[inline]
    pub(crate) fn offer(&mut self, head: u16) {
        let is_own = u32::from(self.next_available) & self.mask() == u32::from(head);
        self.own = if is_own { self.own.saturating_add(1) } else { 0 };
        self.ordered = self.own > self.mask();
        self.offer_at(self.next_available, head);
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Shows the device all that was offered, and tells it if it wants to be told (section 2.7.13.4).
    #[inline]
    pub(crate) fn publish(&mut self) {
        let (old, new) = (self.published, self.next_available);
        if old == new {
            return;
        }
        self.published = new;
        if self.rings.publish(self.event_index, old, new) {
            self.doorbell.ring(self.index.into());
        }
    }

    /// Asks for no interrupts (section 2.7.7).
    pub(crate) fn silence(&mut self) {
        self.listening = false;
        self.say();
    }

    /// Asks for an interrupt at each completion from now on. `false`: one is there already.
    pub(crate) fn listen(&mut self) -> bool {
        self.listening = true;
        self.say();
        self.rings.is_still_waiting(self.last_used)
    }

    /// After a round: an event that is wanted is the next entry's, also when entries were read meanwhile.
    #[inline(always)]
    pub(crate) fn keep_listening(&mut self) {
        if self.listening {
            self.listen_on();
        }
    }

    #[cold]
    #[inline(never)]
    fn listen_on(&mut self) {
        if self.event_index {
            self.far_from = self.last_used;
            self.rings.ask_ahead(true, self.last_used);
        }
    }

    /// Tells the device whether interrupts are wanted; with the event index, of the next entry or of one far away.
    #[cold]
    fn say(&mut self) {
        self.far_from = self.last_used;
        let words = &self.rings;
        if self.listening {
            words.ask(self.event_index, self.last_used);
        } else {
            words.ask_not(self.event_index, self.last_used);
        }
    }
}
