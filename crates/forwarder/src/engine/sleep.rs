//! Sleeping while nothing comes: a worker polls while packets come, and for a while after; then it lets the devices
//! interrupt it and sleeps.
//!
//! Contract: no packet is left lying. Interrupts are asked for first and the rings looked at once more after that; what comes
//! later makes a counter readable, on which the worker waits together with the call to stop. A worker whose tasks can't all
//! wait (one has no interrupt, or packets of its own to get rid of) goes on polling.
//!
//! Sending doesn't interrupt. While a device has packets that it hasn't reported as sent, the first sleeps are short, so that
//! their buffers soon go back to the pool; a device that never reports them costs next to nothing, since each is twice as
//! long as the one before.
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
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// How long the first sleep is while packets are under way, in which time they are sent on any link.
const FIRST_NAP: Duration = Duration::from_millis(1);
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
    /// How long the next sleep is if packets are under way.
    nap: Duration,
}

impl Sleeper {
    pub(super) fn new(after: Duration, wake: Arc<OwnedFd>) -> Self {
        Self { after, wake, idle_since: None, nap: FIRST_NAP }
    }

    /// To be called after a round with packets.
    #[inline(always)]
    pub(super) fn busy(&mut self) {
        self.idle_since = None;
        self.nap = FIRST_NAP;
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
        let pending = tasks.iter().map(|task| task.pending()).fold(0, usize::saturating_add);
        let woken = if is_empty { self.wait(&counters, pending) } else { Ok(false) };
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

    /// How long to sleep at most, with so many packets under way.
    fn limit(&mut self, pending: usize) -> Duration {
        if pending == 0 {
            return LOOK_AFTER;
        }
        let nap = self.nap;
        self.nap = nap.saturating_mul(2).min(LOOK_AFTER);
        nap
    }

    /// Whether a device interrupted, and not the clock or the end.
    fn wait(&mut self, counters: &[Arc<OwnedFd>], pending: usize) -> io::Result<bool> {
        let limit = self.limit(pending);
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
        let mut waiting: Vec<PollFd<'_>> = counters
            .iter()
            .chain([&self.wake])
            .map(|counter| PollFd::new(counter.as_ref(), PollFlags::IN))
            .collect();
        match poll(&mut waiting, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Set back to zero; one that was not readable says so.
        let interrupted = counters.iter().filter(|counter| read(counter, &mut [0; 8]).is_ok()).count();
        Ok(interrupted > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_are_short_only_while_packets_are_under_way_and_not_for_long() {
        let mut sleeper = Sleeper::new(Duration::ZERO, ringway_pci::event_counter().unwrap());
        assert_eq!(sleeper.limit(0), LOOK_AFTER);
        let naps: Vec<Duration> = (0..20).map(|_| sleeper.limit(3)).collect();
        assert_eq!(naps[0], Duration::from_millis(1));
        assert!(naps.is_sorted() && naps[10..].iter().all(|nap| *nap == LOOK_AFTER), "{naps:?}");
        assert_eq!(sleeper.limit(0), LOOK_AFTER);
        sleeper.busy();
        assert_eq!(sleeper.limit(1), Duration::from_millis(1));
    }
}
