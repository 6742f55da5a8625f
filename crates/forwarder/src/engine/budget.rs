//! A limit on the number of forwarded packets that all workers share, and that is met exactly.
//!
//! A worker claims packets before it receives them and returns what it did not forward, so that the sum never
//! passes the limit. This is the one place where workers write shared memory, once a batch, and only when a limit
//! was asked for.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is left of the limit.
#[derive(Debug)]
pub struct Budget {
    unclaimed: AtomicU64,
    outstanding: AtomicU64,
}

impl Budget {
    /// A limit of `packets`.
    pub(super) fn new(packets: u64) -> Self {
        Self { unclaimed: AtomicU64::new(packets), outstanding: AtomicU64::new(packets) }
    }

    /// Claims up to `wanted` packets; 0 when others have claimed the rest.
    pub fn claim(&self, wanted: u64) -> u64 {
        let claimed = self
            .unclaimed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)));
        claimed.map_or(0, |left| left.min(wanted))
    }

    /// Of what was claimed, `unused` goes back and `forwarded` is spent. `true` when the limit is reached.
    pub fn settle(&self, unused: u64, forwarded: u64) -> bool {
        self.unclaimed.fetch_add(unused, Ordering::Relaxed);
        let before = self.outstanding.fetch_sub(forwarded, Ordering::Relaxed);
        before <= forwarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_never_pass_the_limit_and_what_is_given_back_can_be_claimed_again() {
        let budget = Budget::new(40);
        assert_eq!(budget.claim(32), 32);
        assert_eq!(budget.claim(32), 8);
        assert_eq!(budget.claim(32), 0);
        assert!(!budget.settle(5, 3));
        assert_eq!(budget.claim(32), 5);
        assert!(!budget.settle(0, 32));
        assert!(budget.settle(0, 5));
        assert_eq!(budget.claim(32), 0);
    }
}
