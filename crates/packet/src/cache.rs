//! A queue's own stock of free buffers.

use crate::Pool;
use crate::pool::{MAGAZINE, Magazine};

/// The most that a cache holds: the largest batch, and two magazines.
pub(crate) const CAPACITY: usize = 256 + 2 * MAGAZINE;

/// A stack of free numbers of one pool.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) pool: Pool,
    /// Free ones are below `length`; above are leftovers.
    pub(crate) numbers: Box<[u32; CAPACITY]>,
    pub(crate) length: usize,
}

impl Cache {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, numbers: Box::new([0; CAPACITY]), length: 0 }
    }

    /// Sees to it that at least `wanted` are there, if the pool has as many. At most 256.
    #[inline]
    pub(crate) fn refill(&mut self, wanted: usize) {
        while self.length < wanted.min(CAPACITY - MAGAZINE) {
            let Some(magazine) = self.pool.inner.get_magazine() else {
                return self.refill_loose(wanted);
            };
            self.take_magazine(&magazine);
        }
    }

    #[inline]
    fn take_magazine(&mut self, magazine: &Magazine) {
        if let Some(place) =
            self.numbers.get_mut(self.length..).and_then(|rest| rest.first_chunk_mut::<MAGAZINE>())
        {
            *place = magazine.0;
            self.length += MAGAZINE;
        }
    }

    #[cold]
    fn refill_loose(&mut self, wanted: usize) {
        while self.length < wanted {
            let (Some(place), Some(number)) = (self.numbers.get_mut(self.length), self.pool.inner.get())
            else {
                return;
            };
            *place = number;
            self.length += 1;
        }
    }

    /// Adds numbers that are free now, and passes whole magazines on to the pool.
    #[inline]
    pub(crate) fn put_slice(&mut self, numbers: &[u32]) {
        for part in numbers.chunks(MAGAZINE) {
            self.spill();
            if let Some(place) =
                self.numbers.get_mut(self.length..).and_then(|rest| rest.get_mut(..part.len()))
            {
                place.copy_from_slice(part);
                self.length += part.len();
            }
        }
    }

    /// Adds one number.
    #[inline]
    pub(crate) fn put(&mut self, number: u32) {
        self.spill();
        if let Some(place) = self.numbers.get_mut(self.length) {
            *place = number;
            self.length += 1;
        }
    }

    /// Leaves at most two magazines.
    #[inline]
    fn spill(&mut self) {
        while self.length > MAGAZINE * 2 {
            let rest = self.length - MAGAZINE;
            if let Some(magazine) = self.numbers.get(rest..).and_then(|rest| rest.first_chunk::<MAGAZINE>()) {
                self.pool.inner.put_magazine(Magazine(*magazine));
            }
            self.length = rest;
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.pool.inner.put_all(self.numbers.iter().take(self.length).copied());
    }
}
