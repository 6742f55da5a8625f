//! What can go wrong with memory for devices.

use crate::{BackendError, Iova};
use std::io;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size or count is outside what the type can hold.
    #[error("{what}: {value} is not possible ({allowed})")]
    Size {
        /// What was sized.
        what: &'static str,
        /// What was asked for.
        value: u64,
        /// What could be asked for.
        allowed: &'static str,
    },
    /// The kernel gave no memory.
    #[error("no memory for a region of {bytes} bytes in {pages}: {source}")]
    Memory {
        /// The size asked for.
        bytes: usize,
        /// The kind of page.
        pages: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address space has no room.
    #[error(
        "no room for {bytes} bytes in the address space: {free} of {total} addressable bytes are free, but not enough in one piece; make pools or rings smaller"
    )]
    Exhausted {
        /// The size asked for.
        bytes: u64,
        /// What is free in all.
        free: u64,
        /// What the unit can address.
        total: u64,
    },
    /// The unit that translates refused.
    #[error("can't {operation} {bytes} bytes at I/O virtual address {iova}: {source}")]
    Iommu {
        /// `map`, `unmap` or `ask for the ranges of`.
        operation: &'static str,
        /// The range's start.
        iova: Iova,
        /// The range's length.
        bytes: usize,
        /// What the back end said.
        source: BackendError,
    },
}

/// Why the device's side was refused an access: what an IOMMU would log as a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is mapped there, or the access runs past the end of what is.
    #[error("{bytes} bytes at {iova} are not mapped")]
    NotMapped {
        /// The first address.
        iova: Iova,
        /// How many bytes were to be moved.
        bytes: usize,
    },
    /// A packet buffer is mapped there, but not lent to a device now, or the access runs from one into the next.
    #[error("{bytes} bytes at {iova} are in a buffer that no device was lent")]
    NotLent {
        /// The first address.
        iova: Iova,
        /// How many bytes were to be moved.
        bytes: usize,
    },
    /// The memory is there for reading only.
    #[error("{bytes} bytes at {iova} may be read only")]
    ReadOnly {
        /// The first address.
        iova: Iova,
        /// How many bytes were to be written.
        bytes: usize,
    },
    /// An atomic access that is not aligned to its size.
    #[error("an atomic access of {bytes} bytes at {iova} is not aligned")]
    Misaligned {
        /// The address.
        iova: Iova,
        /// The size of the access.
        bytes: usize,
    },
}
