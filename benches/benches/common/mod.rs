//! What all benchmarks share: short times, so that the whole set takes minutes.

use criterion::Criterion;
use std::time::Duration;

/// Half a second for each benchmark. The command line's options win: `--measurement-time 5`, say.
pub fn brief() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
        .configure_from_args()
}
