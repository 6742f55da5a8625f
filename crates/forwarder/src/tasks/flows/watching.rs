//! The task: packets of some ports are looked at and dropped.

use super::observer::Observer;
use crate::engine::{Budget, Round, Task, TaskCounters};
use ringway_packet::Batch;
use ringway_port::{Error, ReceiveQueue, TransmitQueue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Instant;

/// How far it is, for those who look while it runs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Progress {
    packets: AtomicU64,
    flows: AtomicU64,
    unlisted: AtomicU64,
    malformed: AtomicU64,
}

impl Progress {
    /// Packets that were looked at, flows in the table, packets of other flows, malformed packets.
    pub fn read(&self) -> [u64; 4] {
        [&self.packets, &self.flows, &self.unlisted, &self.malformed]
            .map(|counter| counter.load(Ordering::Relaxed))
    }

    fn write(&self, observer: &Observer) {
        let seen = &observer.seen;
        self.packets.store(seen.all.packets, Ordering::Relaxed);
        self.flows.store(observer.table.flows().len() as u64, Ordering::Relaxed);
        self.unlisted.store(observer.table.unlisted().packets, Ordering::Relaxed);
        self.malformed.store(seen.malformed, Ordering::Relaxed);
    }
}

/// Looks at what some ports receive, with one table for all of them.
#[derive(Debug)]
pub struct Watching {
    receive: Vec<Box<dyn ReceiveQueue>>,
    /// Nothing is sent; a port's queues end together.
    _transmit: Vec<Box<dyn TransmitQueue>>,
    batch: Option<Batch>,
    size: usize,
    /// Packets that may still come, if there is a limit.
    left: Option<u64>,
    started: Instant,
    observer: Option<Observer>,
    results: Sender<Observer>,
    progress: Arc<Progress>,
    counters: Arc<TaskCounters>,
}

impl Watching {
    /// Looks at what `queues` receive, all of one pool, in batches of `size`, up to so many packets if there is a limit.
    /// The observer goes to `results` at the end.
    pub fn new(
        queues: Vec<(Box<dyn ReceiveQueue>, Box<dyn TransmitQueue>)>,
        observer: Observer,
        size: usize,
        packets: Option<u64>,
        results: Sender<Observer>,
    ) -> Self {
        let (receive, transmit): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
        let batch = receive.first().map(|queue| Batch::new(queue.pool(), size));
        Self {
            receive,
            _transmit: transmit,
            batch,
            size,
            left: packets,
            started: Instant::now(),
            observer: Some(observer),
            results,
            progress: Arc::default(),
            counters: Arc::default(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }
}

impl Task for Watching {
    fn round(&mut self, _budget: Option<&Budget>) -> Result<Round, Error> {
        let Self { receive, batch: Some(batch), size, left, started, observer: Some(observer), .. } = self
        else {
            return Ok(Round { finished: true, ..Round::default() });
        };
        let mut round = Round::default();
        for (queue, port) in receive.iter_mut().zip(1..) {
            if let Some(left) = *left {
                if left == 0 {
                    round.finished = true;
                    break;
                }
                let most = usize::try_from(left).unwrap_or(*size).min(*size);
                // Only near the limit is there less to receive than a batch.
                if batch.room() != most {
                    *batch = Batch::new(queue.pool(), most);
                }
            }
            let received = queue.receive(batch)?;
            if received == 0 {
                continue;
            }
            let time = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            observer.at_port(port);
            let before = observer.seen.all.packets;
            for frame in batch.frames() {
                observer.look(frame.data(), frame.total_len(), time);
            }
            batch.clear();
            round.received = round.received.wrapping_add(received);
            let looked_at = observer.seen.all.packets.saturating_sub(before);
            *left = left.map(|left| left.saturating_sub(looked_at));
        }
        if round.received > 0 {
            self.progress.write(observer);
        }
        Ok(round)
    }

    fn drain(&mut self, _deadline: Instant) -> Result<(), Error> {
        if let Some(observer) = self.observer.take() {
            // With nobody waiting for it, nobody misses it.
            let _ = self.results.send(observer);
        }
        Ok(())
    }

    fn counters(&self) -> &Arc<TaskCounters> {
        &self.counters
    }
}
