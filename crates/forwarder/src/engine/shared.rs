//! What the workers and the main thread share: one flag, and a channel for rare events.

use super::budget::Budget;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Something that the main thread wants to know at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal that asks for the end, by its number.
    Signal(i32),
    /// A direction received its first packet.
    FirstPacket(Instant),
    /// A worker has ended: its limit is reached, it failed, or it panicked.
    WorkerEnded,
}

/// Read by every worker once a round, written once.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shared {
    stop: AtomicBool,
    /// The limit on forwarded packets, if there is one.
    pub(super) budget: Option<Budget>,
}

impl Shared {
    pub(super) fn new(packets: Option<u64>) -> Self {
        Self { stop: AtomicBool::new(false), budget: packets.map(Budget::new) }
    }

    /// Asks every worker to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
