//! One round of receiving: packets in several buffers, buffers that come in another order than the ring's, and what turns out to
//! be no packet.

use super::NONE;
use super::receive::{ReceiveBuffers, address_of, mark};
use crate::batch::MAXIMUM_BATCH;
use crate::cache::CAPACITY;
use crate::pool::{HEADROOM, Inner};
use crate::word::Word;
use crate::{Batch, Error};
use ringway_dma::{AddressWord, LentTable};

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
    /// Starts to receive into what room `batch` has, with as many free buffers at hand as the pool gives.
    ///
    /// # Errors
    /// When the batch is of another pool.
    #[inline(always)]
    pub fn receive<'a>(&'a mut self, batch: &'a mut Batch) -> Result<Receiving<'a>, Error> {
        if !batch.pool.is_same(&self.stock.pool) {
            return Err(Error::WrongPool);
        }
        self.stock.refill(batch.room());
        // The stock is the round's until it is dropped. A round that is forgotten takes it along: what it gave to
        // slots is then nowhere else.
        let (head, stocked) = (self.stock.head, self.stock.end);
        (self.stock.head, self.stock.end) = (0, 0);
        Ok(Receiving {
            from: batch.length,
            next: batch.length,
            end: batch.length.wrapping_add(batch.room()),
            head,
            stocked,
            unmarked: head,
            mask: self.mask,
            prefix: self.prefix,
            capacity: self.capacity,
            size: self.size,
            base: self.base,
            owners: &mut self.owners,
            vacant: &mut self.vacant,
            numbers: &self.stock.numbers,
            stock: (&mut self.stock.head, &mut self.stock.end),
            pool: &self.stock.pool.inner,
            words: &mut batch.words,
            length: &mut batch.length,
        })
    }
}

/// One round of receiving: moves buffers from slots to the batch, and free ones to the slots.
///
/// Packets count as received when it is dropped, and only then the device may be told of the buffers that slots
/// were given. Forgotten, it loses the packets and the queue's stock of free buffers to the pool, no more.
///
/// What the loop needs lies in the round itself, so that it stays in registers. A loop that can panic keeps it in
/// memory: use wrapping arithmetic there.
#[derive(Debug)]
pub struct Receiving<'a> {
    /// `mask + 1` records, of which `vacant` are `NONE`.
    pub(super) owners: &'a mut [u32],
    pub(super) vacant: &'a mut u32,
    /// Free ones are from `head` to `stocked`; those before went to slots.
    pub(super) numbers: &'a [u32; CAPACITY],
    /// The batch's, as are those below: packets of this round are from `from` to `next`.
    pub(super) words: &'a mut [Word; MAXIMUM_BATCH],
    /// Where the stock's free numbers lie once the round is over.
    pub(super) stock: (&'a mut usize, &'a mut usize),
    /// How many packets the batch has then.
    pub(super) length: &'a mut usize,
    pub(super) pool: &'a Inner,
    pub(super) from: usize,
    pub(super) next: usize,
    /// At most the batch's limit.
    pub(super) end: usize,
    pub(super) head: usize,
    /// At most `CAPACITY`.
    pub(super) stocked: usize,
    /// Of those that went to slots, the ones from here to `head` are not marked as lent yet, on an emulated space.
    pub(super) unmarked: usize,
    pub(super) base: u64,
    pub(super) size: u64,
    pub(super) mask: u32,
    pub(super) prefix: u32,
    pub(super) capacity: u32,
}

impl Receiving<'_> {
    /// Whether one more packet can be taken: the batch has room.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.next < self.end
    }

    /// Whether a free buffer is at hand to replace one that is taken.
    #[inline(always)]
    pub fn has_stock(&self) -> bool {
        self.head < self.stocked
    }

    /// How many free buffers are at hand.
    pub fn stock(&self) -> usize {
        self.stocked.wrapping_sub(self.head)
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
        self.push(number, length);
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
        self.push(number, length);
        *self.owner(slot) = NONE;
        *self.vacant = self.vacant.wrapping_add(1);
        Ok(())
    }

    /// Moves the buffer of `slot` behind the last packet taken in this round, as its next segment. The device
    /// wrote no prefix into it, so the segment starts where the prefix would.
    ///
    /// # Errors
    /// [`Refused`], with nothing moved; `NoRoom` when no packet was taken yet.
    #[inline(always)]
    pub fn take_segment(&mut self, slot: u32, length: u32) -> Result<(), Refused> {
        let number = self.look_up(slot, length.saturating_sub(self.prefix))?;
        let Some(head) = self.last() else { return Err(Refused::NoRoom) };
        let start = HEADROOM.wrapping_sub(self.prefix);
        let segment = Word::new(number, self.size, start, length);
        let linked = link(self.pool, head, segment);
        if let Some(last) = self.words.get_mut(self.next.wrapping_sub(1)) {
            *last = linked;
        }
        *self.owner(slot) = NONE;
        *self.vacant = self.vacant.wrapping_add(1);
        Ok(())
    }

    /// Takes the packet that was taken last back out of the batch and drops it: it turned out to be no packet.
    #[inline(always)]
    pub fn drop_last(&mut self) {
        let Some(word) = self.last() else { return };
        self.next = self.next.wrapping_sub(1);
        // What is free again must not be marked when the round ends.
        let given = self.numbers.get(self.unmarked..self.head).unwrap_or_default();
        self.unmarked = self.head;
        drop_packet(self.pool, given, word);
    }

    /// Lends a free buffer to an empty slot and writes its address. `false` when there is none, or the slot is
    /// not empty.
    #[inline(always)]
    pub fn give(&mut self, slot: u32, address: &AddressWord) -> bool {
        if !self.has_stock() || *self.owner(slot) != NONE {
            return false;
        }
        *self.vacant = self.vacant.wrapping_sub(1);
        self.lend(slot, address);
        true
    }

    /// Leaves the buffer of `slot` where it is and writes its address again: what the device said of it was no
    /// packet. `false` when the slot is empty.
    #[inline(always)]
    pub fn relend(&mut self, slot: u32, address: &AddressWord) -> bool {
        let number = *self.owner(slot);
        if number == NONE {
            return false;
        }
        // SAFETY: the buffer is recorded as lent to this slot, and stays so.
        unsafe { address.lend(address_of(self.base, number, self.size)) };
        true
    }

    /// The bytes that the device wrote before the packet that was taken last. Empty when none was taken, or it has
    /// no prefix. The device can't change them any more, unless it breaks the rules; software devices can't either
    /// way.
    #[inline(always)]
    pub fn last_prefix(&self) -> &[u8] {
        let Some(word) = self.last() else { return &[] };
        if let Some(table) = self.pool.buffers.lent_table() {
            shut(table, word.number(self.pool.shift()));
        }
        let prefix = self.prefix as usize;
        // SAFETY: the word was taken in this round; the prefix lies before its first byte, inside the buffer.
        unsafe { std::slice::from_raw_parts(self.pool.place(word).sub(prefix), prefix) }
    }

    /// The packet that was taken last in this round.
    #[inline(always)]
    fn last(&self) -> Option<Word> {
        if self.next > self.from { self.words.get(self.next.wrapping_sub(1)).copied() } else { None }
    }

    #[inline(always)]
    fn owner(&mut self, slot: u32) -> &mut u32 {
        // SAFETY: there are `mask + 1` records.
        unsafe { self.owners.get_unchecked_mut((slot & self.mask) as usize) }
    }

    #[inline(always)]
    fn look_up(&mut self, slot: u32, length: u32) -> Result<u32, Refused> {
        let number = *self.owner(slot);
        if number == NONE {
            return Err(Refused::Empty);
        }
        if length > self.capacity {
            return Err(Refused::TooLong);
        }
        Ok(number)
    }

    /// Needs room, which the callers checked.
    #[inline(always)]
    fn push(&mut self, number: u32, length: u32) {
        let word = Word::new(number, self.size, HEADROOM, length);
        // SAFETY: `next` is below `end`, which is at most the batch's limit.
        unsafe { *self.words.get_unchecked_mut(self.next) = word };
        self.next = self.next.wrapping_add(1);
    }

    /// Needs stock, which the callers checked.
    #[inline(always)]
    fn lend(&mut self, slot: u32, address: &AddressWord) {
        // SAFETY: `head` is below `stocked`, which is at most `CAPACITY`.
        let number = unsafe { *self.numbers.get_unchecked(self.head) };
        self.head = self.head.wrapping_add(1);
        *self.owner(slot) = number;
        // SAFETY: the buffer is mapped for the pool's address space, which the device is in, and recorded as lent to
        // this slot.
        unsafe { address.lend(address_of(self.base, number, self.size)) };
    }
}

impl Drop for Receiving<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(table) = self.pool.buffers.lent_table() {
            mark_round(
                self.pool,
                table,
                (self.numbers, self.unmarked, self.head),
                (self.words, self.from, self.next),
            );
        }
        (*self.stock.0, *self.stock.1) = (self.head, self.stocked);
        *self.length = self.next;
    }
}

// What follows is out of the loops, and takes values: a round that is passed by reference leaves the registers.

/// Brings the marks up to date at a round's end: what was given and taken since.
#[cold]
#[inline(never)]
fn mark_round(
    pool: &Inner,
    table: &LentTable,
    (numbers, given_from, given_to): (&[u32; CAPACITY], usize, usize),
    (words, taken_from, taken_to): (&[Word; MAXIMUM_BATCH], usize, usize),
) {
    let given = numbers.get(given_from..given_to).unwrap_or_default();
    mark(pool, table, given, words.get(taken_from..taken_to).unwrap_or_default());
}

/// Keeps software devices out of a buffer from now on, not only from the end of the round.
#[cold]
#[inline(never)]
fn shut(table: &LentTable, number: u32) {
    table.take_back(std::iter::once(number));
}

/// Puts a segment, whose buffer is leaving its slot, behind a packet of this round, and says what its word is now.
#[cold]
#[inline(never)]
fn link(pool: &Inner, mut head: Word, segment: Word) -> Word {
    // SAFETY: the packet belongs to the round, as does the segment; the caller replaces the packet's word.
    unsafe { pool.link(&mut head, segment) };
    head
}

/// Gives back a packet that is out of the round's books. `given` are the buffers that are not marked yet.
#[cold]
#[inline(never)]
fn drop_packet(pool: &Inner, given: &[u32], word: Word) {
    if let Some(table) = pool.buffers.lent_table() {
        mark(pool, table, given, &[word]);
    }
    // SAFETY: the packet was taken in this round, and nobody else has its word any more.
    pool.put_all(unsafe { pool.numbers_of(word) });
}
