//! What the engine itself counts: packets between the queues. The queues count the rest.
//!
//! Contract: one writer, the worker that runs the task; anyone reads. Plain loads and stores, no atomic
//! read-modify-write; cache lines of their own.

use std::sync::atomic::{AtomicU64, Ordering};

/// No restart is asked for.
const NOTHING: u64 = u64::MAX;

/// What one task counted, written by its worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct TaskCounters {
    forwarded: AtomicU64,
    handled: AtomicU64,
    dropped: AtomicU64,
    unsent: AtomicU64,
    slept: AtomicU64,
    pending: AtomicU64,
    restarts: AtomicU64,
    looks: AtomicU64,
    /// The other way round: the main thread asks, and says how much had moved by then; the worker answers.
    wanted: AtomicU64,
}

impl Default for TaskCounters {
    fn default() -> Self {
        Self {
            forwarded: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            slept: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            wanted: AtomicU64::new(NOTHING),
        }
    }
}

/// A reading of one task's counters, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Received and handed to a transmit queue.
    pub forwarded: u64,
    /// Made and handed to a transmit queue, or received and looked at: at the ends of packets' way.
    pub handled: u64,
    /// Dropped because the transmit ring had no room.
    pub dropped: u64,
    /// Handed to the transmit queue, but still not sent by the device when the worker gave up waiting at the end.
    pub unsent: u64,
    /// Times that its worker slept until a device interrupted it; counted at the worker's first task.
    pub slept: u64,
    /// In the transmit ring when the worker last had nothing to do, or no room.
    pub pending: u64,
    /// Times that the transmit queue was started anew, since it stood still.
    pub restarts: u64,
    /// Times that the worker had nothing to do, or no room, and said what is pending: while it stands, so does what it says.
    pub looks: u64,
}

impl TaskCounts {
    /// Packets that the transmit queue took, and times that it was started anew: what stands when nothing moves.
    pub fn moved(&self) -> u64 {
        self.forwarded.wrapping_add(self.handled).wrapping_add(self.restarts)
    }
}

/// For counters with one writer.
#[inline(always)]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl TaskCounters {
    #[inline(always)]
    pub(crate) fn forwarded(&self, packets: u64) {
        add(&self.forwarded, packets);
    }

    #[inline(always)]
    pub(crate) fn handled(&self, packets: u64) {
        add(&self.handled, packets);
    }

    #[cold]
    pub(crate) fn dropped(&self, packets: u64) {
        add(&self.dropped, packets);
    }

    #[cold]
    pub(crate) fn unsent(&self, packets: u64) {
        add(&self.unsent, packets);
    }

    #[cold]
    pub(crate) fn slept(&self) {
        add(&self.slept, 1);
    }

    #[inline]
    pub(crate) fn pending(&self, packets: u64) {
        add(&self.looks, 1);
        if self.pending.load(Ordering::Relaxed) != packets {
            self.pending.store(packets, Ordering::Relaxed);
        }
    }

    #[cold]
    pub(crate) fn restarted(&self, lost: u64) {
        add(&self.restarts, 1);
        add(&self.unsent, lost);
    }

    /// Asks the worker to start its transmit queue anew, unless more has moved than this by then.
    #[cold]
    pub(super) fn want_restart(&self, moved: u64) {
        self.wanted.store(moved, Ordering::Relaxed);
    }

    /// Whether that is asked for: once, and not if the queue has gone on by itself.
    #[inline]
    pub(super) fn is_restart_wanted(&self) -> bool {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted == NOTHING {
            return false;
        }
        self.wanted.store(NOTHING, Ordering::Relaxed);
        wanted == self.read().moved()
    }

    /// What was counted.
    pub fn read(&self) -> TaskCounts {
        TaskCounts {
            forwarded: self.forwarded.load(Ordering::Relaxed),
            handled: self.handled.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            unsent: self.unsent.load(Ordering::Relaxed),
            slept: self.slept.load(Ordering::Relaxed),
            pending: self.pending.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            looks: self.looks.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_asked_for_once_and_not_where_the_queue_went_on() {
        let counters = TaskCounters::default();
        assert!(!counters.is_restart_wanted());
        counters.forwarded(7);
        counters.want_restart(counters.read().moved());
        assert!(counters.is_restart_wanted());
        assert!(!counters.is_restart_wanted());
        counters.want_restart(counters.read().moved());
        counters.forwarded(1);
        assert!(!counters.is_restart_wanted(), "it went on");
    }
}
