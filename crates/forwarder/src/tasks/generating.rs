//! The task of a generator: marked packets out of one transmit queue.

use crate::engine::{Budget, Outlet, Round, Sent, Task, TaskCounters};
use crate::machine::clock::Clock;
use ringway_packet::{Batch, Pool, Supply};
use ringway_port::{Error, TransmitQueue};
use ringway_traffic::frame::SHORTEST;
use ringway_traffic::generator::Generator;
use ringway_traffic::pace::Pacer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Makes packets when they are due and sends them. What the ring has no room for waits, and nothing more is made
/// meanwhile.
#[derive(Debug)]
pub struct Generating {
    transmit: Outlet,
    supply: Supply,
    batch: Batch,
    generator: Generator,
    pacer: Pacer,
    clock: Clock,
    /// A packet is made here, and then as long as it turned out to be.
    scratch: Box<[u8]>,
    made: u64,
    /// Whether it shall make no more.
    stop: Arc<AtomicBool>,
}

impl Generating {
    /// What `generator` makes, when `pacer` says, out of `transmit`, up to `size` packets at once from `pool`.
    pub fn new(
        transmit: Box<dyn TransmitQueue>,
        pool: &Pool,
        generator: Generator,
        pacer: Pacer,
        size: usize,
    ) -> Self {
        let scratch = vec![0; generator.longest().max(SHORTEST)].into_boxed_slice();
        let (supply, batch) = (Supply::new(pool), Batch::new(pool, size));
        Self {
            transmit: Outlet::new(transmit, Sent::Made),
            supply,
            batch,
            generator,
            pacer,
            clock: Clock::default(),
            scratch,
            made: 0,
            stop: Arc::default(),
        }
    }

    /// Makes no more once `stop` is set; the run goes on.
    pub fn until(self, stop: &Arc<AtomicBool>) -> Self {
        Self { stop: Arc::clone(stop), ..self }
    }

    /// By that clock instead of the machine's.
    pub fn by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Makes up to `wanted` packets. Returns how many.
    fn make(&mut self, wanted: usize, now: u64) -> Result<usize, Error> {
        let filled = self.supply.fill(&mut self.batch, wanted);
        let filled = filled.map_err(|source| Error::Packet { port: "the generator".to_owned(), source })?;
        for mut frame in self.batch.frames() {
            let made =
                self.generator.next(&mut self.scratch, now).and_then(|length| self.scratch.get(..length));
            // The scratch holds the longest, and a buffer too: the command checked that.
            if let Some(bytes) = made
                && let Ok(place) = frame.append(bytes.len())
            {
                place.copy_from_slice(bytes);
            }
        }
        self.made = self.made.saturating_add(filled as u64);
        Ok(filled)
    }
}

impl Task for Generating {
    fn round(&mut self, budget: Option<&Budget>) -> Result<Round, Error> {
        if self.batch.is_empty() {
            let now = self.clock.now();
            let due = self.pacer.due(now).saturating_sub(self.made).min(self.batch.room() as u64);
            let due = if self.stop.load(Ordering::Relaxed) { 0 } else { due };
            let claimed = budget.map_or(due, |budget| budget.claim(due));
            let made = if claimed > 0 { self.make(claimed as usize, now)? } else { 0 };
            if let Some(budget) = budget {
                budget.settle(claimed.saturating_sub(made as u64), 0);
            }
            if made == 0 {
                self.transmit.idle()?;
                // All that may be made may be under way with another task, or none be due yet.
                let finished = due > 0 && claimed == 0 && budget.is_some_and(|budget| budget.settle(0, 0));
                return Ok(Round { finished, ..Round::default() });
            }
        }
        let sent = self.transmit.send(&mut self.batch)?;
        let finished = budget.is_some_and(|budget| budget.settle(0, sent as u64));
        Ok(Round { sent, finished, ..Round::default() })
    }

    fn drain(&mut self, deadline: Instant) -> Result<(), Error> {
        // What was made but not handed over was never sent: its numbers are the last ones, so nobody misses it.
        self.transmit.counters().dropped(self.batch.clear() as u64);
        self.transmit.drain(&mut self.batch, deadline)
    }

    fn counters(&self) -> &Arc<TaskCounters> {
        self.transmit.counters()
    }
}
