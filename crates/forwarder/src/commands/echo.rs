//! `ringway echo`: a port that answers pings.

use super::lines::Lines;
use super::{needs, print_summary, running};
use crate::Error;
use crate::cli::EchoOptions;
use crate::engine::{Failure, Limits, Options, Reception, Sample, Session, StoppedBy, Workers};
use crate::machine::{cpu, signals::Signals};
use crate::output::Console;
use crate::output::csv::Rows;
use crate::output::live::{Goal, Live};
use crate::output::rates::grouped;
use crate::output::summary::{PortSummary, Summary};
use crate::output::table::Table;
use crate::ports::{self, OpenPorts, Wiring};
use crate::tasks::echo::{Answered, Echo, EchoCounts, Ignored, Station};
use ringway_port::Information;
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

/// What those should know who ask an emulated port.
const EMULATED: &str = "\
This network card is emulated, and what it receives comes from a source of UDP packets in this process: nobody asks it
anything. Name a network card: `ringway ports` lists them.";

/// Answers until something ends it.
///
/// # Errors
/// When the port can't be opened, or fails on the way; it is given back by then.
pub fn run(options: &EchoOptions) -> Result<ExitCode, Error> {
    let program = Instant::now();
    let console = Console::new(options.output);
    options.core.map_or(Ok(()), cpu::check)?;
    let names = [options.port];
    let buffers = needs::buffers(names.len(), &options.rings, options.batch)?;

    // From here on a signal ends the run in order, also while the port is being opened.
    let (events, receiver) = channel();
    let _signals = Signals::listen(events.clone()).map_err(Error::System)?;

    let open = running::open_options(&names, &options.rings, buffers, &options.emulation, Wiring::Sources)?;
    let OpenPorts { opened, mut emulation, pool } = ports::open(&names, &open)?;
    if emulation.is_some() {
        console.note(EMULATED);
    }
    running::say_memory(console, &pool);
    let (ports, queues) = running::activate(console, opened, Reception::Groups)?;
    let information: Vec<Information> = ports.iter().map(|port| port.information().clone()).collect();
    let cores: Vec<usize> = options.core.into_iter().collect();
    running::warn_of_nodes(console, &information, &cores);

    let (Some((receive, transmit)), Some(Information { mac, .. })) =
        (queues.into_iter().next(), information.first())
    else {
        return Err(Error::NoQueues { port: options.port.to_string() });
    };
    let station = Station::new(*mac, options.address.iter().map(|address| address.0));
    let task = Echo::new(receive, transmit, station, options.batch.into());
    let counts = Arc::clone(task.counts());
    let engine = Options { cores, ..Options::default() };
    let workers = Workers::start(vec![vec![Box::new(task)]], &engine, &events).map_err(Error::System)?;
    if let Some(emulation) = &emulation {
        emulation.start_sources();
    }
    let addresses: Vec<String> = options.address.iter().map(ToString::to_string).collect();
    console.note(format_args!(
        "answering on {} for {}; {}",
        options.port,
        addresses.join(", "),
        running::how_to_end(options.duration, None, "answered")
    ));
    let up = Instant::now();
    let mut before = EchoCounts::default();
    let goal = Goal { duration: options.duration, ..Goal::default() };
    let mut watch = Lines {
        live: Live::new(console, format!("ringway echo on {}", options.port), goal),
        program,
        up,
        first_seen: false,
        emulation: emulation.as_mut(),
        line: |sample: &Sample, live: &mut Live| {
            let now = counts.read();
            live.tell(sample, &format!("{}  {}", options.port, line(&now.since(&before))));
            before = now;
        },
    };
    let limits = Limits { duration: options.duration, interval: options.output.interval };
    let outcome = Session::new(workers, ports, vec![0], receiver).run(limits, &mut watch);
    drop(watch);
    let summary = EchoSummary {
        ports: Summary::new(&outcome, &information, None).ports,
        addresses,
        seconds: outcome.seconds,
        counts: counts.read(),
        stopped_by: outcome.stopped_by,
        errors: outcome.failures.iter().map(ToString::to_string).collect(),
    };
    drop(emulation);
    running::report_memory(console, pool);
    conclude(options, &summary, outcome.failures)
}

/// What happened in one interval.
fn line(counts: &EchoCounts) -> String {
    let echo_v4 = counts.answered(Answered::EchoV4) + counts.answered(Answered::EchoV4WithOptions);
    format!(
        "answered: ARP {}  neighbours {}  IPv4 pings {echo_v4}  IPv6 pings {}  ignored {}",
        counts.answered(Answered::Arp),
        counts.answered(Answered::Solicitation),
        counts.answered(Answered::EchoV6),
        counts.all_ignored(),
    )
}

/// What a run came to: this is the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct EchoSummary {
    /// The port's counters; `dropped` are answers.
    ports: Vec<PortSummary>,
    /// The addresses that were answered for.
    addresses: Vec<String>,
    /// How long.
    seconds: f64,
    /// What was answered and what was not.
    #[serde(flatten)]
    counts: EchoCounts,
    /// What ended the run.
    stopped_by: StoppedBy,
    /// What went wrong.
    errors: Vec<String>,
}

impl EchoSummary {
    /// Answers that were made and not sent.
    fn lost(&self) -> u64 {
        let lost = |port: &PortSummary| {
            port.dropped.saturating_add(port.unsent).saturating_add(port.transmit_errors)
        };
        self.ports.iter().map(lost).fold(0, u64::saturating_add)
    }

    /// The summary for people.
    fn text(&self) -> String {
        let mut table = Table::new(&["what came in", "answered", "ignored"]);
        for kind in Answered::ALL {
            let count = self.counts.answered(kind);
            table.row(vec![in_words(kind).to_owned(), grouped(count), String::new()]);
        }
        for reason in Ignored::ALL.into_iter().filter(|&reason| self.counts.ignored(reason) > 0) {
            let count = self.counts.ignored(reason);
            table.row(vec![why(reason).to_owned(), String::new(), grouped(count)]);
        }
        let mut text = table.render();
        // Writing to a string doesn't fail.
        let _ = writeln!(
            text,
            "answered {} of {} frames in {:.2} s; {} answers lost; ended by {}",
            grouped(self.counts.all_answered()),
            grouped(self.counts.all_answered().saturating_add(self.counts.all_ignored())),
            self.seconds,
            grouped(self.lost()),
            self.stopped_by,
        );
        text
    }
}

fn in_words(kind: Answered) -> &'static str {
    match kind {
        Answered::Arp => "ARP requests",
        Answered::EchoV4 => "IPv4 pings",
        Answered::EchoV4WithOptions => "IPv4 pings with options (answered without)",
        Answered::EchoV6 => "IPv6 pings",
        Answered::Solicitation => "neighbour solicitations",
    }
}

fn why(reason: Ignored) -> &'static str {
    match reason {
        Ignored::OtherStation => "for another Ethernet address",
        Ignored::OtherAddress => "for another Internet address",
        Ignored::OtherProtocol => "neither ARP nor IP",
        Ignored::OtherMessage => "no request that is answered",
        Ignored::Malformed => "malformed",
        Ignored::WrongChecksum => "wrong checksum",
        Ignored::Fragment => "fragments",
        Ignored::ExtensionHeaders => "IPv6 extension headers",
        Ignored::Unanswerable => "from an address that can't be answered",
        Ignored::ClaimsOurAddress => "from another station that has an address of ours",
        Ignored::TooLong => "longer than a buffer",
    }
}

/// Prints the summary and says how the program ends.
fn conclude(options: &EchoOptions, summary: &EchoSummary, failures: Vec<Failure>) -> Result<ExitCode, Error> {
    let console = Console::new(options.output);
    let claimed = summary.counts.ignored(Ignored::ClaimsOurAddress);
    if claimed > 0 {
        console.warn(format_args!(
            "{claimed} frames came from another station that has an address of this one: choose another --address"
        ));
    }
    print_summary(options.output, summary, Rows::Each("ports"), EchoSummary::text)?;
    if !failures.is_empty() {
        return Err(Error::Failed(failures));
    }
    Ok(super::status(summary.lost() == 0))
}
