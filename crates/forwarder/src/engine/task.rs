//! What a worker runs, round by round: a direction of forwarding, a generator, a receiver, …

use super::budget::Budget;
use super::counters::TaskCounters;
use ringway_port::{Error, ReceiveQueue};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

/// A piece of work that owns its queues. It goes to a worker's thread and comes back when the worker ends.
pub trait Task: Send + Debug {
    /// Does a batch of it, within the limit on packets if there is one. It never waits.
    ///
    /// # Errors
    /// When a queue's device is gone or failed: the run ends.
    fn round(&mut self, budget: Option<&Budget>) -> Result<Round, Error>;

    /// The run has ended: waits until the device has sent what it was given, at most until `deadline`, and counts what
    /// stays behind.
    ///
    /// # Errors
    /// When the device is gone or failed.
    fn drain(&mut self, deadline: Instant) -> Result<(), Error>;

    /// The queue whose next packet is all that there is to wait for. `None`: it has something to do, or doesn't wait.
    fn waits_for(&mut self) -> Option<&mut dyn ReceiveQueue> {
        None
    }

    /// Packets that a device was given and has not said of that they are sent: rounds take their buffers back.
    fn pending(&self) -> usize {
        0
    }

    /// What it counts.
    fn counters(&self) -> &Arc<TaskCounters>;
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Packets received.
    pub received: usize,
    /// Packets handed to a transmit queue.
    pub sent: usize,
    /// There is nothing left to do: the run is over.
    pub finished: bool,
}
