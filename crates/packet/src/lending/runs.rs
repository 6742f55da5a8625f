//! Consecutive slots without a round: four at a time, and one by one what is less than a four.
//!
//! A run is for the common case, and ends before anything else: whole packets in one buffer that come, packets in one
//! buffer that go and of which the device needs to know no more than where they are. Nothing is called within its loops, so
//! they need no guard to keep the books: those are brought up to date behind them, in one place (`exchanged`, `lent`). There
//! a small guard stands, since `note`, which the caller brings, may panic.

use super::NONE;
use super::fours::{Bytes, Plain, Whole};
use super::receive::{ReceiveBuffers, address_of};
use super::transmit::{Source, TransmitBuffers, close_up};
use crate::Batch;
use crate::pool::HEADROOM;
use crate::word::Word;
use ringway_dma::{Descriptor, Ring};
use std::hint::cold_path;
use std::sync::atomic::Ordering;

impl ReceiveBuffers {
    /// Exchanges consecutive slots from `first` on: each holds a whole packet, as `whole` has it, and `idle` is written in
    /// place of what the device said. Ends when the batch is full or no free buffer is left, at the ring's end (what lies
    /// behind it takes a second run), and before a slot that is empty or holds anything else. Nothing is exchanged when the
    /// batch is of another pool. Tells `note` how many were exchanged, and their bytes, unless there are none, and says how
    /// many. The device may be told when this has returned, not in `note`.
    #[inline(always)]
    pub fn exchange_run(
        &mut self,
        batch: &mut Batch,
        ring: &Ring<Descriptor>,
        first: u32,
        (idle, whole): (u64, Whole),
        note: impl FnOnce(usize, u64),
    ) -> usize {
        let Some((start, count)) = self.bounds(batch, (ring, self.mask), first) else { return 0 };
        // SAFETY: the stock's head is at most its capacity, the batch's length at most its limit, and `start` is a record and a
        // descriptor.
        let (owners, words, numbers, descriptors) = unsafe {
            (
                self.owners.as_mut_ptr().add(start),
                batch.words.as_mut_ptr().add(batch.length),
                self.stock.numbers.as_ptr().add(self.stock.head),
                ring.run(0).as_ptr().add(start),
            )
        };
        let (mut done, mut bytes) = (0usize, 0u64);
        // That a slot holds a buffer is tested one by one only: as long as none is empty, fours need no test.
        if count >= 4 && self.vacant == 0 {
            let receiver = self.fours;
            let mut sum = Bytes::none();
            while done != count & !3 {
                // SAFETY: `done + 4` is at most `count`, which is at most what is left of each: records, descriptors, room in
                // the batch and stock. Arrays of four lie there, and the two mutable ones in different places.
                let (descriptors, owners, words, numbers) = unsafe {
                    (
                        &*descriptors.add(done).cast::<[Descriptor; 4]>(),
                        &mut *owners.add(done).cast::<[u32; 4]>(),
                        &mut *words.add(done).cast::<[Word; 4]>(),
                        *numbers.add(done).cast::<[u32; 4]>(),
                    )
                };
                let said = Descriptor::words(descriptors);
                let Some(taken) = receiver.take(whole, said, owners, &numbers, &mut sum) else { break };
                *words = taken.words;
                *owners = numbers;
                // SAFETY: these buffers are mapped for the pool's address space, which the device is in, and recorded as lent
                // to these slots. They are out of stock, whose head moves behind the loops, in `exchanged`: nothing can unwind
                // between.
                unsafe { Descriptor::lend(descriptors, taken.addresses, [idle; 4].into()) };
                done = done.wrapping_add(4);
            }
            bytes = sum.sum();
        }
        while done != count {
            cold_path();
            // SAFETY: as above, for one of each.
            let (descriptor, owner, word, number) = unsafe {
                (&*descriptors.add(done), &mut *owners.add(done), &mut *words.add(done), *numbers.add(done))
            };
            let said = descriptor.word.load(Ordering::Acquire);
            let length = u32::from((said >> 32) as u16);
            if said as u32 & whole.mask != whole.value || length > self.capacity || *owner == NONE {
                break;
            }
            *word = Word::new(*owner, self.size, HEADROOM, length);
            *owner = number;
            // SAFETY: as for four: mapped, recorded as lent to this slot, and out of stock before anything can unwind.
            unsafe { descriptor.address.lend(address_of(self.base, number, self.size)) };
            descriptor.word.store(idle, Ordering::Relaxed);
            bytes = bytes.wrapping_add(length.into());
            done = done.wrapping_add(1);
        }
        if done != 0 {
            self.exchanged(batch, done, || note(done, bytes));
        }
        done
    }

    /// The record of slot `first`, and how many slots from there on can be exchanged, as far as batch, stock and records go: as
    /// many as there is room for in the batch, if the pool has them, and not beyond the ring's end, nor that of the records and
    /// of what else there are as many of as `mask` says.
    #[inline(always)]
    pub(super) fn bounds(
        &mut self,
        batch: &Batch,
        (ring, mask): (&Ring<Descriptor>, u32),
        first: u32,
    ) -> Option<(usize, usize)> {
        if !batch.pool.is_same(&self.stock.pool) {
            return None;
        }
        // Each mask is a power of two less one, so what all have in common is the smallest.
        let mask = mask & ring.mask() & self.mask;
        let start = (first & mask) as usize;
        let slots = (mask as usize).wrapping_add(1).wrapping_sub(start);
        Some((start, self.stock.most(batch.room()).min(slots)))
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

impl TransmitBuffers {
    /// Lends packets from the front of the batch to consecutive slots from `first` on, and writes both words of their
    /// descriptors: the address, and what `plain` says. Ends with the batch, after `count` packets, at the ring's end (the rest
    /// goes in a second run), and before a slot that is taken or a packet that needs more than one plain descriptor (several
    /// segments, a VLAN tag, an offload). Nothing goes when the batch is of none of the queue's pools. Tells `note` how many
    /// went, and their bytes, unless there are none, and says how many. The device may be told when this has returned, not in
    /// `note`.
    #[inline(always)]
    pub fn lend_run(
        &mut self,
        batch: &mut Batch,
        ring: &Ring<Descriptor>,
        (first, count): (u32, usize),
        plain: Plain,
        note: impl FnOnce(usize, u64),
    ) -> usize {
        let Some((start, most)) = self.bounds(batch, ring, first) else { return 0 };
        let count = count.min(most);
        // SAFETY: `start` is a record and a descriptor.
        let (owners, descriptors) =
            unsafe { (self.owners.as_mut_ptr().add(start), ring.run(0).as_ptr().add(start)) };
        let words = batch.words.as_ptr();
        let (mut done, mut bytes) = (0usize, 0u64);
        if count >= 4 && plain.is_for_fours() {
            let sender = self.source.fours.sender(plain, None);
            let mut sum = Bytes::none();
            while done != count & !3 {
                // SAFETY: `done + 4` is at most `count`, which is at most what is left of each: records, descriptors and
                // packets. Arrays of four lie there.
                let (descriptors, owners, words) = unsafe {
                    (
                        &*descriptors.add(done).cast::<[Descriptor; 4]>(),
                        &mut *owners.add(done).cast::<[u32; 4]>(),
                        &*words.add(done).cast::<[Word; 4]>(),
                    )
                };
                let Some(given) = sender.give::<0>(words, owners, &mut sum) else { break };
                *owners = given.owners;
                // SAFETY: these buffers are mapped for the pool's address space, which the device is in, and recorded as lent
                // to these slots. They leave the batch behind the loops, in `lent`: nothing can unwind between.
                unsafe { Descriptor::lend(descriptors, given.addresses, given.commands) };
                done = done.wrapping_add(4);
            }
            bytes = sum.sum();
        }
        let Source { base, shift, tag, .. } = self.source;
        while done != count {
            cold_path();
            // SAFETY: as above, for one of each.
            let (descriptor, owner, word) =
                unsafe { (&*descriptors.add(done), &mut *owners.add(done), *words.add(done)) };
            let Some(length) = word.plain_length(plain.shortest, u32::MAX).filter(|_| *owner == NONE) else {
                break;
            };
            *owner = word.number(shift) | tag;
            // SAFETY: as for four: mapped, recorded as lent to this slot, and out of the batch before anything can unwind.
            unsafe { descriptor.address.lend(base.wrapping_add(word.position())) };
            descriptor.word.store(plain.word(length), Ordering::Relaxed);
            bytes = bytes.wrapping_add(length);
            done = done.wrapping_add(1);
        }
        if done != 0 {
            self.lent(batch, done, || note(done, bytes));
        }
        done
    }

    /// The record of slot `first`, and how many packets of the batch can go to slots from there on, as far as batch and
    /// records go: not beyond the ring's end, nor that of the records.
    #[inline(always)]
    pub(super) fn bounds(
        &mut self,
        batch: &Batch,
        ring: &Ring<Descriptor>,
        first: u32,
    ) -> Option<(usize, usize)> {
        if !self.sends_from(&batch.pool) {
            return None;
        }
        // A ring may be smaller than the records: those of tables lie behind (virtio). Each mask is a power of two less one, so
        // what both have in common is the smaller.
        let mask = ring.mask() & self.mask;
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
