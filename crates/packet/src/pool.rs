//! The pool that packets come from and go back to.
//!
//! Buffers pass between threads as magazines of 32 numbers through a lock-free queue: one pair of atomic
//! operations for 32 buffers. Each receive queue works from a stock of its own, each transmit queue gathers what it
//! sent (see `cache.rs`). A packet that is dropped anywhere else goes back alone, through a second queue, more slowly.
//!
//! The two queues are crossbeam's, and so is the proof that a number that comes out has everything before it behind
//! it: bytes and metadata need no synchronisation of their own.
//!
//! The pool's memory lives as long as anyone holds the pool, one of its packets, batches or caches.

use crate::metadata::Metadata;
use crate::word::{Word, flag};
use crate::{Error, Packet};
use crossbeam_queue::ArrayQueue;
use ringway_dma::{AddressSpace, BufferSize, Buffers, PageSize, Placement};
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many numbers a magazine holds.
pub const MAGAZINE: usize = 32;

/// Bytes before a received packet's first byte: room for headers to be prepended (256, as AF_XDP asks too).
pub const HEADROOM: u32 = 256;

/// Buffers that are free, on their way between threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Magazine(pub(crate) [u32; MAGAZINE]);

/// What a pool is made of.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// How many buffers. Enough for: the slots of all receive rings and transmit rings, up to 287 free ones that each
    /// receive queue keeps at hand (its batch, in whole magazines), 31 that each transmit queue gathers, and what the
    /// program itself holds. With fewer, the receive queues go short.
    pub buffers: u32,
    /// How large each is.
    pub buffer_size: BufferSize,
    /// Where their memory comes from.
    pub placement: Placement,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { buffers: 4096, buffer_size: BufferSize::default(), placement: Placement::default() }
    }
}

/// A shared handle to a set of packet buffers.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) buffers: Buffers,
    metadata: Box<[UnsafeCell<Metadata>]>,
    magazines: ArrayQueue<Magazine>,
    loose: ArrayQueue<u32>,
    lost: AtomicU32,
}

// SAFETY: buffers and metadata are reached only through a number, by the one word, ring or cache that holds it
// (the invariant of `word`); the queues are made for sharing.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Pool {
    /// A pool in `space`, all of its buffers free.
    ///
    /// # Errors
    /// When memory or addresses are short, or the count is not possible.
    pub fn new(space: &AddressSpace, options: PoolOptions) -> Result<Self, Error> {
        let buffers = Buffers::allocate(space, options.buffers, options.buffer_size, options.placement)?;
        let count = buffers.count();
        let inner = Inner {
            metadata: (0..count).map(|_| UnsafeCell::new(Metadata::default())).collect(),
            magazines: ArrayQueue::new((count as usize).div_ceil(MAGAZINE)),
            loose: ArrayQueue::new(count as usize),
            buffers,
            lost: AtomicU32::new(0),
        };
        let mut numbers = 0..count;
        while numbers.len() >= MAGAZINE {
            let mut magazine = Magazine([0; MAGAZINE]);
            magazine.0.iter_mut().zip(numbers.by_ref()).for_each(|(place, number)| *place = number);
            inner.put_magazine(magazine);
        }
        numbers.for_each(|number| inner.put(number));
        Ok(Self { inner: Arc::new(inner) })
    }

    /// An empty packet, with the headroom before it.
    ///
    /// # Errors
    /// When no buffer is free.
    pub fn packet(&self) -> Result<Packet, Error> {
        let number = self.inner.get().ok_or(Error::Empty { buffers: self.buffers() })?;
        Ok(Packet::new(self.clone(), Word::new(number, self.inner.size(), HEADROOM, 0)))
    }

    /// A packet with a copy of `bytes`.
    ///
    /// # Errors
    /// When no buffer is free, or one buffer doesn't hold them.
    pub fn packet_from(&self, bytes: &[u8]) -> Result<Packet, Error> {
        let mut packet = self.packet()?;
        packet.frame_mut().append(bytes.len())?.copy_from_slice(bytes);
        Ok(packet)
    }

    /// Whether two handles are to the same pool.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// How many buffers there are.
    pub fn buffers(&self) -> u32 {
        self.inner.buffers.count()
    }

    /// How many are free now, those in the queues' own caches not counted.
    pub fn available(&self) -> u32 {
        let whole = self.inner.magazines.len().saturating_mul(MAGAZINE);
        u32::try_from(whole.saturating_add(self.inner.loose.len())).unwrap_or(u32::MAX)
    }

    /// How many will never be used again, because a device that had them did not stop.
    pub fn lost(&self) -> u32 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// The longest packet that one buffer holds behind the headroom, in bytes.
    pub fn packet_capacity(&self) -> u32 {
        self.inner.buffers.size().bytes().saturating_sub(HEADROOM)
    }

    /// The pages that the buffers lie in.
    pub fn pages(&self) -> PageSize {
        self.inner.buffers.pages()
    }

    /// Bytes of memory that devices reach, whole pages.
    pub fn bytes(&self) -> usize {
        self.inner.buffers.bytes()
    }

    /// The address space that the buffers are in.
    pub fn address_space(&self) -> &AddressSpace {
        self.inner.buffers.space()
    }
}

impl Inner {
    /// A free buffer, the slow way.
    pub(crate) fn get(&self) -> Option<u32> {
        if let Some(number) = self.loose.pop() {
            return Some(number);
        }
        let Magazine(numbers) = self.magazines.pop()?;
        let (first, rest) = numbers.split_first()?;
        rest.iter().for_each(|&number| self.put(number));
        Some(*first)
    }

    /// Gives one buffer back, the slow way.
    pub(crate) fn put(&self, number: u32) {
        // There is room for every buffer of the pool, so this never fails.
        if self.loose.push(number).is_err() {
            self.lose(1);
        }
    }

    #[inline(always)]
    pub(crate) fn get_magazine(&self) -> Option<Magazine> {
        self.magazines.pop()
    }

    #[inline(always)]
    pub(crate) fn put_magazine(&self, magazine: Magazine) {
        // There is room for every buffer of the pool, so this never fails.
        if self.magazines.push(magazine).is_err() {
            self.lose(MAGAZINE as u32);
        }
    }

    /// Gives many back: whole magazines at once, what is left over alone.
    pub(crate) fn put_all(&self, mut numbers: impl Iterator<Item = u32>) {
        let mut magazine = Magazine([0; MAGAZINE]);
        loop {
            let mut filled = 0;
            for (place, number) in magazine.0.iter_mut().zip(numbers.by_ref()) {
                *place = number;
                filled += 1;
            }
            if filled < MAGAZINE {
                magazine.0.iter().take(filled).for_each(|&number| self.put(number));
                return;
            }
            self.put_magazine(magazine);
        }
    }

    /// Counts buffers that stay with a device for ever.
    #[cold]
    pub(crate) fn lose(&self, count: u32) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// The size of a buffer as a power of two.
    #[inline(always)]
    pub(crate) fn shift(&self) -> u32 {
        self.buffers.size().shift()
    }

    /// The size of a buffer in bytes.
    #[inline(always)]
    pub(crate) fn size(&self) -> u64 {
        1u64.wrapping_shl(self.shift())
    }

    /// A packet's first byte.
    ///
    /// # Safety
    /// `word` keeps the invariant of `word.rs` and is of this pool.
    #[inline(always)]
    pub(crate) unsafe fn place(&self, word: Word) -> *mut u8 {
        // SAFETY: the position lies in the region, by the caller's word.
        unsafe { self.buffers.base().as_ptr().add(word.position() as usize) }
    }

    /// The metadata of the buffer of `word`.
    ///
    /// # Safety
    /// As for [`place`](Self::place).
    #[inline(always)]
    pub(crate) unsafe fn metadata(&self, word: Word) -> *mut Metadata {
        // SAFETY: there is one for each buffer.
        unsafe { self.metadata.get_unchecked(word.number(self.shift()) as usize) }.get()
    }

    /// Puts `next` behind the last segment of the packet of `word`.
    ///
    /// # Safety
    /// The caller owns both packets, and `next` is part of the first from now on.
    pub(crate) unsafe fn link(&self, word: &mut Word, next: Word) {
        let mut last: *mut Word = word;
        // SAFETY: `last` points at the packet's word or into the metadata of its chain: all of it the caller's.
        unsafe {
            while (*last).has(flag::SEGMENTED) {
                last = &raw mut (*self.metadata(*last)).next;
            }
            (*self.metadata(*last)).next = next;
            (*last).0 |= flag::SEGMENTED;
        }
    }

    /// The numbers of a packet's buffers, first to last.
    ///
    /// # Safety
    /// The caller owns the packet of `word`, and does until the iterator is done.
    pub(crate) unsafe fn numbers_of(&self, word: Word) -> impl Iterator<Item = u32> + '_ {
        let mut next = Some(word);
        std::iter::from_fn(move || {
            let word = next?;
            next = if word.has(flag::SEGMENTED) {
                // SAFETY: the chain's buffers belong to the packet's owner; its words keep the invariant.
                Some(unsafe { (*self.metadata(word)).next })
            } else {
                None
            };
            Some(word.number(self.shift()))
        })
    }
}
