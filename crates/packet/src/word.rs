//! A packet in eight bytes: which buffer, where in it, how long, and which metadata counts.
//!
//! ```text
//!   63        40 39    32 31        16 15         0
//!  ┌────────────┬────────┬────────────┬────────────┐
//!  │ number     │ flags  │ offset     │ length     │
//!  └────────────┴────────┴────────────┴────────────┘
//! ```
//!
//! Invariant of every word in a batch or packet, upheld where words are made (`lending`, `frame`): the number is
//! below the pool's count, `offset + length` is at most the buffer's size, and no other word, ring or cache holds
//! the same number.

/// Metadata of this kind is valid for the packet.
pub(crate) mod flag {
    /// The packet goes on in another buffer.
    pub(crate) const SEGMENTED: u64 = 1 << 32;
    /// A VLAN tag was stripped, or is to be inserted.
    pub(crate) const VLAN: u64 = 1 << 33;
    /// The device computed a hash.
    pub(crate) const HASH: u64 = 1 << 34;
    /// The device checked checksums.
    pub(crate) const CHECKSUM: u64 = 1 << 35;
    /// The device is asked for checksums or segmentation.
    pub(crate) const OFFLOAD: u64 = 1 << 36;
    /// The device took the time.
    pub(crate) const TIMESTAMP: u64 = 1 << 37;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    #[inline(always)]
    pub(crate) const fn new(number: u32, offset: u32, length: u32) -> Self {
        Self(((number as u64) << 40) | ((offset as u64) << 16) | length as u64)
    }

    #[inline(always)]
    pub(crate) const fn number(self) -> u32 {
        (self.0 >> 40) as u32
    }

    #[inline(always)]
    pub(crate) const fn offset(self) -> u32 {
        (self.0 >> 16) as u16 as u32
    }

    #[inline(always)]
    pub(crate) const fn length(self) -> u32 {
        self.0 as u16 as u32
    }

    #[inline(always)]
    pub(crate) const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// The same packet with another place in its buffer.
    #[inline(always)]
    pub(crate) const fn at(self, offset: u32, length: u32) -> Self {
        Self((self.0 & !0xffff_ffff) | ((offset as u64) << 16) | length as u64)
    }
}
