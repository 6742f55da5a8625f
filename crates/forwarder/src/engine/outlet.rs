//! A transmit queue as all tasks use it: what is sent through it is counted, what it holds is published, and it is
//! started anew when it was found to stand still.
//!
//! Contract: a task calls [`send`](Outlet::send) or [`idle`](Outlet::idle) each round, and [`drain`](Outlet::drain) at the
//! end; then no packet that it was given is neither sent nor counted, and a queue that hangs is found, whatever the task is.
//!
//! Not here: when a queue hangs (`hang`) and what follows (`session`); a batch that waits for room is its task's.

use super::counters::TaskCounters;
use ringway_packet::Batch;
use ringway_port::{Error, TransmitQueue};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From one look to the next whether everything is sent at the end.
const DRAIN_STEP: Duration = Duration::from_micros(50);

/// As what packets are counted that a queue took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// They came from another queue.
    Forwarded,
    /// They were made here.
    Made,
}

/// A transmit queue with its task's counters.
#[derive(Debug)]
pub struct Outlet {
    queue: Box<dyn TransmitQueue>,
    sent: Sent,
    counters: Arc<TaskCounters>,
}

impl Outlet {
    /// Sends through `queue`, with counters of its own.
    pub fn new(queue: Box<dyn TransmitQueue>, sent: Sent) -> Self {
        Self { queue, sent, counters: Arc::default() }
    }

    /// The counters of the task that sends through it.
    pub fn counters(&self) -> &Arc<TaskCounters> {
        &self.counters
    }

    /// Packets in the ring that the device has not said of that they are sent.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// Gives the queue what it has room for; the rest stays in the batch. Returns how many it took.
    ///
    /// # Errors
    /// When the device is gone or failed.
    #[inline]
    pub fn send(&mut self, batch: &mut Batch) -> Result<usize, Error> {
        let sent = self.queue.transmit(batch)?;
        self.count(sent as u64);
        if !batch.is_empty() {
            self.look_after_ring()?;
        }
        Ok(sent)
    }

    /// With nothing to send: buffers that were sent must not wait for the next packet.
    ///
    /// # Errors
    /// When the device is gone or failed.
    #[inline]
    pub fn idle(&mut self) -> Result<(), Error> {
        self.queue.reclaim()?;
        self.look_after_ring()
    }

    /// The run has ended: sends what is left in `batch`, and waits until the device has sent everything, at most until
    /// `deadline`. What stays behind is dropped and counted, also after an error.
    ///
    /// # Errors
    /// When the device is gone or failed.
    pub fn drain(&mut self, batch: &mut Batch, deadline: Instant) -> Result<(), Error> {
        let drained = self.try_drain(batch, deadline);
        self.counters.dropped(batch.clear() as u64);
        self.counters.unsent(self.queue.pending() as u64);
        drained
    }

    fn try_drain(&mut self, batch: &mut Batch, deadline: Instant) -> Result<(), Error> {
        loop {
            if !batch.is_empty() {
                let sent = self.queue.transmit(batch)?;
                self.count(sent as u64);
            }
            self.queue.reclaim()?;
            let is_done = self.queue.pending() == 0 && batch.is_empty();
            if is_done || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(DRAIN_STEP);
        }
    }

    #[inline]
    fn count(&self, packets: u64) {
        match self.sent {
            Sent::Forwarded => self.counters.forwarded(packets),
            Sent::Made => self.counters.handled(packets),
        }
    }

    /// With nothing to do, or no room: says what is in the ring, and starts it anew when it was found to stand still.
    fn look_after_ring(&mut self) -> Result<(), Error> {
        let pending = self.queue.pending() as u64;
        self.counters.pending(pending);
        if self.counters.is_restart_wanted() {
            self.queue.restart()?;
            self.counters.restarted(pending);
        }
        Ok(())
    }
}
