//! Checks numbered packets.

use super::Totals;
use super::packet::{Kind, read};

/// Numbers back from the highest that are remembered one by one. What comes later than that can't be told from a
/// duplicate and counts as out of order.
const WINDOW: u64 = 4096;

/// A sink for the frames of one source.
#[derive(Debug)]
pub struct Sink {
    flows: Vec<Flow>,
    totals: Totals,
}

/// What has arrived of one flow.
#[derive(Debug)]
struct Flow {
    /// The highest number so far, plus one.
    next: u64,
    /// Bit n modulo the window: number n has arrived.
    seen: Box<[u64; (WINDOW / 64) as usize]>,
}

impl Default for Sink {
    fn default() -> Self {
        Self::new()
    }
}

impl Sink {
    /// A sink that has seen nothing.
    pub fn new() -> Self {
        Self { flows: vec![Flow::new()], totals: Totals::default() }
    }

    /// Takes a frame.
    #[inline]
    pub fn take(&mut self, frame: &[u8]) {
        let totals = &mut self.totals;
        let (flow, number) = match read(frame) {
            Kind::Numbered { flow, number } => (usize::from(flow), number),
            Kind::Damaged => return totals.corrupted = totals.corrupted.wrapping_add(1),
            Kind::Foreign => return totals.foreign = totals.foreign.wrapping_add(1),
        };
        if flow >= self.flows.len() {
            self.flows.resize_with(flow.wrapping_add(1), Flow::new);
        }
        if let Some(flow) = self.flows.get_mut(flow) {
            flow.take(number, frame.len() as u64, totals);
        }
    }

    /// What was seen so far; nothing is sent by a sink.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

impl Flow {
    fn new() -> Self {
        Self { next: 0, seen: Box::new([0; (WINDOW / 64) as usize]) }
    }

    #[inline]
    fn take(&mut self, number: u64, bytes: u64, totals: &mut Totals) {
        if number == self.next {
            self.next = number.wrapping_add(1);
            self.mark(number, true);
        } else if !self.take_other(number, totals) {
            return;
        }
        totals.received = totals.received.wrapping_add(1);
        totals.received_bytes = totals.received_bytes.wrapping_add(bytes);
    }

    /// A number that is not the next one. Whether it is new.
    #[cold]
    fn take_other(&mut self, number: u64, totals: &mut Totals) -> bool {
        if number > self.next {
            let skipped = number.wrapping_sub(self.next);
            totals.lost = totals.lost.saturating_add(skipped);
            for lost in number.saturating_sub(skipped.min(WINDOW))..number {
                self.mark(lost, false);
            }
            self.next = number.saturating_add(1);
            self.mark(number, true);
            return true;
        }
        let remembered = self.next.wrapping_sub(number) <= WINDOW;
        if remembered && self.has(number) {
            totals.duplicates = totals.duplicates.wrapping_add(1);
            return false;
        }
        if remembered {
            self.mark(number, true);
        }
        totals.out_of_order = totals.out_of_order.wrapping_add(1);
        totals.lost = totals.lost.saturating_sub(1);
        true
    }

    fn has(&self, number: u64) -> bool {
        let place = number % WINDOW;
        self.seen.get((place / 64) as usize).is_some_and(|word| word >> (place % 64) & 1 != 0)
    }

    #[inline]
    fn mark(&mut self, number: u64, seen: bool) {
        let place = number % WINDOW;
        if let Some(word) = self.seen.get_mut((place / 64) as usize) {
            *word = *word & !(1 << (place % 64)) | u64::from(seen) << (place % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, TrafficOptions};
    use super::*;

    fn frames(count: usize, flows: u16) -> Vec<Vec<u8>> {
        let mut source = Source::new(&TrafficOptions { flows, ..TrafficOptions::default() });
        let mut frame = vec![0; 2048];
        (0..count)
            .map(|_| {
                let length = source.next(&mut frame).unwrap();
                frame[..length].to_vec()
            })
            .collect()
    }

    fn totals(frames: impl IntoIterator<Item = Vec<u8>>) -> Totals {
        let mut sink = Sink::new();
        frames.into_iter().for_each(|frame| sink.take(&frame));
        sink.totals()
    }

    #[test]
    fn what_arrives_as_it_was_sent_is_clean() {
        let seen = totals(frames(20_000, 3));
        assert!(seen.is_clean());
        assert_eq!((seen.received, seen.received_bytes), (20_000, 1_200_000));
        assert_eq!(seen.missing_of(20_001), 1);
    }

    #[test]
    fn a_gap_is_a_loss_until_it_is_filled() {
        let mut list = frames(10, 1);
        let late = list.remove(4);
        assert_eq!(
            totals(list.clone()),
            Totals { received: 9, received_bytes: 540, lost: 1, ..Totals::default() }
        );
        list.push(late.clone());
        let seen = totals(list.clone());
        assert_eq!((seen.received, seen.lost, seen.out_of_order, seen.duplicates), (10, 0, 1, 0));
        list.push(late);
        assert_eq!(totals(list).duplicates, 1);
    }

    #[test]
    fn swapped_neighbours_and_repeats_are_told_apart() {
        let mut list = frames(10, 1);
        list.swap(3, 4);
        let seen = totals(list.clone());
        assert_eq!((seen.received, seen.lost, seen.out_of_order, seen.duplicates), (10, 0, 1, 0));
        list.insert(7, list[6].clone());
        assert_eq!(totals(list).duplicates, 1);
    }

    #[test]
    fn a_jump_beyond_the_window_is_counted_whole() {
        let mut list = frames(20_000, 1);
        list.drain(5..19_000);
        assert_eq!(totals(list.clone()).lost, 18_995);
        list.extend(frames(6, 1).split_off(5));
        assert_eq!((totals(list.clone()).lost, totals(list).out_of_order), (18_994, 1));
    }

    #[test]
    fn damaged_and_foreign_frames_are_counted_apart() {
        let mut list = frames(2, 1);
        list[1][50] ^= 1;
        list.push(vec![0; 60]);
        let seen = totals(list);
        assert_eq!((seen.received, seen.corrupted, seen.foreign), (1, 1, 1));
    }
}
