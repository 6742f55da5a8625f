//! Work to be measured: both sides over the same packets, in a fixed or a shuffled order.

use std::hint::black_box;
use std::time::Instant;

use ringway_flow::samples::Kind;
use ringway_flow::{Extraction, Metadata, Miniflow, VlanLimit, extract_batch};

use super::case::Case;
use super::oracle::{self, Which};
use super::random::Random;
use crate::Target;

/// Packets of one call in batches.
const BATCH: usize = 32;

/// The implementation to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Open vSwitch's C.
    C,
    /// Ours, through the same interface.
    Ours,
    /// Ours as a Rust program calls it for 32 packets at once: no `struct dp_packet`, and a miniflow for each.
    Batch,
    /// The measuring loop alone.
    Nothing,
}

/// Packets and the order to take them in.
pub struct Load {
    cases: Vec<Case>,
    order: Vec<u32>,
}

impl Load {
    /// 32 packets of one kind; with `software_hash`, every extraction has to compute the hash.
    #[must_use]
    pub fn of_kind(kind: Kind) -> Load {
        let cases = (0..32).map(|variant| Case::plain(kind, variant * 77)).collect();
        Load { cases, order: (0..32).collect() }
    }

    /// 256 packets of all measured kinds in random order. An order of a few thousand steps is learnt by a modern
    /// predictor of branches, and gives figures twice too good; this one is far longer.
    #[must_use]
    pub fn shuffled() -> Load {
        let kinds = Kind::MEASURED;
        let cases: Vec<Case> = (0..256u32)
            .map(|number| Case::plain(kinds[number as usize % kinds.len()], number * 77))
            .collect();
        let mut random = Random::new(1, 1);
        let order = (0..1 << 18).map(|_| random.below(cases.len()) as u32).collect();
        Load { cases, order }
    }

    /// Number of packets in one pass.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.order.len()
    }

    /// Goes over the packets `times`.
    pub fn run(&self, times: usize, side: Side) {
        let which = match side {
            Side::C => Which::C,
            Side::Ours => Which::Ours,
            Side::Batch => return self.run_in_batches(times),
            Side::Nothing => Which::Nothing,
        };
        oracle::repeat(&self.cases, &self.order, times, which);
    }

    fn run_in_batches(&self, times: usize) {
        let metadata = Metadata::new(1);
        let mut flows = [const { Miniflow::<Target>::new() }; BATCH];
        let mut found = [Extraction::default(); BATCH];
        for _ in 0..times {
            for numbers in self.order.chunks(BATCH) {
                let cases = numbers.iter().filter_map(|&number| self.cases.get(number as usize));
                let packets = black_box(cases).map(|case| case.bytes.as_slice());
                extract_batch(packets, &metadata, VlanLimit::TWO, &mut flows, &mut found);
                black_box((&flows, &found));
            }
        }
    }

    /// Nanoseconds a packet of the C and of ours, over `rounds` of `times` passes.
    ///
    /// They take turns, so that what else the machine does falls on all; the loop's own time is taken off (but not that of the
    /// batches' loop).
    #[must_use]
    pub fn compare(&self, times: usize, rounds: usize) -> Times {
        let mut rows: Vec<[f64; 4]> = Vec::with_capacity(rounds);
        for _ in 0..rounds.max(1) {
            let sides = [Side::Nothing, Side::C, Side::Ours, Side::Batch];
            rows.push(sides.map(|side| self.nanoseconds(times, side)));
        }
        let least = |side: usize| rows.iter().map(|row| row[side]).fold(f64::INFINITY, f64::min);
        let nothing = least(0);
        let median = |ratio: &dyn Fn(&[f64; 4]) -> f64| {
            let mut ratios: Vec<f64> = rows.iter().map(ratio).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        };
        Times {
            c: least(1) - nothing,
            ours: least(2) - nothing,
            batch: least(3),
            ratio: median(&|row| (row[2] - nothing) / (row[1] - nothing)),
            batch_ratio: median(&|row| row[3] / (row[1] - nothing)),
        }
    }

    fn nanoseconds(&self, times: usize, side: Side) -> f64 {
        let start = Instant::now();
        self.run(times, side);
        start.elapsed().as_nanos() as f64 / (times * self.packets()) as f64
    }
}

/// What [`Load::compare`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The least time a packet took with the C, in nanoseconds.
    pub c: f64,
    /// The least time a packet took with ours.
    pub ours: f64,
    /// The least time a packet took with ours in batches.
    pub batch: f64,
    /// The median of the rounds' ratios, ours to the C.
    pub ratio: f64,
    /// The same for ours in batches.
    pub batch_ratio: f64,
}
