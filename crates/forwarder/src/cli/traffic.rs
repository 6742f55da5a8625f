//! The options of `ringway generate` and `ringway receive`.

use super::RunOptions;
use super::values::{self, Lengths, RateArgument};
use crate::PortName;
use clap::{Args, ValueEnum};
use ringway_port::MacAddress;
use ringway_traffic::frame::{Field, Protocol};
use std::net::IpAddr;
use std::path::PathBuf;

pub(super) const GENERATE_EXAMPLES: &str = "\
Examples:
  ringway generate 0000:03:00.0 --rate 1Mpps --flows 1000 --duration 10
  ringway generate 03:00.0 --size imix --rate 50% --poisson --destination-mac 02:00:00:00:00:0b
  ringway generate 03:00.0 --ipv6 --protocol tcp --vlan 5 --size 128-1518
  ringway generate emulated:0

The other end finds out what became of the packets: `ringway receive`.";

pub(super) const RECEIVE_EXAMPLES: &str = "\
Examples:
  ringway receive 0000:03:00.1
  ringway receive 03:00.1 --duration 10 --json --plot latency.svg
  ringway receive emulated:0 --per-flow

Latency is right where the sender has the same clock: another program on this machine.";

/// The options of `ringway generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateOptions {
    /// The port to send from: a PCI address (0000:03:00.0 or 03:00.0), or emulated:N
    pub port: PortName,
    /// How fast: 500kpps, 2Mpps, 2.5Gbit/s (on the wire), 50% (of the link) [default: as fast as it goes]
    #[arg(long, value_name = "RATE", value_parser = values::any_rate)]
    pub rate: Option<RateArgument>,
    /// Packets at random distances that are exponentially distributed (a Poisson process), with --rate as their mean
    #[arg(long, requires = "rate")]
    pub poisson: bool,
    /// What is sent.
    #[command(flatten)]
    pub packets_made: PacketArguments,
    /// How it runs, and when it ends.
    #[command(flatten)]
    pub run: RunOptions,
}

/// What packets are made of.
#[derive(Args, Clone, Debug)]
pub struct PacketArguments {
    /// The length of packets with FCS: 64, a range (64-1518, each length equally often), or imix (7 of 64, 4 of 594, 1
    /// of 1518) [default: the shortest that has room for number and time, 64 for UDP over IPv4]
    #[arg(long, value_name = "BYTES", value_parser = values::lengths)]
    pub size: Option<Lengths>,
    /// How many flows, one packet of each in turn
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub flows: u32,
    /// What tells flows apart, the first varying fastest
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [FieldArgument::SourcePort, FieldArgument::SourceIp])]
    pub vary: Vec<FieldArgument>,
    /// What the packets carry
    #[arg(long, value_enum, default_value_t = ProtocolArgument::Udp)]
    pub protocol: ProtocolArgument,
    /// IPv6 instead of IPv4
    #[arg(long)]
    pub ipv6: bool,
    /// VLAN ids, the outer one first
    #[arg(long, value_name = "ID[,ID]", value_delimiter = ',', num_args = 1..=2, value_parser = clap::value_parser!(u16).range(0..4095))]
    pub vlan: Vec<u16>,
    /// The Ethernet address that they come from [default: the port's]
    #[arg(long, value_name = "MAC")]
    pub source_mac: Option<MacAddress>,
    /// The Ethernet address that they go to [default: 02:00:00:00:ff:02, which nobody should have]
    #[arg(long, value_name = "MAC")]
    pub destination_mac: Option<MacAddress>,
    /// The Internet address that they come from [default: 198.18.0.1 or 2001:2::1, for benchmarks]
    #[arg(long, value_name = "ADDRESS")]
    pub source_ip: Option<IpAddr>,
    /// The Internet address that they go to [default: 198.19.0.1 or 2001:2::2]
    #[arg(long, value_name = "ADDRESS")]
    pub destination_ip: Option<IpAddr>,
    /// The port that they come from
    #[arg(long, value_name = "PORT", default_value_t = 10_000)]
    pub source_port: u16,
    /// The port that they go to: 9 discards
    #[arg(long, value_name = "PORT", default_value_t = 9)]
    pub destination_port: u16,
    /// Send the packets of a capture file, round and round; number and time are written into those with room for them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "protocol", "ipv6", "vlan", "source_ip", "destination_ip", "source_port", "destination_port"])]
    pub template: Option<PathBuf>,
}

/// What tells flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FieldArgument {
    /// The source port, or an echo request's identifier
    SourcePort,
    /// The destination port
    DestinationPort,
    /// The source's Internet address
    SourceIp,
    /// The destination's Internet address
    DestinationIp,
    /// The outer VLAN id
    Vlan,
}

impl From<FieldArgument> for Field {
    fn from(argument: FieldArgument) -> Self {
        match argument {
            FieldArgument::SourcePort => Self::SourcePort,
            FieldArgument::DestinationPort => Self::DestinationPort,
            FieldArgument::SourceIp => Self::SourceAddress,
            FieldArgument::DestinationIp => Self::DestinationAddress,
            FieldArgument::Vlan => Self::Vlan,
        }
    }
}

/// What packets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArgument {
    /// UDP
    Udp,
    /// TCP segments
    Tcp,
    /// ICMP or ICMPv6 echo requests
    Icmp,
}

impl From<ProtocolArgument> for Protocol {
    fn from(argument: ProtocolArgument) -> Self {
        match argument {
            ProtocolArgument::Udp => Self::Udp,
            ProtocolArgument::Tcp => Self::Tcp,
            ProtocolArgument::Icmp => Self::Icmp,
        }
    }
}

/// The options of `ringway receive`.
#[derive(Args, Clone, Debug)]
pub struct ReceiveOptions {
    /// The port to receive on: a PCI address (0000:03:00.0 or 03:00.0), or emulated:N
    pub port: PortName,
    /// How many flows are followed; packets of further ones count as foreign
    #[arg(long, value_name = "NUMBER", default_value_t = 1_048_576, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub flows: u32,
    /// Also tell what was found of each flow
    #[arg(long)]
    pub per_flow: bool,
    /// Draw how long packets took, as an SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// How it runs, and when it ends.
    #[command(flatten)]
    pub run: RunOptions,
}
