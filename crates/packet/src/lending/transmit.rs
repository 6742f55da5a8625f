//! The buffers of a transmit ring.

use super::{NONE, fours, in_space, records};
use crate::batch::MAXIMUM_BATCH;
use crate::cache::Returns;
use crate::pool::{Inner, MAGAZINE, Magazine};
use crate::word::{Word, flag};
use crate::{Batch, Error, Frame, Pool};
use ringway_dma::{AddressWord, Attachment, DeviceId, LentTable, Quiesced};

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
#[repr(align(128))]
pub struct TransmitBuffers {
    /// Which buffer each slot holds, and of which pool. A power of two of them, `mask + 1`.
    pub(super) owners: Box<[u32]>,
    pub(super) mask: u32,
    /// The first of the pools, whose records have no upper byte.
    pub(super) first: Pool,
    pub(super) fours: fours::Senders,
    /// Whether what is lent is marked: a software device is on the other side.
    pub(super) emulated: bool,
    /// One a pool: buffers that are back.
    returns: Vec<Returns>,
    device: DeviceId,
}

/// What the front of a batch is, to a driver that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The bytes of this segment.
    pub length: u32,
    /// Whether the packet ends with it.
    pub last: bool,
    /// Whether the device has to be told of it no more than where it is: one segment, no VLAN tag, no offload.
    pub plain: bool,
}

impl TransmitBuffers {
    /// For a ring of `slots` descriptors (a power of two up to 32768) of `device`, that may send from `pools`.
    ///
    /// # Errors
    /// For a ring size that is not possible, no pool at all or too many of them, and a pool that the device doesn't
    /// reach.
    pub fn new(pools: &[Pool], slots: u32, device: &Attachment) -> Result<Self, Error> {
        let Some(first) = pools.first().filter(|_| pools.len() <= MAXIMUM_POOLS) else {
            return Err(Error::Pools(pools.len()));
        };
        pools.iter().try_for_each(|pool| in_space(pool, device))?;
        Ok(Self {
            owners: records(slots)?,
            mask: slots.wrapping_sub(1),
            fours: fours::Senders::new(first.inner.buffers.base_iova(), first.inner.shift()),
            emulated: first.inner.buffers.lent_table().is_some(),
            first: first.clone(),
            returns: pools.iter().cloned().map(Returns::new).collect(),
            device: device.id(),
        })
    }

    /// Starts to send what is in `batch`. `prefix` bytes before each packet go with it: what the device wants to be
    /// told, written into the headroom with [`Sending::prefix_mut`].
    ///
    /// # Errors
    /// When the batch is of a pool that the queue was not started with.
    #[inline(always)]
    pub fn send<'a>(&'a mut self, batch: &'a mut Batch, prefix: u32) -> Result<Sending<'a>, Error> {
        let index = self
            .returns
            .iter()
            .position(|returns| returns.pool.is_same(&batch.pool))
            .ok_or(Error::WrongPool)?;
        let pool = &*batch.pool.inner;
        Ok(Sending {
            // The packets are the round's until it is dropped. A round that is forgotten takes them along: what it
            // lent is then nowhere else.
            total: std::mem::take(&mut batch.length),
            sent: 0,
            in_part: false,
            base: pool.buffers.base_iova(),
            shift: pool.shift(),
            tag: (index as u32) << POOL_SHIFT,
            mask: self.mask,
            prefix,
            owners: &mut self.owners,
            words: &mut batch.words,
            length: &mut batch.length,
            pool,
        })
    }

    /// Marks the `count` packets at the batch's front, which went to slots, as lent.
    #[cold]
    #[inline(never)]
    pub(super) fn mark_lent(&self, batch: &Batch, count: usize) {
        if let Some(table) = self.first.inner.buffers.lent_table() {
            mark(table, self.first.inner.shift(), batch.words.get(..count).unwrap_or_default());
        }
    }

    /// Takes back the buffers of `count` slots from `first` on, which the device is done with. Slots that hold none
    /// are passed over. Says how many were taken.
    #[inline]
    pub fn take_back(&mut self, first: u32, count: u32) -> u32 {
        let Self { owners, returns, mask, .. } = self;
        let (before, from) = owners.split_at_mut_checked((first & *mask) as usize).unwrap_or_default();
        let count = count as usize;
        let near = from.get_mut(..count.min(from.len())).unwrap_or_default();
        let far = before.get_mut(..count.saturating_sub(near.len()).min(before.len())).unwrap_or_default();
        let mut taken = take_back_slots(near, returns);
        if !far.is_empty() {
            taken = taken.wrapping_add(take_back_slots(far, returns));
        }
        taken
    }

    /// Takes back the buffer of one slot, which the device is done with. `false` when it holds none: the device named
    /// a slot that it was not given.
    #[inline]
    pub fn take_back_one(&mut self, slot: u32) -> bool {
        let Self { owners, returns, mask, .. } = self;
        let Some(slot) = owners.get_mut((slot & *mask) as usize) else { return false };
        unmark(std::slice::from_ref(slot), returns);
        put_back(slot, returns)
    }

    /// How many slots hold a buffer.
    pub fn held(&self) -> usize {
        self.owners.iter().filter(|&&owner| owner != NONE).count()
    }

    /// Takes every buffer back: the device has given the queue up.
    pub fn take_back_all(&mut self) {
        let slots = self.owners.len() as u32;
        self.take_back(0, slots);
    }

    /// Takes every buffer back, now that the device has stopped.
    pub fn release(mut self, stopped: &Quiesced) {
        if stopped.device() == self.device {
            self.take_back_all();
        }
    }
}

#[inline]
fn take_back_slots(slots: &mut [u32], returns: &mut [Returns]) -> u32 {
    unmark(slots, returns);
    let mut taken = 0u32;
    let (whole, rest) = slots.as_chunks_mut::<MAGAZINE>();
    for slots in whole {
        // One pool and no empty slot: the records are a magazine as they are.
        let is_full = slots.iter().fold(true, |full, &record| full & (record != NONE));
        if let [returns] = &*returns
            && is_full
        {
            returns.pool.inner.put_magazine(Magazine(*slots));
            *slots = [NONE; MAGAZINE];
            taken = taken.wrapping_add(MAGAZINE as u32);
        } else {
            taken = taken.wrapping_add(put_back_each(slots, returns));
        }
    }
    if rest.is_empty() { taken } else { taken.wrapping_add(put_back_each(rest, returns)) }
}

#[inline(never)]
fn put_back_each(slots: &mut [u32], returns: &mut [Returns]) -> u32 {
    slots.iter_mut().map(|slot| u32::from(put_back(slot, returns))).fold(0, u32::wrapping_add)
}

/// The buffer of a slot, whose mark is gone, is free.
#[inline]
fn put_back(slot: &mut u32, returns: &mut [Returns]) -> bool {
    let record = std::mem::replace(slot, NONE);
    if record == NONE {
        return false;
    }
    let Some(returns) = returns.get_mut((record >> POOL_SHIFT) as usize) else { return false };
    returns.put(record & NUMBER);
    true
}

/// Keeps software devices out of what these slots hold, from now on.
#[inline(always)]
fn unmark(slots: &[u32], returns: &[Returns]) {
    // All pools of a queue are in one address space.
    if returns.first().is_some_and(|returns| returns.pool.inner.buffers.lent_table().is_some()) {
        unmark_each(slots, returns);
    }
}

#[cold]
#[inline(never)]
fn unmark_each(slots: &[u32], returns: &[Returns]) {
    for (index, returns) in returns.iter().enumerate() {
        let of_pool = |record: &u32| *record != NONE && (*record >> POOL_SHIFT) as usize == index;
        if let Some(table) = returns.pool.inner.buffers.lent_table()
            && slots.iter().any(of_pool)
        {
            table.take_back(slots.iter().copied().filter(of_pool).map(|record| record & NUMBER));
        }
    }
}

impl Drop for TransmitBuffers {
    fn drop(&mut self) {
        for &owner in self.owners.iter().filter(|&&owner| owner != NONE) {
            if let Some(returns) = self.returns.get((owner >> POOL_SHIFT) as usize) {
                returns.pool.inner.lose(1);
            }
        }
    }
}

/// One round of sending: moves packets from the front of the batch to slots.
///
/// Packets leave the batch when it is dropped, and only then the device may be told of them. Forgotten, it loses the
/// packets that were not lent to the pool, no more.
///
/// What the loop needs lies in the round itself, so that it stays in registers. A loop that can panic keeps it in
/// memory: use wrapping arithmetic there.
#[derive(Debug)]
pub struct Sending<'a> {
    /// `mask + 1` records.
    pub(super) owners: &'a mut [u32],
    /// The batch's. Those below `sent` went; the one there is what is left of the packet at the front.
    pub(super) words: &'a mut [Word; MAXIMUM_BATCH],
    /// How many packets the batch has, once the round is over.
    pub(super) length: &'a mut usize,
    pub(super) pool: &'a Inner,
    /// Packets that went whole.
    pub(super) sent: usize,
    /// Packets of the batch, at most its limit.
    pub(super) total: usize,
    pub(super) base: u64,
    pub(super) mask: u32,
    pub(super) shift: u32,
    pub(super) tag: u32,
    pub(super) prefix: u32,
    /// Whether the first segments of the packet at the front have gone.
    pub(super) in_part: bool,
}

impl Sending<'_> {
    /// What is at the front: the segment that [`lend`](Self::lend) moves next.
    #[inline(always)]
    pub fn front(&self) -> Option<Outgoing> {
        let word = self.word()?;
        Some(Outgoing { length: word.length(), last: !word.has(flag::SEGMENTED), plain: word.is_plain() })
    }

    /// How many buffers the packet at the front is in, those that have gone not counted.
    #[inline(always)]
    pub fn segments(&self) -> usize {
        match self.word() {
            Some(word) if word.has(flag::SEGMENTED) => count(self.pool, word),
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
            // SAFETY: the packet belongs to the round, and its chain with it.
            next = word.has(flag::SEGMENTED).then(|| unsafe { (*self.pool.metadata(word)).next });
        }
        bytes
    }

    /// Whether a buffer of the packet at the front is empty: what a device may take for a fault.
    pub fn has_empty_segment(&self) -> bool {
        let mut next = self.word();
        while let Some(word) = next {
            if word.length() == 0 {
                return true;
            }
            // SAFETY: as in `packet_length`.
            next = word.has(flag::SEGMENTED).then(|| unsafe { (*self.pool.metadata(word)).next });
        }
        false
    }

    /// Whether [`lend`](Self::lend) finds the slot empty.
    #[inline]
    pub fn is_free(&self, slot: u32) -> bool {
        self.owners.get((slot & self.mask) as usize) == Some(&NONE)
    }

    /// The bytes before the packet at the front that go with it. `None` when its headroom is shorter: the packet
    /// can't be sent and stays.
    #[inline(always)]
    pub fn prefix_mut(&mut self) -> Option<&mut [u8]> {
        let word = self.word()?;
        if word.offset(self.shift) < self.prefix {
            return None;
        }
        let prefix = self.prefix as usize;
        // SAFETY: that many bytes of the buffer are before the packet's first; the round has the packet to itself.
        Some(unsafe { std::slice::from_raw_parts_mut(self.pool.place(word).sub(prefix), prefix) })
    }

    /// Lends the segment at the front, its prefix before it, to an empty slot and writes its address: one
    /// operation. `false` when there is none, the slot is taken, or the headroom is shorter than the prefix.
    ///
    /// Only a packet's first segment has a prefix.
    #[inline(always)]
    pub fn lend(&mut self, slot: u32, address: &AddressWord) -> bool {
        let Some(word) = self.word() else { return false };
        let prefix = if self.in_part { 0 } else { self.prefix };
        // SAFETY: there are `mask + 1` records.
        let owner = unsafe { self.owners.get_unchecked_mut((slot & self.mask) as usize) };
        if *owner != NONE || word.offset(self.shift) < prefix {
            return false;
        }
        *owner = word.number(self.shift) | self.tag;
        // SAFETY: the buffer is mapped for the pool's address space, which the device is in, and recorded as lent to
        // this slot; it leaves the batch with this round.
        unsafe { address.lend(self.base.wrapping_add(word.position()).wrapping_sub(prefix.into())) };
        if word.has(flag::SEGMENTED) {
            let rest = next_segment(self.pool, word);
            // SAFETY: as in `word`.
            unsafe { *self.words.get_unchecked_mut(self.sent) = rest };
            self.in_part = true;
        } else {
            self.in_part = false;
            self.sent = self.sent.wrapping_add(1);
        }
        true
    }

    /// The packet at the front: what its metadata asks of the device. `None` when there is none, or segments of it are
    /// gone already.
    #[inline(always)]
    pub fn front_frame(&mut self) -> Option<Frame<'_>> {
        if self.in_part || self.sent >= self.total {
            return None;
        }
        let word = self.words.get_mut(self.sent)?;
        // SAFETY: the packet belongs to the round, which is borrowed exclusively.
        Some(unsafe { Frame::new(self.pool, word) })
    }

    /// Drops the packet at the front, whole: the device can't take it. `false` when segments of it are gone already,
    /// or there is none.
    #[inline(always)]
    pub fn drop_front(&mut self) -> bool {
        let Some(word) = self.word() else { return false };
        if self.in_part {
            return false;
        }
        drop_packet(self.pool, word);
        self.words.copy_within(self.sent.wrapping_add(1)..self.total, self.sent);
        self.total = self.total.wrapping_sub(1);
        true
    }

    /// Whether every packet has gone.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.sent >= self.total
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
        // SAFETY: `total` is at most the batch's limit.
        Some(unsafe { *self.words.get_unchecked(self.sent) })
    }
}

impl Drop for Sending<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(table) = self.pool.buffers.lent_table() {
            mark_round(table, self.shift, self.words, self.sent);
        }
        if self.in_part
            && let Some(rest) = self.word()
        {
            // Only some segments were lent: those are the ring's now and come back by its slots. The rest goes back
            // to the pool, and the packet is out of the batch. A driver that counts its free slots before it lends
            // never gets here.
            drop_packet(self.pool, rest);
            self.sent = self.sent.wrapping_add(1);
        }
        let left = self.total.wrapping_sub(self.sent);
        if left != 0 && self.sent != 0 {
            close_up(self.words, self.sent, self.total);
        }
        *self.length = left;
    }
}

// What follows is out of the loops, and takes values: a round that is passed by reference leaves the registers.

/// Marks what went to slots in a round, at its end.
#[cold]
#[inline(never)]
fn mark_round(table: &LentTable, shift: u32, words: &[Word; MAXIMUM_BATCH], sent: usize) {
    mark(table, shift, words.get(..sent).unwrap_or_default());
}

/// Marks the last segments of packets that went to slots. Those before are marked.
#[cold]
#[inline(never)]
fn mark(table: &LentTable, shift: u32, sent: &[Word]) {
    // SAFETY: these buffers went to slots in this round.
    unsafe { table.lend(sent.iter().map(|word| word.number(shift))) };
}

#[cold]
#[inline(never)]
fn count(pool: &Inner, word: Word) -> usize {
    // SAFETY: the packet belongs to the round.
    unsafe { pool.numbers_of(word) }.count()
}

/// What comes behind a segment that went to a slot just now.
#[cold]
#[inline(never)]
fn next_segment(pool: &Inner, word: Word) -> Word {
    if let Some(table) = pool.buffers.lent_table() {
        mark(table, pool.shift(), &[word]);
    }
    // SAFETY: the chain belongs to the round; metadata is private memory that no device reaches, so it is still the
    // program's although the buffer is lent.
    unsafe { (*pool.metadata(word)).next }
}

#[cold]
#[inline(never)]
fn drop_packet(pool: &Inner, word: Word) {
    // SAFETY: the packet, or what is left of it, belongs to the round, and leaves its books with this.
    pool.put_all(unsafe { pool.numbers_of(word) });
}

#[cold]
#[inline(never)]
pub(super) fn close_up(words: &mut [Word; MAXIMUM_BATCH], sent: usize, total: usize) {
    words.copy_within(sent..total, 0);
}
