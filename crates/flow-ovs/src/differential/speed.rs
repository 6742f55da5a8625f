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

    /// 256 packets of all measured kinds in random order, 4,096 steps long so that no predictor learns it.
    #[must_use]
    pub fn shuffled() -> Load {
        let kinds = Kind::MEASURED;
        let cases: Vec<Case> = (0..256u32)
            .map(|number| Case::plain(kinds[number as usize % kinds.len()], number * 77))
            .collect();
        let mut random = Random::new(1, 1);
        let order = (0..4096).map(|_| random.below(cases.len()) as u32).collect();
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

    /// The least time a packet took, in nanoseconds, over `rounds` of `times` passes.
    #[must_use]
    pub fn nanoseconds(&self, times: usize, rounds: usize, side: Side) -> f64 {
        let mut least = f64::INFINITY;
        for _ in 0..rounds {
            let start = Instant::now();
            self.run(times, side);
            let elapsed = start.elapsed().as_nanos() as f64;
            least = least.min(elapsed / (times * self.packets()) as f64);
        }
        least
    }
}
