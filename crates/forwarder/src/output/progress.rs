//! How far something is, and how long the rest takes.

use std::time::Duration;

/// What takes less is not worth telling.
const SHORT: Duration = Duration::from_secs(2);

/// `25 %, about 9 s left`, of what began `elapsed` ago. Nothing at the beginning, before there is anything to reckon with, and
/// at the end.
pub fn left(elapsed: Duration, share: f64) -> Option<String> {
    if elapsed < SHORT || !share.is_finite() || share <= 0.0 || share >= 1.0 {
        return None;
    }
    let left = elapsed.as_secs_f64() * (1.0 / share - 1.0);
    let percent = share * 100.0;
    Some(match left {
        ..120.0 => format!("{percent:.0} %, about {left:.0} s left"),
        ..7200.0 => format!("{percent:.0} %, about {:.0} min left", left / 60.0),
        _ => format!("{percent:.0} %, about {:.0} h left", left / 3600.0),
    })
}

/// The larger share of several that are known.
pub fn furthest(shares: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    shares.into_iter().flatten().reduce(f64::max)
}

/// So much of so much.
pub fn share(done: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| done as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_told_after_two_seconds_and_before_the_end() {
        let left = |seconds: f64, share| left(Duration::from_secs_f64(seconds), share);
        assert_eq!(left(3.0, 0.25).as_deref(), Some("25 %, about 9 s left"));
        assert_eq!(left(30.0, 0.1).as_deref(), Some("10 %, about 4 min left"));
        assert_eq!(left(600.0, 0.01).as_deref(), Some("1 %, about 16 h left"));
        for (seconds, share) in [(1.9, 0.5), (3.0, 0.0), (3.0, 1.0), (3.0, f64::NAN), (3.0, -1.0)] {
            assert_eq!(left(seconds, share), None, "{seconds} {share}");
        }
    }

    #[test]
    fn of_several_ends_the_nearest_counts() {
        assert_eq!(furthest([share(1, 4), None, share(3, 4)]), Some(0.75));
        assert_eq!(furthest([share(1, 0), None]), None);
    }
}
