//! When packets are due.

/// How packets are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pace {
    /// As fast as it goes.
    #[default]
    Unlimited,
    /// So many a second, at equal distances.
    Constant(f64),
    /// So many a second on average, at exponentially distributed distances (a Poisson process).
    Poisson(f64),
}

/// The most packets of a Poisson process that become due at once.
const MOST: u32 = 4096;

/// A clock of packets: how many are due by now.
#[derive(Debug)]
pub struct Pacer {
    pace: Pace,
    /// When it began, and for a Poisson process when the next packet is due, in nanoseconds.
    start: Option<u64>,
    next: f64,
    due: u64,
    random: fastrand::Rng,
}

impl Pacer {
    /// A clock that begins when it is first asked. `seed`: of the distances of a Poisson process.
    pub fn new(pace: Pace, seed: u64) -> Self {
        Self { pace, start: None, next: 0.0, due: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// Packets due since the start, at `now` nanoseconds.
    pub fn due(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(*self.start.get_or_insert(now)) as f64;
        match self.pace {
            Pace::Unlimited => u64::MAX,
            Pace::Constant(rate) => (elapsed * rate / 1e9) as u64,
            Pace::Poisson(rate) if rate > 0.0 => {
                // A rate beyond all reason would keep this busy for ever: what is left is due the next time.
                for _ in 0..MOST {
                    if self.next > elapsed {
                        break;
                    }
                    // 1 - u is never zero, and its logarithm finite.
                    self.next -= (1.0 - self.random.f64()).ln() * 1e9 / rate;
                    self.due = self.due.saturating_add(1);
                }
                self.due
            }
            Pace::Poisson(_) => 0,
        }
    }

    /// The rate that is asked for, in packets a second.
    pub fn rate(&self) -> Option<f64> {
        match self.pace {
            Pace::Unlimited => None,
            Pace::Constant(rate) | Pace::Poisson(rate) => Some(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_rate_is_kept_whenever_it_is_asked() {
        let mut pacer = Pacer::new(Pace::Constant(2e6), 1);
        assert_eq!(pacer.due(5_000), 0);
        assert_eq!(pacer.due(5_499), 0);
        assert_eq!(pacer.due(5_500), 1);
        assert_eq!(pacer.due(1_000_005_000), 2_000_000);
    }

    #[test]
    fn a_poisson_process_has_its_mean_and_its_variance() {
        // Counts in intervals of equal length have a variance equal to their mean.
        let mut pacer = Pacer::new(Pace::Poisson(1e6), 7);
        let mut before = pacer.due(0);
        let counts: Vec<f64> = (1..=20_000u64)
            .map(|interval| {
                let due = pacer.due(interval * 10_000);
                (due - std::mem::replace(&mut before, due)) as f64
            })
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        assert!((mean - 10.0).abs() < 0.1, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn a_rate_beyond_all_reason_is_no_hang() {
        let mut pacer = Pacer::new(Pace::Poisson(1e38), 1);
        let first = pacer.due(0);
        assert_eq!(pacer.due(1_000_000_000), first + u64::from(MOST));
        assert_eq!(pacer.due(1_000_000_000), first + 2 * u64::from(MOST));
    }

    #[test]
    fn without_a_limit_everything_is_due_and_at_no_rate_nothing() {
        assert_eq!(Pacer::new(Pace::Unlimited, 1).due(0), u64::MAX);
        assert_eq!(Pacer::new(Pace::Poisson(0.0), 1).due(1 << 40), 0);
    }
}
