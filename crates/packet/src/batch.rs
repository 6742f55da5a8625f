//! Packets that travel together.

use crate::pool::{MAGAZINE, Magazine};
use crate::word::{Word, flag};
use crate::{Error, Frame, Packet, Pool};

/// The most packets of one batch.
pub const MAXIMUM_BATCH: usize = 256;

/// Up to 256 packets of one pool. What is still in it when it is dropped goes back to the pool.
///
/// A batch is made once and used again and again: receiving fills it, sending empties it from the front.
#[derive(Debug)]
pub struct Batch {
    pub(crate) pool: Pool,
    pub(crate) words: Box<[Word; MAXIMUM_BATCH]>,
    /// At most `limit`. The words below it are packets that the batch owns.
    pub(crate) length: usize,
    /// At most `MAXIMUM_BATCH`.
    limit: usize,
}

impl Batch {
    /// An empty batch for up to `limit` packets (1 to 256; beyond that it is brought into range).
    pub fn new(pool: &Pool, limit: usize) -> Self {
        Self {
            pool: pool.clone(),
            words: Box::new([Word(0); MAXIMUM_BATCH]),
            length: 0,
            limit: limit.clamp(1, MAXIMUM_BATCH),
        }
    }

    /// The pool of its packets.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How many packets it holds.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many more it takes.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.limit.wrapping_sub(self.length)
    }

    /// Its packets, first to last.
    #[inline(always)]
    pub fn frames(&mut self) -> impl Iterator<Item = Frame<'_>> {
        let pool = &*self.pool.inner;
        let base = pool.buffers.base();
        // SAFETY: `length` is at most the limit, and that is at most `MAXIMUM_BATCH`.
        let words = unsafe { self.words.get_unchecked_mut(..self.length) };
        // SAFETY: the words below `length` are owned by the batch, which is borrowed exclusively; each is
        // handed out once.
        words.iter_mut().map(move |word| unsafe { Frame::with_base(pool, base, word) })
    }

    /// One of its packets.
    #[inline(always)]
    pub fn frame(&mut self, index: usize) -> Option<Frame<'_>> {
        let word = self.words.get_mut(..self.length)?.get_mut(index)?;
        // SAFETY: as in `frames`.
        Some(unsafe { Frame::new(&self.pool.inner, word) })
    }

    /// Adds a packet at the end.
    ///
    /// # Errors
    /// When the batch is full or of another pool; the packet comes back with the error.
    pub fn push(&mut self, packet: Packet) -> Result<(), (Error, Packet)> {
        if !packet.pool().is_same(&self.pool) {
            return Err((Error::WrongPool, packet));
        }
        match self.words.get_mut(..self.limit).and_then(|words| words.get_mut(self.length)) {
            Some(place) => {
                *place = packet.into_word();
                self.length = self.length.wrapping_add(1);
                Ok(())
            }
            None => Err((Error::NoRoom { place: "in the batch of", wanted: 1, room: 0 }, packet)),
        }
    }

    /// Takes the last packet out.
    pub fn pop(&mut self) -> Option<Packet> {
        let last = self.length.checked_sub(1)?;
        let word = *self.words.get(last)?;
        self.length = last;
        Some(Packet::new(self.pool.clone(), word))
    }

    /// Drops the packets for which `keep` says no, and keeps the order of the others. If `keep` panics, the packets
    /// that it didn't decide on stay.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Frame<'_>) -> bool) {
        let total = std::mem::take(&mut self.length);
        let mut sieve = Sieve { batch: self, kept: 0, next: 0, total };
        while sieve.next < sieve.total {
            let Sieve { batch, kept, next, .. } = &mut sieve;
            let Some(word) = batch.words.get_mut(*next) else { break };
            // SAFETY: with `length` at 0 the batch doesn't own the word; the sieve does.
            let stays = keep(&mut unsafe { Frame::new(&batch.pool.inner, word) });
            let word = *word;
            *next = next.wrapping_add(1);
            if !stays {
                drop(Packet::new(batch.pool.clone(), word));
            } else if let Some(place) = batch.words.get_mut(*kept) {
                *place = word;
                *kept = kept.wrapping_add(1);
            }
        }
    }

    /// Gives all packets back to the pool and says how many they were.
    pub fn clear(&mut self) -> usize {
        let dropped = std::mem::take(&mut self.length);
        let pool = &self.pool.inner;
        let shift = pool.shift();
        let (magazines, rest) = self.words.get(..dropped).unwrap_or_default().as_chunks::<MAGAZINE>();
        for words in magazines {
            let flags = words.iter().fold(0, |flags, word| flags | word.0);
            if flags & flag::SEGMENTED == 0 {
                pool.put_magazine(Magazine(words.map(|word| word.number(shift))));
            } else {
                // SAFETY: the words were owned by the batch, and with `length` at 0 no longer are.
                pool.put_all(words.iter().flat_map(|&word| unsafe { pool.numbers_of(word) }));
            }
        }
        if !rest.is_empty() {
            // SAFETY: as above.
            pool.put_all(rest.iter().flat_map(|&word| unsafe { pool.numbers_of(word) }));
        }
        dropped
    }
}

/// A batch while [`Batch::retain`] goes through it: words below `kept` stay, those from `next` to `total` are not
/// decided on, and those between are gone.
struct Sieve<'a> {
    batch: &'a mut Batch,
    kept: usize,
    next: usize,
    total: usize,
}

impl Drop for Sieve<'_> {
    fn drop(&mut self) {
        self.batch.words.copy_within(self.next..self.total, self.kept);
        self.batch.length = self.kept.wrapping_add(self.total.wrapping_sub(self.next));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}
