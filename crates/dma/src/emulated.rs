//! The device's side of an emulated address space: what an IOMMU is for hardware, a table is for a model.
//!
//! A [`DeviceView`] reaches ring memory at any time (both sides use atomics there), and a packet buffer only
//! while it is lent (see `lent.rs`). Everything else is a [`Fault`]. That is what lets a model be safe code: whatever
//! addresses it reads from a descriptor, and from whichever thread, it never touches memory that the program holds.
//!
//! A view works from a copy of the table and keeps what the copy names: memory that was unmapped meanwhile stays
//! mapped in the process until the view's next access, which finds the table changed.

use crate::external::{Held, Table};
use crate::lent::{Activity, Inside, LentTable, Views};
use crate::memory::Memory;
use crate::{Fault, Iova, copy};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The translation table of an emulated address space.
#[derive(Debug)]
pub(crate) struct Emulation {
    entries: RwLock<Vec<Entry>>,
    /// Changes with each change of `entries`, under their lock; views compare it before each access.
    generation: AtomicU64,
    views: Arc<Views>,
}

/// One mapping.
#[derive(Clone, Debug)]
struct Entry {
    iova: u64,
    memory: Arc<Memory>,
    lent: Option<Arc<LentTable>>,
}

impl Emulation {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { entries: RwLock::default(), generation: AtomicU64::new(1), views: Arc::default() })
    }

    /// The marks for a set of `count` buffers of `1 << shift` bytes.
    pub(crate) fn lent_table(&self, count: u32, shift: u32) -> LentTable {
        LentTable::new(&self.views, count, shift)
    }

    pub(crate) fn map(&self, iova: Iova, memory: &Arc<Memory>, lent: Option<Arc<LentTable>>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let at = entries.partition_point(|entry| entry.iova < iova.get());
        entries.insert(at, Entry { iova: iova.get(), memory: Arc::clone(memory), lent });
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes a mapping out. An access that has begun may end after this, in memory that its view keeps and nobody
    /// else has any more.
    pub(crate) fn unmap(&self, iova: Iova) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.iova != iova.get());
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// What a software device reaches of an emulated address space. One a device and thread.
#[derive(Debug)]
pub struct DeviceView {
    emulation: Arc<Emulation>,
    activity: Arc<Activity>,
    generation: u64,
    entries: Vec<Entry>,
    /// Where the last accesses were: to rings, and to buffers.
    last: [usize; 2],
    /// Another process's memory instead of an emulated space's.
    external: Option<Arc<RwLock<Table>>>,
}

impl DeviceView {
    pub(crate) fn new(emulation: &Arc<Emulation>) -> Self {
        let activity = emulation.views.join();
        let emulation = Arc::clone(emulation);
        Self { emulation, activity, generation: 0, entries: Vec::new(), last: [0; 2], external: None }
    }

    /// A view of another process's memory (see `external.rs`).
    pub(crate) fn external(table: Arc<RwLock<Table>>) -> Self {
        let mut view = Self::new(&Emulation::new());
        view.external = Some(table);
        view
    }

    /// Starts several accesses that cost one barrier together.
    ///
    /// While it lives, whoever takes a buffer back or unmaps memory waits for it, on whatever thread: keep it as
    /// short as a batch, and do neither under it, nor make or drop a view: that would wait for ever. So would one
    /// that is forgotten, until the view's next access.
    #[inline]
    pub fn burst(&mut self) -> Burst<'_> {
        let Self { emulation, activity, generation, entries, last, external } = self;
        let external = external.as_deref().map(Held::new);
        Burst { emulation, generation, entries, last, activity, inside: None, external }
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// A [`Fault`], with nothing read.
    pub fn read(&mut self, iova: Iova, bytes: &mut [u8]) -> Result<(), Fault> {
        self.burst().read(iova, bytes)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// A [`Fault`], with nothing written.
    pub fn write(&mut self, iova: Iova, bytes: &[u8]) -> Result<(), Fault> {
        self.burst().write(iova, bytes)
    }

    /// Reads two bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u16(&mut self, iova: Iova) -> Result<u16, Fault> {
        self.burst().load_u16(iova)
    }

    /// Reads four bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u32(&mut self, iova: Iova) -> Result<u32, Fault> {
        self.burst().load_u32(iova)
    }

    /// Reads eight bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u64(&mut self, iova: Iova) -> Result<u64, Fault> {
        self.burst().load_u64(iova)
    }

    /// Writes two bytes as one atomic access, with release order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn store_u16(&mut self, iova: Iova, value: u16) -> Result<(), Fault> {
        self.burst().store_u16(iova, value)
    }

    /// Writes four bytes as one atomic access, with release order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn store_u32(&mut self, iova: Iova, value: u32) -> Result<(), Fault> {
        self.burst().store_u32(iova, value)
    }

    /// Writes eight bytes as one atomic access, with release order: how a descriptor is written back.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn store_u64(&mut self, iova: Iova, value: u64) -> Result<(), Fault> {
        self.burst().store_u64(iova, value)
    }
}

/// Accesses of one view that belong together; see [`DeviceView::burst`].
///
/// Each is checked as one by itself is: a buffer that was taken back is a [`Fault`] from then on.
#[derive(Debug)]
pub struct Burst<'a> {
    emulation: &'a Emulation,
    generation: &'a mut u64,
    entries: &'a mut Vec<Entry>,
    last: &'a mut [usize; 2],
    activity: &'a Activity,
    /// From the first access to a buffer on.
    inside: Option<Inside<'a>>,
    external: Option<Held<'a>>,
}

impl Burst<'_> {
    /// Reads bytes.
    ///
    /// # Errors
    /// A [`Fault`], with nothing read.
    pub fn read(&mut self, iova: Iova, bytes: &mut [u8]) -> Result<(), Fault> {
        if let Some(external) = &self.external {
            return external.read(iova, bytes);
        }
        let length = bytes.len();
        self.access(iova, length, |place| {
            // SAFETY: `access` checked `length` bytes from `place`. They are ring memory, which everyone uses as
            // atomics, or in a lent buffer, which only views reach while this one is inside, by `copy` or atomics.
            unsafe { copy::load(place, bytes) };
        })
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// A [`Fault`], with nothing written.
    pub fn write(&mut self, iova: Iova, bytes: &[u8]) -> Result<(), Fault> {
        if let Some(external) = &self.external {
            return external.write(iova, bytes);
        }
        let length = bytes.len();
        self.access(iova, length, |place| {
            // SAFETY: as in `read`.
            unsafe { copy::store(place, bytes) };
        })
    }

    /// Reads two bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u16(&mut self, iova: Iova) -> Result<u16, Fault> {
        self.atomic(iova, false, |place| {
            // SAFETY: `atomic` checked the place and its alignment; both sides use atomics on it.
            unsafe { AtomicU16::from_ptr(place.cast()) }.load(Ordering::Acquire)
        })
    }

    /// Reads four bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u32(&mut self, iova: Iova) -> Result<u32, Fault> {
        self.atomic(iova, false, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU32::from_ptr(place.cast()) }.load(Ordering::Acquire)
        })
    }

    /// Reads eight bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u64(&mut self, iova: Iova) -> Result<u64, Fault> {
        self.atomic(iova, false, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU64::from_ptr(place.cast()) }.load(Ordering::Acquire)
        })
    }

    /// Reads sixteen bytes, at a multiple of eight, as two atomic accesses in this order: a descriptor.
    ///
    /// # Errors
    /// A [`Fault`].
    #[inline]
    pub fn load_u64_pair(&mut self, iova: Iova) -> Result<[u64; 2], Fault> {
        let bytes = 2 * size_of::<u64>();
        if !iova.get().is_multiple_of(size_of::<u64>() as u64) {
            return Err(Fault::Misaligned { iova, bytes });
        }
        self.access(iova, bytes, |place| {
            let place = place.cast::<u64>();
            // SAFETY: `access` checked both words from `place`, which is aligned; everyone uses atomics on them.
            unsafe {
                let first = AtomicU64::from_ptr(place).load(Ordering::Acquire);
                [first, AtomicU64::from_ptr(place.add(1)).load(Ordering::Acquire)]
            }
        })
    }

    /// Writes two bytes as one atomic access, with release order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn store_u16(&mut self, iova: Iova, value: u16) -> Result<(), Fault> {
        self.atomic(iova, true, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU16::from_ptr(place.cast()) }.store(value, Ordering::Release);
            value
        })
        .map(drop)
    }

    /// Writes four bytes as one atomic access, with release order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn store_u32(&mut self, iova: Iova, value: u32) -> Result<(), Fault> {
        self.atomic(iova, true, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU32::from_ptr(place.cast()) }.store(value, Ordering::Release);
            value
        })
        .map(drop)
    }

    /// Writes eight bytes as one atomic access, with release order: how a descriptor is written back.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn store_u64(&mut self, iova: Iova, value: u64) -> Result<(), Fault> {
        self.atomic(iova, true, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU64::from_ptr(place.cast()) }.store(value, Ordering::Release);
            value
        })
        .map(drop)
    }

    fn atomic<T>(&mut self, iova: Iova, write: bool, access: impl FnOnce(*mut u8) -> T) -> Result<T, Fault> {
        let bytes = size_of::<T>();
        if !iova.get().is_multiple_of(bytes as u64) {
            return Err(Fault::Misaligned { iova, bytes });
        }
        if let Some(external) = &self.external {
            return external.place(iova, bytes, write).map(access);
        }
        self.access(iova, bytes, access)
    }

    /// Runs `work` on the place of an access that is allowed.
    #[inline]
    fn access<T>(&mut self, iova: Iova, bytes: usize, work: impl FnOnce(*mut u8) -> T) -> Result<T, Fault> {
        if self.emulation.generation.load(Ordering::Acquire) != *self.generation {
            self.refresh();
        }
        let (entry, offset) =
            find(self.entries, self.last, iova, bytes).ok_or(Fault::NotMapped { iova, bytes })?;
        // SAFETY: `find` checked that `offset + bytes` lies inside the mapping, which the entry keeps.
        let place = unsafe { entry.memory.as_ptr().add(offset) };
        let Some(lent) = &entry.lent else { return Ok(work(place)) };
        // From here until the burst ends nobody in the program gets the buffer, if it is lent now.
        self.inside.get_or_insert_with(|| self.activity.enter());
        if lent.allows(offset, bytes) { Ok(work(place)) } else { Err(Fault::NotLent { iova, bytes }) }
    }

    #[cold]
    fn refresh(&mut self) {
        let entries = self.emulation.entries.read().unwrap_or_else(PoisonError::into_inner);
        *self.generation = self.emulation.generation.load(Ordering::Relaxed);
        self.entries.clone_from(&entries);
        *self.last = [0; 2];
    }
}

impl Drop for DeviceView {
    fn drop(&mut self) {
        self.emulation.views.leave(&self.activity);
    }
}

/// The entry that holds the range, tried first where the last accesses were.
#[inline]
fn find<'a>(
    entries: &'a [Entry],
    last: &mut [usize; 2],
    iova: Iova,
    bytes: usize,
) -> Option<(&'a Entry, usize)> {
    let within = |entry: &Entry| {
        let offset = usize::try_from(iova.get().checked_sub(entry.iova)?).ok()?;
        (offset.checked_add(bytes)? <= entry.memory.size()).then_some(offset)
    };
    for &index in last.iter() {
        if let Some(entry) = entries.get(index)
            && let Some(offset) = within(entry)
        {
            return Some((entry, offset));
        }
    }
    let index = entries.partition_point(|entry| entry.iova <= iova.get()).checked_sub(1)?;
    let entry = entries.get(index)?;
    let offset = within(entry)?;
    let [ring, buffers] = last;
    *if entry.lent.is_none() { ring } else { buffers } = index;
    Some((entry, offset))
}
