//! Address spaces: who may reach what.
//!
//! An [`AddressSpace`] is one translation table, shared by the devices that the program puts into it. Devices in
//! one space reach the same memory, so a packet crosses from one to the other without a copy, and a faulty
//! device can spoil the packets of the other: separate spaces are the program's choice.

use crate::allocator::Allocator;
use crate::emulated::{DeviceView, Emulation};
use crate::memory::Memory;
use crate::{BackendError, Error, Iommu, Iova, IovaRange, LentTable, Limits, Mapping, PageSize};
use std::any::Any;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an address space holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Mappings made.
    pub mappings: usize,
    /// Bytes mapped, and so locked into memory where real hardware translates.
    pub bytes: u64,
    /// Of these, bytes in huge pages.
    pub huge_bytes: u64,
    /// Bytes that could not be unmapped and are kept until the process ends.
    pub stranded_bytes: u64,
}

/// A shared handle to one translation table. It lives as long as a handle or a region in it does.
#[derive(Clone, Debug)]
pub struct AddressSpace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    unit: Unit,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Unit {
    Hardware(Box<dyn Iommu>),
    Emulated(Arc<Emulation>),
}

#[derive(Debug)]
struct State {
    allocator: Allocator,
    usage: Usage,
    granule: u64,
    mappings_allowed: Option<usize>,
}

impl AddressSpace {
    /// An address space on a translating unit.
    ///
    /// # Errors
    /// When the unit can't say what it translates.
    pub fn new(unit: Box<dyn Iommu>) -> Result<Self, Error> {
        let limits = unit.limits().map_err(unknown_limits)?;
        Ok(Self::with(Unit::Hardware(unit), &limits))
    }

    /// The unit that it stands on, if it is of this type. Only who can name the type reaches it: a back end that keeps
    /// its type to itself keeps its unit to itself.
    pub fn unit<T: Iommu>(&self) -> Option<&T> {
        match &self.inner.unit {
            Unit::Hardware(unit) => (&**unit as &dyn Any).downcast_ref(),
            Unit::Emulated(_) => None,
        }
    }

    /// Asks the unit again what it translates, after a device joined or left. What is mapped stays; addresses that can
    /// no longer be used are not handed out again.
    ///
    /// # Errors
    /// When the unit can't say.
    pub fn refresh_limits(&self) -> Result<(), Error> {
        let Unit::Hardware(unit) = &self.inner.unit else { return Ok(()) };
        let mut state = self.state();
        let limits = unit.limits().map_err(unknown_limits)?;
        state.allocator.restrict(&limits.ranges);
        state.granule = state.granule.max(granule(&limits));
        state.mappings_allowed = limits.mappings;
        Ok(())
    }

    /// An address space that no hardware is in: only software devices, through [`device_view`](Self::device_view).
    /// It is 48 bits wide.
    pub fn emulated() -> Self {
        Self::emulated_with_width(48)
    }

    /// The same, `bits` wide (12 to 64; 39 is what many desktop processors translate).
    pub fn emulated_with_width(bits: u32) -> Self {
        let last = u64::MAX.checked_shr(64u32.saturating_sub(bits.clamp(12, 64))).unwrap_or(u64::MAX);
        let limits = Limits {
            ranges: vec![IovaRange { first: Iova::new(0), last: Iova::new(last) }],
            page_sizes: rustix::param::page_size() as u64,
            mappings: None,
        };
        Self::with(Unit::Emulated(Emulation::new()), &limits)
    }

    fn with(unit: Unit, limits: &Limits) -> Self {
        let state = State {
            allocator: Allocator::new(&limits.ranges),
            usage: Usage::default(),
            granule: granule(limits),
            mappings_allowed: limits.mappings,
        };
        Self { inner: Arc::new(Inner { unit, state: Mutex::new(state) }) }
    }

    /// Whether two handles are to the same table.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether software stands in for the device.
    pub fn is_emulated(&self) -> bool {
        matches!(self.inner.unit, Unit::Emulated(_))
    }

    /// The addresses that it hands out from, in ascending order.
    pub fn ranges(&self) -> Vec<IovaRange> {
        self.state().allocator.ranges()
    }

    /// Maps nothing below 4 GiB from now on, so that a number of 32 bits in an address word hits nothing. `false`: something
    /// is mapped there.
    pub(crate) fn keep_low_free(&self) -> bool {
        self.state().allocator.keep_low_free()
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        self.state().usage
    }

    /// The device's side of an emulated space; `None` where real hardware is the device's side.
    pub fn device_view(&self) -> Option<DeviceView> {
        match &self.inner.unit {
            Unit::Hardware(_) => None,
            Unit::Emulated(emulation) => Some(DeviceView::new(emulation)),
        }
    }

    /// The table in which a set of `count` buffers of `1 << shift` bytes is marked as lent, on an emulated space.
    pub(crate) fn lent_table(&self, count: u32, shift: u32) -> Option<Arc<LentTable>> {
        match &self.inner.unit {
            Unit::Hardware(_) => None,
            Unit::Emulated(emulation) => Some(Arc::new(emulation.lent_table(count, shift))),
        }
    }

    /// Makes memory reachable and says where.
    pub(crate) fn map(
        &self,
        memory: &Arc<Memory>,
        pages: PageSize,
        lent: Option<Arc<LentTable>>,
    ) -> Result<Iova, Error> {
        let mut state = self.state();
        if let Some(allowed) = state.mappings_allowed
            && state.usage.mappings >= allowed
        {
            return Err(Error::Size {
                what: "number of mappings",
                value: (state.usage.mappings as u64).saturating_add(1),
                allowed: "as many as the IOMMU driver's dma_entry_limit",
            });
        }
        let length = memory.size();
        let bytes = length as u64;
        let alignment = state.granule.max(pages.bytes() as u64);
        let iova = state.allocator.take(bytes, alignment)?;
        let mapped = match &self.inner.unit {
            Unit::Hardware(unit) => {
                let mapping = Mapping {
                    iova,
                    // `Memory::as_ptr` is never null: mmap's answer was checked.
                    memory: NonNull::new(memory.as_ptr()).unwrap_or(NonNull::dangling()),
                    length,
                    file: memory.file_offset().map(|file| (file.file().as_fd(), file.start())),
                };
                // SAFETY: the only caller, `Region`, keeps `memory` until `unmap` returned Ok, for ever if it
                // doesn't, and hands it out only as atomics or lent buffers.
                unsafe { unit.map(mapping) }
            }
            Unit::Emulated(emulation) => {
                emulation.map(iova, memory, lent);
                Ok(())
            }
        };
        if let Err(source) = mapped {
            state.allocator.give_back(iova, bytes);
            return Err(Error::Iommu { operation: "map", iova, bytes: length, source });
        }
        state.usage.mappings = state.usage.mappings.saturating_add(1);
        state.usage.bytes = state.usage.bytes.saturating_add(bytes);
        if pages != PageSize::Ordinary {
            state.usage.huge_bytes = state.usage.huge_bytes.saturating_add(bytes);
        }
        Ok(iova)
    }

    /// Makes it unreachable. On an error it stays reachable, its addresses are never used again, and the caller
    /// keeps the memory.
    pub(crate) fn unmap(&self, iova: Iova, length: usize, pages: PageSize) -> Result<(), Error> {
        let mut state = self.state();
        let bytes = length as u64;
        let unmapped = match &self.inner.unit {
            Unit::Hardware(unit) => unit.unmap(iova, length),
            Unit::Emulated(emulation) => {
                emulation.unmap(iova);
                Ok(())
            }
        };
        if let Err(source) = unmapped {
            state.usage.stranded_bytes = state.usage.stranded_bytes.saturating_add(bytes);
            return Err(Error::Iommu { operation: "unmap", iova, bytes: length, source });
        }
        state.allocator.give_back(iova, bytes);
        state.usage.mappings = state.usage.mappings.saturating_sub(1);
        state.usage.bytes = state.usage.bytes.saturating_sub(bytes);
        if pages != PageSize::Ordinary {
            state.usage.huge_bytes = state.usage.huge_bytes.saturating_sub(bytes);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent whenever the lock is free: nothing in a critical section unwinds half-way.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown_limits(source: BackendError) -> Error {
    Error::Iommu { operation: "ask for the ranges of", iova: Iova::new(0), bytes: 0, source }
}

/// The unit of mapping: the unit's smallest page, or the machine's if that is larger.
fn granule(limits: &Limits) -> u64 {
    (1u64 << limits.page_sizes.trailing_zeros().min(62)).max(rustix::param::page_size() as u64)
}
