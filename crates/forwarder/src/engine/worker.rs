//! A worker: one thread that runs one or more tasks until it is told to stop.
//!
//! It polls. While packets come it never gives up its processor; after a while without any it lets other threads
//! run between two rounds, so that a machine with fewer processors than threads still works, or it sleeps (`sleep`).
//!
//! A panic ends at the thread's boundary: unwinding drops the worker's queues, and the main thread hears of it.

use super::shared::{Event, Shared};
use super::sleep::Sleeper;
use super::task::{Round, Task};
use crate::machine::cpu;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How long a worker waits at the end for the device to send what it was given.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Empty rounds after which other threads get a chance to run: some ten microseconds.
const ROUNDS_BEFORE_YIELD: u32 = 1000;

/// Why a worker ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A queue's device is gone or failed.
    #[error("{0}")]
    Port(#[from] ringway_port::Error),
    /// The thread can't run where it should.
    #[error("{worker}: {source}")]
    Processor {
        /// The thread.
        worker: String,
        /// What the kernel said.
        source: cpu::Error,
    },
    /// The kernel can't wait for interrupts.
    #[error("{worker} can't wait for packets: {source}; without --interrupts it polls")]
    Sleep {
        /// The thread.
        worker: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The worker panicked: a mistake in the program.
    #[error("{worker} panicked: {message}; this is a mistake in Ringway, please report it")]
    Panicked {
        /// The thread.
        worker: String,
        /// The panic's message.
        message: String,
    },
}

/// What a worker is made of.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) tasks: Vec<Box<dyn Task>>,
    /// The processor that it is pinned to, if it is.
    pub(super) core: Option<usize>,
    /// How it sleeps while nothing comes, if it does.
    pub(super) sleeper: Option<Sleeper>,
    pub(super) shared: Arc<Shared>,
    pub(super) events: Sender<Event>,
    /// Panics after as many packets: for tests of the teardown.
    #[cfg(feature = "fault-injection")]
    pub(super) panic_after: Option<u64>,
}

/// Says that the worker has ended, however it ends.
struct Farewell(Sender<Event>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // With nobody listening any more there is nobody to tell.
        let _ = self.0.send(Event::WorkerEnded);
    }
}

impl Worker {
    /// Runs on the worker's own thread, and gives the tasks back with what went wrong.
    pub(super) fn run(mut self) -> (Vec<Box<dyn Task>>, Result<(), Failure>) {
        let _farewell = Farewell(self.events.clone());
        let mut tasks = std::mem::take(&mut self.tasks);
        if let Some(core) = self.core
            && let Err(source) = cpu::pin(core)
        {
            return (tasks, Err(Failure::Processor { worker: self.name, source }));
        }
        let mut result = self.poll(&mut tasks);
        let deadline = Instant::now() + DRAIN_LIMIT;
        for task in &mut tasks {
            // Also after an error: the other tasks are well, and what is lost is counted.
            let drained = task.drain(deadline).map_err(Failure::from);
            result = result.and(drained);
        }
        (tasks, result)
    }

    fn poll(&mut self, tasks: &mut [Box<dyn Task>]) -> Result<(), Failure> {
        let mut idle = 0u32;
        let mut first_seen = false;
        #[cfg(feature = "fault-injection")]
        let mut forwarded = 0;
        while !self.shared.is_stopped() {
            let mut moved = Round::default();
            for task in &mut *tasks {
                let round = task.round(self.shared.budget.as_ref())?;
                if round.finished {
                    return Ok(());
                }
                moved.received = moved.received.wrapping_add(round.received);
                moved.sent = moved.sent.wrapping_add(round.sent);
            }
            #[cfg(feature = "fault-injection")]
            {
                forwarded += moved.sent as u64;
                self.panic_if_due(forwarded);
            }
            if moved == Round::default() {
                idle = idle.saturating_add(1);
                if let Some(sleeper) = &mut self.sleeper {
                    let slept = sleeper.idle(idle, tasks);
                    slept.map_err(|source| Failure::Sleep { worker: self.name.clone(), source })?;
                }
                if idle < ROUNDS_BEFORE_YIELD {
                    std::hint::spin_loop()
                } else {
                    std::thread::yield_now()
                }
                continue;
            }
            idle = 0;
            if let Some(sleeper) = &mut self.sleeper {
                sleeper.busy();
            }
            if !first_seen && moved.received > 0 {
                first_seen = true;
                let _ = self.events.send(Event::FirstPacket(Instant::now()));
            }
        }
        Ok(())
    }

    #[cfg(feature = "fault-injection")]
    #[expect(clippy::panic, reason = "this is what the feature is for")]
    fn panic_if_due(&self, forwarded: u64) {
        if self.panic_after.is_some_and(|limit| forwarded >= limit) {
            panic!("asked to panic after {forwarded} packets (RINGWAY_TEST_PANIC_AFTER)");
        }
    }
}
