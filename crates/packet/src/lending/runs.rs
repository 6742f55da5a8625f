//! Many consecutive slots at once: what `exchange` and `lend` do for one, with what a slot costs paid once a run.
//!
//! A run is for the common case, and ends before anything else: whole packets in one buffer that come, packets in one
//! buffer that go and of which the device needs to know no more than where they are.

use super::NONE;
use super::fours::{Bytes, Plain, Sender, Whole};
use super::receive::{Receiving, address_of};
use super::transmit::Sending;
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

    /// [`exchange_run`](Self::exchange_run) four slots at a time, for devices that say it as `whole` has it. Ends where a
    /// run does, and before a four that isn't wholly of such packets: what is left goes one by one. Says how many were
    /// exchanged, and their bytes.
    #[inline(always)]
    pub fn exchange_fours(
        &mut self,
        ring: &Ring<Descriptor>,
        first: u32,
        idle: u64,
        whole: Whole,
    ) -> (u32, u64) {
        if *self.vacant != 0 || ring.mask() != self.mask {
            return (0, 0);
        }
        let start = (first & self.mask) as usize;
        let (next, head) = (self.next, self.head);
        let slots = (self.mask as usize).wrapping_add(1).wrapping_sub(start);
        let count = self.end.wrapping_sub(next).min(self.stocked.wrapping_sub(head)).min(slots) & !3;
        let receiver = *self.fours;
        let mut bytes = Bytes::none();
        let descriptors = ring.run(first).as_ptr();
        let mut done = 0usize;
        while done != count {
            // SAFETY: `done + 4` is at most what is left of each, as in `exchange_run`; the ring has as many elements as
            // there are records. Arrays of four lie in the slices at these places, and the two mutable ones in different
            // slices.
            let (descriptors, owners, words, numbers) = unsafe {
                (
                    &*descriptors.add(done).cast::<[Descriptor; 4]>(),
                    &mut *self.owners.as_mut_ptr().add(start.wrapping_add(done)).cast::<[u32; 4]>(),
                    &mut *self.words.as_mut_ptr().add(next.wrapping_add(done)).cast::<[Word; 4]>(),
                    &*self.numbers.as_ptr().add(head.wrapping_add(done)).cast::<[u32; 4]>(),
                )
            };
            let [a, b, c, d] = descriptors;
            let said = [a, b, c, d].map(|descriptor| descriptor.word.load(Ordering::Acquire));
            let Some(taken) = receiver.take(whole, said, owners, numbers, &mut bytes) else { break };
            *words = taken.words;
            *owners = *numbers;
            for (descriptor, address) in [a, b, c, d].into_iter().zip(taken.addresses) {
                // SAFETY: as in `lend`.
                unsafe { descriptor.address.lend(address) };
                descriptor.word.store(idle, Ordering::Relaxed);
            }
            done = done.wrapping_add(4);
        }
        self.next = next.wrapping_add(done);
        self.head = head.wrapping_add(done);
        (done as u32, bytes.sum())
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

    /// [`lend_run`](Self::lend_run) four packets at a time, for devices that are told of them as `plain` has it. Ends
    /// where a run does, and before a four that isn't wholly of such packets: what is left goes one by one. Queues with
    /// a prefix have no fours. Says how many went, and their bytes.
    #[inline(always)]
    pub fn lend_fours(
        &mut self,
        ring: &Ring<Descriptor>,
        first: u32,
        count: u32,
        plain: Plain,
    ) -> (u32, u64) {
        if self.in_part || self.prefix != 0 || ring.mask() != self.mask {
            return (0, 0);
        }
        let start = (first & self.mask) as usize;
        let sent = self.sent;
        let slots = (self.mask as usize).wrapping_add(1).wrapping_sub(start);
        let count = (count as usize).min(self.total.wrapping_sub(sent)).min(slots) & !3;
        let sender = Sender::new(plain, 0xffff, self.base, self.shift, self.tag);
        let mut bytes = Bytes::none();
        let descriptors = ring.run(first).as_ptr();
        let mut done = 0usize;
        while done != count {
            // SAFETY: `done + 4` is at most what is left of each, as in `lend_run`; the ring has as many elements as there
            // are records. Arrays of four lie in the slices at these places.
            let (descriptors, owners, words) = unsafe {
                (
                    &*descriptors.add(done).cast::<[Descriptor; 4]>(),
                    &mut *self.owners.as_mut_ptr().add(start.wrapping_add(done)).cast::<[u32; 4]>(),
                    &*self.words.as_ptr().add(sent.wrapping_add(done)).cast::<[Word; 4]>(),
                )
            };
            let Some(given) = sender.give::<0>(words, owners, &mut bytes) else { break };
            *owners = given.owners;
            for ((descriptor, address), command) in
                descriptors.iter().zip(given.addresses).zip(given.commands)
            {
                // SAFETY: as in `lend`.
                unsafe { descriptor.address.lend(address) };
                descriptor.word.store(command, Ordering::Relaxed);
            }
            done = done.wrapping_add(4);
        }
        self.sent = sent.wrapping_add(done);
        (done as u32, bytes.sum())
    }
}
