//! `ringway forward`, and the demonstration that is the same on two emulated ports.

use super::latency::Ends;
use super::running::{self, Queues};
use super::watcher::Watcher;
use super::{needs, print_summary, steering};
use crate::cli::{ForwardOptions, PerPort};
use crate::engine::{
    Active, Direction, Event, Failure, Limits, Options, Reception, Rewrite, Session, Task, WhenFull, Workers,
    shares,
};
use crate::machine::{cpu, signals::Signals};
use crate::output::Console;
use crate::output::csv::Rows;
use crate::output::live::{Goal, Live};
use crate::output::summary::Summary;
use crate::ports::{self, Emulation, OpenPorts, Wiring};
use crate::{Error, PortName};
use ringway_packet::Pool;
use ringway_port::{Information, MacAddress, Offloads};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// The ports that are forwarded between; further ones are the ends of their cables.
const PORTS: usize = 2;

/// Flows of emulated sources where there are several queues to be spread over, and nothing else is said.
const FLOWS_OF_QUEUES: u16 = 10_000;

/// What those should know who see rates of ports that are no hardware.
const EMULATED: &str = "\
These network cards are emulated: the driver and the forwarder are the real ones, the cards' side is software in this
process, each with a source of 64-byte UDP packets. Its rates say nothing about hardware. With real cards:
    ringway ports                        which there are
    sudo ringway bind ADDRESS ADDRESS    once (in the source tree: cargo xtask bind ADDRESS ADDRESS)
    ringway forward ADDRESS ADDRESS      as yourself";

/// Forwards until something ends it.
///
/// # Errors
/// When a port can't be opened, or fails on the way; all ports are given back by then.
pub fn run(options: &ForwardOptions) -> Result<ExitCode, Error> {
    let program = Instant::now();
    let console = Console::new(options.output);
    check_cores(options)?;
    let names: Vec<PortName> =
        [options.a, options.b].iter().chain(&options.latency.latency).copied().collect();
    let queues = options.queues.queues(&options.cores);
    let buffers = needs::buffers_of_queues(names.len(), queues, &options.rings, options.batch)?;

    // From here on a signal ends the run in order, also while ports are being opened.
    let (events, receiver) = channel();
    let _signals = Signals::listen(events.clone()).map_err(Error::System)?;

    let wiring = if options.latency.latency.is_empty() { Wiring::Sources } else { Wiring::Cables };
    let mut open = running::open_options(&names, &options.rings, buffers, &options.emulation, wiring)?;
    (open.port.receive_queues, open.port.transmit_queues) = (queues, queues);
    if queues > 1 && options.emulation.source.flows.is_none() {
        open.emulation.flows = FLOWS_OF_QUEUES;
    }
    open.port.interrupts = options.queues.interrupts;
    open.offloads = offloads(options)?;
    let OpenPorts { mut opened, mut emulation, pool } = ports::open(&names, &open)?;
    for port in &mut opened {
        options.queues.vlan.iter().try_for_each(|&vlan| port.control.add_vlan(vlan))?;
    }
    for port in opened.iter_mut().take(PORTS) {
        steering::steer(&mut *port.control, &options.queues.steering)?;
    }
    let offload_of =
        |index: usize| open.offloads.get(index).or(open.offloads.last()).copied().unwrap_or_default();
    let [a, b] = [(options.a, offload_of(0)), (options.b, offload_of(1))];
    for (from, to) in [(a, b), (b, a)] {
        one_sided(from, to).for_each(|warning| console.warn(warning));
    }
    if emulation.is_some() {
        console.note(EMULATED);
    }
    running::say_memory(console, &pool);

    let (ports, queues) = running::activate_all(console, opened, Reception::Everything)?;
    let information: Vec<Information> = ports.iter().map(|port| port.information().clone()).collect();
    running::warn_of_nodes(console, &information, &options.cores);

    let summary = {
        let run =
            Run { options, console, program, emulation: emulation.as_mut(), pool: &pool, events, receiver };
        run.forward(ports, queues, &information)?
    };
    drop(emulation);
    running::report_memory(console, pool);
    conclude(options, summary)
}

/// What a run is made of, apart from its ports.
struct Run<'a> {
    options: &'a ForwardOptions,
    console: Console,
    program: Instant,
    emulation: Option<&'a mut Emulation>,
    pool: &'a Pool,
    events: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Run<'_> {
    fn forward(
        self,
        ports: Vec<Active>,
        mut queues: Vec<Vec<Queues>>,
        information: &[Information],
    ) -> Result<Concluded, Error> {
        let Self { options, console, program, emulation, pool, events, receiver } = self;
        let engine = engine_options(options);
        let of_ends = queues.split_off(queues.len().min(PORTS));
        let between = information.get(..PORTS).unwrap_or(information);
        let (directions, mut targets) = directions(queues, &rewrites(options, between), &engine);
        let (ends, end_tasks) = match ports.get(PORTS..) {
            Some(ports @ [_, ..]) => {
                let of_ends = of_ends.into_iter().flatten().collect();
                let (ends, tasks) = Ends::new(ports, of_ends, PORTS, &options.latency, pool, engine.batch)?;
                (Some(ends), tasks)
            }
            _ => (None, Vec::new()),
        };
        let (end_tasks, end_targets): (Vec<_>, Vec<_>) = end_tasks.into_iter().unzip();
        targets.extend(end_targets);
        let mut shares = shares(directions, options.queues.threads(&engine.cores));
        if !end_tasks.is_empty() {
            // The ends have a worker of their own: what they do is not the forwarder's time.
            shares.push(end_tasks);
        }
        let workers = Workers::start(shares, &engine, &events).map_err(Error::System)?;
        if let Some(emulation) = &emulation {
            emulation.start_sources();
        }
        let forwarding = Instant::now();
        console.note(format_args!(
            "forwarding between {} and {}; {}",
            options.a,
            options.b,
            running::how_to_end(options.duration, options.packets, "forwarded")
        ));
        let title = format!("ringway forward between {} and {}", options.a, options.b);
        let goal = Goal { duration: options.duration, packets: options.packets, share: None };
        let mut watcher = Watcher {
            live: Live::new(console, title, goal),
            program,
            forwarding,
            first_seen: false,
            emulation,
            ends,
            progress: None,
        };
        let limits = Limits { duration: options.duration, interval: options.output.interval };
        let mut session = Session::new(workers, ports, targets, receiver);
        if let Some(interrupts) = engine.interrupts {
            for port in session.moderate(interrupts.moderation)? {
                console.detail(format_args!("{port}: interrupts can't be held back"));
            }
        }
        let outcome = session.run(limits, &mut watcher);
        let mut summary = Summary::new(&outcome, information, watcher.emulation.as_deref());
        let mut drawn = Ok(());
        if let Some(ends) = &watcher.ends {
            drawn = ends.draw(&options.latency);
            (summary.streams, summary.latency) = (ends.streams(), ends.latencies());
        }
        Ok((summary, outcome.failures, drawn))
    }
}

/// What a run came to, what went wrong, and whether the plot could be drawn: what was measured is told also if not.
type Concluded = (Summary, Vec<Failure>, Result<(), Error>);

/// The offloads of each port, with what `--vlan` asks for.
fn offloads(options: &ForwardOptions) -> Result<Vec<Offloads>, Error> {
    let mut lists = options.queues.offload.0.clone();
    if lists.is_empty() {
        lists.push(Offloads::NONE);
    }
    let filters = lists.iter().any(|list| list.contains(Offloads::VLAN_FILTER));
    if filters && options.queues.vlan.is_empty() {
        return Err(Error::NoVlans);
    }
    if !options.queues.vlan.is_empty() {
        lists.iter_mut().for_each(|list| *list |= Offloads::VLAN_FILTER);
    }
    Ok(lists)
}

/// What one port does to packets as it receives them, and the other would have to undo as it sends them but wasn't asked to.
fn one_sided(
    (from, received): (PortName, Offloads),
    (to, sent): (PortName, Offloads),
) -> impl Iterator<Item = String> {
    const PAIRS: [(Offloads, Offloads, &str); 3] = [
        (Offloads::VLAN_STRIP, Offloads::VLAN_INSERT, "frames with a VLAN tag"),
        (Offloads::LARGE_RECEIVE, Offloads::TCP4_SEGMENTATION, "joined TCP packets over IPv4"),
        (Offloads::LARGE_RECEIVE, Offloads::TCP6_SEGMENTATION, "joined TCP packets over IPv6"),
    ];
    let lacks = move |(does, undoes, _): &(Offloads, Offloads, &str)| {
        received.contains(*does) && !sent.contains(*undoes)
    };
    PAIRS.into_iter().filter(lacks).map(move |(does, undoes, what)| {
        format!("{from} has {does}, {to} lacks {undoes}: {what} that {from} receives will be dropped at {to}")
    })
}

/// Prints the summary and says how the program ends.
fn conclude(options: &ForwardOptions, (summary, failures, drawn): Concluded) -> Result<ExitCode, Error> {
    print_summary(options.output, &summary, Rows::Each("ports"), Summary::text)?;
    if !failures.is_empty() {
        return Err(Error::Failed(failures));
    }
    drawn?;
    Ok(super::status(summary.is_lossless()))
}

fn check_cores(options: &ForwardOptions) -> Result<(), Error> {
    let cores = &options.cores;
    let directions = PORTS * usize::from(options.queues.queues(cores));
    let given = options.queues.threads(cores);
    if given > directions {
        return Err(Error::TooManyThreads { given, directions });
    }
    for (index, &core) in cores.iter().enumerate() {
        if cores.iter().take(index).any(|&earlier| earlier == core) {
            return Err(Error::SameCore(core));
        }
        cpu::check(core)?;
    }
    Ok(())
}

fn engine_options(options: &ForwardOptions) -> Options {
    // An emulated source waits for room, so between emulated ports nothing needs to be dropped.
    let usual = match (options.a, options.b) {
        (PortName::Emulated(_), PortName::Emulated(_)) if options.emulation.source.rate.is_none() => {
            WhenFull::Wait
        }
        _ => WhenFull::Drop,
    };
    Options {
        batch: options.batch.into(),
        touch: options.touch.into(),
        when_full: options.when_full.map_or(usual, WhenFull::from),
        packets: options.packets,
        cores: options.cores.clone(),
        interrupts: options.queues.interrupts(),
    }
}

/// What each port writes into the frames that it sends.
fn rewrites(options: &ForwardOptions, information: &[Information]) -> Vec<Rewrite> {
    let given =
        |both: Option<PerPort>, index: usize| both.map(|both| if index == 0 { both.a } else { both.b });
    let own =
        |information: &Information| -> Option<MacAddress> { options.rewrite_mac.then_some(information.mac) };
    information
        .iter()
        .enumerate()
        .map(|(index, information)| Rewrite {
            source: given(options.source_mac, index).or_else(|| own(information)),
            destination: given(options.destination_mac, index),
        })
        .collect()
}

/// From each queue of each port to the queue of the same number of the next port, with the port that each direction sends
/// on. What belongs to one number stands together.
fn directions(
    queues: Vec<Vec<Queues>>,
    rewrites: &[Rewrite],
    options: &Options,
) -> (Vec<Box<dyn Task>>, Vec<usize>) {
    let ports = queues.len();
    let mut of_ports: Vec<_> = queues.into_iter().map(Vec::into_iter).collect();
    let (mut directions, mut targets): (Vec<Box<dyn Task>>, Vec<usize>) = (Vec::new(), Vec::new());
    loop {
        let number: Vec<Queues> = of_ports.iter_mut().filter_map(Iterator::next).collect();
        if number.is_empty() || number.len() < ports {
            return (directions, targets);
        }
        let (receive, mut transmit): (Vec<_>, Vec<_>) = number.into_iter().unzip();
        transmit.rotate_left(1);
        for (from, (receive, transmit)) in receive.into_iter().zip(transmit).enumerate() {
            let target = from.saturating_add(1) % ports;
            let rewrite = rewrites.get(target).copied().unwrap_or_default();
            directions.push(Box::new(Direction::new(receive, transmit, rewrite, options)));
            targets.push(target);
        }
    }
}
