//! A piece of memory that devices reach: mapped here, mapped for them, in this order undone.

use crate::{AddressSpace, Error, Iova, LentTable, PageSize, Placement, memory};
use std::ptr::NonNull;
use std::sync::Arc;
use vm_memory::mmap::MmapRegion;

/// Memory of this process, reachable for the devices of one address space until it is dropped.
///
/// On drop it is unmapped from the address space first and freed then. If it can't be unmapped it is kept until
/// the process ends (rule 2).
#[derive(Debug)]
pub(crate) struct Region {
    memory: Arc<MmapRegion>,
    iova: Iova,
    pages: PageSize,
    space: AddressSpace,
}

impl Region {
    /// At least `bytes` bytes, zeroed, in one mapping.
    pub(crate) fn allocate(
        space: &AddressSpace,
        bytes: usize,
        placement: Placement,
        lent: Option<Arc<LentTable>>,
    ) -> Result<Self, Error> {
        let (memory, pages) = memory::allocate(bytes, placement)?;
        let memory = Arc::new(memory);
        let iova = space.map(&memory, pages, lent)?;
        Ok(Self { memory, iova, pages, space: space.clone() })
    }

    /// The first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        NonNull::new(self.memory.as_ptr()).unwrap_or(NonNull::dangling())
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
        if self.space.unmap(self.iova, self.length(), self.pages).is_err() {
            // Still reachable for a device: kept for ever. `Usage::stranded_bytes` counts it.
            std::mem::forget(Arc::clone(&self.memory));
        }
    }
}
