//! Four slots at a time: what runs otherwise do one by one, in vectors of 128 bits.
//!
//! A packet costs about a dozen instructions this way, and 26 to 32 one by one. x86-64 always has these vectors (SSE2); elsewhere,
//! and under Miri, there are no fours, and everything goes one by one. Both ways do to a descriptor's words what their atomics
//! do (`ringway_dma::Four`).
//!
//! Only arithmetic is here. Which slots, packets and buffers are meant, and that they are there, is the callers'
//! business; what doesn't fit the common case is left to them as a whole four.

use crate::word::Word;
use ringway_dma::Four;

/// How a device says, in the second word of a receive descriptor, that its buffer holds a whole packet: `mask` of the
/// lower half is `value`. The packet's length is in bits 47:32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The bits that count.
    pub mask: u32,
    /// What they are.
    pub value: u32,
}

/// What a device is told in the second word of a transmit descriptor: the sum of `flags`, the packet's length, and the
/// length once more, shifted by `again`; what goes beyond 64 bits is lost. Packets shorter than `shortest` are not for it.
///
/// Packets go by fours when the word's halves are sums by themselves: the second length stands in the upper one, and
/// `flags` leave room for the first in the lower one. With any other values the words are right as well, and slower made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What is the same for every packet.
    pub flags: u64,
    /// From which bit on the length stands a second time; from 64 on it doesn't.
    pub again: u32,
    /// The shortest packet.
    pub shortest: u32,
}

impl Plain {
    /// What the device is told of a packet of `length` bytes.
    #[inline(always)]
    pub(super) fn word(self, length: u64) -> u64 {
        let again = length.checked_shl(self.again).unwrap_or(0);
        self.flags.wrapping_add(length).wrapping_add(again)
    }

    /// Whether fours come to the same, which make the word's halves by themselves: nothing of the second length is in the
    /// lower one, and no packet's length makes that carry.
    #[inline(always)]
    pub(super) fn is_for_fours(self) -> bool {
        self.again >= 32 && self.flags as u32 <= u32::MAX - 0xffff
    }
}

/// What four received slots come to.
pub(super) struct Received {
    /// The packets.
    pub(super) words: [Word; 4],
    /// Where the buffers are that replace theirs.
    pub(super) addresses: Four,
}

/// What four packets that are sent come to.
pub(super) struct Sent {
    /// Which buffers the slots hold.
    pub(super) owners: [u32; 4],
    pub(super) addresses: Four,
    pub(super) commands: Four,
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod none;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod vectors;

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use none::{Bytes, Receiver, Senders};
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) use vectors::{Bytes, Receiver, Senders};

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests;
