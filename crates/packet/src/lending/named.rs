//! Runs for rings beside which the device names the slots that it has used, in a ring of its own, with a prefix before each
//! packet: virtio's split ring. What `runs` has for rings that stand alone.

use super::NONE;
use super::fours::{Bytes, Plain};
use super::receive::{ReceiveBuffers, address_of};
use super::transmit::{Source, TransmitBuffers};
use crate::Batch;
use crate::pool::HEADROOM;
use crate::word::Word;
use ringway_dma::{Descriptor, Pair, Ring};
use std::hint::cold_path;
use std::sync::atomic::Ordering;

impl ReceiveBuffers {
    /// Exchanges `ready` consecutive slots from `first` on, for as long as the device names them one after the other: at a slot's
    /// place in `said` it says which slot, and how many bytes it wrote, the prefix counted. The descriptors' other words stay.
    /// Ends when the batch is full or no free buffer is left, at the end of either ring, before a slot that is empty or another
    /// than the one said, and before a packet of more than `longest` bytes or less than the prefix. Nothing is exchanged when
    /// the batch is of another pool. Tells `note` how many were exchanged, and their bytes, unless there are none, and says how
    /// many. The device may be told when this has returned, not in `note`.
    ///
    /// What stands in `said` is the device's claim, and can change at any time: each half is read once here, and what was read is
    /// what is checked and used.
    #[inline(always)]
    pub fn exchange_named(
        &mut self,
        batch: &mut Batch,
        (ring, said): (&Ring<Descriptor>, &Ring<Pair>),
        (first, ready): (u32, usize),
        longest: u32,
        note: impl FnOnce(usize, u64),
    ) -> usize {
        let Some((start, room)) = self.bounds(batch, (ring, said.mask()), first) else { return 0 };
        let count = room.min(ready);
        let longest = longest.min(self.capacity);
        // SAFETY: the stock's head is at most its capacity, the batch's length at most its limit, and `start` is a record, a
        // descriptor and an entry.
        let (owners, words, numbers, descriptors, entries) = unsafe {
            (
                self.owners.as_mut_ptr().add(start),
                batch.words.as_mut_ptr().add(batch.length),
                self.stock.numbers.as_ptr().add(self.stock.head),
                ring.run(0).as_ptr().add(start),
                said.run(0).as_ptr().add(start),
            )
        };
        let (mut done, mut bytes) = (0usize, 0u64);
        // The same shape as `exchange_run`, and as there, fours are for when no slot is empty.
        if count >= 4 && self.vacant == 0 {
            let (receiver, lengths) = (self.fours, (self.prefix, longest));
            let mut sum = Bytes::none();
            while done != count & !3 {
                // SAFETY: `done + 4` is at most `count`, which is at most what is left of each: entries, records,
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
                let Some(taken) = receiver.take_named(said, slot, lengths, owners, &numbers, &mut sum) else {
                    break;
                };
                *words = taken.words;
                *owners = numbers;
                // SAFETY: these buffers are mapped for the pool's address space, which the device is in, and recorded as lent
                // to these slots. They are out of stock, whose head moves behind the loops, in `exchanged`: nothing can unwind
                // between.
                unsafe { Descriptor::lend_addresses(descriptors, taken.addresses) };
                done = done.wrapping_add(4);
            }
            bytes = sum.sum();
        }
        while done != count {
            cold_path();
            // SAFETY: as above, for one of each.
            let (entry, descriptor, owner, word, number) = unsafe {
                (
                    &*entries.add(done),
                    &*descriptors.add(done),
                    &mut *owners.add(done),
                    &mut *words.add(done),
                    *numbers.add(done),
                )
            };
            // Less than the prefix wraps around, and is too long.
            let length = entry.second.load(Ordering::Relaxed).wrapping_sub(self.prefix);
            let slot = start.wrapping_add(done) as u32;
            if entry.first.load(Ordering::Relaxed) != slot || length > longest || *owner == NONE {
                break;
            }
            *word = Word::new(*owner, self.size, HEADROOM, length);
            *owner = number;
            // SAFETY: as for four: mapped, recorded as lent to this slot, and out of stock before anything can unwind.
            unsafe { descriptor.address.lend(address_of(self.base, number, self.size)) };
            bytes = bytes.wrapping_add(length.into());
            done = done.wrapping_add(1);
        }
        if done != 0 {
            self.exchanged(batch, done, || note(done, bytes));
        }
        done
    }
}

impl TransmitBuffers {
    /// Lends packets from the front of the batch, `prefix` before each, to consecutive slots from `first` on, and writes their
    /// descriptors: the address, and the length, prefix counted, as the other word. Ends with the batch, at the ring's end,
    /// before a slot that is taken, and before a packet that needs more than one plain descriptor, is shorter than `shortest`
    /// or longer than `longest`, or has too little headroom. Nothing goes when the batch is of none of the queue's pools. Tells
    /// `note` how many went, and their bytes, unless there are none, and says how many. The device may be told when this has
    /// returned, not in `note`.
    #[inline(always)]
    pub fn lend_prefixed<const PREFIX: usize>(
        &mut self,
        batch: &mut Batch,
        ring: &Ring<Descriptor>,
        first: u32,
        (prefix, (shortest, longest)): (&[u8; PREFIX], (u32, u32)),
        note: impl FnOnce(usize, u64),
    ) -> usize {
        // Compared as a signed number of 32 bits, and written before each packet.
        const { assert!(PREFIX <= HEADROOM as usize, "a prefix lies in the headroom") };
        let Some((start, count)) = self.bounds(batch, ring, first) else { return 0 };
        let place = batch.pool.inner.buffers.base().as_ptr().wrapping_sub(PREFIX);
        // SAFETY: `start` is a record and a descriptor.
        let (owners, descriptors) =
            unsafe { (self.owners.as_mut_ptr().add(start), ring.run(0).as_ptr().add(start)) };
        let words = batch.words.as_ptr();
        // The length doesn't stand a second time; the prefix is added to it.
        let plain = Plain { flags: PREFIX as u64, again: 64, shortest };
        let (mut done, mut bytes) = (0usize, 0u64);
        // The same shape as `lend_run`.
        if count >= 4 && plain.is_for_fours() {
            let sender = self.source.fours.sender(plain, Some(longest));
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
                let Some(given) = sender.give::<PREFIX>(words, owners, &mut sum) else { break };
                for word in words {
                    // SAFETY: the packet starts that far into its buffer, so the prefix is inside; the batch has the packet
                    // to itself.
                    unsafe {
                        place.wrapping_add(word.position() as usize).cast::<[u8; PREFIX]>().write(*prefix);
                    };
                }
                *owners = given.owners;
                // SAFETY: these buffers are mapped for the pool's address space, which the device is in, and recorded as lent
                // to these slots. They leave the batch behind the loops, in `lent`: nothing can unwind between.
                unsafe { Descriptor::lend(descriptors, given.addresses, given.commands) };
                done = done.wrapping_add(4);
            }
            bytes = sum.sum();
        }
        let Source { base, shift, inside, tag, .. } = self.source;
        let base = base.wrapping_sub(PREFIX as u64);
        while done != count {
            cold_path();
            // SAFETY: as above, for one of each.
            let (descriptor, owner, word) =
                unsafe { (&*descriptors.add(done), &mut *owners.add(done), *words.add(done)) };
            let Some(length) = word.plain_length(shortest, longest).filter(|_| *owner == NONE) else { break };
            let position = word.position();
            if (position as u32 & inside) < PREFIX as u32 {
                break;
            }
            // SAFETY: as above.
            unsafe { place.wrapping_add(position as usize).cast::<[u8; PREFIX]>().write(*prefix) };
            *owner = word.number(shift) | tag;
            // SAFETY: as for four: mapped, recorded as lent to this slot, and out of the batch before anything can unwind.
            unsafe { descriptor.address.lend(base.wrapping_add(position)) };
            descriptor.word.store(plain.word(length), Ordering::Relaxed);
            bytes = bytes.wrapping_add(length);
            done = done.wrapping_add(1);
        }
        if done != 0 {
            self.lent(batch, done, || note(done, bytes));
        }
        done
    }
}
