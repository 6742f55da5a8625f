//! The buffers of a receive ring.

use super::fours;
use super::{NONE, in_space, records};
use crate::cache::Stock;
use crate::pool::{HEADROOM, Inner};
use crate::word::Word;
use crate::{Batch, Error, Pool};
use ringway_dma::{AddressWord, Attachment, DeviceId, LentTable, Quiesced};

/// The buffers that a receive ring holds, one a slot, and a stock of free ones to replace them.
///
/// Dropped without [`release`](Self::release) it doesn't know whether the device has stopped: the buffers are then
/// never used again, and the pool counts them as lost.
#[derive(Debug)]
#[repr(align(128))]
pub struct ReceiveBuffers {
    /// Which buffer each slot holds. A power of two of them, `mask + 1`.
    pub(super) owners: Box<[u32]>,
    pub(super) mask: u32,
    /// How many slots hold none. Only those that become empty or full one by one change it.
    pub(super) vacant: u32,
    /// What the device writes before the packet's first byte.
    pub(super) prefix: u32,
    /// The longest packet in one buffer.
    pub(super) capacity: u32,
    /// The size of a buffer.
    pub(super) size: u64,
    /// The device's address of buffer 0, where the prefix starts.
    pub(super) base: u64,
    pub(super) fours: fours::Receiver,
    /// Whether what is lent is marked: a software device is on the other side.
    pub(super) emulated: bool,
    pub(super) stock: Stock,
    device: DeviceId,
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
        let (capacity, base) =
            (pool.packet_capacity(), pool.inner.buffers.base_iova().wrapping_add(start.into()));
        Ok(Self {
            owners,
            emulated: pool.inner.buffers.lent_table().is_some(),
            fours: fours::Receiver::new(capacity, base, pool.inner.shift()),
            mask: slots.wrapping_sub(1),
            vacant: slots,
            prefix,
            capacity,
            size: pool.inner.size(),
            base,
            stock: Stock::new(pool.clone()),
            device: device.id(),
        })
    }

    /// The pool that packets come from.
    pub fn pool(&self) -> &Pool {
        &self.stock.pool
    }

    /// How much the device may write into one buffer, the prefix counted.
    pub fn writable(&self) -> u32 {
        self.prefix.wrapping_add(self.capacity)
    }

    /// Lends a free buffer to an empty slot: how a ring is filled before it starts, and again after it ran dry.
    /// `false` when the slot is taken or no buffer is free.
    pub fn fill(&mut self, slot: u32, address: &AddressWord) -> bool {
        self.stock.refill(1);
        let free = self.stock.numbers.get(self.stock.head..self.stock.end).unwrap_or_default();
        let (Some(owner), Some(&number)) = (self.owners.get_mut((slot & self.mask) as usize), free.first())
        else {
            return false;
        };
        if *owner != NONE {
            return false;
        }
        *owner = number;
        self.vacant = self.vacant.wrapping_sub(1);
        self.stock.head = self.stock.head.wrapping_add(1);
        if let Some(table) = self.stock.pool.inner.buffers.lent_table() {
            // SAFETY: the number just moved from the stock to this slot.
            unsafe { table.lend(std::iter::once(number)) };
        }
        // SAFETY: the buffer is mapped for the pool's address space, which the device is in, and recorded as lent to
        // this slot.
        unsafe { address.lend(address_of(self.base, number, self.size)) };
        true
    }

    /// Sees to it that at least `wanted` free buffers are at hand for the next round (at most the largest batch). `false`:
    /// the pool has not as many.
    #[cold]
    pub fn restock(&mut self, wanted: usize) -> bool {
        self.stock.refill(wanted);
        self.stock.end.wrapping_sub(self.stock.head) >= wanted
    }

    /// Brings the marks up to date, for the last `count` free numbers that went to slots and as many packets at the batch's
    /// end.
    #[cold]
    #[inline(never)]
    pub(super) fn mark_exchanged(&self, batch: &Batch, count: usize) {
        let (pool, head, length) = (&self.stock.pool.inner, self.stock.head, batch.length);
        let given = self.stock.numbers.get(head.wrapping_sub(count)..head).unwrap_or_default();
        let taken = batch.words.get(length.wrapping_sub(count)..length).unwrap_or_default();
        if let Some(table) = pool.buffers.lent_table() {
            mark(pool, table, given, taken);
        }
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
        let pool = &self.stock.pool.inner;
        let numbers = || self.owners.iter().copied().filter(|&owner| owner != NONE);
        if let Some(table) = pool.buffers.lent_table() {
            table.take_back(numbers());
        }
        pool.put_all(numbers());
        self.owners.fill(NONE);
        self.vacant = self.mask.wrapping_add(1);
    }
}

impl Drop for ReceiveBuffers {
    fn drop(&mut self) {
        let held = self.held();
        if held > 0 {
            self.stock.pool.inner.lose(held as u32);
        }
    }
}

#[inline(always)]
pub(super) fn address_of(base: u64, number: u32, size: u64) -> u64 {
    base.wrapping_add(u64::from(number).wrapping_mul(size))
}

/// Brings the marks up to date: first those given, then those taken, since a buffer can be both.
#[cold]
#[inline(never)]
pub(super) fn mark(pool: &Inner, table: &LentTable, given: &[u32], taken: &[Word]) {
    // SAFETY: these numbers went to slots in this round. One that was taken out again since belongs to the round,
    // which hands out no bytes until its mark is gone.
    unsafe { table.lend(given.iter().copied()) };
    if taken.is_empty() {
        return; // Nothing to wait for.
    }
    // SAFETY: the packets were taken in this round and belong to it.
    table.take_back(taken.iter().flat_map(|&word| unsafe { pool.numbers_of(word) }));
}
