//! Registers behind a BAR: mapped where the kernel allows it, through `pread` and `pwrite` where not.
//!
//! Contract: every access is checked against the region's size and its own alignment; one that isn't inside gives all
//! ones, or is dropped. What the kernel lets us map (all of it, or the areas of the sparse map, which leave out what it
//! keeps for itself) is reached by volatile accesses; the rest, I/O ports too, by a system call an access. A system
//! call that fails, on a function that is gone say, reads as all ones.
//!
//! A mapped access faults, and the process gets SIGBUS, when the kernel has switched the function's memory off: when
//! its memory decoding is off or it is asleep. `device.rs` lets no driver do either. A function that was pulled out
//! answers all ones; during a reset the access waits. What remains: somebody else who holds a copy of the descriptor
//! and does either, and a platform that answers a failed read with a machine check. Then the process ends by the
//! signal, and the kernel stops the device.

use super::ioctl::{Information, Nonsense, pairs};
use super::session::Session;
use crate::{Doorbell, Mmio, Registers, Width};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use vfio_bindings::bindings::vfio::{
    VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_MMAP,
    VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};

/// What the kernel says of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Its length in bytes; 0 when there is none.
    pub(super) length: u64,
    /// Where it starts in the device's file.
    pub(super) start: u64,
    readable: bool,
    writable: bool,
    /// The parts that may be mapped: first byte in the region, and length.
    mappable: Vec<(u64, u64)>,
}

impl Layout {
    /// The layout in an answer to VFIO_DEVICE_GET_REGION_INFO.
    pub(super) fn read(information: &Information) -> Result<Self, Nonsense> {
        let too_short = "it is too short";
        let flags = information.u32_at(offset_of!(vfio_region_info, flags)).ok_or(too_short)?;
        let length = information.u64_at(offset_of!(vfio_region_info, size)).ok_or(too_short)?;
        let start = information.u64_at(offset_of!(vfio_region_info, offset)).ok_or(too_short)?;
        if start.checked_add(length).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err("a region is longer than a file can be");
        }
        let mut sparse = None;
        if flags & VFIO_REGION_INFO_FLAG_CAPS != 0 {
            let first = information.u32_at(offset_of!(vfio_region_info, cap_offset)).ok_or(too_short)?;
            sparse =
                information.capability(first, VFIO_REGION_INFO_CAP_SPARSE_MMAP)?.map(pairs).transpose()?;
        }
        let mut mappable = match sparse {
            _ if flags & VFIO_REGION_INFO_FLAG_MMAP == 0 => Vec::new(),
            Some(areas) => areas,
            None => vec![(0, length)],
        };
        let page = rustix::param::page_size() as u64;
        mappable.retain(|&(first, bytes)| {
            bytes > 0
                && first.is_multiple_of(page)
                && first.checked_add(bytes).is_some_and(|end| end <= length)
        });
        Ok(Self {
            length,
            start,
            readable: flags & VFIO_REGION_INFO_FLAG_READ != 0,
            writable: flags & VFIO_REGION_INFO_FLAG_WRITE != 0,
            mappable,
        })
    }
}

/// A BAR of an open device.
#[derive(Debug)]
pub(super) struct Region {
    layout: Layout,
    windows: Vec<Arc<Window>>,
    session: Arc<Session>,
}

impl Region {
    /// Maps what may be mapped. What the kernel then refuses to map all the same (a locked-down kernel) is reached
    /// by system calls.
    pub(super) fn new(session: &Arc<Session>, layout: Layout) -> Self {
        let windows = layout.mappable.iter();
        let windows = windows.filter_map(|&(first, bytes)| Window::map(session, &layout, first, bytes));
        Self { windows: windows.map(Arc::new).collect(), layout, session: Arc::clone(session) }
    }

    /// Whether an access of `bytes` bytes at `offset` may be made.
    fn allows(&self, offset: u64, bytes: u64) -> bool {
        offset.is_multiple_of(bytes) && offset.checked_add(bytes).is_some_and(|end| end <= self.layout.length)
    }

    /// The place of an access, if it lies in a mapped part.
    fn mapped(&self, offset: u64, bytes: u64) -> Option<(&Arc<Window>, NonNull<u8>)> {
        self.windows.iter().find_map(|window| Some((window, window.place(offset, bytes)?)))
    }

    fn read<const BYTES: usize>(
        &self,
        offset: u64,
        volatile: impl FnOnce(NonNull<u8>) -> [u8; BYTES],
    ) -> [u8; BYTES] {
        let gone = [u8::MAX; BYTES];
        if !self.allows(offset, BYTES as u64) || !self.layout.readable {
            return gone;
        }
        match self.mapped(offset, BYTES as u64) {
            Some((_, place)) => volatile(place),
            None => self.session.read(self.layout.start, offset).unwrap_or(gone),
        }
    }

    fn write<const BYTES: usize>(
        &self,
        offset: u64,
        value: [u8; BYTES],
        volatile: impl FnOnce(NonNull<u8>, [u8; BYTES]),
    ) {
        if !self.allows(offset, BYTES as u64) || !self.layout.writable {
            return;
        }
        match self.mapped(offset, BYTES as u64) {
            Some((_, place)) => volatile(place, value),
            // A write to a device that is gone goes nowhere, as on the bus.
            None => drop(self.session.write(self.layout.start, offset, value)),
        }
    }
}

impl Registers for Region {
    fn length(&self) -> u64 {
        self.layout.length
    }

    fn read8(&self, offset: u64) -> u8 {
        // SAFETY: `mapped` gave a place inside a live mapping of device memory, aligned to the access.
        u8::from_le_bytes(self.read(offset, |place| [unsafe { place.read_volatile() }]))
    }

    fn read16(&self, offset: u64) -> u16 {
        // SAFETY: as in `read8`.
        let volatile = |place: NonNull<u8>| unsafe { place.cast::<u16>().read_volatile() }.to_ne_bytes();
        u16::from_le_bytes(self.read(offset, volatile))
    }

    fn read32(&self, offset: u64) -> u32 {
        // SAFETY: as in `read8`.
        let volatile = |place: NonNull<u8>| unsafe { place.cast::<u32>().read_volatile() }.to_ne_bytes();
        u32::from_le_bytes(self.read(offset, volatile))
    }

    fn write8(&self, offset: u64, value: u8) {
        // SAFETY: as in `read8`.
        self.write(offset, [value], |place, [value]| unsafe { place.write_volatile(value) });
    }

    fn write16(&self, offset: u64, value: u16) {
        self.write(offset, value.to_le_bytes(), |place, value| {
            // SAFETY: as in `read8`.
            unsafe { place.cast::<u16>().write_volatile(u16::from_ne_bytes(value)) };
        });
    }

    fn write32(&self, offset: u64, value: u32) {
        self.write(offset, value.to_le_bytes(), |place, value| {
            // SAFETY: as in `read8`.
            unsafe { place.cast::<u32>().write_volatile(u32::from_ne_bytes(value)) };
        });
    }

    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell> {
        let bytes = u64::from(width.bytes());
        if !self.allows(offset, bytes) || !self.layout.writable {
            return None;
        }
        let Some((window, place)) = self.mapped(offset, bytes) else {
            // The windows stay with this region; the copy needs none, since this place is in none.
            let unmapped =
                Self { layout: self.layout.clone(), windows: Vec::new(), session: Arc::clone(&self.session) };
            return Some(Doorbell::Unmapped { registers: Arc::new(unmapped), offset, width });
        };
        let keep: Arc<Window> = Arc::clone(window);
        // SAFETY: `place` is device memory, aligned to `width`, mapped for as long as `keep` lives.
        Some(Doorbell::Mmio(unsafe { Mmio::new(place, width, keep) }))
    }
}

/// A mapped part of a BAR. The mapping keeps the device open in the kernel, the session in this process.
#[derive(Debug)]
struct Window {
    first: u64,
    length: usize,
    base: NonNull<u8>,
    _session: Arc<Session>,
}

// SAFETY: device memory, which any thread may access by volatile loads and stores; `base` is never given out as a
// reference.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    fn map(session: &Arc<Session>, layout: &Layout, first: u64, bytes: u64) -> Option<Self> {
        let length = usize::try_from(bytes).ok()?;
        let mut protection = ProtFlags::empty();
        protection.set(ProtFlags::READ, layout.readable);
        protection.set(ProtFlags::WRITE, layout.writable);
        let offset = layout.start.checked_add(first)?;
        // SAFETY: a new mapping at a place of the kernel's choice disturbs nothing; rustix checks for MAP_FAILED.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                session.descriptor().as_fd(),
                offset,
            )
        };
        let base = NonNull::new(base.ok()?.cast::<u8>())?;
        Some(Self { first, length, base, _session: Arc::clone(session) })
    }

    /// The place of `bytes` bytes at `offset` of the region, if they all lie in this window.
    fn place(&self, offset: u64, bytes: u64) -> Option<NonNull<u8>> {
        let inside = offset.checked_sub(self.first)?;
        if inside.checked_add(bytes)? > self.length as u64 {
            return None;
        }
        // SAFETY: `inside` is below `length`, the mapping's length, just checked.
        Some(unsafe { self.base.add(inside as usize) })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is this window's own, and whoever points into it holds this window.
        // A refusal leaves the mapping where it is, which harms nobody.
        let _ = unsafe { munmap(self.base.as_ptr().cast::<c_void>(), self.length) };
    }
}

// Not under Miri, which maps no files.
#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use super::super::session::Seat;
    use super::*;
    use ringway_dma::AddressSpace;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    const HEAD: usize = size_of::<vfio_region_info>();
    const READ_WRITE: u32 = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    const PAGE: u64 = 4096;
    /// Where the region starts in the file.
    const START: u64 = 2 * PAGE;

    /// The kernel's answer on a region, with the areas of its sparse map if it has one.
    fn answer(flags: u32, length: u64, start: u64, areas: Option<&[(u64, u64)]>) -> Information {
        let mut bytes = vec![0u8; HEAD];
        let caps = if areas.is_some() { VFIO_REGION_INFO_FLAG_CAPS } else { 0 };
        bytes[4..8].copy_from_slice(&(flags | caps).to_ne_bytes());
        bytes[12..16].copy_from_slice(&(if areas.is_some() { HEAD as u32 } else { 0 }).to_ne_bytes());
        bytes[16..24].copy_from_slice(&length.to_ne_bytes());
        bytes[24..32].copy_from_slice(&start.to_ne_bytes());
        if let Some(areas) = areas {
            bytes.extend(1u16.to_ne_bytes());
            bytes.extend([0; 6]);
            bytes.extend((areas.len() as u32).to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(areas.iter().flat_map(|area| [area.0.to_ne_bytes(), area.1.to_ne_bytes()].concat()));
        }
        Information::made_up(bytes, HEAD)
    }

    /// A region of four pages in a memory file that stands in for a device's.
    fn region(flags: u32, areas: Option<&[(u64, u64)]>) -> Region {
        let file = memfd_create(c"registers", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, START + 4 * PAGE).unwrap();
        let address = "0000:03:00.0".parse().unwrap();
        let session = Session::new(file, Seat::take(&AddressSpace::emulated(), None, address).unwrap());
        let layout = Layout::read(&answer(flags, 4 * PAGE, START, areas)).unwrap();
        Region::new(&Arc::new(session), layout)
    }

    /// With and without mappings, and with a hole in them, a region behaves the same.
    fn every_kind() -> [Region; 3] {
        let mapped = READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP;
        let regions = [
            region(mapped, None),
            region(READ_WRITE, None),
            region(mapped, Some(&[(0, PAGE), (2 * PAGE, 2 * PAGE)])),
        ];
        assert_eq!(regions.each_ref().map(|region| region.windows.len()), [1, 0, 2]);
        regions
    }

    #[test]
    fn a_value_is_read_back_as_written_whether_mapped_or_not() {
        for region in every_kind() {
            for offset in [0, PAGE - 4, PAGE, 2 * PAGE - 4, 2 * PAGE, 4 * PAGE - 4] {
                region.write32(offset, 0x1234_5678);
                assert_eq!(region.read32(offset), 0x1234_5678);
                assert_eq!((region.read16(offset), region.read16(offset + 2)), (0x5678, 0x1234));
                assert_eq!((region.read8(offset), region.read8(offset + 3)), (0x78, 0x12));
                region.write16(offset + 2, 0xabcd);
                region.write8(offset, 0xef);
                assert_eq!(region.read32(offset), 0xabcd_56ef);
                // The same bytes in the file: the region starts where the kernel said.
                assert_eq!(region.session.read(START, offset), Ok(0xabcd_56ef_u32.to_le_bytes()));
            }
        }
    }

    #[test]
    fn an_access_outside_or_not_aligned_reads_all_ones_and_writes_nothing() {
        for region in every_kind() {
            for offset in [4 * PAGE, 4 * PAGE - 2, u64::MAX, u64::MAX - 3, 1, 2, 3, PAGE + 2] {
                region.write32(offset, 0);
                assert_eq!(region.read32(offset), u32::MAX, "{offset:#x}");
                assert!(region.doorbell(offset, Width::Double).is_none());
            }
            assert_eq!((region.read16(4 * PAGE - 1), region.read8(4 * PAGE)), (u16::MAX, u8::MAX));
            assert_eq!((region.read32(0), region.read32(PAGE), region.read32(4 * PAGE - 4)), (0, 0, 0));
        }
    }

    #[test]
    fn a_doorbell_outlives_its_region_mapped_or_not() {
        for (region, mapped) in every_kind().into_iter().zip([true, false, false]) {
            let session = Arc::clone(&region.session);
            let doorbell = region.doorbell(PAGE + 4, Width::Word).unwrap();
            assert_eq!(matches!(doorbell, Doorbell::Mmio(_)), mapped);
            drop(region);
            doorbell.ring(0x1_0042);
            assert_eq!(session.read(START, PAGE + 4), Ok(0x42u32.to_le_bytes()));
        }
    }

    #[test]
    fn a_region_that_the_kernel_says_nothing_may_be_done_with_is_left_alone() {
        let region = region(0, None);
        region.write32(0, 7);
        assert_eq!(region.read32(0), u32::MAX);
        assert_eq!(region.session.read(START, 0), Ok([0; 4]));
        assert!(region.doorbell(0, Width::Double).is_none());
    }

    #[test]
    fn areas_that_are_not_inside_or_not_whole_pages_are_not_mapped() {
        let mapped = READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP;
        let areas = [(0, 5 * PAGE), (1, PAGE), (PAGE, 0), (u64::MAX - PAGE + 1, PAGE), (PAGE, PAGE)];
        let layout = Layout::read(&answer(mapped, 4 * PAGE, START, Some(&areas))).unwrap();
        assert_eq!(layout.mappable, [(PAGE, PAGE)]);
        // No area at all: everything by system calls.
        assert_eq!(Layout::read(&answer(mapped, 4 * PAGE, START, Some(&[]))).unwrap().mappable, []);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error() {
        for (length, start) in [(u64::MAX, 1), (1, u64::MAX), (1 << 62, 1 << 62)] {
            assert!(Layout::read(&answer(READ_WRITE, length, start, None)).is_err());
        }
        assert!(Layout::read(&Information::made_up(vec![0; 8], HEAD)).is_err());
        assert!(Layout::read(&Information::made_up(vec![0xff; HEAD + 8], HEAD)).is_err());
    }
}
