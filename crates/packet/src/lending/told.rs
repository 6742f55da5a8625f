//! Receiving with what the device says of each packet beside its length: tag, hash, checksums, time.
//!
//! It goes to the packet's metadata, in private memory. Queues that ask a device for none of it don't come here, and pay
//! nothing.

use super::NONE;
use super::receive::address_of;
use super::receiving::Receiving;
use crate::metadata::{Checksum, Metadata};
use crate::pool::{HEADROOM, Inner};
use crate::word::{Word, flag};
use ringway_dma::{Descriptor, Ring};
use std::sync::atomic::Ordering;

/// What a device said of a received packet. A claim: nothing here is more than what the packet carries along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The packet's bytes in its first buffer.
    pub length: u32,
    /// The tag control information of a VLAN tag that was taken out.
    pub vlan: Option<u16>,
    /// The flow's hash.
    pub hash: Option<u32>,
    /// How the checksums came out.
    pub checksum: Checksum,
    /// When the packet came, in nanoseconds of the device's clock.
    pub timestamp: Option<u64>,
}

impl Receiving<'_> {
    /// [`exchange_run`](super::ReceiveBuffers::exchange_run) for queues whose device says more of a packet than its length: `told` makes of
    /// a descriptor's both words (the second read with acquire order, and before the first) what goes with the packet.
    #[inline(always)]
    pub fn exchange_told(
        &mut self,
        ring: &Ring<Descriptor>,
        first: u32,
        idle: u64,
        mut told: impl FnMut(u64, u64) -> Option<Told>,
    ) -> u32 {
        let run = ring.run(first);
        let start = (first & self.mask) as usize;
        let slots = self.owners.len().wrapping_sub(start).min(run.len());
        let mut done = 0usize;
        while done < slots && self.has_room() && self.has_stock() {
            let Some(descriptor) = run.get(done) else { break };
            let second = descriptor.word.load(Ordering::Acquire);
            let Some(told) = told(descriptor.address.load(Ordering::Relaxed), second) else { break };
            let (Some(owner), Some(word), Some(&number)) = (
                self.owners.get_mut(start.wrapping_add(done)),
                self.words.get_mut(self.next),
                self.numbers.get(self.head),
            ) else {
                break;
            };
            if *owner == NONE || told.length > self.capacity {
                break;
            }
            *word = Word::new(*owner, self.size, HEADROOM, told.length);
            note(self.pool, word, &told);
            *owner = number;
            // The books are right at each turn: `told` may panic.
            done = done.wrapping_add(1);
            self.next = self.next.wrapping_add(1);
            self.head = self.head.wrapping_add(1);
            // SAFETY: as in `lend`: the buffer is mapped for the pool's address space, and recorded as lent to this slot.
            unsafe { descriptor.address.lend(address_of(self.base, number, self.size)) };
            descriptor.word.store(idle, Ordering::Relaxed);
        }
        done as u32
    }

    /// Notes what the device said of the packet that was taken last in this round; its length stays. `false`: none was.
    pub fn tell_last(&mut self, told: &Told) -> bool {
        if self.next <= self.from {
            return false;
        }
        let Some(word) = self.words.get_mut(self.next.wrapping_sub(1)) else { return false };
        note(self.pool, word, told);
        true
    }
}

/// Puts what was told beside a packet that the round owns.
#[inline(always)]
fn note(pool: &Inner, word: &mut Word, told: &Told) {
    // SAFETY: the packet was taken in this round, which alone has its word; metadata is memory that no device reaches.
    let metadata: &mut Metadata = unsafe { &mut *pool.metadata(*word) };
    if let Some(vlan) = told.vlan {
        metadata.vlan = vlan;
        word.0 |= flag::VLAN;
    }
    if let Some(hash) = told.hash {
        metadata.hash = hash;
        word.0 |= flag::HASH;
    }
    if told.checksum != Checksum::Unknown {
        metadata.checksum = told.checksum;
        word.0 |= flag::CHECKSUM;
    }
    if let Some(timestamp) = told.timestamp {
        metadata.timestamp = timestamp;
        word.0 |= flag::TIMESTAMP;
    }
}
