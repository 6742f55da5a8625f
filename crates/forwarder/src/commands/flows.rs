//! `ringway flows`: who talks to whom on live ports, or in a capture file.

use super::lines::Lines;
use super::{needs, print_summary, running};
use crate::cli::{FlowsOptions, Source};
use crate::engine::{Event, Limits, Options, Reception, Sample, Session, StoppedBy, Workers};
use crate::machine::{cpu, signals::Signals};
use crate::output::Console;
use crate::output::csv::Rows;
use crate::output::flows::{FlowsSummary, Run};
use crate::output::live::{Goal, Live, clock};
use crate::output::progress;
use crate::output::rates::{grouped, size};
use crate::output::summary::Summary;
use crate::ports::{self, OpenPorts, Wiring};
use crate::tasks::flows::{FlowTable, Observer, Watching};
use crate::{Error, PortName};
use ringway_port::Information;
use ringway_traffic::capture::Reader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Frames of a file between two looks at the clock and at signals.
const STEP: u64 = 1024;
/// What a frame takes in a file beyond its bytes, at least: pcap's record header.
const RECORD: u64 = 16;

/// Looks at packets until something ends it.
///
/// # Errors
/// When a port or the file can't be opened, or fails on the way; what was seen until then is printed.
pub fn run(options: &FlowsOptions) -> Result<ExitCode, Error> {
    let program = Instant::now();
    let console = Console::new(options.run.output);
    options.run.core.map_or(Ok(()), cpu::check)?;
    let input = Input::of(&options.sources)?;
    let table = FlowTable::new(options.table, options.bidirectional)?;
    let memory = size(table.memory());
    console.note(format_args!("flow table: up to {} flows in {memory}", grouped(options.table.into())));
    let observer = Observer::new(table).of(options.matching.clone());

    // From here on a signal ends the run in order.
    let (events, receiver) = channel();
    let _signals = Signals::listen(events.clone()).map_err(Error::System)?;
    let (run, observer, error) = match input {
        Input::File(path) => of_file(options, console, &path, observer, &receiver)?,
        Input::Ports(names) => of_ports(options, console, program, &names, observer, events, receiver)?,
    };
    let summary = observer.map(|observer| FlowsSummary::new(run, &observer, options.top, options.by));
    if let Some(summary) = &summary {
        print_summary(options.run.output, summary, Rows::Only("top"), FlowsSummary::text)?;
    }
    match (error, summary) {
        (Some(error), _) => Err(error),
        (None, summary) => Ok(super::status(summary.is_none_or(|summary| summary.lost() == 0))),
    }
}

/// What all sources together are.
enum Input {
    File(PathBuf),
    Ports(Vec<PortName>),
}

impl Input {
    fn of(sources: &[Source]) -> Result<Self, Error> {
        let mut ports = Vec::new();
        for source in sources {
            match source {
                Source::Port(name) => ports.push(*name),
                Source::File(path) if !path.exists() => return Err(Error::NoSource(path.clone())),
                Source::File(path) if sources.len() == 1 => return Ok(Self::File(path.clone())),
                Source::File(path) => return Err(Error::FileAndMore(path.clone())),
            }
        }
        Ok(Self::Ports(ports))
    }
}

/// How it went, what was seen, and what went wrong. Nothing was seen when a worker panicked.
type Ended = (Run, Option<Observer>, Option<Error>);

fn of_ports(
    options: &FlowsOptions,
    console: Console,
    program: Instant,
    names: &[PortName],
    observer: Observer,
    events: Sender<Event>,
    receiver: Receiver<Event>,
) -> Result<Ended, Error> {
    let buffers = needs::buffers(names.len(), &options.run.rings, options.run.batch)?;
    let open =
        running::open_options(names, &options.run.rings, buffers, &options.emulation(), Wiring::Sources)?;
    let OpenPorts { opened, mut emulation, pool } = ports::open(names, &open)?;
    running::say_memory(console, &pool);
    let (ports, queues) = running::activate(console, opened, Reception::Everything)?;
    let information: Vec<Information> = ports.iter().map(|port| port.information().clone()).collect();
    let cores: Vec<usize> = options.run.core.into_iter().collect();
    running::warn_of_nodes(console, &information, &cores);

    let (results, seen) = channel();
    let task = Watching::new(queues, observer, options.run.batch.into(), options.run.packets, results);
    let progress = Arc::clone(task.progress());
    let engine = Options { cores, ..Options::default() };
    let workers = Workers::start(vec![vec![Box::new(task)]], &engine, &events).map_err(Error::System)?;
    if let Some(emulation) = &emulation {
        emulation.start_sources();
    }
    let sources: Vec<String> = names.iter().map(ToString::to_string).collect();
    console.note(format_args!(
        "watching {}; {}",
        sources.join(", "),
        running::how_to_end(options.run.duration, options.run.packets, "seen")
    ));
    let up = Instant::now();
    let (mut before, mut at) = (0, up);
    let goal = Goal { duration: options.run.duration, packets: options.run.packets, share: None };
    let mut watch = Lines {
        live: Live::new(console, format!("ringway flows on {}", sources.join(", ")), goal),
        program,
        up,
        first_seen: false,
        emulation: emulation.as_mut(),
        line: |sample: &Sample, live: &mut Live| {
            let [packets, flows, unlisted, malformed] = progress.read();
            let time = sample.at.saturating_duration_since(at).as_secs_f64().max(1e-9);
            let mpps = packets.saturating_sub(before) as f64 / time / 1e6;
            (before, at) = (packets, sample.at);
            let (packets, flows) = (grouped(packets), grouped(flows));
            live.tell(
                sample,
                &format!(
                    "{mpps:7.3} Mpps  packets {packets}  flows {flows}  not in the table {unlisted}  malformed {malformed}"
                ),
            );
        },
    };
    let limits = Limits { duration: options.run.duration, interval: options.run.output.interval };
    let outcome = Session::new(workers, ports, vec![0], receiver).run(limits, &mut watch);
    drop(watch);
    let run = Run {
        sources,
        ports: Summary::new(&outcome, &information, None).ports,
        seconds: outcome.seconds,
        stopped_by: Some(outcome.stopped_by),
        errors: outcome.failures.iter().map(ToString::to_string).collect(),
    };
    drop(emulation);
    running::report_memory(console, pool);
    let error = (!outcome.failures.is_empty()).then_some(Error::Failed(outcome.failures));
    Ok((run, seen.try_recv().ok(), error))
}

fn of_file(
    options: &FlowsOptions,
    console: Console,
    path: &Path,
    mut observer: Observer,
    events: &Receiver<Event>,
) -> Result<Ended, Error> {
    if let Some(option) = options.emulation().given() {
        return Err(Error::OnlyPorts { option, file: path.to_owned() });
    }
    let mut reader = Reader::open(path)?;
    let all = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let started = Instant::now();
    let mut next_line = started + options.run.output.interval.max(Duration::from_millis(10));
    let (mut frames, mut read) = (0u64, 0u64);
    let (stopped_by, error) = loop {
        if options.run.packets.is_some_and(|limit| observer.seen.all.packets >= limit) {
            break (Some(StoppedBy::Packets), None);
        }
        match reader.next_frame() {
            Ok(None) => break (None, None),
            Err(error) => break (Some(StoppedBy::Error), Some(Error::from(error))),
            Ok(Some(frame)) => {
                let time = u64::try_from(frame.time.as_nanos()).unwrap_or(u64::MAX);
                read = read.saturating_add(frame.bytes.len() as u64).saturating_add(RECORD);
                observer.at_port(frame.interface.saturating_add(1));
                observer.look(&frame.bytes, frame.length as usize, time);
            }
        }
        frames = frames.saturating_add(1);
        if !frames.is_multiple_of(STEP) {
            continue;
        }
        if !matches!(events.try_recv(), Err(TryRecvError::Empty)) {
            break (Some(StoppedBy::Signal), None);
        }
        let now = Instant::now();
        if options.run.duration.is_some_and(|limit| now.saturating_duration_since(started) >= limit) {
            break (Some(StoppedBy::Duration), None);
        }
        if now >= next_line {
            next_line = now + options.run.output.interval;
            let elapsed = now.saturating_duration_since(started);
            console.note(progress(elapsed, frames, observer.table.flows().len() as u64, read, all));
        }
    };
    let run = Run {
        sources: vec![path.display().to_string()],
        ports: Vec::new(),
        seconds: started.elapsed().as_secs_f64(),
        stopped_by,
        errors: error.iter().map(ToString::to_string).collect(),
    };
    Ok((run, Some(observer), error))
}

/// How far a file is read, and about how long the rest takes.
fn progress(elapsed: Duration, frames: u64, flows: u64, read: u64, all: u64) -> String {
    let left = progress::share(read, all).and_then(|share| progress::left(elapsed, share));
    let left = left.map(|left| format!("  {left}")).unwrap_or_default();
    format!("{}  packets {}  flows {}{left}", clock(elapsed, None), grouped(frames), grouped(flows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_the_time_that_is_left() {
        let line = progress(Duration::from_secs(3), 1_000_000, 12, 250, 1000);
        assert_eq!(line, "   3.0 s  packets 1,000,000  flows 12  25 %, about 9 s left");
        assert!(progress(Duration::from_secs(3), 5, 1, 1000, 900).ends_with("flows 1"));
    }

    #[test]
    fn sources_are_ports_or_one_file_that_is_there() {
        let port = || Source::Port(PortName::Emulated(0));
        let file = || Source::File(PathBuf::from(file!()));
        let here = || Source::File(PathBuf::from("."));
        assert!(matches!(Input::of(&[port(), port()]), Ok(Input::Ports(names)) if names.len() == 2));
        assert!(matches!(Input::of(&[here()]), Ok(Input::File(_))));
        assert!(matches!(Input::of(&[port(), here()]), Err(Error::FileAndMore(_))));
        assert!(matches!(Input::of(&[here(), here()]), Err(Error::FileAndMore(_))));
        let nothing = Source::File(PathBuf::from("03:00"));
        let error = Input::of(&[file(), nothing]).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("ringway ports")));
    }
}
