//! Work to be measured: both sides over the same packets, in a fixed or a shuffled order.

use std::time::Instant;

use ringway_flow::samples::Kind;

use super::case::Case;
use super::oracle::{self, Which};
use super::random::Random;

/// The implementation to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Open vSwitch's C.
    C,
    /// Ours, through the same interface.
    Ours,
    /// The measuring loop alone.
    Nothing,
}

impl Side {
    fn which(self) -> Which {
        match self {
            Side::C => Which::C,
            Side::Ours => Which::Ours,
            Side::Nothing => Which::Nothing,
        }
    }
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
        oracle::repeat(&self.cases, &self.order, times, side.which());
    }

    /// Nanoseconds a packet of the C and of ours, over `rounds` of `times` passes.
    ///
    /// The two take turns, so that what else the machine does falls on both; the loop's own time is taken off.
    #[must_use]
    pub fn compare(&self, times: usize, rounds: usize) -> Times {
        let mut rows: Vec<[f64; 3]> = Vec::with_capacity(rounds);
        for _ in 0..rounds.max(1) {
            rows.push([Side::Nothing, Side::C, Side::Ours].map(|side| self.nanoseconds(times, side)));
        }
        let least = |side: usize| rows.iter().map(|row| row[side]).fold(f64::INFINITY, f64::min);
        let nothing = least(0);
        let mut ratios: Vec<f64> = rows.iter().map(|row| (row[2] - nothing) / (row[1] - nothing)).collect();
        ratios.sort_by(f64::total_cmp);
        Times { c: least(1) - nothing, ours: least(2) - nothing, ratio: ratios[ratios.len() / 2] }
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
    /// The median of the rounds' ratios.
    pub ratio: f64,
}
