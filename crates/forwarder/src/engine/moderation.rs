//! How often devices may interrupt: the shorter the distance, the sooner a packet is seen; the longer, the less a flood of
//! single packets costs.
//!
//! Polling already spares all interrupts while packets come close to one another. What is left is traffic whose packets come
//! just farther apart than a worker polls on: each of them then costs an interrupt and a sleep. That is what is counted here.

use std::time::Duration;

/// The least time between two interrupts of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moderation {
    /// This long.
    Fixed(Duration),
    /// As the worker's sleeps tell.
    Adaptive,
}

/// The steps of the adaptive way: from so many sleeps a second on, so much time between two interrupts.
const STEPS: [(f64, Duration); 3] =
    [(0.0, Duration::ZERO), (5_000.0, Duration::from_micros(50)), (15_000.0, Duration::from_micros(200))];
/// A step is left downwards only when the sleeps are this share of its beginning: no to and fro.
const HYSTERESIS: f64 = 0.25;

/// Chooses the distance from one look to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adaptive {
    step: usize,
    sleeps: u64,
}

impl Adaptive {
    /// The distance to begin with.
    pub(super) const FIRST: Duration = Duration::ZERO;

    /// After `time` in which the count of sleeps grew to `sleeps`: the distance, if it is to be another than before.
    pub(super) fn look(&mut self, sleeps: u64, time: Duration) -> Option<Duration> {
        let rate = sleeps.saturating_sub(self.sleeps) as f64 / time.as_secs_f64().max(1e-3);
        self.sleeps = sleeps;
        let up = STEPS.iter().rposition(|&(from, _)| rate >= from).unwrap_or(0);
        let keeps = STEPS.get(self.step).is_some_and(|&(from, _)| rate >= from * HYSTERESIS);
        if up > self.step || (up < self.step && !keeps) {
            self.step = up;
            return STEPS.get(up).map(|&(_, distance)| distance);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn many_sleeps_make_the_distance_longer_and_few_make_it_short_again() {
        let mut adaptive = Adaptive::default();
        assert_eq!(adaptive.look(100, SECOND), None);
        assert_eq!(adaptive.look(20_100, SECOND), Some(Duration::from_micros(200)));
        // At that distance there are at most 5,000 a second: it stays.
        assert_eq!(adaptive.look(25_000, SECOND), None);
        assert_eq!(adaptive.look(25_100, SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn the_rate_counts_and_not_the_number() {
        let mut adaptive = Adaptive::default();
        assert_eq!(adaptive.look(10_000, 10 * SECOND), None);
        assert_eq!(adaptive.look(20_000, SECOND), Some(Duration::from_micros(50)));
        assert_eq!(adaptive.look(20_000, Duration::ZERO), Some(Duration::ZERO));
    }
}
