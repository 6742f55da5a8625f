//! What address spaces promise, on a translating unit that does as the test says.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use ringway_dma::{
    AddressSpace, BackendError, BufferSize, Buffers, Descriptor, Error, Fault, Iommu, Iova, IovaRange,
    Limits, Mapping, Placement, RingMemory, Usage,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const WELL: u8 = 0;
const REFUSES: u8 = 1;
const PANICS: u8 = 2;

/// Records what is mapped, and behaves as told.
#[derive(Debug, Default)]
struct Unit {
    map: AtomicU8,
    unmap: AtomicU8,
    /// Where in the process each mapping lies, by its address for the device.
    mapped: Mutex<Vec<(Iova, usize, usize)>>,
}

#[derive(Debug, Clone, Default)]
struct Handle(Arc<Unit>);

impl Handle {
    fn space(&self) -> AddressSpace {
        AddressSpace::new(Box::new(self.clone())).unwrap()
    }
}

fn behave(how: &AtomicU8) -> Result<(), BackendError> {
    match how.load(Ordering::Relaxed) {
        WELL => Ok(()),
        REFUSES => Err("as told".into()),
        _ => std::panic::resume_unwind(Box::new("as told")),
    }
}

// SAFETY: no device is behind it, so nothing is ever reached through it.
unsafe impl Iommu for Handle {
    fn limits(&self) -> Result<Limits, BackendError> {
        let range = |first, last| IovaRange { first: Iova::new(first), last: Iova::new(last) };
        let ranges = vec![range(0, 0xfedf_ffff), range(0xfef0_0000, (1 << 39) - 1)];
        Ok(Limits { ranges, page_sizes: 4096 | 2 << 20, mappings: Some(3) })
    }

    unsafe fn map(&self, mapping: Mapping<'_>) -> Result<(), BackendError> {
        assert!(mapping.length.is_multiple_of(4096) && mapping.iova.get().is_multiple_of(4096));
        // Under Miri there are no memory files.
        assert!(cfg!(miri) || mapping.file.is_some());
        behave(&self.0.map)?;
        let place = mapping.memory.as_ptr().addr();
        self.0.mapped.lock().unwrap().push((mapping.iova, place, mapping.length));
        Ok(())
    }

    fn unmap(&self, iova: Iova, length: usize) -> Result<(), BackendError> {
        behave(&self.0.unmap)?;
        self.0.mapped.lock().unwrap().retain(|&mapping| (mapping.0, mapping.2) != (iova, length));
        Ok(())
    }
}

/// Whether the page at `place` is mapped in this process.
fn is_there(place: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter_map(|line| line.split_whitespace().next()?.split_once('-')).any(|(from, to)| {
        let bound = |text| usize::from_str_radix(text, 16).unwrap();
        (bound(from)..bound(to)).contains(&place)
    })
}

fn buffers(space: &AddressSpace) -> Result<Buffers, Error> {
    Buffers::allocate(space, 16, BufferSize::Bytes4096, Placement::default())
}

#[test]
fn memory_is_unmapped_from_the_device_when_its_last_user_goes() {
    let unit = Handle::default();
    let space = unit.space();
    let mut memory = RingMemory::allocate(&space, Placement::default(), &[4096]).unwrap();
    let ring = memory.block(4096).unwrap().ring::<Descriptor>(0, 8).unwrap();
    drop(memory);
    assert_eq!((space.usage().mappings, space.usage().bytes), (1, 4096));
    assert_eq!(unit.0.mapped.lock().unwrap().len(), 1);
    ring.at(0).word.store(1, Ordering::Relaxed);
    drop(ring);
    assert_eq!(space.usage(), Usage::default());
    assert!(unit.0.mapped.lock().unwrap().is_empty());
    assert!(!space.is_emulated() && space.device_view().is_none());
}

#[test]
fn what_can_not_be_unmapped_is_kept_and_its_addresses_never_used_again() {
    for how in [REFUSES, PANICS] {
        let unit = Handle::default();
        let space = unit.space();
        let kept = buffers(&space).unwrap();
        let (place, iova) = (kept.base().as_ptr().addr(), kept.base_iova());
        unit.0.unmap.store(how, Ordering::Relaxed);
        assert_eq!(catch_unwind(AssertUnwindSafe(|| drop(kept))).is_err(), how == PANICS);
        assert!(cfg!(miri) || is_there(place), "freed under the device");
        if how == REFUSES {
            assert_eq!((space.usage().stranded_bytes, space.usage().mappings), (65536, 1));
        }
        unit.0.unmap.store(WELL, Ordering::Relaxed);
        let next = buffers(&space).unwrap();
        assert!(next.base_iova() >= iova + 65536);
    }
}

#[test]
fn what_was_refused_takes_neither_memory_nor_addresses() {
    let unit = Handle::default();
    let space = unit.space();
    unit.0.map.store(REFUSES, Ordering::Relaxed);
    let error = buffers(&space).unwrap_err();
    assert_eq!(error.to_string(), "can't map 65536 bytes at I/O virtual address 0x100000000: as told");
    assert_eq!(space.usage(), Usage::default());
    unit.0.map.store(PANICS, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| buffers(&space))).is_err());
    unit.0.map.store(WELL, Ordering::Relaxed);
    // The space works on, although a back end unwound out of it.
    let all: Vec<Buffers> = (0..3).map(|_| buffers(&space).unwrap()).collect();
    assert!(matches!(buffers(&space), Err(Error::Size { what: "number of mappings", value: 4, .. })));
    drop(all);
    assert!(buffers(&space).is_ok());
}

#[test]
fn a_device_reaches_rings_always_and_buffers_while_they_are_lent() {
    let space = AddressSpace::emulated_with_width(39);
    let mut view = space.device_view().unwrap();
    let set = Buffers::allocate(&space, 3, BufferSize::Bytes2048, Placement::default()).unwrap();
    let table = set.lent_table().unwrap();
    let at = |offset: u64| Iova::new(set.base_iova() + offset);
    let refused = |result| matches!(result, Err(Fault::NotLent { .. }));

    assert!(refused(view.write(at(2048), &[1; 8])));
    // SAFETY: nothing in this test touches the buffer until it is taken back.
    unsafe { table.lend([1, 77].into_iter()) };
    assert_eq!(table.count(), 1);
    view.write(at(2048), &[1; 2048]).unwrap();
    assert_eq!(view.load_u16(at(4094)), Ok(0x0101));
    assert!(refused(view.write(at(2047), &[2; 2])), "it starts in the buffer before");
    assert!(refused(view.write(at(4095), &[2; 2])), "it ends in the buffer behind");
    assert!(refused(view.store_u64(at(4096), 2)));
    assert!(refused(view.read(at(0), &mut [0; 6144])));
    assert!(refused(view.read(at(6144), &mut [])), "the rest of the page is nobody's");
    assert!(matches!(view.load_u32(at(2049)), Err(Fault::Misaligned { bytes: 4, .. })));
    assert!(matches!(view.read(at(8192), &mut [0]), Err(Fault::NotMapped { .. })));
    assert!(matches!(view.read(Iova::new(0), &mut [0]), Err(Fault::NotMapped { .. })));
    assert!(matches!(view.read(Iova::new(u64::MAX), &mut [0; 2]), Err(Fault::NotMapped { .. })));
    table.take_back([1, 77].into_iter());
    assert!(refused(view.read(at(2048), &mut [0])));
    // SAFETY: the mark is gone; no device reaches the buffer, and the set is this test's own.
    assert_eq!(unsafe { set.base().add(4095).read() }, 1);

    let stale = at(2048);
    drop(set);
    assert!(matches!(view.read(stale, &mut [0]), Err(Fault::NotMapped { .. })));
    assert_eq!(space.usage(), Usage::default());
}

#[test]
fn no_ring_is_laid_over_anothers_words_where_hardware_sees_it() {
    let space = Handle::default().space();
    let mut memory = RingMemory::allocate(&space, Placement::default(), &[4096, 4096]).unwrap();
    let block = memory.block(4096).unwrap();
    let descriptors = block.ring::<Descriptor>(256, 8).unwrap();
    for offset in [256, 264, 256 + 8 * 16 - 8] {
        let message = block.ring::<AtomicU64>(offset, 1).unwrap_err().to_string();
        assert!(message.contains("no other ring"), "{message}");
    }
    assert!(block.ring::<AtomicU64>(192, 16).is_err(), "from before into it");
    assert!(block.ring::<AtomicU64>(0, 512).is_err(), "around it");
    // Neither when it is gone: the device may know its place.
    drop(descriptors);
    assert!(block.ring::<AtomicU64>(256, 1).is_err());
    block.ring::<AtomicU64>(248, 1).unwrap();
    block.ring::<AtomicU64>(256 + 8 * 16, 1).unwrap();
    memory.block(4096).unwrap().ring::<AtomicU64>(256, 1).unwrap();
}
