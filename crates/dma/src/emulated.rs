//! The device's side of an emulated address space: what an IOMMU is for hardware, a table is for a model.
//!
//! A [`DeviceView`] reaches ring memory at any time (both sides use atomics there), and a packet buffer only
//! while it is lent. Everything else is a [`Fault`]. That is what lets a model be safe code: whatever addresses it
//! reads from a descriptor, and from whichever thread, it never touches memory that the program holds.
//!
//! Two threads: a buffer is taken back by clearing its mark, a full barrier, and a wait until each view that was
//! inside an access has left it. An access is a bounded copy and a burst a batch of them, so the wait is short. A
//! view raises its flag, passes a full barrier, and only then looks at marks. One of the two always sees the other.

use crate::{Fault, Iova};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, PoisonError, RwLock};
use vm_memory::mmap::MmapRegion;

/// The translation table of an emulated address space.
#[derive(Debug)]
pub(crate) struct Emulation {
    entries: RwLock<Vec<Entry>>,
    /// Changes with each change of `entries`; views compare it before each access.
    generation: AtomicU64,
    views: RwLock<Vec<Arc<Activity>>>,
}

/// One mapping.
#[derive(Clone, Debug)]
struct Entry {
    iova: u64,
    memory: Arc<MmapRegion>,
    lent: Option<Arc<LentTable>>,
}

/// Odd while its view is inside an access.
#[derive(Debug, Default)]
struct Activity(AtomicU64);

impl Emulation {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { entries: RwLock::default(), generation: AtomicU64::new(1), views: RwLock::default() })
    }

    pub(crate) fn map(&self, iova: Iova, memory: &Arc<MmapRegion>, lent: Option<Arc<LentTable>>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let at = entries.partition_point(|entry| entry.iova < iova.get());
        entries.insert(at, Entry { iova: iova.get(), memory: Arc::clone(memory), lent });
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn unmap(&self, iova: Iova) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.iova != iova.get());
        self.generation.fetch_add(1, Ordering::SeqCst);
        drop(entries);
        self.wait_for_views();
    }

    /// Returns once every access that may have begun before the call has ended.
    fn wait_for_views(&self) {
        fence(Ordering::SeqCst);
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        for view in views.iter() {
            let seen = view.0.load(Ordering::Acquire);
            let mut spins = 0u32;
            while seen % 2 == 1 && view.0.load(Ordering::Acquire) == seen {
                spins = spins.wrapping_add(1);
                if spins.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
            }
        }
    }
}

/// Which buffers of a set are lent, on an emulated address space. Hardware has none: there the IOMMU and the
/// order of operations are what protects.
///
/// Only code that knows who holds a buffer may mark it, so marking is `unsafe`.
#[derive(Debug)]
pub struct LentTable {
    emulation: Arc<Emulation>,
    shift: u32,
    marks: Box<[AtomicU8]>,
}

impl LentTable {
    pub(crate) fn new(emulation: &Arc<Emulation>, count: u32, shift: u32) -> Self {
        let marks = (0..count).map(|_| AtomicU8::new(0)).collect();
        Self { emulation: Arc::clone(emulation), shift, marks }
    }

    /// Marks buffers as lent: devices reach them from now on.
    ///
    /// # Safety
    /// The caller gives the buffers up: nothing in the program reads or writes them until
    /// [`take_back`](Self::take_back).
    #[inline(never)]
    pub unsafe fn lend(&self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            if let Some(mark) = self.marks.get(number as usize) {
                mark.store(1, Ordering::Release);
            }
        }
    }

    /// Takes the marks away. When it returns, no device is inside these buffers.
    #[inline(never)]
    pub fn take_back(&self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            if let Some(mark) = self.marks.get(number as usize) {
                mark.store(0, Ordering::Relaxed);
            }
        }
        self.emulation.wait_for_views();
    }

    /// How many are lent now.
    pub fn count(&self) -> usize {
        self.marks.iter().filter(|mark| mark.load(Ordering::Relaxed) != 0).count()
    }

    fn allows(&self, offset: usize, bytes: usize) -> bool {
        let first = offset >> self.shift;
        let last = offset.saturating_add(bytes.saturating_sub(1)) >> self.shift;
        first == last && self.marks.get(first).is_some_and(|mark| mark.load(Ordering::Acquire) != 0)
    }
}

/// What a software device reaches of an emulated address space. One a device and thread.
#[derive(Debug)]
pub struct DeviceView {
    emulation: Arc<Emulation>,
    activity: Arc<Activity>,
    generation: u64,
    entries: Vec<Entry>,
    /// The entries that were hit last: ring memory, and buffers. A device goes from one to the other and back.
    last: [usize; 2],
}

impl DeviceView {
    pub(crate) fn new(emulation: &Arc<Emulation>) -> Self {
        let activity = Arc::new(Activity::default());
        emulation.views.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&activity));
        Self { emulation: Arc::clone(emulation), activity, generation: 0, entries: Vec::new(), last: [0; 2] }
    }

    /// Starts several accesses that cost one barrier together.
    ///
    /// While it lives, whoever takes a buffer back or unmaps memory waits for it, on whatever thread: keep it as
    /// short as a batch, and do neither under it, nor make or drop a view: that would wait for ever. So would one
    /// that is forgotten, until the view's next access.
    #[inline]
    pub fn burst(&mut self) -> Burst<'_> {
        let Self { emulation, activity, generation, entries, last } = self;
        let inside = activity.enter();
        if emulation.generation.load(Ordering::SeqCst) != *generation {
            refresh(emulation, generation, entries, last);
        }
        Burst { emulation, generation, entries, last, _inside: inside }
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
/// Each is checked as one by itself is: what is taken back during the burst is a [`Fault`] from then on.
#[derive(Debug)]
pub struct Burst<'a> {
    emulation: &'a Emulation,
    generation: &'a mut u64,
    entries: &'a mut Vec<Entry>,
    last: &'a mut [usize; 2],
    _inside: Inside<'a>,
}

impl Burst<'_> {
    /// Reads bytes.
    ///
    /// # Errors
    /// A [`Fault`], with nothing read.
    pub fn read(&mut self, iova: Iova, bytes: &mut [u8]) -> Result<(), Fault> {
        let length = bytes.len();
        self.access(iova, length, |place, shared| {
            if shared {
                for (index, byte) in bytes.iter_mut().enumerate() {
                    // SAFETY: `access` checked `length` bytes from `place`; ring memory is only ever used as atomics.
                    *byte = unsafe { AtomicU8::from_ptr(place.add(index)) }.load(Ordering::Relaxed);
                }
            } else {
                // SAFETY: `access` checked `length` bytes from `place` in a lent buffer, which nobody in the
                // program touches while the view is inside; `bytes` is the caller's own.
                unsafe { std::ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), length) };
            }
        })
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// A [`Fault`], with nothing written.
    pub fn write(&mut self, iova: Iova, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len();
        self.access(iova, length, |place, shared| {
            if shared {
                for (index, byte) in bytes.iter().enumerate() {
                    // SAFETY: as in `read`.
                    unsafe { AtomicU8::from_ptr(place.add(index)) }.store(*byte, Ordering::Relaxed);
                }
            } else {
                // SAFETY: as in `read`.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, length) };
            }
        })
    }

    /// Reads two bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u16(&mut self, iova: Iova) -> Result<u16, Fault> {
        self.atomic(iova, |place| {
            // SAFETY: `atomic` checked the place and its alignment; both sides use atomics on it.
            unsafe { AtomicU16::from_ptr(place.cast()) }.load(Ordering::Acquire)
        })
    }

    /// Reads four bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u32(&mut self, iova: Iova) -> Result<u32, Fault> {
        self.atomic(iova, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU32::from_ptr(place.cast()) }.load(Ordering::Acquire)
        })
    }

    /// Reads eight bytes as one atomic access, with acquire order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn load_u64(&mut self, iova: Iova) -> Result<u64, Fault> {
        self.atomic(iova, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU64::from_ptr(place.cast()) }.load(Ordering::Acquire)
        })
    }

    /// Writes two bytes as one atomic access, with release order.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn store_u16(&mut self, iova: Iova, value: u16) -> Result<(), Fault> {
        self.atomic(iova, |place| {
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
        self.atomic(iova, |place| {
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
        self.atomic(iova, |place| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU64::from_ptr(place.cast()) }.store(value, Ordering::Release);
            value
        })
        .map(drop)
    }

    fn atomic<T>(&mut self, iova: Iova, access: impl FnOnce(*mut u8) -> T) -> Result<T, Fault> {
        let bytes = size_of::<T>();
        if !iova.get().is_multiple_of(bytes as u64) {
            return Err(Fault::Misaligned { iova, bytes });
        }
        self.access(iova, bytes, |place, _shared| access(place))
    }

    /// Runs `work` on the place of an access that is allowed, and tells it whether it is ring memory.
    #[inline]
    fn access<T>(
        &mut self,
        iova: Iova,
        bytes: usize,
        work: impl FnOnce(*mut u8, bool) -> T,
    ) -> Result<T, Fault> {
        let (index, offset) = match find(self.entries, self.last, iova, bytes) {
            Some(found) => found,
            None => self.find_again(iova, bytes).ok_or(Fault::NotMapped { iova, bytes })?,
        };
        let entry = self.entries.get(index).ok_or(Fault::NotMapped { iova, bytes })?;
        if let Some(lent) = &entry.lent
            && !lent.allows(offset, bytes)
        {
            return Err(Fault::NotLent { iova, bytes });
        }
        // SAFETY: `find` checked that `offset + bytes` lies inside the mapping, which the entry owns.
        let place = unsafe { entry.memory.as_ptr().add(offset) };
        Ok(work(place, entry.lent.is_none()))
    }

    /// Finds what was mapped since the burst began. What was unmapped since is kept until the burst ends.
    #[cold]
    fn find_again(&mut self, iova: Iova, bytes: usize) -> Option<(usize, usize)> {
        if self.emulation.generation.load(Ordering::SeqCst) != *self.generation {
            refresh(self.emulation, self.generation, self.entries, self.last);
        }
        find(self.entries, self.last, iova, bytes)
    }
}

#[cold]
fn refresh(emulation: &Emulation, generation: &mut u64, entries: &mut Vec<Entry>, last: &mut [usize; 2]) {
    let current = emulation.entries.read().unwrap_or_else(PoisonError::into_inner);
    *generation = emulation.generation.load(Ordering::SeqCst);
    entries.clone_from(&current);
    *last = [0; 2];
}

impl Drop for DeviceView {
    fn drop(&mut self) {
        let mut views = self.emulation.views.write().unwrap_or_else(PoisonError::into_inner);
        views.retain(|view| !Arc::ptr_eq(view, &self.activity));
    }
}

/// The index of the entry that holds the range, tried first where the last accesses were, and the offset in it.
#[inline]
fn find(entries: &[Entry], last: &mut [usize; 2], iova: Iova, bytes: usize) -> Option<(usize, usize)> {
    let within = |entry: &Entry| {
        let offset = usize::try_from(iova.get().checked_sub(entry.iova)?).ok()?;
        (offset.checked_add(bytes)? <= entry.memory.size()).then_some(offset)
    };
    for &index in last.iter() {
        if let Some(offset) = entries.get(index).and_then(within) {
            return Some((index, offset));
        }
    }
    let index = entries.partition_point(|entry| entry.iova <= iova.get()).checked_sub(1)?;
    let entry = entries.get(index)?;
    let offset = within(entry)?;
    let [ring, buffers] = last;
    *if entry.lent.is_none() { ring } else { buffers } = index;
    Some((index, offset))
}

impl Activity {
    #[inline]
    fn enter(&self) -> Inside<'_> {
        // Odd also when the last access never ended because its `Burst` was forgotten.
        let inside = self.0.load(Ordering::Relaxed).wrapping_add(1) | 1;
        self.0.store(inside, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Inside(self)
    }
}

/// Ends the access, also when it unwinds.
#[derive(Debug)]
struct Inside<'a>(&'a Activity);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.store(self.0.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use crate::{AddressSpace, BufferSize, Buffers, Fault, Iova, Placement};

    fn buffers(space: &AddressSpace) -> Buffers {
        Buffers::allocate(space, 4, BufferSize::Bytes2048, Placement::default()).unwrap()
    }

    #[test]
    fn a_burst_reaches_what_is_lent_and_mapped_while_it_lives() {
        let space = AddressSpace::emulated();
        let first = buffers(&space);
        let mut view = space.device_view().unwrap();
        let mut burst = view.burst();
        let place = Iova::new(first.base_iova());
        assert_eq!(burst.store_u32(place, 7), Err(Fault::NotLent { iova: place, bytes: 4 }));
        let table = first.lent_table().unwrap();
        // SAFETY: nothing in this test touches the buffer.
        unsafe { table.lend(std::iter::once(0)) };
        assert_eq!(burst.store_u32(place, 7), Ok(()));
        assert_eq!(burst.load_u32(place), Ok(7));
        let second = buffers(&space);
        let later = Iova::new(second.base_iova());
        assert_eq!(burst.load_u32(later), Err(Fault::NotLent { iova: later, bytes: 4 }));
        drop(burst); // before the buffers, which would wait for it
    }

    #[test]
    fn taking_back_waits_for_a_burst_also_after_one_was_forgotten() {
        let space = AddressSpace::emulated();
        let buffers = buffers(&space);
        let table = buffers.lent_table().unwrap();
        // SAFETY: nothing in this test touches the buffer.
        unsafe { table.lend(std::iter::once(0)) };
        let mut view = space.device_view().unwrap();
        std::mem::forget(view.burst());
        let burst = view.burst();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| table.take_back(std::iter::once(0)));
            while table.count() > 0 {
                std::thread::yield_now();
            }
            for _ in 0..100 {
                assert!(!taken.is_finished(), "the device is still inside");
                std::thread::yield_now();
            }
            drop(burst);
        });
        let place = Iova::new(buffers.base_iova());
        assert_eq!(view.load_u32(place), Err(Fault::NotLent { iova: place, bytes: 4 }));
    }
}
