//! A transmit queue that stands still: packets are in its ring, the link is up, and seconds pass in which none is sent.
//!
//! Whatever a task is, its `outlet` publishes how much is pending while there is nothing better to do; the main thread looks
//! once a second. What follows is the session's: a queue that can be started anew is, and the packets that were in it count as
//! unsent; where the device can't do that the run ends, which resets the port.
//!
//! A worker that gets no processor says nothing new, and nothing follows from that: only looks count between which the worker
//! looked, too.
//!
//! A queue whose link is down, or whose ring is empty, doesn't hang. Where a port obeys pause frames the other end may hold it
//! up for as long as it likes, and nothing follows: what stands still there can't be told from what is made to wait.

use super::counters::TaskCounts;

/// Looks in a row, a second apart, in which nothing moved.
const LOOKS: u32 = 5;

/// What was seen of each task's transmit queue.
#[derive(Debug, Default)]
pub(super) struct Hangs {
    seen: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    pending: u64,
    moved: u64,
    /// Of the worker's.
    by_worker: u64,
    looks: u32,
}

impl Hangs {
    /// Looks again, and names the tasks whose queues hang. `is_up`: whether task n's port has a link.
    pub(super) fn look(&mut self, counts: &[TaskCounts], is_up: impl Fn(usize) -> bool) -> Vec<usize> {
        self.seen.resize(counts.len(), Seen::default());
        let mut hanging = Vec::new();
        for (task, (seen, now)) in self.seen.iter_mut().zip(counts).enumerate() {
            let moved = now.moved();
            let stands = now.pending > 0 && now.pending == seen.pending && moved == seen.moved && is_up(task);
            let looked = now.looks != seen.by_worker;
            let looks = if stands { seen.looks.saturating_add(u32::from(looked)) } else { 0 };
            *seen = Seen { pending: now.pending, moved, by_worker: now.looks, looks };
            if looks >= LOOKS {
                seen.looks = 0;
                hanging.push(task);
            }
        }
        hanging
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pending: u64, forwarded: u64) -> [TaskCounts; 1] {
        [TaskCounts { pending, forwarded, ..TaskCounts::default() }]
    }

    /// At which look a hang is told, of twenty.
    fn told(mut look: impl FnMut(u64) -> ([TaskCounts; 1], bool)) -> Option<u64> {
        let mut hangs = Hangs::default();
        (1..=20).find(|&second| {
            let (mut counts, up) = look(second);
            counts[0].looks = second;
            !hangs.look(&counts, |_| up).is_empty()
        })
    }

    #[test]
    fn a_ring_in_which_nothing_moves_for_five_seconds_hangs() {
        assert_eq!(told(|_| (counts(7, 100), true)), Some(6));
    }

    #[test]
    fn an_empty_ring_a_busy_one_and_one_without_a_link_do_not_hang() {
        assert_eq!(told(|_| (counts(0, 100), true)), None);
        assert_eq!(told(|second| (counts(7, second), true)), None, "it is full and goes on");
        assert_eq!(told(|second| (counts(20 - second, 100), true)), None, "it empties");
        assert_eq!(told(|_| (counts(7, 100), false)), None);
        assert_eq!(
            told(|second| (counts(7, 100), second > 10)),
            Some(15),
            "it counts from when the link is up"
        );
    }

    #[test]
    fn a_worker_that_gets_no_processor_does_not_hang() {
        let mut hangs = Hangs::default();
        let counts = |looks| [TaskCounts { pending: 7, looks, ..TaskCounts::default() }];
        assert!((0..100).all(|_| hangs.look(&counts(1), |_| true).is_empty()));
        // What was seen before it stood still is not forgotten, and not counted twice.
        let told = (2..20).find(|&looks| !hangs.look(&counts(looks), |_| true).is_empty());
        assert_eq!(told, Some(6));
    }
}
