//! What all commands share that run on open ports: how ports are opened and activated, and what is said of them and
//! of memory.
//!
//! Not here: what a command does with the ports (the module of its name), and waiting for the end
//! ([`Session`](crate::engine::Session)).

use crate::cli::{EmulationArguments, RingOptions, SourceArguments};
use crate::engine::{Active, Promiscuity, Reception};
use crate::machine::numa::{self, Placed};
use crate::output::{Console, Say, rates};
use crate::ports::{EmulationOptions, OpenOptions, Wiring};
use crate::{Error, PortName};
use ringway_dma::AddressSpace;
use ringway_packet::Pool;
use ringway_port::{Information, Link, Opened, Port, PortOptions, ReceiveQueue, TransmitQueue};
use std::time::{Duration, Instant};

/// A receive queue of a port and the transmit queue of the same number.
pub(super) type Queues = (Box<dyn ReceiveQueue>, Box<dyn TransmitQueue>);

/// How the ports of `names` are opened, with a pool of `buffers`.
///
/// # Errors
/// When there are options for emulated ports, and a port that is none.
pub(super) fn open_options(
    names: &[PortName],
    rings: &RingOptions,
    buffers: u32,
    emulation: &EmulationArguments,
    wiring: Wiring,
) -> Result<OpenOptions, Error> {
    let real = names.iter().find(|name| matches!(name, PortName::Pci(_)));
    if let (Some(option), Some(&port)) = (emulation.given(), real) {
        return Err(Error::OnlyEmulated { option, port });
    }
    let port = PortOptions {
        receive_ring: rings.receive(),
        transmit_ring: rings.transmit(),
        maximum_frame: rings.maximum_frame,
        ..PortOptions::default()
    };
    let kinds = emulation.emulate.devices.clone().map(|devices| devices.0).unwrap_or_default();
    if kinds.len() > names.len() {
        return Err(Error::TooManyDevices { given: kinds.len(), ports: names.len() });
    }
    let SourceArguments { rate, flows } = emulation.source;
    let emulation = EmulationOptions { kinds, rate, flows: flows.unwrap_or(1), wiring };
    let RingOptions { buffer_size, largest_page, .. } = *rings;
    Ok(OpenOptions { port, offloads: Vec::new(), buffers, buffer_size, largest_page, emulation })
}

/// Says what each port is, lets it receive the frames of `reception`, and takes its first queues out.
///
/// # Errors
/// As of [`activate_all`].
pub(super) fn activate(
    console: Console,
    opened: Vec<Opened>,
    reception: Reception,
) -> Result<(Vec<Active>, Vec<Queues>), Error> {
    let (ports, queues) = activate_all(console, opened, reception)?;
    Ok((ports, queues.into_iter().filter_map(|of_port| of_port.into_iter().next()).collect()))
}

/// Says what each port is, lets it receive the frames of `reception`, and takes its queues out: at least one a port.
///
/// # Errors
/// When a port is gone or failed, or has no queues.
pub(super) fn activate_all(
    console: Console,
    opened: Vec<Opened>,
    reception: Reception,
) -> Result<(Vec<Active>, Vec<Vec<Queues>>), Error> {
    let mut ports = Vec::new();
    let mut queues = Vec::new();
    for Opened { mut control, receive, transmit } in opened {
        introduce(console, &mut *control)?;
        let name = control.information().name.clone();
        if receive.is_empty() || transmit.is_empty() {
            return Err(Error::NoQueues { port: name });
        }
        let (port, switched) = Active::receiving(control, reception)?;
        match switched {
            Promiscuity::WasOn => console.detail(format_args!("{name}: receives frames for any address")),
            Promiscuity::SwitchedOn(mode) => console.note(format_args!(
                "{name}: {mode} on, to receive frames for {}; it goes off again at the end",
                if mode == Reception::Everything { "any address" } else { "groups" }
            )),
            Promiscuity::Refused(error) => {
                console.warn(format_args!("{name} receives only frames for itself: {error}"));
            }
        }
        ports.push(port);
        queues.push(receive.into_iter().zip(transmit).collect());
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
        console.warn(format_args!("{name}: the link is down; packets come when it is up"));
    }
    Ok(())
}

/// One line on the pages, and with `-v` all there is to say of memory.
pub(super) fn say_memory(console: Console, pool: &Pool) {
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
pub(super) fn report_memory(console: Console, pool: Pool) {
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

/// On a machine with several NUMA nodes: whether ports, memory and processors are apart.
pub(super) fn warn_of_nodes(console: Console, information: &[Information], cores: &[usize]) {
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

/// When a run ends by itself, in words. `done` is what happens to packets: "forwarded".
pub(super) fn how_to_end(duration: Option<Duration>, packets: Option<u64>, done: &str) -> String {
    match (duration, packets) {
        (None, None) => "Ctrl-C ends it".to_owned(),
        (Some(time), None) => format!("for {:.1} s", time.as_secs_f64()),
        (None, Some(packets)) => format!("until {} packets are {done}", rates::grouped(packets)),
        (Some(time), Some(packets)) => {
            format!("for {:.1} s or {} packets", time.as_secs_f64(), rates::grouped(packets))
        }
    }
}

/// When the first packet came, for those who want to know how long a start takes.
pub(super) fn say_first_packet(say: &mut impl Say, at: Instant, up: Instant, program: Instant) {
    say.detail(format_args!(
        "first packet {:.1} ms after the ports were up, {:.1} ms after the start of the program",
        at.saturating_duration_since(up).as_secs_f64() * 1e3,
        at.saturating_duration_since(program).as_secs_f64() * 1e3,
    ));
}

/// That a link is another than before.
pub(super) fn say_link(say: &mut impl Say, port: &str, link: &Link) {
    if link.is_up() {
        say.note(format_args!("{port}: link {link}"));
    } else {
        say.warn(format_args!("{port}: link {link}"));
    }
}

/// Whether a receive mode is as it was before.
pub(super) fn say_restored(
    say: &mut impl Say,
    port: &str,
    mode: Reception,
    result: Result<(), ringway_port::Error>,
) {
    match result {
        Ok(()) => say.note(format_args!("{port}: {mode} off again")),
        Err(error) => say.warn(format_args!("{port}: {mode} was not switched off: {error}")),
    }
}
