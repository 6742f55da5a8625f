//! The compressed flow: a map of the words that are present, and those words in order.
//!
//! The memory layout is that of Open vSwitch's `struct miniflow` followed by a buffer of
//! `FLOW_MAX_PACKET_U64S` words, the smallest that any caller of `miniflow_extract()` provides. Words after
//! the present ones keep whatever they held.

use core::fmt;
use core::marker::PhantomData;

use crate::key::FlowKey;
use crate::layout::{At, Layout, MAX_PACKET_WORDS};

/// The compressed flow of one packet in the layout `L`.
#[derive(Clone)]
#[repr(C)]
pub struct Miniflow<L: Layout> {
    pub(crate) map: [u64; 2],
    pub(crate) values: [u64; MAX_PACKET_WORDS],
    layout: PhantomData<L>,
}

impl<L: Layout> Miniflow<L> {
    /// An empty one, for extraction to fill.
    #[must_use]
    pub const fn new() -> Self {
        Miniflow { map: [0; 2], values: [0; MAX_PACKET_WORDS], layout: PhantomData }
    }

    /// Which words are present: bit `i % 64` of element `i / 64` for word `i`.
    #[must_use]
    pub const fn map(&self) -> [u64; 2] {
        self.map
    }

    /// The present words, in the order of their indices.
    #[must_use]
    pub fn values(&self) -> &[u64] {
        let present = (self.map[0].count_ones().wrapping_add(self.map[1].count_ones())) as usize;
        self.values.get(..present).unwrap_or(&self.values)
    }

    /// Word `index` (see [`At`]), or 0 where it isn't present.
    #[inline]
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        word_of(self.map, &self.values, index)
    }

    /// The words that are present, with their indices.
    pub fn words(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let [low, high] = self.map;
        let present = (0..L::WORDS).filter(move |&index| {
            let half = if index < 64 { low } else { high };
            half >> (index % 64) & 1 != 0
        });
        present.zip(self.values.iter().copied())
    }

    /// The whole flow: absent words are zero.
    #[must_use]
    pub fn expand(&self) -> FlowKey<L> {
        FlowKey::from(self)
    }

    /// The Ethernet type as the packet has it, 0 where there is none.
    #[inline]
    #[must_use]
    pub fn ethernet_type(&self) -> u16 {
        let bytes = self.word(At::<L>::ETHERNET_TYPE).to_ne_bytes();
        u16::from_be_bytes([bytes[4], bytes[5]])
    }
}

/// Word `index` of those that `map` says are present, or 0.
#[inline(always)]
pub(crate) fn word_of(map: [u64; 2], values: &[u64], index: usize) -> u64 {
    let [low, high] = map;
    let bit = 1u64.wrapping_shl(index as u32);
    let below = bit.wrapping_sub(1);
    let (present, position) = if index < 64 {
        (low & bit != 0, (low & below).count_ones())
    } else {
        (index < 128 && high & bit != 0, low.count_ones().wrapping_add((high & below).count_ones()))
    };
    match values.get(position as usize) {
        Some(&word) if present => word,
        _ => 0,
    }
}

impl<L: Layout> Default for Miniflow<L> {
    fn default() -> Self {
        Miniflow::new()
    }
}

impl<L: Layout> PartialEq for Miniflow<L> {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map && self.values() == other.values()
    }
}

impl<L: Layout> Eq for Miniflow<L> {}

impl<L: Layout> fmt::Debug for Miniflow<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.words()).finish()
    }
}
