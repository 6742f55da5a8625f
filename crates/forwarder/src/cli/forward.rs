//! The options of `ringway forward`, and those that it shares with other commands.

use super::QueueOptions;
use super::values::{self, Devices, PerPort, RateArgument};
use crate::PortName;
use crate::engine::{Touch, WhenFull};
use clap::{Args, ValueEnum};
use ringway_dma::{BufferSize, PageSize};
use ringway_port::ETHERNET_FRAME;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  ringway forward 0000:03:00.0 0000:03:00.1 --cores 2,3
  ringway forward 03:00.0 03:00.1 --duration 60 --json > result.json
  ringway forward 03:00.0 03:00.1 --cores 2,3,4,5 --queues 2 --interrupts
  ringway forward emulated:0 emulated:1
  ringway forward emulated:0 emulated:1 --rate 500kpps --emulate 82599,virtio-net
  ringway forward emulated:0 emulated:1 --latency emulated:2 emulated:3 --load 10% --duration 10

A card is bound once, as root, with `ringway bind ADDRESS`; forwarding needs no root after that.";

/// The options of `ringway forward`.
#[derive(Args, Clone, Debug)]
pub struct ForwardOptions {
    /// One port: a PCI address (0000:03:00.0 or 03:00.0), or emulated:N
    pub a: PortName,
    /// The other port
    pub b: PortName,
    /// Rings and packet memory.
    #[command(flatten)]
    pub rings: RingOptions,
    /// The most packets that are moved at once
    #[arg(long, value_name = "PACKETS", default_value_t = BATCH, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch: u16,
    /// The processors to run on, a thread on each: 2 for all, 2,3 for a direction each, more with several queues.
    /// Otherwise one thread, where the system puts it
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = values::core)]
    pub cores: Vec<usize>,
    /// Queues, threads, interrupts.
    #[command(flatten)]
    pub queues: QueueOptions,
    /// What to do with each packet's bytes: read one, so that the packet passes through the cache as with real work;
    /// write one (byte 48, as ixy's forwarder does: this changes packets); or nothing
    #[arg(long, value_enum, default_value_t = Retouch::Read)]
    pub touch: Retouch,
    /// What happens to packets that the other port's ring has no room for [default: drop; wait between
    /// emulated ports whose sources wait too]
    #[arg(long, value_enum)]
    pub when_full: Option<WhenFullArgument>,
    /// Write the sending port's own address into each frame as its source
    #[arg(long, conflicts_with = "source_mac")]
    pub rewrite_mac: bool,
    /// Write this source address into each frame: one for both ports, or one for what A sends and one for what B sends
    #[arg(long, value_name = "MAC[,MAC]", value_parser = values::per_port)]
    pub source_mac: Option<PerPort>,
    /// Write this destination address into each frame: one for both ports, or one for each
    #[arg(long, value_name = "MAC[,MAC]", value_parser = values::per_port)]
    pub destination_mac: Option<PerPort>,
    /// End after this time: seconds, or with a unit (250ms, 5m)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub duration: Option<Duration>,
    /// End when this many packets are forwarded, both directions together
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,
    /// Latency.
    #[command(flatten)]
    pub latency: LatencyOptions,
    /// What emulated ports are.
    #[command(flatten)]
    pub emulation: EmulationArguments,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// How long packets take through the forwarder.
#[derive(Args, Clone, Debug)]
pub struct LatencyOptions {
    /// Two more ports, at the other ends of A's and B's cables: each sends numbered packets that the other receives and
    /// times, with the forwarder between them. Emulated ports are cabled so
    #[arg(long, num_args = 2, value_names = ["C", "D"], conflicts_with_all = ["rate", "packets"])]
    pub latency: Vec<PortName>,
    /// With --latency: how fast each of the two sends: 500kpps, 2Gbit/s, 50% (of its link)
    #[arg(long, value_name = "RATE", default_value = "100kpps", value_parser = values::any_rate, requires = "latency")]
    pub load: RateArgument,
    /// With --latency: at random distances that are exponentially distributed (a Poisson process)
    #[arg(long, requires = "latency")]
    pub poisson: bool,
    /// With --latency: draw how long packets took, as an SVG file
    #[arg(long, value_name = "FILE", requires = "latency")]
    pub plot: Option<PathBuf>,
}

impl Default for LatencyOptions {
    fn default() -> Self {
        Self { latency: Vec::new(), load: RateArgument::Packets(1e5), poisson: false, plot: None }
    }
}

/// What emulated ports are.
#[derive(Args, Clone, Debug)]
pub struct EmulationArguments {
    /// What their sources make.
    #[command(flatten)]
    pub source: SourceArguments,
    /// What emulated ports are.
    #[command(flatten)]
    pub emulate: EmulateArgument,
}

/// What the sources of emulated ports make.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct SourceArguments {
    /// Packets that each emulated source makes, whether there is room for them or not: 500kpps, 2Mpps, 2.5Gbit/s (on
    /// the wire). What finds no room is lost and counted [default: a source waits for room, and nothing is lost]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub rate: Option<f64>,
    /// Flows that each emulated source makes packets of [default: 1, or 10000 with several queues]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=50_000))]
    pub flows: Option<u16>,
}

/// What emulated ports are.
#[derive(Args, Clone, Debug, Default)]
pub struct EmulateArgument {
    /// What emulated ports are: 82599, 82599-kx4, x540, x550 or virtio-net; the last one is also for all that follow
    #[arg(long = "emulate", value_name = "DEVICE[,DEVICE]", value_parser = values::devices)]
    pub devices: Option<Devices>,
}

impl EmulationArguments {
    /// The option that was given, if one was.
    pub fn given(&self) -> Option<&'static str> {
        let Self { source: SourceArguments { rate, flows }, emulate } = self;
        rate.map(|_| "--rate").or(flows.map(|_| "--flows")).or(emulate.given())
    }
}

impl From<EmulateArgument> for EmulationArguments {
    fn from(emulate: EmulateArgument) -> Self {
        Self { source: SourceArguments::default(), emulate }
    }
}

impl EmulateArgument {
    /// The option, if it was given.
    pub fn given(&self) -> Option<&'static str> {
        self.devices.as_ref().map(|_| "--emulate")
    }
}

/// Rings and packet memory.
#[derive(Args, Clone, Debug)]
pub struct RingOptions {
    /// Descriptors of each ring: 64 to 4096 on the 82599 family; a virtio card that has fewer uses what it has [default:
    /// 512]
    #[arg(long, value_name = "NUMBER", value_parser = values::ring_size)]
    pub ring_size: Option<u32>,
    /// Descriptors of each receive ring
    #[arg(long, value_name = "NUMBER", value_parser = values::ring_size)]
    pub receive_ring: Option<u32>,
    /// Descriptors of each transmit ring
    #[arg(long, value_name = "NUMBER", value_parser = values::ring_size)]
    pub transmit_ring: Option<u32>,
    /// Packet buffers, for all ports together [default: what rings and batches need]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub pool: Option<u32>,
    /// Bytes of each packet buffer, 256 of them headroom
    #[arg(long, value_name = "BYTES", default_value = "2048", value_parser = values::buffer_size)]
    pub buffer_size: BufferSize,
    /// The largest pages that packet memory is made of: 4KiB, 2MiB or 1GiB. Huge pages are used where the system has
    /// reserved some
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = values::page_size)]
    pub largest_page: PageSize,
    /// The longest frame to be received, without FCS: up to 9724 bytes on the 82599 family. One that a buffer doesn't hold
    /// comes in several
    #[arg(long, value_name = "BYTES", default_value_t = ETHERNET_FRAME, value_parser = clap::value_parser!(u32).range(1514..=65_550))]
    pub maximum_frame: u32,
}

/// What is printed, and how.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputOptions {
    /// How long from one line of rates to the next
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = values::time)]
    pub interval: Duration,
    /// Print the summary as one JSON object on standard output; the rest goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Print the summary as CSV on standard output: a line a port, or a flow; the rest goes to standard error
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print lines also on a terminal, instead of a live view
    #[arg(long)]
    pub plain: bool,
    /// Also say what memory is locked, in which pages and mappings, and when the first packet came
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Print nothing but warnings, errors and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// The options of the demonstration.
#[derive(Args, Clone, Debug)]
pub struct DemonstrationOptions {
    /// How long to forward: seconds, or with a unit (250ms, 5m)
    #[arg(long, value_name = "TIME", default_value = "5", value_parser = values::time)]
    pub duration: Duration,
    /// End when this many packets are forwarded
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,
    /// What emulated ports are.
    #[command(flatten)]
    pub emulation: EmulationArguments,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// What is done with a packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Retouch {
    /// Nothing
    No,
    /// Read the first byte
    Read,
    /// Add one to byte 48, as ixy's forwarder does
    Write,
}

impl From<Retouch> for Touch {
    fn from(argument: Retouch) -> Self {
        match argument {
            Retouch::No => Self::No,
            Retouch::Read => Self::Read,
            Retouch::Write => Self::Write,
        }
    }
}

/// What happens to packets that the transmit ring has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFullArgument {
    /// Drop and count them
    Drop,
    /// Keep them until there is room, and receive nothing more in that direction meanwhile
    Wait,
}

impl From<WhenFullArgument> for WhenFull {
    fn from(argument: WhenFullArgument) -> Self {
        match argument {
            WhenFullArgument::Drop => Self::Drop,
            WhenFullArgument::Wait => Self::Wait,
        }
    }
}

/// Descriptors of a ring, where nothing else is said.
pub(crate) const RING_SIZE: u32 = 512;
/// The most packets that are moved at once, where nothing else is said.
pub(crate) const BATCH: u16 = 32;

impl RingOptions {
    /// Descriptors of each receive ring.
    pub fn receive(&self) -> u32 {
        self.receive_ring.or(self.ring_size).unwrap_or(RING_SIZE)
    }

    /// Descriptors of each transmit ring.
    pub fn transmit(&self) -> u32 {
        self.transmit_ring.or(self.ring_size).unwrap_or(RING_SIZE)
    }
}

impl ForwardOptions {
    /// The demonstration: two emulated ports, for a while.
    pub fn demonstration(options: DemonstrationOptions) -> Self {
        Self {
            a: PortName::Emulated(0),
            b: PortName::Emulated(1),
            rings: RingOptions {
                ring_size: None,
                receive_ring: None,
                transmit_ring: None,
                pool: None,
                buffer_size: BufferSize::default(),
                largest_page: PageSize::Huge1G,
                maximum_frame: ETHERNET_FRAME,
            },
            batch: BATCH,
            cores: Vec::new(),
            queues: QueueOptions::default(),
            touch: Retouch::Read,
            when_full: None,
            rewrite_mac: false,
            source_mac: None,
            destination_mac: None,
            duration: Some(options.duration),
            packets: options.packets,
            latency: LatencyOptions::default(),
            emulation: options.emulation,
            output: options.output,
        }
    }
}
