//! The clock that packets are stamped with.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What time it is for a task.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's monotonic clock.
    #[default]
    Machine,
    /// Nanoseconds that somebody else sets: for runs that are stepped by hand.
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// Nanoseconds.
    #[inline]
    pub fn now(&self) -> u64 {
        match self {
            Self::Machine => now(),
            Self::Set(time) => time.load(Ordering::Relaxed),
        }
    }
}

/// Nanoseconds of the machine's monotonic clock, which all of its programs share.
#[inline]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // The clock is never negative, and its seconds fit for 584 years.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
