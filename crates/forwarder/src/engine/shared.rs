//! What the workers and the main thread share: one flag, and a channel for rare events.

use super::budget::Budget;
use std::os::fd::OwnedFd;
use std::sync::Arc;
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
    /// Wakes workers that sleep, if they may.
    pub(super) wake: Option<Arc<OwnedFd>>,
}

impl Shared {
    pub(super) fn new(packets: Option<u64>, wake: Option<Arc<OwnedFd>>) -> Self {
        Self { stop: AtomicBool::new(false), budget: packets.map(Budget::new), wake }
    }

    /// Asks every worker to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(wake) = &self.wake {
            // It stays readable: everyone wakes. A counter that is full is readable too.
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
    }

    #[inline(always)]
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
