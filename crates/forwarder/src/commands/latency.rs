//! The two ends of `ringway forward --latency`: each generates what the other receives, with the forwarder between them.

use super::generate::packets_a_second;
use super::running::Queues;
use crate::Error;
use crate::cli::LatencyOptions;
use crate::engine::{Active, Task, TaskCounters};
use crate::output::latency::{LatencySummary, plot};
use crate::ports::Stream;
use crate::tasks::generating::Generating;
use crate::tasks::receiving::{Receiving, Report};
use ringway_packet::Pool;
use ringway_traffic::check::{FLOWS, Totals};
use ringway_traffic::frame::Shape;
use ringway_traffic::generator::{Generator, Plan};
use ringway_traffic::latency::Latency;
use ringway_traffic::pace::{Pace, Pacer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The ends from outside, while their tasks run.
#[derive(Debug)]
pub(super) struct Ends {
    ends: Vec<End>,
    stop: Arc<AtomicBool>,
    settled: bool,
}

#[derive(Debug)]
struct End {
    name: String,
    generated: Arc<TaskCounters>,
    report: Report,
}

/// The tasks of all ends, each with the port that it works on, counted from `first`.
pub(super) type EndTasks = Vec<(Box<dyn Task>, usize)>;

impl Ends {
    /// Ends on open ports, the first of which is port number `first` of the run.
    ///
    /// # Errors
    /// When the load is in percent of a link whose speed isn't known.
    pub(super) fn new(
        ports: &[Active],
        queues: Vec<Queues>,
        first: usize,
        options: &LatencyOptions,
        pool: &Pool,
        batch: usize,
    ) -> Result<(Self, EndTasks), Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut ends, mut tasks): (Vec<End>, EndTasks) = (Vec::new(), Vec::new());
        for (index, ((receive, transmit), port)) in queues.into_iter().zip(ports).enumerate() {
            let info = port.information();
            let shape = Shape { source: info.mac, ..Shape::default() };
            let generator = Generator::new(&Plan { shape, ..Plan::default() })?;
            let rate = packets_a_second(Some(options.load), generator.mean(), &info.name, port.link())?;
            let rate = rate.unwrap_or_default();
            let pace = if options.poisson { Pace::Poisson(rate) } else { Pace::Constant(rate) };
            // Each end with distances of its own.
            let pacer = Pacer::new(pace, index as u64);
            let generating = Generating::new(transmit, pool, generator, pacer, batch).until(&stop);
            let receiving = Receiving::new(receive, FLOWS, batch);
            ends.push(End {
                name: info.name.clone(),
                generated: Arc::clone(generating.counters()),
                report: receiving.report(),
            });
            let port = first.saturating_add(index);
            tasks.push((Box::new(generating), port));
            tasks.push((Box::new(receiving), port));
        }
        Ok((Self { ends, stop, settled: false }, tasks))
    }

    /// Lets the generators make no more.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// A number that grows with each packet that arrives.
    pub(super) fn progress(&self) -> u64 {
        self.ends.iter().map(|end| arrived(&end.report.totals())).fold(0, u64::wrapping_add)
    }

    /// Whether all that was made has arrived, in whatever state.
    pub(super) fn is_quiet(&self) -> bool {
        self.progress() >= self.ends.iter().map(|end| end.generated.read().handled).fold(0, u64::wrapping_add)
    }

    /// From now on, what has not arrived is lost.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// What each end sent to the next.
    pub(super) fn streams(&self) -> Vec<Stream> {
        self.pairs().map(|(from, to)| stream(from, to, self.settled)).collect()
    }

    /// How long what each end sent took to the next, under both names.
    pub(super) fn latencies(&self) -> Vec<(String, LatencySummary)> {
        self.curves().iter().map(|(name, latency)| (name.clone(), LatencySummary::new(latency))).collect()
    }

    /// Draws how long packets took, if that was asked for.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn draw(&self, options: &LatencyOptions) -> Result<(), Error> {
        let Some(path) = &options.plot else { return Ok(()) };
        let curves = self.curves();
        let curves: Vec<_> = curves.iter().map(|(name, latency)| (name.as_str(), latency)).collect();
        plot(path, &curves)
    }

    fn curves(&self) -> Vec<(String, Latency)> {
        let curve =
            |(from, to): (&End, &End)| (format!("{} to {}", from.name, to.name), to.report.read().latency);
        self.pairs().map(curve).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (&End, &End)> {
        self.ends.iter().zip(self.ends.iter().cycle().skip(1))
    }
}

fn arrived(totals: &Totals) -> u64 {
    totals.received.saturating_add(totals.damaged)
}

fn stream(from: &End, to: &End, settled: bool) -> Stream {
    let (sent, totals) = (from.generated.read().handled, to.report.totals());
    let missing = sent.saturating_sub(arrived(&totals));
    let gaps = totals.lost.saturating_sub(totals.damaged).min(missing);
    Stream {
        from: from.name.clone(),
        to: to.name.clone(),
        sent,
        received: totals.received,
        lost: if settled { missing } else { gaps },
        under_way: if settled { 0 } else { missing.saturating_sub(gaps) },
        out_of_order: totals.out_of_order,
        doubled: totals.duplicates,
        damaged: totals.damaged,
    }
}
