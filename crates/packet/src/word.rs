//! A packet in eight bytes: where it starts, how long it is, and which metadata counts.
//!
//! ```text
//!   63          48 47     36 35                          0
//!  ┌──────────────┬─────────┬────────────────────────────┐
//!  │ length       │ flags   │ position                   │
//!  └──────────────┴─────────┴────────────────────────────┘
//! ```
//!
//! The position counts bytes from the pool's first: number × size + offset. So an address, the program's or the
//! device's, is one addition, and number and offset are the position's upper and lower bits.
//!
//! Invariant of every word in a batch or packet, upheld where words are made (`pool`, `lending`, `frame`): the number
//! is below the pool's count, the offset is below the buffer's size (so that it never spills into the number),
//! `offset + length` is at most the size, and no other word, ring or cache holds the same number.

/// Metadata of this kind is valid for the packet.
pub(crate) mod flag {
    /// The packet goes on in another buffer.
    pub(crate) const SEGMENTED: u64 = 1 << 36;
    /// A VLAN tag was stripped, or is to be inserted.
    pub(crate) const VLAN: u64 = 1 << 37;
    /// The device computed a hash.
    pub(crate) const HASH: u64 = 1 << 38;
    /// The device checked checksums.
    pub(crate) const CHECKSUM: u64 = 1 << 39;
    /// The device is asked for checksums or segmentation.
    pub(crate) const OFFLOAD: u64 = 1 << 40;
    /// The device took the time.
    pub(crate) const TIMESTAMP: u64 = 1 << 41;
}

const LENGTH_SHIFT: u32 = 48;
/// 24 bits of number above 12 bits of offset; with smaller buffers the highest bits are unused.
const POSITION: u64 = (1 << 36) - 1;
const FLAGS: u64 = !POSITION & ((1 << LENGTH_SHIFT) - 1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    /// A packet of `length` bytes, `offset` bytes into buffer `number` of `1 << shift` bytes.
    #[inline(always)]
    pub(crate) const fn new(number: u32, shift: u32, offset: u32, length: u32) -> Self {
        let position = (number as u64).wrapping_shl(shift).wrapping_add(offset as u64);
        Self(position.wrapping_add((length as u64) << LENGTH_SHIFT))
    }

    /// The first byte, counted from the pool's first.
    #[inline(always)]
    pub(crate) const fn position(self) -> u64 {
        self.0 & POSITION
    }

    #[inline(always)]
    pub(crate) const fn number(self, shift: u32) -> u32 {
        self.position().wrapping_shr(shift) as u32
    }

    #[inline(always)]
    pub(crate) const fn offset(self, shift: u32) -> u32 {
        self.0 as u32 & 1u32.wrapping_shl(shift).wrapping_sub(1)
    }

    #[inline(always)]
    pub(crate) const fn length(self) -> u32 {
        (self.0 >> LENGTH_SHIFT) as u32
    }

    #[inline(always)]
    pub(crate) const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// The same packet with another start and length.
    #[inline(always)]
    pub(crate) const fn moved(self, position: u64, length: u32) -> Self {
        Self((self.0 & FLAGS) | position | ((length as u64) << LENGTH_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_and_the_longest_packet_fit_beside_each_other() {
        for (shift, size) in [(11, 2048), (12, 4096)] {
            let number = ringway_dma::MAXIMUM_BUFFERS - 1;
            let word = Word::new(number, shift, size - 1, size);
            assert_eq!((word.number(shift), word.offset(shift), word.length()), (number, size - 1, size));
            assert!(!word.has(FLAGS));
            let flagged = Word(word.0 | FLAGS).moved(word.position() - 1, 0);
            assert_eq!(
                (flagged.number(shift), flagged.offset(shift), flagged.length()),
                (number, size - 2, 0)
            );
            assert!(flagged.has(flag::TIMESTAMP));
        }
    }
}
