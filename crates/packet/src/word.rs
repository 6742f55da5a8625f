//! A packet in eight bytes: where it starts, how long it is, and which metadata counts.
//!
//! ```text
//!   63                          28 27     16 15          0
//!  ┌──────────────────────────────┬─────────┬──────────────┐
//!  │ position                     │ flags   │ length       │
//!  └──────────────────────────────┴─────────┴──────────────┘
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
    /// The device computed a hash.
    pub(crate) const HASH: u64 = 1 << 16;
    /// A VLAN tag was stripped, or is to be inserted.
    pub(crate) const VLAN: u64 = 1 << 17;
    /// The packet goes on in another buffer.
    pub(crate) const SEGMENTED: u64 = 1 << 18;
    /// The device checked checksums.
    pub(crate) const CHECKSUM: u64 = 1 << 19;
    /// The device is asked for checksums or segmentation.
    pub(crate) const OFFLOAD: u64 = 1 << 20;
    /// The device took the time.
    pub(crate) const TIMESTAMP: u64 = 1 << 21;
}

const FLAGS: u64 = 0xfff << 16;
/// Above it are 24 bits of number and 12 of offset; with smaller buffers the highest bit is unused.
pub(crate) const POSITION_SHIFT: u32 = 28;
/// Flags of which a device that sends the packet has to be told something.
///
/// Bit 16 is none of them: what is shorter than the shortest packet can't be made up for by a flag, where the two are
/// looked at together (see `lending/fours/vectors.rs`).
pub(crate) const UNPLAIN: u64 = flag::SEGMENTED | flag::VLAN | flag::OFFLOAD;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    /// A packet of `length` bytes, `offset` bytes into buffer `number` of `size` bytes.
    #[inline(always)]
    pub(crate) const fn new(number: u32, size: u64, offset: u32, length: u32) -> Self {
        Self(
            ((number as u64).wrapping_mul(size).wrapping_add(offset as u64) << POSITION_SHIFT)
                .wrapping_add(length as u64),
        )
    }

    /// The first byte, counted from the pool's first.
    #[inline(always)]
    pub(crate) const fn position(self) -> u64 {
        self.0 >> POSITION_SHIFT
    }

    #[inline(always)]
    pub(crate) const fn number(self, shift: u32) -> u32 {
        self.position().wrapping_shr(shift) as u32
    }

    /// An empty packet `offset` bytes into buffer `number` of `1 << shift` bytes: what `new` makes of length 0, without a
    /// multiplication.
    #[inline(always)]
    pub(crate) const fn empty(number: u32, shift: u32, offset: u32) -> Self {
        let start = (offset as u64) << POSITION_SHIFT;
        Self((number as u64).wrapping_shl(shift.wrapping_add(POSITION_SHIFT)).wrapping_add(start))
    }

    #[inline(always)]
    pub(crate) const fn offset(self, shift: u32) -> u32 {
        self.position() as u32 & 1u32.wrapping_shl(shift).wrapping_sub(1)
    }

    #[inline(always)]
    pub(crate) const fn length(self) -> u32 {
        self.0 as u16 as u32
    }

    #[inline(always)]
    pub(crate) const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// Whether a device that sends it has nothing to be told but where it is: one segment, no tag, no request.
    #[inline(always)]
    pub(crate) const fn is_plain(self) -> bool {
        self.0 & UNPLAIN == 0
    }

    /// The length of a packet that is plain, and neither shorter nor longer than these. No packet is longer than 65535 bytes.
    #[inline(always)]
    pub(crate) fn plain_length(self, shortest: u32, longest: u32) -> Option<u64> {
        // A flag makes it longer than any packet.
        let length = self.0 & (UNPLAIN | 0xffff);
        (length >= shortest.into() && length <= longest.min(0xffff).into()).then_some(length)
    }

    /// The same packet with another start and length.
    #[inline(always)]
    pub(crate) const fn moved(self, position: u64, length: u32) -> Self {
        Self((position << POSITION_SHIFT) | (self.0 & FLAGS) | length as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_and_the_longest_packet_fit_beside_each_other() {
        for (shift, size) in [(11, 2048u32), (12, 4096)] {
            let number = ringway_dma::MAXIMUM_BUFFERS - 1;
            let word = Word::new(number, size.into(), size - 1, size);
            assert_eq!((word.number(shift), word.offset(shift), word.length()), (number, size - 1, size));
            assert!(!word.has(FLAGS));
            assert_eq!(Word::empty(number, shift, 256), Word::new(number, size.into(), 256, 0));
            let flagged = Word(word.0 | FLAGS).moved(word.position() - 1, 0);
            assert_eq!(
                (flagged.number(shift), flagged.offset(shift), flagged.length()),
                (number, size - 2, 0)
            );
            assert!(flagged.has(flag::TIMESTAMP));
        }
    }
}
