//! I/O virtual addresses: what a device calls a place in memory.
//!
//! An [`Iova`] names a place in one address space; it grants nothing. Code that is free of `unsafe` can't turn
//! one into an address that a device will use: address words of descriptors and ring bases take only what this
//! crate mints (see [`AddressWord`](crate::AddressWord) and [`RingBase`](crate::RingBase)).

use std::fmt;

/// An I/O virtual address, in bytes from the start of an address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iova(u64);

impl Iova {
    /// The address `bytes` from the start of the address space.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The address in bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, unless that leaves 64 bits.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }
}

impl fmt::Display for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iova({:#x})", self.0)
    }
}

/// A range of I/O virtual addresses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IovaRange {
    /// The lowest address.
    pub first: Iova,
    /// The highest address.
    pub last: Iova,
}

impl fmt::Display for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}
