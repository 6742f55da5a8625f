//! `ringway replay`: a capture file out of a port.

use super::generate::packets_a_second;
use super::watcher::Watcher;
use super::{needs, print, print_json, running};
use crate::Error;
use crate::cli::ReplayOptions;
use crate::engine::{Limits, Options, Outcome, Reception, Session, StoppedBy, Workers};
use crate::machine::{cpu, signals::Signals};
use crate::output::Console;
use crate::output::live::Live;
use crate::output::rates::{Rate, grouped};
use crate::ports::{self, OpenPorts, Wiring};
use crate::tasks::replaying::{Replay, Replaying, Timing};
use ringway_port::Information;
use ringway_traffic::capture::Reader;
use ringway_traffic::pace::Pace;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

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
    stopped_by: StoppedBy,
    errors: Vec<String>,
}

/// Replays until the file, or something else, ends it.
///
/// # Errors
/// When the file can't be read, the port can't be opened, or either fails on the way.
pub fn run(options: &ReplayOptions) -> Result<ExitCode, Error> {
    let program = Instant::now();
    let console = Console::new(options.output);
    options.core.map_or(Ok(()), cpu::check)?;
    // A file that can't be played is refused before a port is opened.
    let mean = mean_length(&options.file)?;
    let buffers = needs::buffers(1, &options.rings, options.batch)?;
    let (events, receiver) = channel();
    let _signals = Signals::listen(events.clone()).map_err(Error::System)?;
    let names = [options.port];
    let emulation = options.emulate.clone().into();
    let open = running::open_options(&names, &options.rings, buffers, &emulation, Wiring::Marked)?;
    let OpenPorts { opened, mut emulation, pool } = ports::open(&names, &open)?;
    running::say_memory(console, &pool);
    let (ports, queues) = running::activate(console, opened, Reception::Groups)?;
    let information: Vec<Information> = ports.iter().map(|port| port.information().clone()).collect();
    let cores: Vec<usize> = options.core.into_iter().collect();
    running::warn_of_nodes(console, &information, &cores);
    let (Some(port), Some((receive, transmit)), Some(info)) =
        (ports.first(), queues.into_iter().next(), information.first())
    else {
        return Err(Error::NoPorts);
    };
    let timing = if options.as_fast_as_possible {
        Timing::Paced(Pace::Unlimited)
    } else {
        match packets_a_second(options.rate, mean, &info.name, port.link())? {
            Some(rate) => Timing::Paced(Pace::Constant(rate)),
            None => Timing::Own(options.speed),
        }
    };
    let loops = (options.loops > 0).then_some(options.loops);
    let file = options.file.clone();
    let (task, replay) = Replaying::start(transmit, &pool, options.batch.into(), file, timing, loops)
        .map_err(Error::System)?;
    let engine = Options { packets: options.packets, cores, ..Options::default() };
    let workers = Workers::start(vec![vec![Box::new(task)]], &engine, &events).map_err(Error::System)?;
    console.note(format_args!(
        "replaying {} on {}; {}",
        options.file.display(),
        options.port,
        match (loops, options.duration, options.packets) {
            (Some(1), None, None) => "once".to_owned(),
            (Some(loops), None, None) => format!("{loops} times"),
            (_, duration, packets) => running::how_to_end(duration, packets, "sent"),
        }
    ));
    let outcome = {
        let mut watcher = Watcher {
            console,
            live: Live::new(console, options.duration),
            program,
            forwarding: Instant::now(),
            first_seen: false,
            emulation: emulation.as_mut(),
            ends: None,
            progress: None,
        };
        let limits = Limits { duration: options.duration, interval: options.output.interval };
        Session::new(workers, ports, vec![0], receiver).run(limits, &mut watcher)
    };
    drop(receive);
    drop(emulation);
    running::report_memory(console, pool);
    let failure = replay.failure();
    let summary = summary(&outcome, info, &replay, failure.as_ref());
    if options.output.json {
        print_json(&summary)?;
    } else {
        print(&summary.text())?;
    }
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
        None if summary.unsent > 0 || summary.too_long > 0 || summary.transmit_errors > 0 => {
            Ok(ExitCode::from(super::LOST))
        }
        None => Ok(ExitCode::SUCCESS),
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
    failure: Option<&ringway_traffic::capture::Error>,
) -> Summary {
    let port = outcome.last.ports.first();
    let sent = port.map(|port| port.statistics.sent()).unwrap_or_default();
    let time = Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
    let rate = Rate::new(sent.packets, sent.bytes, time);
    let errors = outcome.failures.iter().map(ToString::to_string);
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
        stopped_by: outcome.stopped_by,
        errors: errors.chain(failure.map(ToString::to_string)).collect(),
    }
}

impl Summary {
    fn text(&self) -> String {
        format!(
            "{}: sent {} packets in {:.2} s: {:.3} Mpps, {:.3} Gbit/s on the wire; not sent {}; ended by {}\n",
            self.port,
            grouped(self.sent_packets),
            self.seconds,
            self.mpps,
            self.gbits,
            grouped(self.unsent.saturating_add(self.too_long).saturating_add(self.transmit_errors)),
            self.stopped_by,
        )
    }
}
