//! What a queue keeps of free buffers for itself: a stock to receive into, and a magazine of what it sent.

use crate::Pool;
use crate::batch::MAXIMUM_BATCH;
use crate::pool::{MAGAZINE, Magazine};

/// The most that a stock holds: enough for the largest batch, in whole magazines, beside one that was begun.
pub(crate) const CAPACITY: usize = MAXIMUM_BATCH + 2 * MAGAZINE;

/// A receive queue's free numbers of one pool. They are used in the order in which they came.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) pool: Pool,
    pub(crate) numbers: Box<[u32; CAPACITY]>,
    /// Free ones are from here …
    pub(crate) head: usize,
    /// … to here, at most `CAPACITY`. The others are leftovers.
    pub(crate) end: usize,
}

impl Stock {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, numbers: Box::new([0; CAPACITY]), head: 0, end: 0 }
    }

    /// Sees to it that at least `wanted` are there, if the pool has as many. At most the largest batch.
    #[inline(always)]
    pub(crate) fn refill(&mut self, wanted: usize) {
        if self.end.wrapping_sub(self.head) < wanted {
            self.get(wanted.min(MAXIMUM_BATCH));
        }
    }

    /// `wanted`, or what is there of it once the pool gave what it has. At most the largest batch.
    #[inline(always)]
    pub(crate) fn most(&mut self, wanted: usize) -> usize {
        if self.end.wrapping_sub(self.head) < wanted {
            self.get(wanted.min(MAXIMUM_BATCH));
            return self.end.wrapping_sub(self.head).min(wanted);
        }
        wanted
    }

    #[inline(never)]
    fn get(&mut self, wanted: usize) {
        if self.head == self.end {
            (self.head, self.end) = (0, 0);
        } else if self.head != 0 {
            self.numbers.copy_within(self.head..self.end, 0);
            self.end = self.end.wrapping_sub(self.head);
            self.head = 0;
        }
        while self.end < wanted {
            let Some(Magazine(numbers)) = self.pool.inner.get_magazine() else {
                return self.get_loose(wanted);
            };
            // There is room: less than the largest batch is there.
            let Some(place) = self.numbers.get_mut(self.end..).and_then(|rest| rest.first_chunk_mut()) else {
                return self.pool.inner.put_magazine(Magazine(numbers));
            };
            *place = numbers;
            self.end = self.end.wrapping_add(MAGAZINE);
        }
    }

    #[cold]
    fn get_loose(&mut self, wanted: usize) {
        while self.end < wanted
            && let Some(place) = self.numbers.get_mut(self.end)
            && let Some(number) = self.pool.inner.get()
        {
            *place = number;
            self.end = self.end.wrapping_add(1);
        }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let free = self.numbers.get(self.head..self.end).unwrap_or_default();
        self.pool.inner.put_all(free.iter().copied());
    }
}

/// Where a transmit queue gathers the numbers of one pool that come back, until they are a magazine. It never holds
/// a whole one, so a queue that has sent everything keeps at most 31 buffers from the others.
#[derive(Debug)]
pub(crate) struct Returns {
    pub(crate) pool: Pool,
    magazine: Magazine,
    /// Below `MAGAZINE`.
    length: usize,
}

impl Returns {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, magazine: Magazine([0; MAGAZINE]), length: 0 }
    }

    /// Adds a number that is free now.
    #[inline]
    pub(crate) fn put(&mut self, number: u32) {
        if let Some(place) = self.magazine.0.get_mut(self.length) {
            *place = number;
            self.length = self.length.wrapping_add(1);
        }
        if self.length >= MAGAZINE {
            self.length = 0;
            self.pool.inner.put_magazine(self.magazine);
        }
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        self.pool.inner.put_all(self.magazine.0.iter().take(self.length).copied());
    }
}
