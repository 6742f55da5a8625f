//! Descriptor rings: arrays of atomic words that a device reads and writes too.
//!
//! A ring hands out elements by masked index, so no index is out of bounds and none is checked. Elements are
//! atomics: a device changes them at any time, and what is read from them is a claim to be checked (rule 3).
//! Which words say where memory is, is part of the element's type: an [`AddressWord`] takes addresses of lent
//! buffers and of ring memory, never an integer; and no ring is laid over another's words where hardware would see it. A
//! device may access a word in other sizes than the driver: the language doesn't say what atomics of different sizes do in one place, every
//! processor does (see `copy.rs`). This module knows no device; drivers give the words their
//! meaning.

use crate::region::Region;
use crate::{AddressSpace, Error, Iova, Placement};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(not(target_endian = "little"))]
compile_error!("descriptors are little-endian in memory; only little-endian machines are supported");

/// Every block starts at a multiple of this, in memory and for the device: twice a cache line, since processors
/// fetch lines in pairs, and what the 82599 asks of a ring base (82599 datasheet, section 7.1.9).
pub const BLOCK_ALIGNMENT: usize = 128;

/// The word of a descriptor that says where memory is.
#[repr(transparent)]
#[derive(Debug)]
pub struct AddressWord(AtomicU64);

impl AddressWord {
    /// The word as it is now. Devices overwrite it on write-back, so it is no address any more.
    #[inline(always)]
    pub fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    /// Points at an element of ring memory. Ring memory is never anything else, so this harms nobody; the
    /// element must belong to a ring that is kept for as long as the device runs.
    #[inline]
    pub fn point_at<E: Element>(&self, ring: &Ring<E>, index: u32) {
        self.0.store(ring.iova_of(index), Ordering::Relaxed);
    }

    /// Points nowhere: no memory is ever mapped at address 0.
    #[inline(always)]
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Lends memory to the device.
    ///
    /// # Safety
    /// The memory at `iova` is mapped for the ring's device and recorded as lent to this ring; nothing in the
    /// program reads or writes it until it is taken back.
    #[inline(always)]
    pub unsafe fn lend(&self, iova: u64) {
        self.0.store(iova, Ordering::Relaxed);
    }
}

/// A descriptor of 16 bytes: where, and what (82599 advanced descriptors, virtio descriptors).
#[repr(C, align(16))]
#[derive(Debug)]
pub struct Descriptor {
    /// Where the memory is.
    pub address: AddressWord,
    /// The second word: length, flags, status.
    pub word: AtomicU64,
}

/// Two 32-bit words (an element of virtio's used ring).
#[repr(C, align(4))]
#[derive(Debug)]
pub struct Pair {
    /// The first word.
    pub first: AtomicU32,
    /// The second word.
    pub second: AtomicU32,
}

mod sealed {
    pub trait Sealed {}
}

/// What ring memory can be made of: atomics, for which any bits are valid.
pub trait Element: sealed::Sealed + Send + Sync + 'static {}

macro_rules! elements {
    ($($element:ty),*) => { $(impl sealed::Sealed for $element {} impl Element for $element {})* };
}
elements!(AtomicU16, AtomicU32, AtomicU64, Descriptor, Pair);

/// Memory for rings and other structures that a device shares with its driver, in one mapping.
#[derive(Debug)]
pub struct RingMemory {
    region: Arc<Region>,
    used: usize,
    /// On an emulated space each access of a device is checked, and rings may lie over one another.
    emulated: bool,
}

impl RingMemory {
    /// Memory for blocks of `bytes` bytes each, in the order in which [`block`](Self::block) will take them.
    ///
    /// # Errors
    /// When the kernel gives no memory or the address space no room.
    pub fn allocate(space: &AddressSpace, placement: Placement, blocks: &[usize]) -> Result<Self, Error> {
        let bytes = blocks
            .iter()
            .try_fold(0usize, |sum, &bytes| sum.checked_add(bytes.checked_next_multiple_of(BLOCK_ALIGNMENT)?))
            .ok_or(Error::Size {
                what: "ring memory",
                value: u64::MAX,
                allowed: "less than the address space",
            })?;
        let region = Arc::new(Region::allocate(space, bytes, placement, None)?);
        Ok(Self { region, used: 0, emulated: space.is_emulated() })
    }

    /// Takes the next block.
    ///
    /// # Errors
    /// When less is left than asked for.
    pub fn block(&mut self, bytes: usize) -> Result<Block, Error> {
        let length = self.region.length();
        let end = bytes
            .checked_next_multiple_of(BLOCK_ALIGNMENT)
            .and_then(|bytes| bytes.checked_add(self.used))
            .filter(|&end| end <= length)
            .ok_or(Error::Size {
                what: "block of ring memory",
                value: bytes as u64,
                allowed: "what is left",
            })?;
        let taken = (!self.emulated).then(Mutex::default);
        let block = Block { region: Arc::clone(&self.region), offset: self.used, bytes, taken };
        self.used = end;
        Ok(block)
    }

    /// Bytes mapped, whole pages.
    pub fn bytes(&self) -> usize {
        self.region.length()
    }
}

/// Contiguous, zeroed memory that a device is told the base of. Rings lie in it.
#[derive(Debug)]
pub struct Block {
    region: Arc<Region>,
    offset: usize,
    bytes: usize,
    /// Where rings lie, so that none is laid over another's address words. `None`: nothing depends on it.
    taken: Option<Mutex<Vec<Range<usize>>>>,
}

impl Block {
    /// An array of `count` elements, `offset` bytes into the block.
    ///
    /// # Errors
    /// When `count` is not a power of two, the array does not lie in the block, aligned, or it overlaps one that was
    /// made before: plain words over descriptors could write addresses. (On an emulated space, where a model's tests
    /// do that, each access of the device is checked instead.)
    pub fn ring<E: Element>(&self, offset: usize, count: u32) -> Result<Ring<E>, Error> {
        let refused = |value: u64, allowed| Error::Size { what: "ring in its block", value, allowed };
        if !count.is_power_of_two() {
            return Err(refused(count.into(), "a power of two"));
        }
        let end = (count as usize)
            .checked_mul(size_of::<E>())
            .and_then(|bytes| bytes.checked_add(offset))
            .filter(|&end| end <= self.bytes && offset.is_multiple_of(align_of::<E>()));
        let Some(end) = end else {
            return Err(refused(offset as u64, "an aligned offset that leaves room for the ring"));
        };
        if let Some(taken) = &self.taken {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.iter().any(|other| offset < other.end && other.start < end) {
                return Err(refused(offset as u64, "a place that no other ring takes"));
            }
            taken.push(offset..end);
        }
        let start = self.offset.saturating_add(offset);
        // SAFETY: `block` checked that the block lies in the region, and the above that the ring lies in the block.
        let base = unsafe { self.region.base().add(start) }.cast();
        let iova = self.region.iova().get().saturating_add(start as u64);
        Ok(Ring {
            base,
            mask: count.wrapping_sub(1),
            iova,
            numbers: false,
            region: Arc::clone(&self.region),
            _elements: PhantomData,
        })
    }

    /// What a device is told as the place of what lies `offset` bytes into the block.
    ///
    /// # Errors
    /// When that is outside the block.
    pub fn base(&self, offset: usize) -> Result<RingBase, Error> {
        if offset >= self.bytes {
            return Err(Error::Size {
                what: "offset of a ring base",
                value: offset as u64,
                allowed: "inside the block",
            });
        }
        let start = self.offset.saturating_add(offset) as u64;
        Ok(RingBase(self.region.iova().get().saturating_add(start)))
    }
}

/// The base address of ring memory: what ring-base registers are written with. There is no way to make one from
/// an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBase(u64);

impl RingBase {
    /// The address as a device's registers take it.
    pub fn iova(self) -> Iova {
        Iova::new(self.0)
    }

    /// Its low 32 bits.
    pub fn low(self) -> u32 {
        self.0 as u32
    }

    /// Its high 32 bits.
    pub fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A power of two of elements that a device sees too. It keeps its memory.
#[derive(Debug)]
pub struct Ring<E> {
    base: NonNull<E>,
    mask: u32,
    iova: u64,
    /// Nothing is mapped below 4 GiB: see [`Ring::allow_numbers`].
    numbers: bool,
    region: Arc<Region>,
    _elements: PhantomData<E>,
}

// SAFETY: a ring owns a share of its memory and reaches it only through atomics (`Element` is sealed).
unsafe impl<E: Element> Send for Ring<E> {}
// SAFETY: as above.
unsafe impl<E: Element> Sync for Ring<E> {}

impl<E: Element> Ring<E> {
    /// The element at `index` modulo the ring's size.
    #[inline(always)]
    pub fn at(&self, index: u32) -> &E {
        // SAFETY: the masked index is below the count for which `Block::ring` checked room; any bits are a valid
        // element; the memory is kept by `region`.
        unsafe { self.base.add((index & self.mask) as usize).as_ref() }
    }

    /// The elements from `index` (modulo the ring's size) to the end of the ring: never none.
    #[inline(always)]
    pub fn run(&self, index: u32) -> &[E] {
        let start = (index & self.mask) as usize;
        let count = (self.mask as usize).wrapping_add(1).wrapping_sub(start);
        // SAFETY: as in `at`, for all elements from there to the last; they are atomics, so shared references to them
        // may be had while others change them.
        unsafe { std::slice::from_raw_parts(self.base.add(start).as_ptr(), count) }
    }

    /// The number of elements minus one: `index & mask` is the element's place.
    #[inline(always)]
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// The number of elements: a power of two.
    pub fn count(&self) -> u32 {
        self.mask.wrapping_add(1)
    }

    /// Sees to it that nothing is ever mapped below 4 GiB in the ring's address space; then [`say`](Ring::say) works.
    /// `false`: memory is mapped there already, since the translating unit has too little room above.
    pub fn allow_numbers(&mut self) -> bool {
        self.numbers = self.region.space().keep_low_free();
        self.numbers
    }

    fn iova_of(&self, index: u32) -> u64 {
        let offset = u64::from(index & self.mask).saturating_mul(size_of::<E>() as u64);
        self.iova.saturating_add(offset)
    }
}

impl Ring<Descriptor> {
    /// Writes a descriptor that names no memory but tells the device something: `number` stands where the address would (the
    /// 82599's context descriptors). A device that takes the number for an address finds nothing there, since no memory
    /// is mapped below 4 GiB. `false`, and nothing is written, without [`allow_numbers`](Ring::allow_numbers).
    #[inline]
    pub fn say(&self, index: u32, number: u32, word: u64) -> bool {
        if !self.numbers {
            return false;
        }
        let descriptor = self.at(index);
        descriptor.address.0.store(number.into(), Ordering::Relaxed);
        descriptor.word.store(word, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> (AddressSpace, Block) {
        let space = AddressSpace::emulated();
        let mut memory = RingMemory::allocate(&space, Placement::default(), &[bytes]).unwrap();
        let block = memory.block(bytes).unwrap();
        (space, block)
    }

    #[test]
    fn any_index_lands_in_the_ring() {
        let (_space, block) = block(8 * 16);
        let ring = block.ring::<Descriptor>(0, 8).unwrap();
        for index in [0u32, 7, 8, 1 << 31, u32::MAX] {
            ring.at(index).word.store(u64::from(index), Ordering::Relaxed);
            assert_eq!(ring.at(index & 7).word.load(Ordering::Relaxed), u64::from(index));
            let run = ring.run(index);
            assert_eq!(run.len() as u32, 8 - (index & 7));
            assert_eq!(run[0].word.load(Ordering::Relaxed), u64::from(index));
        }
    }

    #[test]
    fn a_ring_beyond_its_block_or_out_of_alignment_is_refused() {
        let (_space, block) = block(100);
        assert!(block.ring::<Descriptor>(0, 8).is_err());
        assert!(block.ring::<AtomicU16>(1, 2).is_err());
        assert!(block.ring::<AtomicU16>(98, 1).is_ok());
        assert!(block.ring::<AtomicU16>(98, 2).is_err());
        assert!(block.ring::<AtomicU16>(0, 3).is_err());
        assert!(block.ring::<AtomicU16>(usize::MAX, 1).is_err());
        assert!(block.base(100).is_err());
    }

    #[test]
    fn the_device_sees_what_the_driver_writes_and_the_other_way_round() {
        let (space, block) = block(4096);
        let mut device = space.device_view().unwrap();
        let ring = block.ring::<Descriptor>(0, 4).unwrap();
        let base = block.base(0).unwrap().iova();
        ring.at(2).word.store(0x1122_3344_5566_7788, Ordering::Release);
        let word = base.checked_add(2 * 16 + 8).unwrap();
        assert_eq!(device.load_u64(word).unwrap(), 0x1122_3344_5566_7788);
        device.store_u64(word, 1).unwrap();
        assert_eq!(ring.at(6).word.load(Ordering::Acquire), 1);
        assert!(device.load_u64(base.checked_add(1).unwrap()).is_err());
    }

    #[test]
    fn an_address_word_points_at_ring_memory() {
        let (space, block) = block(4096);
        let ring = block.ring::<Descriptor>(0, 4).unwrap();
        let target = block.ring::<AtomicU32>(64, 4).unwrap();
        ring.at(0).address.point_at(&target, 3);
        let place = Iova::new(ring.at(0).address.load(Ordering::Relaxed));
        space.device_view().unwrap().store_u32(place, 7).unwrap();
        assert_eq!(target.at(3).load(Ordering::Relaxed), 7);
        ring.at(0).address.clear();
        assert_eq!(ring.at(0).address.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_number_stands_in_for_an_address_only_where_no_low_memory_can_be_hit() {
        let (space, block) = block(4096);
        let mut ring = block.ring::<Descriptor>(0, 4).unwrap();
        assert!(!ring.say(1, 7, 8), "not before it is allowed");
        assert_eq!(ring.at(1).word.load(Ordering::Relaxed), 0);
        assert!(ring.allow_numbers() && ring.say(1, 7, 8));
        assert_eq!(ring.at(1).address.load(Ordering::Relaxed), 7);
        assert_eq!(ring.at(1).word.load(Ordering::Relaxed), 8);
        assert!(space.ranges().iter().all(|range| range.first.get() >= 1 << 32));
        // An address space without room above 4 GiB has its memory below.
        let narrow = AddressSpace::emulated_with_width(32);
        let mut memory = RingMemory::allocate(&narrow, Placement::default(), &[4096]).unwrap();
        let mut ring = memory.block(4096).unwrap().ring::<Descriptor>(0, 4).unwrap();
        assert!(!ring.allow_numbers() && !ring.say(0, 7, 8));
    }

    #[test]
    fn blocks_do_not_overlap_and_end_with_the_memory() {
        let space = AddressSpace::emulated();
        let mut memory = RingMemory::allocate(&space, Placement::default(), &[10, 4000]).unwrap();
        let first = memory.block(10).unwrap().base(0).unwrap();
        let second = memory.block(3960).unwrap().base(0).unwrap();
        assert_eq!(second.iova().get() - first.iova().get(), BLOCK_ALIGNMENT as u64);
        assert_eq!(first.iova().get() % BLOCK_ALIGNMENT as u64, 0);
        assert!(memory.block(usize::MAX).is_err());
        assert!(memory.block(8192).is_err());
    }
}
