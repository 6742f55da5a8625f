//! `ringway forward`, and the demonstration that is the same on two emulated ports.

use super::watcher::Watcher;
use super::{needs, print, print_json};
use crate::cli::{ForwardOptions, PerPort};
use crate::engine::{
    Active, Direction, Event, Failure, Limits, Options, Promiscuity, Rewrite, Session, WhenFull, Workers,
};
use crate::machine::numa::{self, Placed};
use crate::machine::{cpu, signals::Signals};
use crate::output::live::Live;
use crate::output::summary::Summary;
use crate::output::{Console, rates};
use crate::ports::{self, Emulation, EmulationOptions, OpenOptions, OpenPorts};
use crate::{Error, PortName};
use ringway_dma::AddressSpace;
use ringway_packet::Pool;
use ringway_port::{Information, Link, MacAddress, Opened, Port, PortOptions, ReceiveQueue, TransmitQueue};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// The exit status for packets lost where none may be.
const LOST: u8 = 3;

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
    check_cores(&options.cores)?;
    let buffers = needs::buffers(options)?;

    // From here on a signal ends the run in order, also while ports are being opened.
    let (events, receiver) = channel();
    let _signals = Signals::listen(events.clone()).map_err(Error::System)?;

    let names = [options.a, options.b];
    check_emulation(options, &names)?;
    let emulation = EmulationOptions {
        kinds: options.emulation.emulate.map(Vec::from).unwrap_or_default(),
        rate: options.emulation.rate,
    };
    let open = OpenOptions {
        port: port_options(options),
        buffers,
        buffer_size: options.rings.buffer_size,
        emulation,
    };
    let OpenPorts { opened, mut emulation, pool } = ports::open(&names, &open)?;
    if emulation.is_some() {
        console.note(EMULATED);
    }
    say_memory(console, &pool);

    let (ports, queues) = activate(console, opened)?;
    let information: Vec<Information> = ports.iter().map(|port| port.information().clone()).collect();
    warn_of_nodes(console, &information, &options.cores);

    let summary = {
        let run = Run { options, console, program, emulation: emulation.as_mut(), events, receiver };
        run.forward(ports, queues, &information)?
    };
    drop(emulation);
    report_memory(console, pool);
    conclude(options, summary)
}

/// What a run is made of, apart from its ports.
struct Run<'a> {
    options: &'a ForwardOptions,
    console: Console,
    program: Instant,
    emulation: Option<&'a mut Emulation>,
    events: Sender<Event>,
    receiver: Receiver<Event>,
}

/// The queues of a port.
type Queues = (Box<dyn ReceiveQueue>, Box<dyn TransmitQueue>);

impl Run<'_> {
    fn forward(
        self,
        ports: Vec<Active>,
        queues: Vec<Queues>,
        information: &[Information],
    ) -> Result<(Summary, Vec<Failure>), Error> {
        let Self { options, console, program, emulation, events, receiver } = self;
        let (directions, targets) = directions(queues, &rewrites(options, information));
        let workers = Workers::start(directions, &engine_options(options), &events).map_err(Error::System)?;
        if let Some(emulation) = &emulation {
            emulation.start_sources();
        }
        let forwarding = Instant::now();
        console.note(format_args!(
            "forwarding between {} and {}; {}",
            options.a,
            options.b,
            how_to_end(options)
        ));
        let mut watcher = Watcher {
            console,
            live: Live::new(console, options.duration),
            program,
            forwarding,
            first_seen: false,
            emulation,
            progress: None,
        };
        let limits = Limits { duration: options.duration, interval: options.output.interval };
        let outcome = Session::new(workers, ports, targets, receiver).run(limits, &mut watcher);
        Ok((Summary::new(&outcome, information, watcher.emulation.as_deref()), outcome.failures))
    }
}

/// Prints the summary and says how the program ends.
fn conclude(
    options: &ForwardOptions,
    (summary, failures): (Summary, Vec<Failure>),
) -> Result<ExitCode, Error> {
    if options.output.json {
        print_json(&summary)?;
    } else {
        print(&summary.text())?;
    }
    if !failures.is_empty() {
        return Err(Error::Failed(failures));
    }
    Ok(if summary.is_lossless() { ExitCode::SUCCESS } else { ExitCode::from(LOST) })
}

fn check_emulation(options: &ForwardOptions, names: &[PortName]) -> Result<(), Error> {
    let real = names.iter().find(|name| matches!(name, PortName::Pci(_)));
    match (options.emulation.given(), real) {
        (Some(option), Some(&port)) => Err(Error::OnlyEmulated { option, port }),
        _ => Ok(()),
    }
}

fn check_cores(cores: &[usize]) -> Result<(), Error> {
    const DIRECTIONS: usize = 2;
    if cores.len() > DIRECTIONS {
        return Err(Error::TooManyCores { given: cores.len(), directions: DIRECTIONS });
    }
    for (index, &core) in cores.iter().enumerate() {
        if cores.iter().take(index).any(|&earlier| earlier == core) {
            return Err(Error::SameCore(core));
        }
        cpu::check(core)?;
    }
    Ok(())
}

fn port_options(options: &ForwardOptions) -> PortOptions {
    PortOptions {
        receive_ring: options.rings.receive(),
        transmit_ring: options.rings.transmit(),
        ..PortOptions::default()
    }
}

fn engine_options(options: &ForwardOptions) -> Options {
    // An emulated source waits for room, so between emulated ports nothing needs to be dropped.
    let usual = match (options.a, options.b) {
        (PortName::Emulated(_), PortName::Emulated(_)) if options.emulation.rate.is_none() => WhenFull::Wait,
        _ => WhenFull::Drop,
    };
    Options {
        batch: options.batch.into(),
        touch: options.touch.into(),
        when_full: options.when_full.map_or(usual, WhenFull::from),
        packets: options.packets,
        cores: options.cores.clone(),
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

/// From each port to the next one, with the port that each direction sends on.
fn directions(queues: Vec<Queues>, rewrites: &[Rewrite]) -> (Vec<Direction>, Vec<usize>) {
    let (receive, mut transmit): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
    let mut targets: Vec<usize> = (0..transmit.len()).collect();
    if !targets.is_empty() {
        transmit.rotate_left(1);
        targets.rotate_left(1);
    }
    let directions = receive.into_iter().zip(transmit).zip(&targets).map(|((receive, transmit), &target)| {
        Direction::new(receive, transmit, rewrites.get(target).copied().unwrap_or_default())
    });
    (directions.collect(), targets)
}

/// Switches promiscuous mode on, says what each port is, and takes the queues out.
fn activate(console: Console, opened: Vec<Opened>) -> Result<(Vec<Active>, Vec<Queues>), Error> {
    let mut ports = Vec::new();
    let mut queues = Vec::new();
    for Opened { mut control, receive, transmit } in opened {
        introduce(console, &mut *control)?;
        let name = control.information().name.clone();
        let (Some(receive), Some(transmit)) = (receive.into_iter().next(), transmit.into_iter().next())
        else {
            return Err(Error::NoQueues { port: name });
        };
        let (port, promiscuity) = Active::new(control)?;
        match promiscuity {
            Promiscuity::WasOn => console.detail(format_args!("{name}: receives frames for any address")),
            Promiscuity::SwitchedOn => console.note(format_args!(
                "{name}: promiscuous mode on, to receive frames for any address; it goes off again at the end"
            )),
            Promiscuity::Refused(error) => {
                console.warn(format_args!("only frames for {name} itself are forwarded: {error}"));
            }
        }
        ports.push(port);
        queues.push((receive, transmit));
    }
    Ok((ports, queues))
}

fn introduce(console: Console, control: &mut dyn Port) -> Result<(), Error> {
    let link = control.link()?;
    let Information { name, driver, model, mac, features, .. } = control.information();
    console.note(format_args!("{name}: {model}, driver {driver}, address {mac}, link {link}"));
    if !features.is_empty() {
        console.detail(format_args!("{name}: agreed on {}", features.join(", ")));
    }
    if let Link::Down { .. } = link {
        console.warn(format_args!("{name}: the link is down; forwarding starts when it comes up"));
    }
    Ok(())
}

/// One line on the pages, and with `-v` all there is to say of memory.
fn say_memory(console: Console, pool: &Pool) {
    let usage = pool.address_space().usage();
    console.note(format_args!(
        "packet memory: {} buffers, {} in {}",
        rates::grouped(pool.buffers().into()),
        rates::size(pool.bytes() as u64),
        pool.pages().name(),
    ));
    let held = if pool.address_space().is_emulated() { "mapped for the emulated ports" } else { "locked" };
    console.detail(format_args!(
        "memory: {} {held} in {} mappings, {} of it in huge pages",
        rates::size(usage.bytes),
        usage.mappings,
        rates::size(usage.huge_bytes),
    ));
}

/// After the ports are gone: whether everything came back.
fn report_memory(console: Console, pool: Pool) {
    let space: AddressSpace = pool.address_space().clone();
    let (lost, buffers) = (pool.lost(), pool.buffers());
    if lost > 0 {
        console.warn(format_args!(
            "{lost} of {buffers} packet buffers stayed with a device that did not stop; they are freed with the process"
        ));
    }
    drop(pool);
    let usage = space.usage();
    if usage.stranded_bytes > 0 {
        console.warn(format_args!(
            "{} could not be taken from the devices and are freed with the process",
            rates::size(usage.stranded_bytes)
        ));
    }
    console.detail(format_args!(
        "memory: {} in {} mappings are left",
        rates::size(usage.bytes),
        usage.mappings
    ));
}

fn warn_of_nodes(console: Console, information: &[Information], cores: &[usize]) {
    if numa::nodes() < 2 {
        return;
    }
    let ports =
        information.iter().map(|port| Placed { what: format!("port {}", port.name), node: port.numa_node });
    let memory = Placed { what: "packet memory".to_owned(), node: numa::node_of_packet_memory() };
    let workers = cores
        .iter()
        .map(|&core| Placed { what: format!("processor {core}"), node: numa::node_of_core(core) });
    let things: Vec<Placed> = ports.chain([memory]).chain(workers).collect();
    if let Some(warning) = numa::warning(&things) {
        console.warn(warning);
    }
    if cores.is_empty() && things.iter().any(|thing| thing.node.is_some()) {
        console.note("NUMA: this machine has several nodes; --cores keeps the worker on that of the ports");
    }
}

fn how_to_end(options: &ForwardOptions) -> String {
    match (options.duration, options.packets) {
        (None, None) => "Ctrl-C ends it".to_owned(),
        (Some(time), None) => format!("for {:.1} s", time.as_secs_f64()),
        (None, Some(packets)) => format!("until {} packets are forwarded", rates::grouped(packets)),
        (Some(time), Some(packets)) => {
            format!("for {:.1} s or {} packets", time.as_secs_f64(), rates::grouped(packets))
        }
    }
}
