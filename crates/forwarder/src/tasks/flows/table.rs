//! The flows that were seen, up to a limit.
//!
//! Contract: all of its memory is taken when it is made. When it is full, packets of flows that it doesn't know are
//! counted as such; those that it knows go on being counted. No flow ever leaves it.
//!
//! The hash is the parser's own, which is quick and doesn't withstand an adversary: who chooses the addresses and ports
//! of a million flows can make it slow, and nothing else.

use super::Count;
use super::tuple::{hash, normalised, reversed};
use hashbrown::HashTable;
use ringway_flow::FiveTuple;
use std::hash::{BuildHasher, RandomState};

/// A flow, or a conversation of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who talks to whom, as in the first packet that was seen.
    pub tuple: FiveTuple,
    /// From source to destination.
    pub forward: Count,
    /// From destination to source; nothing where directions are flows of their own.
    pub backward: Count,
    /// When its earliest packet came, in nanoseconds.
    pub first: u64,
    /// When its latest packet came, in nanoseconds.
    pub last: u64,
}

impl Flow {
    /// Both directions together.
    pub fn both(&self) -> Count {
        self.forward.plus(self.backward)
    }
}

/// There is not as much memory as the table would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory for a table of {flows} flows ({bytes} bytes)")]
pub struct NoMemory {
    /// The limit that was asked for.
    pub flows: u32,
    /// What it would take.
    pub bytes: u64,
}

/// The table.
#[derive(Debug)]
pub struct FlowTable {
    /// Places in `flows`.
    index: HashTable<u32>,
    flows: Vec<Flow>,
    limit: u32,
    both_directions: bool,
    basis: u32,
    unlisted: Count,
}

/// The hash of a table's kind: its upper bits count too, and those of the parser's hash are 32.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl FlowTable {
    /// A table of up to `limit` flows. With `both_directions` a conversation is one flow.
    ///
    /// # Errors
    /// When there is no memory for so many.
    pub fn new(limit: u32, both_directions: bool) -> Result<Self, NoMemory> {
        let mut table = Self {
            index: HashTable::new(),
            flows: Vec::new(),
            limit,
            both_directions,
            basis: RandomState::new().hash_one(0u32) as u32,
            unlisted: Count::default(),
        };
        let no_memory = NoMemory { flows: limit, bytes: Self::memory_for(limit) };
        let room = usize::try_from(limit).map_err(|_| no_memory)?;
        table.flows.try_reserve_exact(room).map_err(|_| no_memory)?;
        // It is empty: there is nothing to hash again.
        table.index.try_reserve(room, |_| 0).map_err(|_| no_memory)?;
        Ok(table)
    }

    /// What a table of so many flows takes, in bytes: the flows, and twice as many places as the index fills by 7/8.
    fn memory_for(limit: u32) -> u64 {
        let flows = u64::from(limit).saturating_mul(size_of::<Flow>() as u64);
        let places = (u64::from(limit).saturating_mul(8) / 7).next_power_of_two();
        flows.saturating_add(places.saturating_mul(size_of::<u32>() as u64 + 1))
    }

    /// What it takes at most, in bytes. The system gives it as the table fills.
    pub fn memory(&self) -> u64 {
        Self::memory_for(self.limit)
    }

    /// How many flows it can hold.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether a conversation of both directions is one flow.
    pub fn has_both_directions(&self) -> bool {
        self.both_directions
    }

    /// The flows, in the order in which they were first seen.
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// The room that its two parts have.
    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        (self.flows.capacity(), self.index.capacity())
    }

    /// Packets of flows that it had no room for.
    pub fn unlisted(&self) -> Count {
        self.unlisted
    }

    /// Counts a packet of `bytes` bytes that came at `time` nanoseconds.
    #[inline]
    pub fn count(&mut self, tuple: FiveTuple, bytes: u64, time: u64) {
        let key = if self.both_directions { normalised(tuple) } else { tuple };
        let hash = spread(hash(&key, self.basis));
        let Self { index, flows, both_directions, .. } = self;
        let is_it = |flow: &Flow| flow.tuple == tuple || *both_directions && flow.tuple == reversed(tuple);
        let found = index.find(hash, |&place| flows.get(place as usize).is_some_and(is_it)).copied();
        match found.and_then(|place| flows.get_mut(place as usize)) {
            Some(flow) => {
                let direction = if flow.tuple == tuple { &mut flow.forward } else { &mut flow.backward };
                direction.add(bytes);
                flow.first = flow.first.min(time);
                flow.last = flow.last.max(time);
            }
            None => self.insert(tuple, hash, bytes, time),
        }
    }

    fn insert(&mut self, tuple: FiveTuple, hash: u64, bytes: u64, time: u64) {
        let Some(place) = u32::try_from(self.flows.len()).ok().filter(|&place| place < self.limit) else {
            self.unlisted.add(bytes);
            return;
        };
        let mut forward = Count::default();
        forward.add(bytes);
        // There is room in both: neither allocates, nor hashes anything again.
        self.flows.push(Flow { tuple, forward, backward: Count::default(), first: time, last: time });
        self.index.insert_unique(hash, place, |_| hash);
    }

    /// The `count` largest flows, largest first, by what `size` says of each. Equals come in the order in which they were
    /// first seen.
    pub fn largest(&self, count: usize, size: impl Fn(&Flow) -> u64) -> Vec<Flow> {
        let mut order: Vec<(u64, u32)> = self.flows.iter().map(size).zip(0u32..).collect();
        let larger = |a: &(u64, u32), b: &(u64, u32)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
        if count < order.len() {
            order.select_nth_unstable_by(count, larger);
            order.truncate(count);
        }
        order.sort_unstable_by(larger);
        order.iter().filter_map(|&(_, place)| self.flows.get(place as usize)).copied().collect()
    }
}
