//! Where a transmit queue asked the device for reports, and how far it has come by them (82599 datasheet, section 7.2.3.3).
//!
//! A report is a bit that the device sets in a descriptor which asked for it; it works through them in order, so one says that
//! all before it are done. Positions count on from lap to lap, modulo 2^32.

use crate::capabilities::RING_SIZES;
use crate::transmit::{DONE, END_OF_PACKET, REPORT_STATUS};
use ringway_dma::{Descriptor, Ring};
use std::sync::atomic::Ordering;

/// Descriptors between two reports, a power of two.
const REPORT_INTERVAL: u32 = 32;
/// Blocks of 32 descriptors in the largest ring, a power of two.
const BLOCKS: usize = 128;
const _: () = assert!(BLOCKS as u32 * REPORT_INTERVAL >= *RING_SIZES.end());

/// Where reports were asked for: for each 32 descriptors, the last one of them that reports. Positions are one behind it, and
/// count on from lap to lap.
#[derive(Debug)]
pub(crate) struct Reports([u32; BLOCKS]);

impl Reports {
    /// At first every place names the one before the ring's first.
    pub(crate) fn new() -> Self {
        Self([0; BLOCKS])
    }

    /// How far the device has come: positions from `done` up to `next` are with it. With `all` up to any report, otherwise up to
    /// the last one of 32 descriptors, which costs less to find.
    #[inline(always)]
    pub(crate) fn done(&self, ring: &Ring<Descriptor>, mut done: u32, next: u32, all: bool) -> u32 {
        let reported = |end: u32| ring.at(end.wrapping_sub(1)).word.load(Ordering::Acquire) & DONE != 0;
        let mut block = done;
        while block.wrapping_sub(done) < next.wrapping_sub(done) {
            let end = self.in_block(block);
            let span = end.wrapping_sub(done);
            let is_of_block = end.wrapping_sub(1) / REPORT_INTERVAL == block / REPORT_INTERVAL;
            // There are blocks without a report: a packet may end further on.
            if is_of_block && span.wrapping_sub(1) < next.wrapping_sub(done) {
                if !reported(end) {
                    // An earlier one of these will do, where each buffer counts.
                    let mut earlier = (1..span).rev().map(|n| done.wrapping_add(n));
                    return if all { earlier.find(|&end| reported(end)).unwrap_or(done) } else { done };
                }
                done = end;
            }
            block = (block | (REPORT_INTERVAL - 1)).wrapping_add(1);
        }
        done
    }

    #[inline(always)]
    fn keep(&mut self, position: u32, end: u32) {
        self.0[(position / REPORT_INTERVAL) as usize % BLOCKS] = end;
    }

    /// The last report that was asked for in the 32 descriptors that `position` is in, now or some laps ago; or the end of a report in another.
    #[inline(always)]
    fn in_block(&self, position: u32) -> u32 {
        self.0[(position / REPORT_INTERVAL) as usize % BLOCKS]
    }

    /// Asks for reports on the descriptors from `start` up to `end`, which the device doesn't know of yet: at the end, and
    /// wherever 32 descriptors end. Only the last descriptor of a packet may report (section 7.2.3.2.4).
    #[inline(always)]
    pub(crate) fn ask(&mut self, ring: &Ring<Descriptor>, start: u32, end: u32) {
        if (start ^ end.wrapping_sub(1)) / REPORT_INTERVAL != 0 {
            self.ask_between(ring, start, end);
        }
        self.ask_one(ring, end);
    }

    #[inline(never)]
    fn ask_between(&mut self, ring: &Ring<Descriptor>, start: u32, end: u32) {
        let mut boundary = (start | (REPORT_INTERVAL - 1)).wrapping_add(1);
        while boundary.wrapping_sub(start) < end.wrapping_sub(start) {
            let last = boundary.wrapping_sub(1);
            if ring.at(last).word.load(Ordering::Relaxed) & END_OF_PACKET != 0 {
                self.ask_one(ring, boundary);
            } else {
                // What is kept of an earlier lap must not be there when positions begin again from 0.
                self.keep(last, start);
            }
            boundary = boundary.wrapping_add(REPORT_INTERVAL);
        }
    }

    #[inline(always)]
    fn ask_one(&mut self, ring: &Ring<Descriptor>, end: u32) {
        let last = end.wrapping_sub(1);
        let word = &ring.at(last).word;
        word.store(word.load(Ordering::Relaxed) | REPORT_STATUS, Ordering::Relaxed);
        self.keep(last, end);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

    use super::*;
    use ringway_dma::{AddressSpace, Placement, RingMemory};

    fn ring(count: u32) -> Ring<Descriptor> {
        let space = AddressSpace::emulated();
        let bytes = count as usize * size_of::<Descriptor>();
        let mut memory = RingMemory::allocate(&space, Placement::default(), &[bytes]).unwrap();
        memory.block(bytes).unwrap().ring(0, count).unwrap()
    }

    /// Writes packets of `segments` descriptors each from `start` on, and asks for reports.
    fn send(reports: &mut Reports, ring: &Ring<Descriptor>, start: u32, packets: u32, segments: u32) -> u32 {
        for n in 0..packets * segments {
            let end = if n % segments == segments - 1 { END_OF_PACKET } else { 0 };
            ring.at(start.wrapping_add(n)).word.store(end, Ordering::Relaxed);
        }
        let end = start.wrapping_add(packets * segments);
        reports.ask(ring, start, end);
        end
    }

    /// The device works through the descriptors from `start` up to `end`, and reports where it was asked to.
    fn work(ring: &Ring<Descriptor>, start: u32, end: u32) {
        for n in 0..end.wrapping_sub(start) {
            let word = &ring.at(start.wrapping_add(n)).word;
            if word.load(Ordering::Relaxed) & REPORT_STATUS != 0 {
                word.store(DONE, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn whatever_is_sent_is_found_to_be_done_over_many_laps_and_where_positions_begin_again() {
        // Under Miri, which is slow, the shortest ring and a little beyond the end of the positions.
        let (counts, turns) = if cfg!(miri) { (&[64][..], 100) } else { (&[64, 512, 4096][..], 10_000) };
        for &count in counts {
            let (ring, mut reports) = (ring(count), Reports::new());
            // Half a round of the positions away from their end, and before it.
            let mut done = 0u32.wrapping_sub(20 * count) | 1;
            for turn in 0..turns {
                let segments = turn % 3 + 1;
                let next = send(&mut reports, &ring, done, turn % (count / 3 - 1) + 1, segments);
                assert_eq!(reports.done(&ring, done, next, true), done, "nothing is done yet");
                work(&ring, done, next);
                assert_eq!(reports.done(&ring, done, next, turn % 2 == 0), next, "turn {turn} of {count}");
                done = next;
            }
        }
    }

    #[test]
    fn a_block_in_which_no_packet_ends_is_passed_over_also_where_positions_begin_again() {
        let (ring, mut reports) = (ring(512), Reports::new());
        // All of the positions: a packet, and then packets of two descriptors, whose ends are never at a block's end.
        let mut done = send(&mut reports, &ring, 0, 1, 1);
        work(&ring, 0, done);
        for lap in 0..2 {
            done = if lap == 0 { done } else { 0u32.wrapping_sub(64 * 200) | 1 };
            for _ in 0..400 {
                let next = send(&mut reports, &ring, done, 32, 2);
                work(&ring, done, next);
                assert_eq!(reports.done(&ring, done, next, false), next);
                done = next;
            }
        }
    }

    #[test]
    fn a_report_before_the_last_counts_where_each_buffer_does() {
        let (ring, mut reports) = (ring(64), Reports::new());
        let first = send(&mut reports, &ring, 0, 1, 1);
        let second = send(&mut reports, &ring, first, 5, 1);
        work(&ring, 0, first);
        assert_eq!(reports.done(&ring, 0, second, false), 0);
        assert_eq!(reports.done(&ring, 0, second, true), first);
    }
}
