//! Many consecutive slots at once: what `exchange` and `lend` do for one, with what a slot costs paid once a run.
//!
//! A run is for the common case, and ends before anything else: whole packets in one buffer that come, packets in one
//! buffer that go and of which the device needs to know no more than where they are.

use super::NONE;
use super::fours::{Bytes, Plain, Whole};
use super::receive::{ReceiveBuffers, Receiving, address_of};
use super::transmit::{Sending, TransmitBuffers, close_up};
use crate::Batch;
use crate::pool::HEADROOM;
use crate::word::Word;
use ringway_dma::{Descriptor, Ring};
use std::sync::atomic::Ordering;

impl Receiving<'_> {
    /// Exchanges consecutive slots from `first` on, for as long as `length` finds a packet in the second word of a
    /// slot's descriptor (read with acquire order), and writes `idle` there. Ends when the batch is full or no free
    /// buffer is left, at the ring's end (what lies behind it takes a second run), and before a slot whose length is
    /// refused. Says how many were exchanged.
    ///
    /// This is [`exchange`](Self::exchange) for the common case, with what a slot costs paid once a run.
    #[inline(always)]
    pub fn exchange_run(
        &mut self,
        ring: &Ring<Descriptor>,
        first: u32,
        idle: u64,
        mut length: impl FnMut(u64) -> Option<u32>,
    ) -> u32 {
        let start = (first & self.mask) as usize;
        let (next, head) = (self.next, self.head);
        let run = ring.run(first);
        let slots = self.owners.len().wrapping_sub(start);
        let count =
            self.end.wrapping_sub(next).min(self.stocked.wrapping_sub(head)).min(slots).min(run.len());
        let mut done = 0;
        while done < count {
            // SAFETY: `done` is below what is left of each: descriptors, records (there are `mask + 1`, so `start` is
            // one of them), room in the batch (`next` is at most `end`) and stock (`head` is at most `stocked`).
            let (descriptor, owner, word, number) = unsafe {
                (
                    run.get_unchecked(done),
                    self.owners.get_unchecked_mut(start.wrapping_add(done)),
                    self.words.get_unchecked_mut(next.wrapping_add(done)),
                    *self.numbers.get_unchecked(head.wrapping_add(done)),
                )
            };
            let Some(length) = length(descriptor.word.load(Ordering::Acquire)) else { break };
            if *owner == NONE || length > self.capacity {
                break;
            }
            *word = Word::new(*owner, self.size, HEADROOM, length);
            *owner = number;
            // The books are right at each turn: `length` may panic.
            done = done.wrapping_add(1);
            self.next = next.wrapping_add(done);
            self.head = head.wrapping_add(done);
            // SAFETY: as in `lend`.
            unsafe { descriptor.address.lend(address_of(self.base, number, self.size)) };
            descriptor.word.store(idle, Ordering::Relaxed);
        }
        done as u32
    }
}

impl ReceiveBuffers {
    /// Exchanges consecutive slots from `first` on, four at a time and without a round: each holds a whole packet, as
    /// `whole` has it, and `idle` is written in place of what the device said. Ends when the batch is full or no free buffer is
    /// left, at the ring's end, and before a four that isn't wholly of such packets: what is left goes one by one, in a
    /// round. Nothing is exchanged when the batch is of another pool or a slot is empty. Tells `note` how many were exchanged,
    /// and their bytes, unless there are none, and says how many. The device may be told when this has returned, not in
    /// `note`.
    #[inline(always)]
    pub fn exchange_fours(
        &mut self,
        batch: &mut Batch,
        ring: &Ring<Descriptor>,
        first: u32,
        (idle, whole): (u64, Whole),
        note: impl FnOnce(usize, u64),
    ) -> usize {
        let Some((start, count)) = self.whole_fours(batch, ring, first) else { return 0 };
        let receiver = self.fours;
        // SAFETY: the stock's head is at most its capacity, the batch's length at most its limit, and `start` is a record.
        let (owners, words, numbers) = unsafe {
            (
                self.owners.as_mut_ptr().add(start),
                batch.words.as_mut_ptr().add(batch.length),
                self.stock.numbers.as_ptr().add(self.stock.head),
            )
        };
        let descriptors = ring.run(first).as_ptr();
        let mut bytes = Bytes::none();
        let mut done = 0usize;
        loop {
            // SAFETY: `done + 4` is at most `count`, which is at most what is left of each: records, as many descriptors,
            // room in the batch and stock. Arrays of four lie there, and the two mutable ones in different places.
            let (descriptors, owners, words, numbers) = unsafe {
                (
                    &*descriptors.add(done).cast::<[Descriptor; 4]>(),
                    &mut *owners.add(done).cast::<[u32; 4]>(),
                    &mut *words.add(done).cast::<[Word; 4]>(),
                    *numbers.add(done).cast::<[u32; 4]>(),
                )
            };
            let said = Descriptor::words(descriptors);
            let Some(taken) = receiver.take(whole, said, owners, &numbers, &mut bytes) else {
                if done == 0 {
                    return 0;
                }
                break;
            };
            *words = taken.words;
            *owners = numbers;
            // SAFETY: as in `lend`, for each.
            unsafe { Descriptor::lend(descriptors, taken.addresses, [idle; 4].into()) };
            done = done.wrapping_add(4);
            if done == count {
                break;
            }
        }
        self.exchanged(batch, done, || note(done, bytes.sum()));
        done
    }

    /// The record of slot `first`, and how many slots from there on can be exchanged in fours, as far as batch, stock and
    /// records go: as many as there is room for in the batch, if the pool has them, and not beyond the ring's end. A multiple
    /// of four, never 0.
    #[inline(always)]
    pub(super) fn whole_fours(
        &mut self,
        batch: &Batch,
        ring: &Ring<Descriptor>,
        first: u32,
    ) -> Option<(usize, usize)> {
        let mask = self.mask;
        let is_other = (ring.mask() ^ mask) | self.vacant;
        if is_other != 0 || !batch.pool.is_same(&self.stock.pool) {
            return None;
        }
        let start = (first & mask) as usize;
        let slots = (mask as usize).wrapping_add(1).wrapping_sub(start);
        let count = self.stock.most(batch.room()).min(slots) & !3;
        (count != 0).then_some((start, count))
    }

    /// Brings the books up to date: `count` records, words and free numbers were exchanged. `note` is told before the marks,
    /// which are set whatever it does.
    #[inline(always)]
    pub(super) fn exchanged(&mut self, batch: &mut Batch, count: usize, note: impl FnOnce()) {
        self.stock.head = self.stock.head.wrapping_add(count);
        batch.length = batch.length.wrapping_add(count);
        let marks = Exchanged { buffers: self, batch, count };
        note();
        drop(marks);
    }
}

/// Marks what was exchanged when it is dropped.
struct Exchanged<'a> {
    buffers: &'a ReceiveBuffers,
    batch: &'a Batch,
    count: usize,
}

impl Drop for Exchanged<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.buffers.emulated {
            self.buffers.mark_exchanged(self.batch, self.count);
        }
    }
}

impl Sending<'_> {
    /// Lends packets from the front, to consecutive slots from `first` on, and writes both words of their descriptors:
    /// the address, and what `command` makes of slot and length. Ends with the batch, after `count` packets, at the
    /// ring's end (the rest goes in a second run), before a slot that is taken or a packet that needs more than
    /// one plain descriptor (several segments, a VLAN tag, an offload, a prefix longer than its headroom), and where
    /// `command` says `None`. Says how many went.
    ///
    /// This is [`lend`](Self::lend) for the common case, with what a slot costs paid once a run.
    #[inline(always)]
    pub fn lend_run(
        &mut self,
        ring: &Ring<Descriptor>,
        first: u32,
        count: u32,
        mut command: impl FnMut(u32, u32) -> Option<u64>,
    ) -> u32 {
        if self.in_part {
            return 0;
        }
        let start = (first & self.mask) as usize;
        let sent = self.sent;
        let run = ring.run(first);
        let slots = self.owners.len().wrapping_sub(start);
        let count = (count as usize).min(self.total.wrapping_sub(sent)).min(slots).min(run.len());
        let mut done = 0;
        while done < count {
            // SAFETY: `done` is below what is left of each: descriptors, records (there are `mask + 1`, so `start` is
            // one of them) and packets (`sent` is at most `total`, which was the batch's length).
            let (descriptor, owner, word) = unsafe {
                (
                    run.get_unchecked(done),
                    self.owners.get_unchecked_mut(start.wrapping_add(done)),
                    *self.words.get_unchecked(sent.wrapping_add(done)),
                )
            };
            if *owner != NONE || !word.is_plain() || word.offset(self.shift) < self.prefix {
                break;
            }
            let Some(command) = command(first.wrapping_add(done as u32), word.length()) else { break };
            *owner = word.number(self.shift) | self.tag;
            // The books are right at each turn: `command` may panic.
            done = done.wrapping_add(1);
            self.sent = sent.wrapping_add(done);
            let address = self.base.wrapping_add(word.position()).wrapping_sub(self.prefix.into());
            // SAFETY: as in `lend`.
            unsafe { descriptor.address.lend(address) };
            descriptor.word.store(command, Ordering::Relaxed);
        }
        done as u32
    }
}

impl TransmitBuffers {
    /// Lends packets from the front of the batch, to consecutive slots from `first` on, four at a time and without a round,
    /// and writes both words of their descriptors: the address, and what `plain` says. Ends with the batch, after `count`
    /// packets, at the ring's end, and before a four that isn't wholly of plain packets for empty slots: what is left goes
    /// one by one, in a round. Nothing goes when the batch is not of the queue's first pool. Tells `note` how many went, and
    /// their bytes, unless there are none, and says how many. The device may be told when this has returned, not in `note`.
    #[inline(always)]
    pub fn lend_fours(
        &mut self,
        batch: &mut Batch,
        ring: &Ring<Descriptor>,
        (first, count): (u32, usize),
        plain: Plain,
        note: impl FnOnce(usize, u64),
    ) -> usize {
        let Some((start, fours)) = self.fours(batch, ring, first) else { return 0 };
        let count = count.min(fours) & !3;
        if count == 0 {
            return 0;
        }
        let sender = self.fours.sender(plain, None);
        // SAFETY: there are at least as many records as descriptors.
        let owners = unsafe { self.owners.as_mut_ptr().add(start) };
        let words = batch.words.as_ptr();
        let descriptors = ring.run(first).as_ptr();
        let mut bytes = Bytes::none();
        let mut done = 0usize;
        loop {
            // SAFETY: `done + 4` is at most `count`, which is at most what is left of each: records, as many descriptors,
            // and packets. Arrays of four lie there.
            let (descriptors, owners, words) = unsafe {
                (
                    &*descriptors.add(done).cast::<[Descriptor; 4]>(),
                    &mut *owners.add(done).cast::<[u32; 4]>(),
                    &*words.add(done).cast::<[Word; 4]>(),
                )
            };
            let Some(given) = sender.give::<0>(words, owners, &mut bytes) else {
                if done == 0 {
                    return 0;
                }
                break;
            };
            *owners = given.owners;
            // SAFETY: as in `lend`, for each.
            unsafe { Descriptor::lend(descriptors, given.addresses, given.commands) };
            done = done.wrapping_add(4);
            if done == count {
                break;
            }
        }
        self.lent(batch, done, || note(done, bytes.sum()));
        done
    }

    /// The record of slot `first`, and how many packets of the batch can go to slots from there on, as far as batch and
    /// records go: not beyond the ring's end.
    #[inline(always)]
    pub(super) fn fours(&self, batch: &Batch, ring: &Ring<Descriptor>, first: u32) -> Option<(usize, usize)> {
        // A ring may be smaller than the records: those of tables lie behind (virtio).
        let mask = ring.mask();
        if mask > self.mask || !batch.pool.is_same(&self.first) {
            return None;
        }
        let start = (first & mask) as usize;
        let slots = (mask as usize).wrapping_add(1).wrapping_sub(start);
        Some((start, batch.length.min(slots)))
    }

    /// Brings the books up to date: `count` packets from the batch's front went to slots. `note` is told before the marks are
    /// set and the batch closes up, both of which is done whatever it does.
    #[inline(always)]
    pub(super) fn lent(&mut self, batch: &mut Batch, count: usize, note: impl FnOnce()) {
        batch.length = batch.length.wrapping_sub(count);
        let marks = Lent { buffers: self, batch, count };
        note();
        drop(marks);
    }
}

/// Marks what was lent, and closes the batch up behind it, when it is dropped.
struct Lent<'a> {
    buffers: &'a TransmitBuffers,
    /// Its length is already what is left.
    batch: &'a mut Batch,
    count: usize,
}

impl Drop for Lent<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.buffers.emulated {
            self.buffers.mark_lent(self.batch, self.count);
        }
        if self.batch.length != 0 {
            let total = self.batch.length.wrapping_add(self.count);
            close_up(&mut self.batch.words, self.count, total);
        }
    }
}
