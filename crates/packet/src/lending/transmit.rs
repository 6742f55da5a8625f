//! The buffers of a transmit ring.

use super::{NONE, fours, in_space, records};
use crate::batch::MAXIMUM_BATCH;
use crate::cache::Returns;
use crate::pool::{MAGAZINE, Magazine};
use crate::word::Word;
use crate::{Batch, Error, Pool};
use ringway_dma::{Attachment, DeviceId, LentTable, Quiesced};

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
    /// The pool that batches are sent from at present, and the others.
    pub(super) source: Source,
    others: Vec<Source>,
    /// Whether what is lent is marked: a software device is on the other side.
    pub(super) emulated: bool,
    /// One a pool: buffers that are back.
    returns: Vec<Returns>,
    device: DeviceId,
}

/// What sending from a pool takes, made once.
#[derive(Debug)]
pub(super) struct Source {
    pool: Pool,
    pub(super) fours: fours::Senders,
    /// The device's address of buffer 0.
    pub(super) base: u64,
    /// The size of a buffer as a power of two, and the bits of a position that are inside it.
    pub(super) shift: u32,
    pub(super) inside: u32,
    /// The pool's number among the queue's, in a record's upper byte.
    pub(super) tag: u32,
}

impl Source {
    fn new(index: usize, pool: &Pool) -> Self {
        let (base, shift) = (pool.inner.buffers.base_iova(), pool.inner.shift());
        let (tag, inside) = ((index as u32) << POOL_SHIFT, 1u32.wrapping_shl(shift).wrapping_sub(1));
        Self { pool: pool.clone(), fours: fours::Senders::new(base, shift, tag), base, shift, inside, tag }
    }
}

impl TransmitBuffers {
    /// For a ring of `slots` descriptors (a power of two up to 32768) of `device`, that may send from `pools`.
    ///
    /// # Errors
    /// For a ring size that is not possible, no pool at all or too many of them, and a pool that the device doesn't
    /// reach.
    pub fn new(pools: &[Pool], slots: u32, device: &Attachment) -> Result<Self, Error> {
        pools.iter().try_for_each(|pool| in_space(pool, device))?;
        let mut sources = pools.iter().enumerate().map(|(index, pool)| Source::new(index, pool));
        let Some(source) = sources.next().filter(|_| pools.len() <= MAXIMUM_POOLS) else {
            return Err(Error::Pools(pools.len()));
        };
        Ok(Self {
            owners: records(slots)?,
            mask: slots.wrapping_sub(1),
            emulated: source.pool.inner.buffers.lent_table().is_some(),
            others: sources.collect(),
            source,
            returns: pools.iter().cloned().map(Returns::new).collect(),
            device: device.id(),
        })
    }

    /// Makes a batch's pool the one that is sent from. `false`: it is none of the queue's.
    #[inline(always)]
    pub(super) fn sends_from(&mut self, pool: &Pool) -> bool {
        pool.is_same(&self.source.pool) || self.change_source(pool)
    }

    #[cold]
    #[inline(never)]
    fn change_source(&mut self, pool: &Pool) -> bool {
        let Self { source, others, .. } = self;
        let other = others.iter_mut().find(|other| pool.is_same(&other.pool));
        other.map(|other| std::mem::swap(source, other)).is_some()
    }

    /// Marks the `count` packets at the batch's front, which went to slots, as lent.
    #[cold]
    #[inline(never)]
    pub(super) fn mark_lent(&self, batch: &Batch, count: usize) {
        let pool = &batch.pool.inner;
        if let Some(table) = pool.buffers.lent_table() {
            mark(table, pool.shift(), batch.words.get(..count).unwrap_or_default());
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

/// Marks the last segments of packets that went to slots. Those before are marked.
#[cold]
#[inline(never)]
pub(super) fn mark(table: &LentTable, shift: u32, sent: &[Word]) {
    // SAFETY: these buffers went to slots in this round.
    unsafe { table.lend(sent.iter().map(|word| word.number(shift))) };
}

#[cold]
#[inline(never)]
pub(super) fn close_up(words: &mut [Word; MAXIMUM_BATCH], sent: usize, total: usize) {
    words.copy_within(sent..total, 0);
}
