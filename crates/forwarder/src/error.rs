//! What can go wrong, and the exit status that says so.

use crate::PortName;
use crate::engine::Failure;
use crate::machine::cpu;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The errors of the program. Each message names the thing and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Both ports are the same.
    #[error("{0} is named twice: name two different ports")]
    SamePort(PortName),
    /// No port is named.
    #[error("no port is named: `ringway ports` lists those that there are")]
    NoPorts,
    /// Ports that share no memory.
    #[error(
        "{pci} is a network card and {emulated} is emulated: they are in address spaces that share no memory, and \
         there is no way to copy packets from one to the other yet; name two network cards, or two emulated ports"
    )]
    Mixed {
        /// The network card.
        pci: PortName,
        /// The port in software.
        emulated: PortName,
    },
    /// An option of emulated ports, for a port that is none.
    #[error("{option} is for emulated ports; what {port} receives comes from its wire: leave {option} out")]
    OnlyEmulated {
        /// The option.
        option: &'static str,
        /// The port.
        port: PortName,
    },
    /// More devices than emulated ports.
    #[error(
        "--emulate names {given} devices for {ports} ports: name one for all of them, or at most one for each"
    )]
    TooManyDevices {
        /// How many were named.
        given: usize,
        /// How many ports there are.
        ports: usize,
    },
    /// Neither a port nor a file.
    #[error(
        "{} is neither a port (0000:03:00.0, emulated:0; `ringway ports` lists them) nor a file that is there",
        .0.display()
    )]
    NoSource(PathBuf),
    /// A file, and something else.
    #[error("{} is a capture file: name it alone, or name ports", .0.display())]
    FileAndMore(PathBuf),
    /// An option of ports, for a file.
    #[error("{option} is for ports; leave it out to read {}", .file.display())]
    OnlyPorts {
        /// The option.
        option: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// A table that there is no memory for.
    #[error("{0}: give a smaller --table")]
    FlowTable(#[from] crate::tasks::flows::NoMemory),
    /// The pool would starve the ports.
    #[error(
        "--pool {given} is too small: the receive rings alone hold {rings} buffers; give at least {least}, or smaller \
         rings (--ring-size)"
    )]
    PoolTooSmall {
        /// What was given.
        given: u32,
        /// What the rings hold.
        rings: u32,
        /// What would do.
        least: u32,
    },
    /// More threads than there is work for.
    #[error(
        "{given} threads are more than there are directions to forward ({directions}, two a queue): take fewer, or more \
         --queues"
    )]
    TooManyThreads {
        /// How many were wanted.
        given: usize,
        /// How many directions there are.
        directions: usize,
    },
    /// A filter without anything that passes.
    #[error("--offload vlan-filter without --vlan would let no VLAN through: name them, --vlan 10,20")]
    NoVlans,
    /// The same processor for two workers.
    #[error("--cores names processor {0} twice: each worker polls, and needs one of its own")]
    SameCore(usize),
    /// A processor that can't be had.
    #[error(transparent)]
    Processor(#[from] cpu::Error),
    /// Nothing drives the device.
    #[error("{name} is {vendor:04x}:{device:04x}, which no driver of Ringway's takes; there are: {known}")]
    NoDriver {
        /// The port.
        name: String,
        /// Its vendor id.
        vendor: u16,
        /// Its device id.
        device: u16,
        /// What could be driven.
        known: String,
    },
    /// A device, but no network card.
    #[error("{name} is no network card but a {kind}: `ringway ports` lists the network cards")]
    NotNetwork {
        /// The port.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A driver that gave no queues.
    #[error("{port}: it was opened without a receive or a transmit queue")]
    NoQueues {
        /// The port.
        port: String,
    },
    /// Memory for packets.
    #[error(transparent)]
    Packet(#[from] ringway_packet::Error),
    /// The PCI function.
    #[error(transparent)]
    Pci(#[from] ringway_pci::Error),
    /// The 82599 driver.
    #[error(transparent)]
    Ixgbe(#[from] ringway_ixgbe::Error),
    /// The virtio driver.
    #[error(transparent)]
    Virtio(#[from] ringway_virtio::Error),
    /// A port.
    #[error(transparent)]
    Port(#[from] ringway_port::Error),
    /// A worker or port failed while forwarding; all of it is in the message.
    #[error("{}", join(.0))]
    Failed(Vec<Failure>),
    /// A thread or a signal handler can't be had.
    #[error("the system gives no more threads or descriptors: {0}; see `ulimit -u` and `ulimit -n`")]
    System(#[source] io::Error),
    /// An emulated card's wire can't be had.
    #[error("the wire {wire} can't be had: {source}; {hint}")]
    Wire {
        /// As it was named.
        wire: String,
        /// What such a wire takes.
        hint: &'static str,
        /// The errno.
        source: io::Error,
    },
    /// A file that would be played and emptied at once.
    #[error("{} can't be played and written at the same time: write into another file", .0.display())]
    SameFile(PathBuf),
    /// The server of an emulated card.
    #[error(transparent)]
    Model(#[from] ringway_model::vfio_user::Error),
    /// Packets that can't be made.
    #[error(transparent)]
    Traffic(#[from] ringway_traffic::Error),
    /// The link's speed isn't known.
    #[error("{port}: --rate in percent needs a link that is up and tells its speed: give Mpps or Gbit/s")]
    NoSpeed {
        /// The port.
        port: String,
    },
    /// A packet that one buffer doesn't hold.
    #[error(
        "packets of {wanted} bytes don't fit into a buffer, which holds {room}: use --buffer-size 4096, or smaller ones"
    )]
    TooLong {
        /// The longest that would be sent, without FCS.
        wanted: usize,
        /// What a buffer holds.
        room: u32,
    },
    /// A plot can't be drawn.
    #[error("{}: the plot can't be drawn: {reason}", .path.display())]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A capture file.
    #[error(transparent)]
    Capture(#[from] ringway_traffic::capture::Error),
    /// The summary can't be written.
    #[error("can't write to standard output: {0}")]
    Output(#[source] io::Error),
}

fn join(failures: &[Failure]) -> String {
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl Error {
    /// The exit status that goes with it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::SamePort(_)
            | Self::NoPorts
            | Self::Mixed { .. }
            | Self::OnlyEmulated { .. }
            | Self::TooManyDevices { .. }
            | Self::Traffic(_)
            | Self::TooLong { .. }
            | Self::NoSource(_)
            | Self::FileAndMore(_)
            | Self::OnlyPorts { .. }
            | Self::PoolTooSmall { .. }
            | Self::TooManyThreads { .. }
            | Self::SameCore(_)
            | Self::NoVlans
            | Self::SameFile(_)
            | Self::Processor(_) => ExitCode::from(2),
            Self::Failed(failures)
                if failures.iter().any(|failure| matches!(failure, Failure::Panicked { .. })) =>
            {
                ExitCode::from(101)
            }
            _ => ExitCode::FAILURE,
        }
    }
}
