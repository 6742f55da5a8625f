//! The seam between an address space and the unit that translates for a device.
//!
//! VFIO's type 1 container is one back end, the table of an emulated address space another; iommufd and
//! vhost-user fit the same three calls.

use crate::{Iova, IovaRange};
use std::any::Any;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// What goes wrong inside a back end. [`Error::Iommu`](crate::Error::Iommu) wraps it with the range concerned.
pub type BackendError = Box<dyn std::error::Error + Send + Sync>;

/// What a back end can translate.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The addresses that may be mapped, in ascending order, as the kernel reports them.
    pub ranges: Vec<IovaRange>,
    /// The page sizes that the unit can map: bit n set means 2ⁿ bytes. The lowest bit is the unit of mapping.
    pub page_sizes: u64,
    /// How many mappings may exist at once, where there is a limit.
    pub mappings: Option<usize>,
}

/// Memory that a back end is asked to make reachable.
#[derive(Clone, Copy, Debug)]
pub struct Mapping<'a> {
    /// Where a device finds it.
    pub iova: Iova,
    /// Where this process finds it.
    pub memory: NonNull<u8>,
    /// How long it is, in bytes: a multiple of the smallest page.
    pub length: usize,
    /// The memory file that backs it and the offset in it, for back ends whose device lives in another process.
    pub file: Option<(BorrowedFd<'a>, u64)>,
}

/// A unit that translates I/O virtual addresses for one or several devices.
///
/// # Safety
///
/// Memory safety rests on an implementation's word:
/// - After `map` returned `Ok`, exactly the memory of that mapping is reachable at its addresses; after `Err`,
///   nothing of it is.
/// - After `unmap` returned `Ok`, no device reaches the range any more: the memory may be given to anyone.
/// - A call that unwinds counts as one whose outcome isn't known: the memory is then kept for ever.
/// - `limits` names only addresses that don't mean anything else to a device (no MSI window, no reserved region).
pub unsafe trait Iommu: Any + Send + Sync + std::fmt::Debug {
    /// What can be mapped, as it is now: ranges may shrink when a device joins.
    ///
    /// # Errors
    /// When the kernel can't be asked.
    fn limits(&self) -> Result<Limits, BackendError>;

    /// Makes memory reachable, for reading and writing.
    ///
    /// # Safety
    /// The memory stays mapped in this process, and is given to nobody who relies on it not changing, until
    /// [`unmap`](Self::unmap) of the same range returned `Ok`.
    ///
    /// # Errors
    /// When the range is refused; the message says why and what to do (a locked-memory limit, say).
    unsafe fn map(&self, mapping: Mapping<'_>) -> Result<(), BackendError>;

    /// Makes a range that was mapped in one call unreachable.
    ///
    /// # Errors
    /// When it can't be said that the range is unreachable. The caller then keeps the memory for ever.
    fn unmap(&self, iova: Iova, length: usize) -> Result<(), BackendError>;
}
