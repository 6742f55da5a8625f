//! The words of a miniflow under construction.
//!
//! Words are pushed in the order of their indices, each with its bit in the map. The room only shrinks, so no
//! position is ever computed, and a push into a full store is dropped: it can't happen (the fields that can
//! occur together take at most 71 words, see the test in `general`), and if it did it would not be a panic.

use crate::layout::{bits, union};

pub(super) struct Store<'a> {
    pub(super) room: &'a mut [u64],
    pub(super) map: [u64; 2],
}

impl Store<'_> {
    /// Marks `count` words from `first` as present. The map's words are constants once this is inlined.
    #[inline(always)]
    pub(super) fn mark(&mut self, first: usize, count: usize) {
        self.map = union(self.map, bits(first, count));
    }

    /// Writes `N` words, present from index `first` on.
    #[inline(always)]
    pub(super) fn push<const N: usize>(&mut self, first: usize, words: [u64; N]) {
        self.write(words);
        self.mark(first, N);
    }

    /// Writes `N` words without marking them.
    #[inline(always)]
    pub(super) fn write<const N: usize>(&mut self, words: [u64; N]) {
        if let Some((first, rest)) = core::mem::take(&mut self.room).split_first_chunk_mut::<N>() {
            *first = words;
            self.room = rest;
        }
    }

    /// Marks one word whose index is known at run time only.
    pub(super) fn mark_variable(&mut self, index: usize) {
        if let Some(half) = self.map.get_mut(index / 64) {
            *half |= 1u64.wrapping_shl(index as u32);
        }
    }
}
