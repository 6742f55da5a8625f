//! Sleeping while nothing comes: a worker polls while packets come, and for a while after; then it lets the devices
//! interrupt it and sleeps.
//!
//! Contract: no packet is left lying. Interrupts are asked for first and the rings looked at once more after that; what comes
//! later makes a counter readable, on which the worker waits together with the call to stop. A worker whose tasks can't all
//! wait (one has no interrupt, or packets of its own to get rid of) goes on polling.
//!
//! Not here: how often a device may interrupt (`moderation`).

use super::task::Task;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Even without an interrupt a worker looks after its queues this often.
const LOOK_AFTER: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// Empty rounds between two looks at the clock.
const ROUNDS_PER_LOOK: u32 = 16;

/// One worker's way to sleep.
#[derive(Debug)]
pub(super) struct Sleeper {
    /// How long it polls on without packets.
    pub(super) after: Duration,
    /// Becomes readable when the worker shall stop.
    pub(super) wake: Arc<OwnedFd>,
    /// Since when there were no packets.
    idle_since: Option<Instant>,
}

impl Sleeper {
    pub(super) fn new(after: Duration, wake: Arc<OwnedFd>) -> Self {
        Self { after, wake, idle_since: None }
    }

    /// To be called after a round with packets.
    #[inline(always)]
    pub(super) fn busy(&mut self) {
        self.idle_since = None;
    }

    /// To be called after the `rounds`th empty round in a row: sleeps if it is time to.
    ///
    /// # Errors
    /// When the kernel can't wait.
    #[inline]
    pub(super) fn idle(&mut self, rounds: u32, tasks: &mut [Box<dyn Task>]) -> io::Result<()> {
        if !rounds.is_multiple_of(ROUNDS_PER_LOOK) {
            return Ok(());
        }
        let now = Instant::now();
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.after {
            return Ok(());
        }
        self.sleep(tasks)
    }

    #[cold]
    fn sleep(&mut self, tasks: &mut [Box<dyn Task>]) -> io::Result<()> {
        let mut counters = Vec::with_capacity(tasks.len());
        for task in &mut *tasks {
            let Some(queue) = task.waits_for() else { return Ok(()) };
            let Some(counter) = queue.interrupt() else { return Ok(()) };
            counters.push(Arc::clone(counter));
        }
        let mut is_empty = true;
        for queue in tasks.iter_mut().filter_map(|task| task.waits_for()) {
            is_empty &= queue.enable_interrupt();
        }
        let woken = if is_empty { self.wait(&counters) } else { Ok(false) };
        for queue in tasks.iter_mut().filter_map(|task| task.waits_for()) {
            queue.disable_interrupt();
        }
        if matches!(woken, Ok(true))
            && let Some(first) = tasks.first()
        {
            first.counters().slept();
        }
        // The time without packets goes on: after one that was for nothing it is slept again at once.
        woken.map(drop)
    }

    /// Whether a device interrupted, and not the clock or the end.
    fn wait(&self, counters: &[Arc<OwnedFd>]) -> io::Result<bool> {
        let mut waiting: Vec<PollFd<'_>> = counters
            .iter()
            .chain([&self.wake])
            .map(|counter| PollFd::new(counter.as_ref(), PollFlags::IN))
            .collect();
        match poll(&mut waiting, Some(&LOOK_AFTER)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Set back to zero; one that was not readable says so.
        let interrupted = counters.iter().filter(|counter| read(counter, &mut [0; 8]).is_ok()).count();
        Ok(interrupted > 0)
    }
}
