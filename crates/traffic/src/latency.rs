//! How long packets took: a histogram with three digits of precision, from one nanosecond to a minute.

use hdrhistogram::Histogram;

/// A minute, in nanoseconds. What took longer is counted as that.
const LONGEST: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// The percentiles that are told, in percent.
pub const PERCENTILES: [f64; 8] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];

/// How long packets took, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Option<Histogram<u64>>,
}

impl Default for Latency {
    fn default() -> Self {
        // These bounds are possible, so there always is one.
        Self { histogram: Histogram::new_with_bounds(1, LONGEST, DIGITS).ok() }
    }
}

impl Latency {
    /// Counts a packet.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(nanoseconds);
        }
    }

    /// Takes in what another counted.
    pub fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            // Both have the same bounds, so nothing is out of range.
            let _ = histogram.add(other);
        }
    }

    /// Packets counted.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// The mean, in nanoseconds.
    pub fn mean(&self) -> f64 {
        self.histogram.as_ref().map_or(0.0, Histogram::mean)
    }

    /// The time within which `percent` of all packets arrived; 0 is the shortest time, 100 the longest.
    pub fn percentile(&self, percent: f64) -> u64 {
        let Some(histogram) = &self.histogram else { return 0 };
        if percent <= 0.0 { histogram.min() } else { histogram.value_at_percentile(percent) }
    }

    /// The curve for a plot: percentiles and times, denser towards 100.
    pub fn curve(&self) -> Vec<(f64, u64)> {
        let Some(histogram) = &self.histogram else { return Vec::new() };
        histogram
            .iter_quantiles(5)
            .map(|step| (step.quantile_iterated_to() * 100.0, step.value_iterated_to()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_counted() {
        let mut latency = Latency::default();
        (1..=100_000u64).for_each(|time| latency.record(time));
        assert_eq!(latency.count(), 100_000);
        for (percent, expected) in
            [(50.0, 50_000), (90.0, 90_000), (99.0, 99_000), (99.999, 99_999), (100.0, 100_000)]
        {
            let seen = latency.percentile(percent);
            assert!(seen.abs_diff(expected) <= expected / 1000 + 1, "{percent}: {seen}");
        }
        assert_eq!(latency.percentile(0.0), 1);
        assert!((latency.mean() - 50_000.5).abs() < 100.0);
        let curve = latency.curve();
        assert!(curve.is_sorted() && curve.last().unwrap().0 >= 99.999, "{curve:?}");
    }

    #[test]
    fn what_takes_longer_than_a_minute_counts_as_a_minute() {
        let mut latency = Latency::default();
        latency.record(u64::MAX);
        assert!(latency.percentile(100.0) >= LONGEST - LONGEST / 500);
        let mut sum = Latency::default();
        sum.add(&latency);
        assert_eq!(sum.count(), 1);
    }
}
