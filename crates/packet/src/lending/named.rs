//! Runs for rings beside which the device names the slots that it has used, in a ring of its own, with a prefix before each
//! packet: virtio's split ring. What `exchange_run` and `lend_run` are for rings that stand alone.
//!
//! What calls back into the driver does so when the books are right: they need to be only at the end of a run.

use super::NONE;
use super::fours::{Bytes, Plain};
use super::receive::{ReceiveBuffers, Receiving, address_of};
use super::transmit::{Sending, TransmitBuffers};
use crate::Batch;
use crate::pool::HEADROOM;
use crate::word::{UNPLAIN, Word};
use ringway_dma::{Descriptor, Pair, Ring};
use std::sync::atomic::Ordering;

/// The length of a packet, and what it must not ask for to go out as one plain descriptor.
const PLAIN: u64 = UNPLAIN | 0xffff;

impl Receiving<'_> {
    /// Exchanges consecutive slots from `first` on, for as long as `entries` name them one after the other: an entry is a
    /// slot, and how many bytes the device wrote, the prefix counted. The descriptors' other words stay. Ends when the
    /// batch is full or no free buffer is left, at the ring's end, before an entry that names another slot or an empty
    /// one, and before a packet of more than `longest` bytes or less than the prefix. Says how many were exchanged, and
    /// their bytes.
    ///
    /// The entries are the device's claims: they are read once each.
    #[inline(always)]
    pub fn exchange_named(
        &mut self,
        ring: &Ring<Descriptor>,
        first: u32,
        entries: &[Pair],
        longest: u32,
    ) -> (u32, u64) {
        if ring.mask() != self.mask {
            return (0, 0);
        }
        let start = (first & self.mask) as usize;
        let (next, head) = (self.next, self.head);
        let slots = (self.mask as usize).wrapping_add(1).wrapping_sub(start);
        let count =
            self.end.wrapping_sub(next).min(self.stocked.wrapping_sub(head)).min(slots).min(entries.len());
        let descriptors = ring.run(first).as_ptr();
        let (size, base, prefix) = (self.size, self.base, self.prefix);
        let longest = longest.min(self.capacity);
        let (mut done, mut bytes, mut slot) = (0usize, 0u64, start as u32);
        while done != count {
            // SAFETY: `done` is below what is left of each: entries, descriptors (the ring has as many as there are
            // records), records (there are `mask + 1`), room in the batch (`next` is at most `end`) and stock (`head` is
            // at most `stocked`).
            let (entry, descriptor, owner, word, number) = unsafe {
                (
                    entries.get_unchecked(done),
                    &*descriptors.add(done),
                    self.owners.get_unchecked_mut(start.wrapping_add(done)),
                    self.words.get_unchecked_mut(next.wrapping_add(done)),
                    *self.numbers.get_unchecked(head.wrapping_add(done)),
                )
            };
            // Less than the prefix wraps around, and is too long.
            let length = entry.second.load(Ordering::Relaxed).wrapping_sub(prefix);
            if entry.first.load(Ordering::Relaxed) != slot || length > longest || *owner == NONE {
                break;
            }
            *word = Word::new(*owner, size, HEADROOM, length);
            *owner = number;
            // SAFETY: as in `lend`: the buffer is mapped for the device's space, and recorded as lent to this slot.
            unsafe { descriptor.address.lend(address_of(base, number, size)) };
            bytes = bytes.wrapping_add(length.into());
            slot = slot.wrapping_add(1);
            done = done.wrapping_add(1);
        }
        self.next = next.wrapping_add(done);
        self.head = head.wrapping_add(done);
        (done as u32, bytes)
    }
}

impl ReceiveBuffers {
    /// [`exchange_named`](Receiving::exchange_named) four slots at a time and without a round. Ends where a run does, and
    /// before a four that isn't wholly of such packets: what is left goes one by one. Nothing is exchanged when the batch is
    /// of another pool or a slot is empty. Tells `note` how many were exchanged, and
    /// their bytes, unless there are none, and says how many. The device may be told when this has returned, not in `note`.
    #[inline(always)]
    pub fn exchange_named_fours(
        &mut self,
        batch: &mut Batch,
        ring: &Ring<Descriptor>,
        first: u32,
        (entries, longest): (&[Pair], u32),
        note: impl FnOnce(usize, u64),
    ) -> usize {
        let Some((start, room)) = self.whole_fours(batch, ring, first) else { return 0 };
        let count = room.min(entries.len() & !3);
        if count == 0 {
            return 0;
        }
        let receiver = self.fours;
        let lengths = (self.prefix, longest.min(self.capacity));
        // SAFETY: the stock's head is at most its capacity, the batch's length at most its limit, and `start` is a record.
        let (owners, words, numbers) = unsafe {
            (
                self.owners.as_mut_ptr().add(start),
                batch.words.as_mut_ptr().add(batch.length),
                self.stock.numbers.as_ptr().add(self.stock.head),
            )
        };
        let (descriptors, entries) = (ring.run(first).as_ptr(), entries.as_ptr());
        let mut bytes = Bytes::none();
        let mut done = 0usize;
        loop {
            // SAFETY: `done + 4` is at most `count`, which is at most what is left of each: entries, records, as many
            // descriptors, room in the batch and stock. Arrays of four lie there, and the two mutable ones in different
            // places.
            let (entries, descriptors, owners, words, numbers) = unsafe {
                (
                    &*entries.add(done).cast::<[Pair; 4]>(),
                    &*descriptors.add(done).cast::<[Descriptor; 4]>(),
                    &mut *owners.add(done).cast::<[u32; 4]>(),
                    &mut *words.add(done).cast::<[Word; 4]>(),
                    *numbers.add(done).cast::<[u32; 4]>(),
                )
            };
            let said = Pair::words(entries);
            let slot = start.wrapping_add(done) as u32;
            let Some(taken) = receiver.take_named(said, slot, lengths, owners, &numbers, &mut bytes) else {
                if done == 0 {
                    return 0;
                }
                break;
            };
            *words = taken.words;
            *owners = numbers;
            // SAFETY: as in `lend`, for each.
            unsafe { Descriptor::lend_addresses(descriptors, taken.addresses) };
            done = done.wrapping_add(4);
            if done == count {
                break;
            }
        }
        self.exchanged(batch, done, || note(done, bytes.sum()));
        done
    }
}

impl Sending<'_> {
    /// Lends packets from the front, `prefix` before each, to consecutive slots from `first` on, and writes their
    /// descriptors: the address, and the length, prefix counted, as the other word. Ends with the batch, at the ring's
    /// end, before a slot that is taken, and before a packet that needs more than one plain descriptor, is shorter than
    /// `shortest` or longer than `longest`, or has too little headroom. Nothing goes where the prefix isn't of the
    /// length that the round was begun with. Says how many went, and the packets' bytes.
    #[inline(always)]
    pub fn lend_prefixed<const PREFIX: usize>(
        &mut self,
        ring: &Ring<Descriptor>,
        first: u32,
        prefix: &[u8; PREFIX],
        (shortest, longest): (u32, u32),
    ) -> (u32, u64) {
        if self.in_part || self.prefix as usize != PREFIX || ring.mask() as usize >= self.owners.len() {
            return (0, 0);
        }
        let start = (first & ring.mask()) as usize;
        let sent = self.sent;
        let slots = (ring.mask() as usize).wrapping_add(1).wrapping_sub(start);
        let count = self.total.wrapping_sub(sent).min(slots);
        let descriptors = ring.run(first).as_ptr();
        let (base, shift, tag) = (self.base.wrapping_sub(PREFIX as u64), self.shift, self.tag);
        let place = self.pool.buffers.base().as_ptr().wrapping_sub(PREFIX);
        let inside = (1u64 << (shift & 31)).wrapping_sub(1);
        let Some(span) = longest.min(0xffff).checked_sub(shortest).map(u64::from) else { return (0, 0) };
        let (mut done, mut bytes) = (0usize, 0u64);
        while done != count {
            // SAFETY: `done` is below what is left of each: descriptors, records (at least as many as the ring has) and
            // packets (`sent` is at most `total`, which was the batch's length).
            let (descriptor, owner, word) = unsafe {
                (
                    &*descriptors.add(done),
                    self.owners.get_unchecked_mut(start.wrapping_add(done)),
                    *self.words.get_unchecked(sent.wrapping_add(done)),
                )
            };
            // A flag makes it longer than any packet.
            let length = word.0 & PLAIN;
            let position = word.position();
            if length.wrapping_sub(shortest.into()) > span
                || position & inside < PREFIX as u64
                || *owner != NONE
            {
                break;
            }
            // SAFETY: the packet starts that far into its buffer, so the prefix is inside; the round has the packet to
            // itself.
            unsafe { place.wrapping_add(position as usize).cast::<[u8; PREFIX]>().write(*prefix) };
            *owner = position.wrapping_shr(shift) as u32 | tag;
            // SAFETY: as in `lend`.
            unsafe { descriptor.address.lend(base.wrapping_add(position)) };
            descriptor.word.store(length.wrapping_add(PREFIX as u64), Ordering::Relaxed);
            bytes = bytes.wrapping_add(length);
            done = done.wrapping_add(1);
        }
        self.sent = sent.wrapping_add(done);
        (done as u32, bytes)
    }
}

impl TransmitBuffers {
    /// [`lend_prefixed`](Sending::lend_prefixed) four packets at a time and without a round. Ends where a run does, and before
    /// a four that isn't wholly of such packets: what is left goes one by one. Nothing goes when the batch is not of the
    /// queue's first pool. Tells `note` how many went, and their bytes,
    /// unless there are none, and says how many. The device may be told when this has returned, not in `note`.
    #[inline(always)]
    pub fn lend_prefixed_fours<const PREFIX: usize>(
        &mut self,
        batch: &mut Batch,
        ring: &Ring<Descriptor>,
        first: u32,
        (prefix, (shortest, longest)): (&[u8; PREFIX], (u32, u32)),
        note: impl FnOnce(usize, u64),
    ) -> usize {
        // Compared as a signed number of 32 bits, and written before each packet.
        const { assert!(PREFIX <= HEADROOM as usize, "a prefix lies in the headroom") };
        let Some((start, fours)) = self.fours(batch, ring, first) else { return 0 };
        let count = fours & !3;
        if count == 0 {
            return 0;
        }
        let pool = &*batch.pool.inner;
        // Nothing of the length stands a second time; the prefix is added to it.
        let plain = Plain { flags: PREFIX as u64, again: 64, shortest };
        let sender = self.fours.sender(plain, Some(longest));
        let place = pool.buffers.base().as_ptr().wrapping_sub(PREFIX);
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
            let Some(given) = sender.give::<PREFIX>(words, owners, &mut bytes) else {
                if done == 0 {
                    return 0;
                }
                break;
            };
            for word in words {
                // SAFETY: the packet starts that far into its buffer, so the prefix is inside; the batch has the packet
                // to itself.
                unsafe {
                    place.wrapping_add(word.position() as usize).cast::<[u8; PREFIX]>().write(*prefix);
                };
            }
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
}
