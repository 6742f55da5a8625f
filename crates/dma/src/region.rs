//! A piece of memory that devices reach: mapped here, mapped for them, in this order undone.

use crate::{AddressSpace, Error, Iova, LentTable, PageSize, Placement, memory, memory::Memory};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

/// Memory of this process, reachable for the devices of one address space until it is dropped.
///
/// On drop it is unmapped from the address space first and freed then. If it can't be unmapped it is kept until
/// the process ends (rule 2).
#[derive(Debug)]
pub(crate) struct Region {
    /// Dropped only where it is certain that no device reaches it: not on an error, and not when a back end unwinds.
    memory: ManuallyDrop<Arc<Memory>>,
    /// Its first byte: packets are found with it, so it is one load away.
    base: NonNull<u8>,
    iova: Iova,
    pages: PageSize,
    space: AddressSpace,
}

// SAFETY: the pointer is to memory that the region owns, and is a number until someone uses it in `unsafe` code.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// At least `bytes` bytes, zeroed, in one mapping.
    pub(crate) fn allocate(
        space: &AddressSpace,
        bytes: usize,
        placement: Placement,
        lent: Option<Arc<LentTable>>,
    ) -> Result<Self, Error> {
        let (memory, pages) = memory::allocate(bytes, placement)?;
        let memory = ManuallyDrop::new(Arc::new(memory));
        let base = NonNull::new(memory.as_ptr()).unwrap_or(NonNull::dangling());
        match space.map(&memory, pages, lent) {
            Ok(iova) => Ok(Self { memory, base, iova, pages, space: space.clone() }),
            Err(error) => {
                // Refused, so nothing of it is reachable.
                drop(ManuallyDrop::into_inner(memory));
                Err(error)
            }
        }
    }

    /// The first byte.
    #[inline(always)]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The first byte, as the devices call it.
    pub(crate) fn iova(&self) -> Iova {
        self.iova
    }

    /// The length in bytes: what was asked for, rounded up to whole pages.
    pub(crate) fn length(&self) -> usize {
        self.memory.size()
    }

    /// The pages it is made of.
    pub(crate) fn pages(&self) -> PageSize {
        self.pages
    }

    /// The address space that it is in.
    pub(crate) fn space(&self) -> &AddressSpace {
        &self.space
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // On an error it is still reachable for a device and kept for ever; `Usage::stranded_bytes` counts it.
        if self.space.unmap(self.iova, self.length(), self.pages).is_ok() {
            // SAFETY: nothing uses it after this: the region is being dropped, and no device reaches it any more.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
