//! One round of sending: packets of which the device has to be told more than where they are, or that are in several buffers.

use super::NONE;
use super::transmit::{Source, TransmitBuffers, close_up, mark};
use crate::batch::MAXIMUM_BATCH;
use crate::pool::Inner;
use crate::word::{Word, flag};
use crate::{Batch, Error, Frame};
use ringway_dma::{AddressWord, LentTable};

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
    /// Starts to send what is in `batch`. `prefix` bytes before each packet go with it: what the device wants to be
    /// told, written into the headroom with [`Sending::prefix_mut`].
    ///
    /// # Errors
    /// When the batch is of a pool that the queue was not started with.
    #[inline]
    pub fn send<'a>(&'a mut self, batch: &'a mut Batch, prefix: u32) -> Result<Sending<'a>, Error> {
        if !self.sends_from(&batch.pool) {
            return Err(Error::WrongPool);
        }
        let Source { base, shift, tag, .. } = self.source;
        Ok(Sending {
            // The packets are the round's until it is dropped. A round that is forgotten takes them along: what it
            // lent is then nowhere else.
            total: std::mem::take(&mut batch.length),
            sent: 0,
            in_part: false,
            base,
            shift,
            tag,
            mask: self.mask,
            prefix,
            owners: &mut self.owners,
            words: &mut batch.words,
            length: &mut batch.length,
            pool: &batch.pool.inner,
        })
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
    owners: &'a mut [u32],
    /// The batch's. Those below `sent` went; the one there is what is left of the packet at the front.
    words: &'a mut [Word; MAXIMUM_BATCH],
    /// How many packets the batch has, once the round is over.
    length: &'a mut usize,
    pool: &'a Inner,
    /// Packets that went whole.
    sent: usize,
    /// Packets of the batch, at most its limit.
    total: usize,
    base: u64,
    mask: u32,
    shift: u32,
    tag: u32,
    prefix: u32,
    /// Whether the first segments of the packet at the front have gone.
    in_part: bool,
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
