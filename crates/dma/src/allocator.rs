//! Hands out I/O virtual addresses inside the ranges that the translating unit reports.
//!
//! First fit, lowest address first, aligned as asked. Nothing below 4 GiB is handed out as long as there is
//! room above: a 32-bit number that strays into an address word then hits nothing, and a device that reads a
//! zeroed descriptor faults instead of finding memory.

use crate::{Error, Iova, IovaRange};

/// The lowest address handed out while there is room.
const PREFERRED_START: u64 = 1 << 32;

/// Free ranges, ascending and disjoint, as `first..=last`.
#[derive(Debug)]
pub(crate) struct Allocator {
    free: Vec<(u64, u64)>,
    usable: Vec<(u64, u64)>,
    /// Bytes below 4 GiB that are handed out, also where nothing is handed out any more.
    low: u64,
}

impl Allocator {
    /// An allocator over `ranges`. Overlapping ranges are merged, empty ones ignored.
    pub(crate) fn new(ranges: &[IovaRange]) -> Self {
        let usable = merged(ranges);
        Self { free: usable.clone(), usable, low: 0 }
    }

    /// Takes everything outside `ranges` out of use, for good: what is handed out now stays where it is, and only what
    /// lies inside comes back. Ranges never grow.
    pub(crate) fn restrict(&mut self, ranges: &[IovaRange]) {
        self.usable = common(&self.usable, &merged(ranges));
        self.free = common(&self.free, &self.usable);
    }

    /// Hands out nothing below 4 GiB from now on. `false`: something there is out already, and nothing has changed.
    pub(crate) fn keep_low_free(&mut self) -> bool {
        if self.low != 0 {
            return false;
        }
        let above = [(PREFERRED_START, u64::MAX)];
        self.usable = common(&self.usable, &above);
        self.free = common(&self.free, &above);
        true
    }

    /// All that may be handed out, taken or not.
    pub(crate) fn ranges(&self) -> Vec<IovaRange> {
        let range = |&(first, last)| IovaRange { first: Iova::new(first), last: Iova::new(last) };
        self.usable.iter().map(range).collect()
    }

    /// Takes `bytes` at a multiple of `alignment`, which is a power of two.
    pub(crate) fn take(&mut self, bytes: u64, alignment: u64) -> Result<Iova, Error> {
        let exhausted = Error::Exhausted { bytes, free: total(&self.free), total: total(&self.usable) };
        let Some(beyond) = bytes.checked_sub(1) else { return Err(exhausted) };
        for lowest in [PREFERRED_START, alignment.max(1)] {
            for index in 0..self.free.len() {
                let Some(&(first, last)) = self.free.get(index) else { break };
                let Some(start) = first.max(lowest).checked_next_multiple_of(alignment) else { continue };
                let Some(end) = start.checked_add(beyond) else { continue };
                if start >= first && end <= last {
                    self.carve(index, start, end);
                    self.low = self.low.saturating_add(low(start, end));
                    return Ok(Iova::new(start));
                }
            }
        }
        Err(exhausted)
    }

    /// Gives a range back that [`take`](Self::take) handed out.
    pub(crate) fn give_back(&mut self, iova: Iova, bytes: u64) {
        let Some(last) = bytes.checked_sub(1).and_then(|beyond| iova.get().checked_add(beyond)) else {
            return;
        };
        self.low = self.low.saturating_sub(low(iova.get(), last));
        let at = self.free.partition_point(|&(first, _)| first < iova.get());
        self.free.insert(at, (iova.get(), last));
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.free.len());
        for &(first, last) in &self.free {
            match merged.last_mut() {
                Some(previous) if first == previous.1.wrapping_add(1) => previous.1 = last,
                _ => merged.push((first, last)),
            }
        }
        // A range that was restricted while it was out comes back smaller.
        self.free = common(&merged, &self.usable);
    }

    fn carve(&mut self, index: usize, start: u64, end: u64) {
        let (first, last) = self.free.remove(index);
        let mut at = index;
        if first < start {
            self.free.insert(at, (first, start.wrapping_sub(1)));
            at = at.saturating_add(1);
        }
        if end < last {
            self.free.insert(at, (end.wrapping_add(1), last));
        }
    }
}

/// Ranges in ascending order, overlapping ones merged, empty ones left out.
fn merged(ranges: &[IovaRange]) -> Vec<(u64, u64)> {
    let mut sorted: Vec<(u64, u64)> = ranges
        .iter()
        .map(|range| (range.first.get(), range.last.get()))
        .filter(|(first, last)| first <= last)
        .collect();
    sorted.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match merged.last_mut() {
            Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// What two ascending lists of disjoint ranges have in common.
fn common(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let overlap = |&(first, last): &(u64, u64), limit: &(u64, u64)| {
        let part = (first.max(limit.0), last.min(limit.1));
        (part.0 <= part.1).then_some(part)
    };
    one.iter().flat_map(|range| other.iter().filter_map(move |limit| overlap(range, limit))).collect()
}

/// How many bytes of a range lie below 4 GiB.
fn low(first: u64, last: u64) -> u64 {
    total(&common(&[(first, last)], &[(0, PREFERRED_START.wrapping_sub(1))]))
}

fn total(ranges: &[(u64, u64)]) -> u64 {
    ranges
        .iter()
        .fold(0u64, |sum, &(first, last)| sum.saturating_add(last.saturating_sub(first)).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> IovaRange {
        IovaRange { first: Iova::new(first), last: Iova::new(last) }
    }

    #[test]
    fn addresses_stay_inside_the_ranges_and_out_of_the_holes() {
        let gib = 1u64 << 30;
        let mut allocator = Allocator::new(&[range(0, 0xfedf_ffff), range(0xfef0_0000, 6 * gib - 1)]);
        let first = allocator.take(gib, 4096).unwrap();
        let second = allocator.take(gib, 4096).unwrap();
        assert_eq!((first.get(), second.get()), (4 * gib, 5 * gib));
        // Above 4 GiB nothing is left: now the low part serves, but never address 0.
        let low = allocator.take(gib, 4096).unwrap();
        assert_eq!(low.get(), 4096);
        assert!(matches!(allocator.take(4 * gib, 4096), Err(Error::Exhausted { .. })));
    }

    #[test]
    fn what_lies_below_4_gib_is_kept_free_unless_it_is_in_use() {
        let gib = 1u64 << 30;
        let mut allocator = Allocator::new(&[range(4096, 5 * gib - 1)]);
        assert_eq!(allocator.take(gib, 4096).unwrap().get(), 4 * gib);
        assert!(allocator.keep_low_free() && allocator.keep_low_free());
        assert!(allocator.take(4096, 4096).is_err(), "only low addresses would be left");
        allocator.give_back(Iova::new(4 * gib), gib);
        assert_eq!(allocator.take(4096, 4096).unwrap().get(), 4 * gib);
        let mut narrow = Allocator::new(&[range(0, gib - 1)]);
        narrow.take(4096, 4096).unwrap();
        assert!(!narrow.keep_low_free());
        assert!(narrow.take(4096, 4096).is_ok());
    }

    #[test]
    fn what_was_taken_below_4_gib_counts_also_when_nothing_may_be_taken_there_any_more() {
        let gib = 1u64 << 30;
        for allowed in [range(4 * gib, 5 * gib - 1), range(2 * gib, 5 * gib - 1)] {
            let mut allocator = Allocator::new(&[range(0, gib - 1)]);
            let taken = allocator.take(8192, 4096).unwrap();
            allocator.restrict(&[allowed]);
            assert!(!allocator.keep_low_free(), "memory is mapped at {taken:?}");
            allocator.give_back(taken, 8192);
            assert!(allocator.keep_low_free());
        }
        // A range over the border lies below it in part.
        let mut allocator = Allocator::new(&[range(4 * gib - 4096, 4 * gib + 4095)]);
        let taken = allocator.take(8192, 4096).unwrap();
        allocator.restrict(&[range(4 * gib, 5 * gib)]);
        assert!(!allocator.keep_low_free());
        allocator.give_back(taken, 8192);
        assert!(allocator.keep_low_free());
        assert_eq!(allocator.take(4096, 4096).unwrap().get(), 4 * gib);
    }

    #[test]
    fn a_39_bit_unit_never_sees_a_higher_address() {
        let last = (1u64 << 39) - 1;
        let mut allocator = Allocator::new(&[range(0, last)]);
        let mut taken = 0u64;
        while let Ok(iova) = allocator.take(32 << 30, 1 << 30) {
            assert!(iova.get() + (32 << 30) - 1 <= last);
            taken += 1;
        }
        assert!(taken >= 15, "{taken}");
    }

    #[test]
    fn what_is_given_back_is_whole_again() {
        let mut allocator = Allocator::new(&[range(1 << 32, (1 << 32) + 0xffff)]);
        let parts: Vec<Iova> = (0..16).map(|_| allocator.take(4096, 4096).unwrap()).collect();
        assert!(allocator.take(4096, 4096).is_err());
        for index in [3, 1, 2, 0, 15, 7, 9, 8, 4, 5, 6, 14, 13, 12, 11, 10] {
            allocator.give_back(parts[index], 4096);
        }
        assert_eq!(allocator.take(65536, 65536).unwrap().get(), 1 << 32);
    }

    #[test]
    fn restricted_ranges_are_not_handed_out_and_do_not_come_back() {
        let base = 1u64 << 32;
        let mut allocator = Allocator::new(&[range(base, base + 0xffff)]);
        let kept = allocator.take(0x4000, 0x1000).unwrap();
        assert_eq!(kept.get(), base);
        // The first two pages and the upper half go, the former while they are out.
        allocator.restrict(&[range(0, 0xfff), range(base + 0x2000, base + 0x7fff)]);
        assert_eq!(allocator.ranges(), [range(base + 0x2000, base + 0x7fff)]);
        assert_eq!(allocator.take(0x4000, 0x1000).unwrap().get(), base + 0x4000);
        assert!(allocator.take(0x1000, 0x1000).is_err());
        allocator.give_back(kept, 0x4000);
        assert_eq!(allocator.take(0x2000, 0x1000).unwrap().get(), base + 0x2000);
        assert!(allocator.take(0x1000, 0x1000).is_err());
        // Wider ranges bring nothing back.
        allocator.restrict(&[range(0, u64::MAX)]);
        assert!(allocator.take(0x1000, 0x1000).is_err());
    }

    #[test]
    fn alignment_is_kept_at_the_edges() {
        let mut allocator = Allocator::new(&[range(0x1_0000_1000, 0x1_0040_0fff)]);
        let huge = allocator.take(2 << 20, 2 << 20).unwrap();
        assert_eq!(huge.get() % (2 << 20), 0);
        assert!(allocator.take(0, 4096).is_err());
        assert!(allocator.take(u64::MAX, 4096).is_err());
    }
}
