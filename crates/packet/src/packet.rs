//! A packet that stands alone.

use crate::word::Word;
use crate::{Frame, Pool};
use std::mem::ManuallyDrop;

/// An owned packet: it goes back to its pool when it is dropped. It moves between threads; it is never cloned.
#[derive(Debug)]
pub struct Packet {
    pool: Pool,
    word: Word,
}

impl Packet {
    /// The caller passes the number's ownership.
    pub(crate) fn new(pool: Pool, word: Word) -> Self {
        Self { pool, word }
    }

    /// Takes the ownership of the buffers out.
    pub(crate) fn into_word(self) -> Word {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never used again, so the pool handle is dropped once.
        unsafe { std::ptr::drop_in_place(&raw mut this.pool) };
        this.word
    }

    /// The pool that it came from.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What can be done with it.
    pub fn frame_mut(&mut self) -> Frame<'_> {
        // SAFETY: the packet owns its word and is borrowed exclusively.
        unsafe { Frame::new(&self.pool.inner, &mut self.word) }
    }

    /// The bytes of its first segment.
    pub fn data(&self) -> &[u8] {
        // SAFETY: `offset + length` is inside the buffer that the packet owns (invariant of `word.rs`).
        unsafe { std::slice::from_raw_parts(self.pool.inner.place(self.word), self.word.length() as usize) }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let pool = &self.pool.inner;
        // SAFETY: the packet owns its chain, and ends here.
        pool.put_all(unsafe { pool.numbers_of(self.word) });
    }
}
