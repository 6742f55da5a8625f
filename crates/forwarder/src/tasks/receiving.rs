//! The task of a receiver: what became of marked packets, and how long they took.

use crate::engine::{Budget, Round, Task, TaskCounters};
use crate::machine::clock::Clock;
use ringway_packet::Batch;
use ringway_port::{Error, ReceiveQueue};
use ringway_traffic::check::{Checker, Totals, Verdict};
use ringway_traffic::latency::Latency;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How often what was found is published, in nanoseconds.
const PUBLISHED: u64 = 100_000_000;

/// What a receiver has found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// All flows together.
    pub totals: Totals,
    /// How long packets took.
    pub latency: Latency,
    /// Each flow by itself: once the receiver has ended.
    pub flows: Vec<(u32, Totals)>,
}

/// What a receiver has found, from outside.
#[derive(Clone, Debug, Default)]
pub struct Report(Arc<Mutex<Findings>>);

impl Report {
    /// What became of packets, as it was a moment ago.
    pub fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).totals
    }

    /// Everything, as it was a moment ago.
    pub fn read(&self) -> Findings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Receives packets, looks what they are, and drops them.
#[derive(Debug)]
pub struct Receiving {
    receive: Box<dyn ReceiveQueue>,
    batch: Batch,
    checker: Checker,
    latency: Latency,
    clock: Clock,
    /// A packet in several buffers, in one piece.
    whole: Vec<u8>,
    report: Report,
    published: u64,
    counters: Arc<TaskCounters>,
}

impl Receiving {
    /// From `receive`, up to `size` packets at once, following flows below `flows`.
    pub fn new(receive: Box<dyn ReceiveQueue>, flows: u32, size: usize) -> Self {
        Self {
            batch: Batch::new(receive.pool(), size),
            receive,
            checker: Checker::new(flows),
            latency: Latency::default(),
            clock: Clock::default(),
            whole: Vec::new(),
            report: Report::default(),
            published: 0,
            counters: Arc::default(),
        }
    }

    /// By that clock instead of the machine's.
    pub fn by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// What it finds, for others to read.
    pub fn report(&self) -> Report {
        self.report.clone()
    }

    fn look(&mut self, now: u64) {
        for frame in self.batch.frames() {
            let bytes = if frame.total_len() == frame.len() {
                frame.data()
            } else {
                self.whole.clear();
                frame.segments().for_each(|segment| self.whole.extend_from_slice(segment));
                &self.whole
            };
            if let Verdict::Fresh(mark) = self.checker.take(bytes) {
                self.latency.record(mark.age(now));
            }
        }
    }

    fn publish(&self, flows: Vec<(u32, Totals)>) {
        let findings = Findings { totals: self.checker.totals(), latency: self.latency.clone(), flows };
        *self.report.0.lock().unwrap_or_else(PoisonError::into_inner) = findings;
    }
}

impl Task for Receiving {
    fn round(&mut self, budget: Option<&Budget>) -> Result<Round, Error> {
        let received = self.receive.receive(&mut self.batch)?;
        let now = self.clock.now();
        if received > 0 {
            self.look(now);
            self.batch.clear();
            self.counters.handled(received as u64);
        }
        if now.saturating_sub(self.published) >= PUBLISHED {
            self.published = now;
            self.publish(Vec::new());
        }
        // More may come with the last batch than were asked for.
        let finished = budget.is_some_and(|budget| {
            let claimed = budget.claim(received as u64);
            (claimed > 0 || received > 0) && budget.settle(0, claimed)
        });
        Ok(Round { received, sent: 0, finished })
    }

    /// What has arrived already is looked at too.
    fn drain(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut outcome = self.round(None);
        while matches!(outcome, Ok(Round { received: 1.., .. })) && Instant::now() < deadline {
            outcome = self.round(None);
        }
        self.publish(self.checker.flows().collect());
        outcome.map(|_| ())
    }

    fn counters(&self) -> &Arc<TaskCounters> {
        &self.counters
    }
}
