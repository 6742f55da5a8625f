//! `ringway replay`: a capture file out of a port.

use super::generate::packets_a_second;
use super::one_port::OnePort;
use super::watcher::Watcher;
use super::{print_summary, running};
use crate::Error;
use crate::cli::ReplayOptions;
use crate::engine::{Outcome, Reception, StoppedBy};
use crate::output::csv::Rows;
use crate::output::rates::{Rate, grouped};
use crate::tasks::replaying::{Replay, Replaying, Timing};
use ringway_port::Information;
use ringway_traffic::capture::Reader;
use ringway_traffic::pace::Pace;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What a run came to: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    port: String,
    driver: &'static str,
    /// Packets and bytes handed to the device; bytes are without FCS.
    sent_packets: u64,
    sent_bytes: u64,
    /// Packets that the device was given but had not sent at the end.
    unsent: u64,
    /// Packets that no buffer holds, and were left out.
    too_long: u64,
    transmit_errors: u64,
    /// How often the file was sent whole.
    loops: u64,
    seconds: f64,
    mpps: f64,
    gbits: f64,
    /// What ended it; null where the file was sent to its end, as often as asked for.
    stopped_by: Option<StoppedBy>,
    errors: Vec<String>,
}

/// Replays until the file, or something else, ends it.
///
/// # Errors
/// When the file can't be read, the port can't be opened, or either fails on the way.
pub fn run(options: &ReplayOptions) -> Result<ExitCode, Error> {
    // A file that can't be played is refused before a port is opened.
    let mean = mean_length(&options.file)?;
    let (mut port, (receive, transmit)) = OnePort::open(options.port, &options.run, Reception::Groups)?;
    let (console, info) = (port.console, port.information().clone());
    let timing = if options.as_fast_as_possible {
        Timing::Paced(Pace::Unlimited)
    } else {
        match packets_a_second(options.rate, mean, &info.name, port.link())? {
            Some(rate) => Timing::Paced(Pace::Constant(rate)),
            None => Timing::Own(options.speed),
        }
    };
    let loops = (options.loops > 0).then_some(options.loops);
    let (file, batch) = (options.file.clone(), options.run.batch.into());
    let (task, replay) =
        Replaying::start(transmit, &port.pool, batch, file, timing, loops).map_err(Error::System)?;
    console.note(format_args!(
        "replaying {} on {}; {}",
        options.file.display(),
        options.port,
        match (loops, options.run.duration, options.run.packets) {
            (Some(1), None, None) => "once".to_owned(),
            (Some(loops), None, None) => format!("{loops} times"),
            (_, duration, packets) => running::how_to_end(duration, packets, "sent"),
        }
    ));
    let live = port.live("replay on", Some(replay.share(&options.file)));
    let outcome = port.run(Box::new(task), false, |up| Watcher::of(up, live))?;
    drop(receive);
    port.leave();
    let failure = replay.failure();
    let summary = summary(&outcome, &info, &replay, loops, failure.as_ref());
    print_summary(options.run.output, &summary, Rows::One, Summary::text)?;
    if summary.too_long > 0 {
        console.warn(format_args!(
            "{} packets are longer than a buffer holds and were left out: --buffer-size 4096",
            grouped(summary.too_long)
        ));
    }
    if !outcome.failures.is_empty() {
        return Err(Error::Failed(outcome.failures));
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(super::status(summary.is_lossless())),
    }
}

/// The mean length of the first frames of a file: what a rate in bits is reckoned with.
fn mean_length(path: &Path) -> Result<f64, Error> {
    const LOOKED_AT: u64 = 10_000;
    let mut reader = Reader::open(path)?;
    let (mut bytes, mut frames) = (0u64, 0u64);
    while frames < LOOKED_AT
        && let Some(frame) = reader.next_whole()?
    {
        bytes = bytes.saturating_add(frame.bytes.len() as u64);
        frames = frames.saturating_add(1);
    }
    if frames == 0 {
        return Err(ringway_traffic::Error::NoTemplates.into());
    }
    Ok(bytes as f64 / frames as f64)
}

fn summary(
    outcome: &Outcome,
    info: &Information,
    replay: &Replay,
    loops: Option<u64>,
    failure: Option<&ringway_traffic::capture::Error>,
) -> Summary {
    let port = outcome.last.ports.first();
    let sent = port.map(|port| port.statistics.sent()).unwrap_or_default();
    let time = Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
    let rate = Rate::new(sent.packets, sent.bytes, time);
    let errors = outcome.failures.iter().map(ToString::to_string);
    // A file that breaks ends the task, as its end does.
    let stopped_by = match outcome.stopped_by {
        StoppedBy::Packets if failure.is_some() => StoppedBy::Error,
        stopped_by => stopped_by,
    };
    let is_whole = stopped_by == StoppedBy::Packets && loops.is_some_and(|loops| replay.rounds() >= loops);
    Summary {
        port: info.name.clone(),
        driver: info.driver,
        sent_packets: sent.packets,
        sent_bytes: sent.bytes,
        unsent: port.map_or(0, |port| port.unsent.saturating_add(port.dropped)),
        too_long: replay.too_long(),
        transmit_errors: sent.errors,
        loops: replay.rounds(),
        seconds: outcome.seconds,
        mpps: rate.mpps,
        gbits: rate.gbits,
        stopped_by: (!is_whole).then_some(stopped_by),
        errors: errors.chain(failure.map(ToString::to_string)).collect(),
    }
}

impl Summary {
    /// Whether all of the file was sent.
    fn is_lossless(&self) -> bool {
        [self.unsent, self.too_long, self.transmit_errors] == [0; 3]
    }

    fn text(&self) -> String {
        format!(
            "{}: sent {} packets in {:.2} s: {:.3} Mpps, {:.3} Gbit/s on the wire; not sent {}; ended by {}\n",
            self.port,
            grouped(self.sent_packets),
            self.seconds,
            self.mpps,
            self.gbits,
            grouped(self.unsent.saturating_add(self.too_long).saturating_add(self.transmit_errors)),
            self.stopped_by.map_or_else(|| "the end of the file".to_owned(), |reason| reason.to_string()),
        )
    }
}
