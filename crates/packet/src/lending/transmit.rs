//! The buffers of a transmit ring.

use super::{NONE, in_space, records};
use crate::cache::Cache;
use crate::word::{Word, flag};
use crate::{Batch, Error, Pool};
use ringway_dma::{AddressWord, Attachment, DeviceId, Quiesced};

/// A record's upper byte says which of the queue's pools the buffer is of.
const POOL_SHIFT: u32 = 24;
const NUMBER: u32 = (1 << POOL_SHIFT) - 1;
/// The most pools of one queue.
const MAXIMUM_POOLS: usize = 255;

/// The buffers that a transmit ring holds, one a slot, of the pools that the queue may send from.
///
/// Dropped without [`release`](Self::release) it doesn't know whether the device has stopped: the buffers are then
/// never used again, and their pools count them as lost.
#[derive(Debug)]
pub struct TransmitBuffers {
    owners: Box<[u32]>,
    mask: u32,
    /// One cache a pool: buffers that are back.
    caches: Vec<Cache>,
    device: DeviceId,
}

/// What the front of a batch is, to a driver that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The bytes of this segment.
    pub length: u32,
    /// Whether the packet ends with it.
    pub last: bool,
}

impl TransmitBuffers {
    /// For a ring of `slots` descriptors (a power of two up to 32768) of `device`, that may send from `pools`.
    ///
    /// # Errors
    /// For a ring size that is not possible, no pool at all or too many of them, and a pool that the device doesn't
    /// reach.
    pub fn new(pools: &[Pool], slots: u32, device: &Attachment) -> Result<Self, Error> {
        if pools.is_empty() || pools.len() > MAXIMUM_POOLS {
            return Err(Error::WrongPool);
        }
        pools.iter().try_for_each(|pool| in_space(pool, device))?;
        Ok(Self {
            owners: records(slots)?,
            mask: slots.wrapping_sub(1),
            caches: pools.iter().cloned().map(Cache::new).collect(),
            device: device.id(),
        })
    }

    /// Starts to send what is in `batch`. `prefix` bytes before each packet go with it: what the device wants to be
    /// told, written into the headroom with [`Sending::prefix_mut`].
    ///
    /// # Errors
    /// When the batch is of a pool that the queue was not started with.
    #[inline]
    pub fn send<'a>(&'a mut self, batch: &'a mut Batch, prefix: u32) -> Result<Sending<'a>, Error> {
        let index =
            self.caches.iter().position(|cache| cache.pool.is_same(&batch.pool)).ok_or(Error::WrongPool)?;
        let buffers = &batch.pool.inner.buffers;
        // The packets are the round's until it is dropped. A round that is forgotten takes them along: what it lent is
        // then nowhere else.
        let total = std::mem::take(&mut batch.length);
        Ok(Sending {
            base: buffers.base_iova().wrapping_sub(prefix.into()),
            shift: buffers.size().shift(),
            tag: (index as u32) << POOL_SHIFT,
            prefix,
            total,
            sent: 0,
            segment: None,
            batch,
            buffers: self,
        })
    }

    /// Takes back the buffers of `count` slots from `first` on, which the device is done with. Slots that hold none
    /// are passed over. Says how many were taken.
    #[inline]
    pub fn take_back(&mut self, first: u32, count: u32) -> u32 {
        let start = (first & self.mask) as usize;
        let until_end = self.owners.len().wrapping_sub(start);
        let count = (count as usize).min(self.owners.len());
        let near = self.take_back_slots(start, count.min(until_end));
        near.wrapping_add(self.take_back_slots(0, count.saturating_sub(until_end)))
    }

    #[inline]
    fn take_back_slots(&mut self, start: usize, count: usize) -> u32 {
        let Self { owners, caches, .. } = self;
        let Some(slots) = owners.get_mut(start..start.wrapping_add(count)) else { return 0 };
        // One pool and no empty slot: the records are the numbers, and go to the cache as they are.
        if let [cache] = caches.as_mut_slice()
            && !slots.contains(&NONE)
        {
            if let Some(table) = cache.pool.inner.buffers.lent_table() {
                table.take_back(slots.iter().copied());
            }
            cache.put_slice(slots);
            slots.fill(NONE);
            return count as u32;
        }
        let mut taken = 0;
        for slot in slots {
            taken += u32::from(take_back_slot(slot, caches));
        }
        taken
    }

    /// Takes back the buffer of one slot, which the device is done with. `false` when it holds none: the device named
    /// a slot that it was not given.
    #[inline]
    pub fn take_back_one(&mut self, slot: u32) -> bool {
        let Self { owners, caches, mask, .. } = self;
        owners.get_mut((slot & *mask) as usize).is_some_and(|slot| take_back_slot(slot, caches))
    }

    /// How many slots hold a buffer.
    pub fn held(&self) -> usize {
        self.owners.iter().filter(|&&owner| owner != NONE).count()
    }

    /// Takes every buffer back, now that the device has stopped.
    pub fn release(mut self, stopped: &Quiesced) {
        if stopped.device() == self.device {
            let slots = self.owners.len() as u32;
            self.take_back(0, slots);
        }
    }
}

#[inline]
fn take_back_slot(slot: &mut u32, caches: &mut [Cache]) -> bool {
    let record = std::mem::replace(slot, NONE);
    if record == NONE {
        return false;
    }
    let Some(cache) = caches.get_mut((record >> POOL_SHIFT) as usize) else { return false };
    let number = record & NUMBER;
    if let Some(table) = cache.pool.inner.buffers.lent_table() {
        table.take_back(std::iter::once(number));
    }
    cache.put(number);
    true
}

impl Drop for TransmitBuffers {
    fn drop(&mut self) {
        for &owner in self.owners.iter().filter(|&&owner| owner != NONE) {
            if let Some(cache) = self.caches.get((owner >> POOL_SHIFT) as usize) {
                cache.pool.inner.lose(1);
            }
        }
    }
}

/// One round of sending: moves packets from the front of the batch to slots.
///
/// Packets leave the batch when it is dropped, and only then the device may be told of them. Forgotten, it loses the
/// packets that were not lent to the pool, no more.
#[derive(Debug)]
pub struct Sending<'a> {
    buffers: &'a mut TransmitBuffers,
    batch: &'a mut Batch,
    base: u64,
    shift: u32,
    tag: u32,
    prefix: u32,
    /// Packets in the batch.
    total: usize,
    /// Packets that went whole.
    sent: usize,
    /// The rest of the packet at the front, when its first segments have gone.
    segment: Option<Word>,
}

impl Sending<'_> {
    /// What is at the front: the segment that [`lend`](Self::lend) moves next.
    #[inline(always)]
    pub fn front(&self) -> Option<Outgoing> {
        let word = self.word()?;
        Some(Outgoing { length: word.length(), last: !word.has(flag::SEGMENTED) })
    }

    /// How many buffers the packet at the front is in.
    #[inline(always)]
    pub fn segments(&self) -> usize {
        match self.word() {
            Some(word) if word.has(flag::SEGMENTED) => self.count(word),
            Some(_) => 1,
            None => 0,
        }
    }

    /// The bytes of the packet at the front, all of its buffers together.
    pub fn packet_length(&self) -> usize {
        let mut next = self.word();
        let mut bytes = 0usize;
        while let Some(word) = next {
            bytes = bytes.wrapping_add(word.length() as usize);
            next = if word.has(flag::SEGMENTED) {
                // SAFETY: the packet belongs to the round, and its chain with it.
                Some(unsafe { (*self.batch.pool.inner.metadata(word.number())).next })
            } else {
                None
            };
        }
        bytes
    }

    #[cold]
    fn count(&self, word: Word) -> usize {
        // SAFETY: the packet belongs to the batch, which is borrowed exclusively.
        unsafe { self.batch.pool.inner.numbers_of(word) }.count()
    }

    /// The bytes before the packet at the front that go with it. `None` when its headroom is shorter: the packet
    /// can't be sent and stays.
    #[inline(always)]
    pub fn prefix_mut(&mut self) -> Option<&mut [u8]> {
        let word = self.word()?;
        let prefix = self.prefix as usize;
        let from = (word.offset() as usize).checked_sub(prefix)?;
        // SAFETY: `from + prefix` is the packet's offset, inside its buffer; the batch is borrowed exclusively.
        Some(unsafe {
            std::slice::from_raw_parts_mut(self.batch.pool.inner.start(word.number()).add(from), prefix)
        })
    }

    /// Lends the segment at the front, its prefix before it, to an empty slot and writes its address: one
    /// operation. `false` when there is none, the slot is taken, or the headroom is shorter than the prefix.
    ///
    /// Only a packet's first segment has a prefix.
    #[inline(always)]
    pub fn lend(&mut self, slot: u32, address: &AddressWord) -> bool {
        let Some(word) = self.word() else { return false };
        let first = self.segment.is_none();
        let place = (slot & self.buffers.mask) as usize;
        // SAFETY: there are `mask + 1` records.
        let owner = unsafe { self.buffers.owners.get_unchecked_mut(place) };
        if *owner != NONE || (first && word.offset() < self.prefix) {
            return false;
        }
        *owner = word.number() | self.tag;
        let start = u64::from(word.number()) << self.shift;
        let mut iova = self.base.wrapping_add(start).wrapping_add(word.offset().into());
        if !first {
            iova = iova.wrapping_add(self.prefix.into());
        }
        // SAFETY: the buffer is mapped for the pool's address space, which the driver's ring is in, and recorded as
        // lent to this slot; it leaves the batch with this round.
        unsafe { address.lend(iova) };
        if word.has(flag::SEGMENTED) {
            self.next_segment(word);
        } else {
            self.segment = None;
            self.sent = self.sent.wrapping_add(1);
        }
        true
    }

    /// Drops the packet at the front, whole: the device can't take it. `false` when segments of it are gone already,
    /// or there is none.
    #[cold]
    pub fn drop_front(&mut self) -> bool {
        if self.segment.is_some() {
            return false;
        }
        let Some(word) = self.word() else { return false };
        let pool = &self.batch.pool.inner;
        // SAFETY: the packet leaves the batch: the later ones take its place below.
        pool.put_all(unsafe { pool.numbers_of(word) });
        self.batch.words.copy_within(self.sent.wrapping_add(1)..self.total, self.sent);
        self.total = self.total.wrapping_sub(1);
        true
    }

    /// How many packets went whole.
    #[inline(always)]
    pub fn sent(&self) -> usize {
        self.sent
    }

    #[inline(always)]
    fn word(&self) -> Option<Word> {
        if self.sent >= self.total {
            return None;
        }
        if let Some(segment) = self.segment {
            return Some(segment);
        }
        // SAFETY: `sent` is below `total`, which was the batch's length.
        Some(unsafe { *self.batch.words.get_unchecked(self.sent) })
    }

    #[cold]
    fn next_segment(&mut self, word: Word) {
        // SAFETY: the chain belongs to the batch; metadata is private memory that no device reaches, so it is still
        // the program's although the buffer is lent.
        self.segment = Some(unsafe { (*self.batch.pool.inner.metadata(word.number())).next });
    }

    /// Marks what slots were given, once the books say so: of the packet at the front only what went.
    #[inline(never)]
    #[cold]
    fn mark(&self) {
        let pool = &self.batch.pool.inner;
        let Some(table) = pool.buffers.lent_table() else { return };
        let kept = self.segment.map(Word::number);
        let words = self.batch.words.get(..self.total).unwrap_or_default();
        let (sent, rest) = words.split_at_checked(self.sent).unwrap_or_default();
        let part = rest.iter().take(usize::from(kept.is_some()));
        // SAFETY: all of these belong to the round.
        let numbers = sent.iter().chain(part).flat_map(|&word| unsafe { pool.numbers_of(word) });
        // SAFETY: the packets, and the segments before `kept`, went to slots in this round.
        unsafe { table.lend(numbers.take_while(|&number| Some(number) != kept)) };
    }

    /// A packet of which only some segments were lent: those are the ring's now and come back by its slots. The rest
    /// goes back to the pool, and the packet is out of the batch. A driver that counts its free slots before it lends
    /// never gets here.
    #[cold]
    fn strand(&mut self) {
        if let Some(rest) = self.segment.take() {
            let pool = &self.batch.pool.inner;
            // SAFETY: these segments belong to the packet, which leaves the batch here.
            pool.put_all(unsafe { pool.numbers_of(rest) });
            self.sent = self.sent.wrapping_add(1);
        }
    }
}

impl Drop for Sending<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.batch.pool.inner.buffers.lent_table().is_some() {
            self.mark();
        }
        if self.segment.is_some() {
            self.strand();
        }
        self.batch.length = self.total;
        self.batch.remove_front(self.sent);
    }
}
