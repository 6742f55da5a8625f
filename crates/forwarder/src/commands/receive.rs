//! `ringway receive`: what became of marked packets, and how long they took.

use super::one_port::OnePort;
use super::print_summary;
use super::running;
use super::watcher::Watcher;
use crate::Error;
use crate::cli::ReceiveOptions;
use crate::engine::{Outcome, Reception, StoppedBy};
use crate::output::csv::Rows;
use crate::output::latency::{LatencySummary, plot};
use crate::output::rates::{Rate, grouped};
use crate::output::table::Table;
use crate::tasks::receiving::{Findings, Receiving};
use ringway_port::Information;
use ringway_traffic::check::Totals;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// What a run came to: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    port: String,
    driver: &'static str,
    mac: String,
    seconds: f64,
    mpps: f64,
    gbits: f64,
    /// Packets that the device had no receive buffer for; null where it doesn't count them.
    missed: Option<u64>,
    #[serde(flatten)]
    found: Found,
    latency: LatencySummary,
    /// Each flow, with `--per-flow`.
    flows: Vec<FlowSummary>,
    stopped_by: StoppedBy,
    errors: Vec<String>,
}

/// What was found.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Found {
    received: u64,
    bytes: u64,
    lost: u64,
    out_of_order: u64,
    doubled: u64,
    damaged: u64,
    foreign: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct FlowSummary {
    flow: u32,
    #[serde(flatten)]
    found: Found,
}

impl From<Totals> for Found {
    fn from(totals: Totals) -> Self {
        let Totals { received, bytes, lost, out_of_order, duplicates, damaged, foreign, .. } = totals;
        Self { received, bytes, lost, out_of_order, doubled: duplicates, damaged, foreign }
    }
}

/// Receives until something ends it.
///
/// # Errors
/// When the port can't be opened, or fails on the way, and when the plot can't be drawn.
pub fn run(options: &ReceiveOptions) -> Result<ExitCode, Error> {
    let (mut port, (receive, transmit)) = OnePort::open(options.port, &options.run, Reception::Everything)?;
    let (console, info) = (port.console, port.information().clone());
    let task = Receiving::new(receive, options.flows, options.run.batch.into());
    let report = task.report();
    console.note(format_args!(
        "receiving on {}; {}",
        options.port,
        running::how_to_end(options.run.duration, options.run.packets, "received")
    ));
    let live = port.live("receive on", None);
    let outcome = port.run(Box::new(task), true, |up| Watcher::of(up, live))?;
    drop(transmit);
    port.leave();
    let findings = report.read();
    let concluded = conclude(options, summary(&outcome, &info, &findings, options.per_flow), outcome);
    // What was measured is told also when it can't be drawn.
    let drawn = options.plot.as_ref().map_or(Ok(()), |path| plot(path, &[("latency", &findings.latency)]));
    concluded.and_then(|status| drawn.map(|()| status))
}

fn summary(outcome: &Outcome, info: &Information, findings: &Findings, per_flow: bool) -> Summary {
    let time = Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
    let rate = Rate::new(findings.totals.received, findings.totals.bytes, time);
    let flows = findings.flows.iter().filter(|_| per_flow);
    Summary {
        port: info.name.clone(),
        driver: info.driver,
        mac: info.mac.to_string(),
        seconds: outcome.seconds,
        mpps: rate.mpps,
        gbits: rate.gbits,
        missed: outcome.last.ports.first().and_then(|port| port.statistics.missed),
        found: findings.totals.into(),
        latency: LatencySummary::new(&findings.latency),
        flows: flows.map(|&(flow, totals)| FlowSummary { flow, found: totals.into() }).collect(),
        stopped_by: outcome.stopped_by,
        errors: outcome.failures.iter().map(ToString::to_string).collect(),
    }
}

/// Rows of what was found, under their names.
fn found_table<'a>(first: &str, rows: impl Iterator<Item = (String, &'a Found)>) -> String {
    let mut table = Table::new(&[first, "received", "lost", "out of order", "doubled", "damaged", "foreign"]);
    for (name, found) in rows {
        let numbers =
            [found.received, found.lost, found.out_of_order, found.doubled, found.damaged, found.foreign];
        table.row([name].into_iter().chain(numbers.map(grouped)).collect());
    }
    table.render()
}

fn conclude(options: &ReceiveOptions, summary: Summary, outcome: Outcome) -> Result<ExitCode, Error> {
    print_summary(options.run.output, &summary, Rows::Each("flows"), Summary::text)?;
    if !outcome.failures.is_empty() {
        return Err(Error::Failed(outcome.failures));
    }
    Ok(super::status(summary.is_lossless()))
}

impl Summary {
    /// Whether what was numbered came once, whole and in order, and nothing was missed.
    fn is_lossless(&self) -> bool {
        let Found { lost, out_of_order, doubled, damaged, .. } = self.found;
        [lost, out_of_order, doubled, damaged, self.missed.unwrap_or_default()] == [0; 5]
    }

    fn text(&self) -> String {
        let mut text = found_table("port", [(self.port.clone(), &self.found)].into_iter());
        text.push_str(&format!(
            "received {} packets in {:.2} s: {:.3} Mpps, {:.3} Gbit/s on the wire; ended by {}\n",
            grouped(self.found.received),
            self.seconds,
            self.mpps,
            self.gbits,
            self.stopped_by,
        ));
        if !self.flows.is_empty() {
            text.push('\n');
            let rows = self.flows.iter().map(|flow| (flow.flow.to_string(), &flow.found));
            text.push_str(&found_table("flow", rows));
        }
        text.push('\n');
        text.push_str(&self.latency.text());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_late_doubled_or_damaged_is_lost_and_so_is_what_the_device_missed() {
        let whole =
            Found { received: 5, bytes: 300, lost: 0, out_of_order: 0, doubled: 0, damaged: 0, foreign: 7 };
        let summary = |found, missed| Summary {
            port: "a".to_owned(),
            driver: "b",
            mac: String::new(),
            seconds: 1.0,
            mpps: 0.0,
            gbits: 0.0,
            missed,
            found,
            latency: LatencySummary::new(&Default::default()),
            flows: Vec::new(),
            stopped_by: StoppedBy::Signal,
            errors: Vec::new(),
        };
        assert!(summary(whole, None).is_lossless() && summary(whole, Some(0)).is_lossless());
        assert!(!summary(whole, Some(1)).is_lossless());
        for spoiled in [
            Found { lost: 1, ..whole },
            Found { out_of_order: 1, ..whole },
            Found { doubled: 1, ..whole },
            Found { damaged: 1, ..whole },
        ] {
            assert!(!summary(spoiled, None).is_lossless(), "{spoiled:?}");
        }
    }
}
