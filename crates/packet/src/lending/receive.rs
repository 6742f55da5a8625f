//! The buffers of a receive ring.

use super::{NONE, in_space, records};
use crate::cache::Cache;
use crate::pool::HEADROOM;
use crate::word::{Word, flag};
use crate::{Batch, Error, Pool};
use ringway_dma::{AddressWord, Attachment, DeviceId, Quiesced};

/// The buffers that a receive ring holds, one a slot, and a stock of free ones to replace them.
///
/// Dropped without [`release`](Self::release) it doesn't know whether the device has stopped: the buffers are then
/// never used again, and the pool counts them as lost.
#[derive(Debug)]
pub struct ReceiveBuffers {
    /// Which buffer each slot holds. A power of two of them.
    owners: Box<[u32]>,
    mask: u32,
    /// What the device writes before the packet's first byte.
    prefix: u32,
    /// The longest packet in one buffer.
    capacity: u32,
    shift: u32,
    /// The device's address of buffer 0, where the prefix starts.
    base: u64,
    cache: Cache,
    device: DeviceId,
}

/// Why a buffer was not taken from its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The slot holds no buffer: the device named one that it doesn't have.
    Empty,
    /// The length is more than the buffer holds: the device lies.
    TooLong,
    /// The batch has no room, or no free buffer is there to replace this one.
    NoRoom,
}

impl ReceiveBuffers {
    /// For a ring of `slots` descriptors (a power of two up to 32768) of `device`, filled from `pool`. The device
    /// writes `prefix` bytes (at most 256) before each packet.
    ///
    /// # Errors
    /// For a ring size that is not possible, a prefix longer than the headroom, and a pool that the device doesn't
    /// reach.
    pub fn new(pool: &Pool, slots: u32, prefix: u32, device: &Attachment) -> Result<Self, Error> {
        let owners = records(slots)?;
        in_space(pool, device)?;
        let start = HEADROOM.checked_sub(prefix).ok_or(Error::NoRoom {
            place: "before",
            wanted: prefix as usize,
            room: HEADROOM as usize,
        })?;
        let buffers = &pool.inner.buffers;
        Ok(Self {
            owners,
            mask: slots.wrapping_sub(1),
            prefix,
            capacity: pool.packet_capacity(),
            shift: buffers.size().shift(),
            base: buffers.base_iova().wrapping_add(start.into()),
            cache: Cache::new(pool.clone()),
            device: device.id(),
        })
    }

    /// The pool that packets come from.
    pub fn pool(&self) -> &Pool {
        &self.cache.pool
    }

    /// How much the device may write into one buffer, the prefix counted.
    pub fn writable(&self) -> u32 {
        self.prefix.wrapping_add(self.capacity)
    }

    /// Lends a free buffer to an empty slot: how a ring is filled before it starts, and again after it ran dry.
    /// `false` when the slot is taken or no buffer is free.
    pub fn fill(&mut self, slot: u32, address: &AddressWord) -> bool {
        self.cache.refill(1);
        let Some(top) = self.cache.length.checked_sub(1) else { return false };
        let (Some(owner), Some(&number)) =
            (self.owners.get_mut((slot & self.mask) as usize), self.cache.numbers.get(top))
        else {
            return false;
        };
        if *owner != NONE {
            return false;
        }
        *owner = number;
        self.cache.length = top;
        if let Some(table) = self.cache.pool.inner.buffers.lent_table() {
            // SAFETY: the number just moved from the cache to this slot.
            unsafe { table.lend(std::iter::once(number)) };
        }
        // SAFETY: the buffer is mapped for the pool's address space, which the driver's ring is in, and recorded as
        // lent to this slot.
        unsafe { address.lend(self.address(number)) };
        true
    }

    #[inline(always)]
    fn address(&self, number: u32) -> u64 {
        self.base.wrapping_add(u64::from(number) << self.shift)
    }

    /// Starts to receive into what room `batch` has, with as many free buffers at hand as the pool gives.
    ///
    /// # Errors
    /// When the batch is of another pool.
    #[inline]
    pub fn receive<'a>(&'a mut self, batch: &'a mut Batch) -> Result<Receiving<'a>, Error> {
        if !batch.pool.is_same(&self.cache.pool) {
            return Err(Error::WrongPool);
        }
        let room = batch.room();
        self.cache.refill(room);
        // The stock is the round's until it is dropped. A round that is forgotten takes it along: what it gave to
        // slots is then nowhere else.
        let stock = std::mem::take(&mut self.cache.length);
        Ok(Receiving { room, taken: 0, given: 0, marked: 0, stock, from: batch.length, batch, buffers: self })
    }

    /// How many slots hold a buffer.
    pub fn held(&self) -> usize {
        self.owners.iter().filter(|&&owner| owner != NONE).count()
    }

    /// Takes every buffer back, now that the device has stopped.
    pub fn release(mut self, stopped: &Quiesced) {
        if stopped.device() != self.device {
            return; // Proof of something else: drop counts them as lost.
        }
        let pool = self.cache.pool.clone();
        let numbers = || self.owners.iter().copied().filter(|&owner| owner != NONE);
        if let Some(table) = pool.inner.buffers.lent_table() {
            table.take_back(numbers());
        }
        pool.inner.put_all(numbers());
        self.owners.fill(NONE);
    }
}

impl Drop for ReceiveBuffers {
    fn drop(&mut self) {
        let held = self.held();
        if held > 0 {
            self.cache.pool.inner.lose(held as u32);
        }
    }
}

/// One round of receiving: moves buffers from slots to the batch, and free ones to the slots.
///
/// Packets count as received when it is dropped, and only then the device may be told of the buffers that slots
/// were given. Forgotten, it loses the packets and the queue's stock of free buffers to the pool, no more.
#[derive(Debug)]
pub struct Receiving<'a> {
    buffers: &'a mut ReceiveBuffers,
    batch: &'a mut Batch,
    /// Packets that the batch takes.
    room: usize,
    /// Packets in the batch.
    taken: usize,
    /// Free buffers that went to slots, of `stock` in the cache.
    given: usize,
    stock: usize,
    /// How many of those given are marked as lent already, on an emulated space.
    marked: usize,
    /// Where in the batch they start.
    from: usize,
}

impl Receiving<'_> {
    /// Whether one more packet can be taken: the batch has room.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.taken < self.room
    }

    /// Whether a free buffer is at hand to replace one that is taken.
    #[inline(always)]
    pub fn has_stock(&self) -> bool {
        self.given < self.stock
    }

    /// How many free buffers are at hand.
    pub fn stock(&self) -> usize {
        self.stock.wrapping_sub(self.given)
    }

    /// Moves the buffer of `slot` to the batch as a packet of `length` bytes, lends a free one in its place and
    /// writes that one's address: one operation, for rings whose slots are never empty.
    ///
    /// # Errors
    /// [`Refused`], with nothing moved.
    #[inline(always)]
    pub fn exchange(&mut self, slot: u32, address: &AddressWord, length: u32) -> Result<(), Refused> {
        if !self.has_room() || !self.has_stock() {
            return Err(Refused::NoRoom);
        }
        let number = self.look_up(slot, length)?;
        self.push(Word::new(number, HEADROOM, length));
        self.lend(slot, address);
        Ok(())
    }

    /// Moves the buffer of `slot` to the batch as a packet of `length` bytes. The slot is empty until
    /// [`give`](Self::give).
    ///
    /// # Errors
    /// [`Refused`], with nothing moved.
    #[inline(always)]
    pub fn take(&mut self, slot: u32, length: u32) -> Result<(), Refused> {
        if !self.has_room() {
            return Err(Refused::NoRoom);
        }
        let number = self.look_up(slot, length)?;
        self.push(Word::new(number, HEADROOM, length));
        self.set_owner(slot, NONE);
        Ok(())
    }

    /// Moves the buffer of `slot` behind the last packet taken in this round, as its next segment. The device
    /// wrote no prefix into it, so the segment starts where the prefix would.
    ///
    /// # Errors
    /// [`Refused`], with nothing moved; `NoRoom` when no packet was taken yet.
    pub fn take_segment(&mut self, slot: u32, length: u32) -> Result<(), Refused> {
        let Some(last) = self.taken.checked_sub(1) else { return Err(Refused::NoRoom) };
        let number = self.look_up(slot, length.saturating_sub(self.buffers.prefix))?;
        if length > self.buffers.writable() {
            return Err(Refused::TooLong);
        }
        let start = HEADROOM.wrapping_sub(self.buffers.prefix);
        let Some(head) = self.batch.words.get_mut(self.from.wrapping_add(last)) else {
            return Err(Refused::NoRoom);
        };
        let pool = &self.buffers.cache.pool.inner;
        let mut word: *mut Word = head;
        // SAFETY: the head was taken in this round and belongs to the batch, which is borrowed exclusively, and with
        // it its chain; `number` leaves its slot below.
        unsafe {
            while (*word).has(flag::SEGMENTED) {
                word = &raw mut (*pool.metadata((*word).number())).next;
            }
            (*pool.metadata((*word).number())).next = Word::new(number, start, length);
            (*word).0 |= flag::SEGMENTED;
        }
        self.set_owner(slot, NONE);
        Ok(())
    }

    /// Takes the packet that was taken last back out of the batch and drops it: it turned out to be no packet.
    #[cold]
    pub fn drop_last(&mut self) {
        let Some(last) = self.taken.checked_sub(1) else { return };
        let Some(&word) = self.batch.words.get(self.from.wrapping_add(last)) else { return };
        self.taken = last;
        // What is free again must not be marked when the round ends.
        self.mark_given();
        let pool = &self.buffers.cache.pool.inner;
        // SAFETY: the word was taken in this round, and is out of the batch's books now.
        let numbers = || unsafe { pool.numbers_of(word) };
        if let Some(table) = pool.buffers.lent_table() {
            table.take_back(numbers());
        }
        pool.put_all(numbers());
    }

    /// Lends a free buffer to an empty slot and writes its address. `false` when there is none, or the slot is
    /// not empty.
    #[inline(always)]
    pub fn give(&mut self, slot: u32, address: &AddressWord) -> bool {
        if !self.has_stock() || self.owner(slot) != NONE {
            return false;
        }
        self.lend(slot, address);
        true
    }

    /// Leaves the buffer of `slot` where it is and writes its address again: what the device said of it was no
    /// packet. `false` when the slot is empty.
    #[cold]
    pub fn relend(&mut self, slot: u32, address: &AddressWord) -> bool {
        let number = self.owner(slot);
        if number == NONE {
            return false;
        }
        // SAFETY: the buffer is recorded as lent to this slot, and stays so.
        unsafe { address.lend(self.buffers.address(number)) };
        true
    }

    /// The bytes that the device wrote before the packet that was taken last. Empty when none was taken, or it has
    /// no prefix. The device can't change them any more, unless it breaks the rules; software devices can't either way.
    #[inline(always)]
    pub fn last_prefix(&self) -> &[u8] {
        let Some(last) = self.taken.checked_sub(1) else { return &[] };
        let Some(word) = self.batch.words.get(self.from.wrapping_add(last)) else { return &[] };
        let prefix = self.buffers.prefix as usize;
        if let Some(table) = self.batch.pool.inner.buffers.lent_table() {
            table.take_back(std::iter::once(word.number()));
        }
        // SAFETY: the word was taken in this round; the prefix lies before its offset, inside the buffer.
        unsafe {
            let start = self.batch.pool.inner.start(word.number()).add(HEADROOM as usize - prefix);
            std::slice::from_raw_parts(start, prefix)
        }
    }

    #[inline(always)]
    fn owner(&self, slot: u32) -> u32 {
        // SAFETY: there are `mask + 1` records.
        unsafe { *self.buffers.owners.get_unchecked((slot & self.buffers.mask) as usize) }
    }

    #[inline(always)]
    fn set_owner(&mut self, slot: u32, number: u32) {
        // SAFETY: there are `mask + 1` records.
        unsafe { *self.buffers.owners.get_unchecked_mut((slot & self.buffers.mask) as usize) = number };
    }

    #[inline(always)]
    fn look_up(&self, slot: u32, length: u32) -> Result<u32, Refused> {
        let number = self.owner(slot);
        if number == NONE {
            return Err(Refused::Empty);
        }
        if length > self.buffers.capacity {
            return Err(Refused::TooLong);
        }
        Ok(number)
    }

    /// Needs room, which the callers checked.
    #[inline(always)]
    fn push(&mut self, word: Word) {
        // SAFETY: `taken < room`, and `from + room` is at most the batch's limit.
        unsafe { *self.batch.words.get_unchecked_mut(self.from.wrapping_add(self.taken)) = word };
        self.taken = self.taken.wrapping_add(1);
    }

    /// Needs stock, which the callers checked.
    #[inline(always)]
    fn lend(&mut self, slot: u32, address: &AddressWord) {
        self.given = self.given.wrapping_add(1);
        // SAFETY: `given` was below `stock`, so the index is below the cache's length.
        let number =
            unsafe { *self.buffers.cache.numbers.get_unchecked(self.stock.wrapping_sub(self.given)) };
        self.set_owner(slot, number);
        // SAFETY: the buffer is mapped for the pool's address space, which the driver's ring is in, and recorded as
        // lent to this slot.
        unsafe { address.lend(self.buffers.address(number)) };
    }
}

impl Receiving<'_> {
    /// Marks what slots were given, once the books say so.
    fn mark_given(&mut self) {
        let Some(table) = self.buffers.cache.pool.inner.buffers.lent_table() else { return };
        let (from, to) = (self.stock.wrapping_sub(self.given), self.stock.wrapping_sub(self.marked));
        let given = self.buffers.cache.numbers.get(from..to).unwrap_or_default();
        // SAFETY: these numbers went to slots in this round. One that was taken out again since belongs to the round,
        // which hands out no bytes until its mark is gone.
        unsafe { table.lend(given.iter().copied()) };
        self.marked = self.given;
    }

    /// Brings the marks up to date: first those given, then those taken, since a buffer can be both.
    #[cold]
    #[inline(never)]
    fn mark(&mut self) {
        self.mark_given();
        let pool = &self.buffers.cache.pool.inner;
        let Some(table) = pool.buffers.lent_table() else { return };
        let taken = self.batch.words.get(self.from..self.from.wrapping_add(self.taken)).unwrap_or_default();
        // SAFETY: the packets were taken in this round and belong to it.
        table.take_back(taken.iter().flat_map(|&word| unsafe { pool.numbers_of(word) }));
    }
}

impl Drop for Receiving<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.buffers.cache.pool.inner.buffers.lent_table().is_some() {
            self.mark();
        }
        self.buffers.cache.length = self.stock.wrapping_sub(self.given);
        self.batch.length = self.from.wrapping_add(self.taken);
    }
}
