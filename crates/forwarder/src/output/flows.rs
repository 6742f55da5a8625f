//! What `flows` saw, for people and for programs.

use super::rates::grouped;
use super::summary::PortSummary;
use super::table::Table;
use crate::cli::By;
use crate::engine::StoppedBy;
use crate::tasks::flows::{Count, Fault, Flow, MixEntry, Network, Observer};
use serde::Serialize;
use std::fmt::{self, Write};
use std::net::IpAddr;

/// What was seen: this is the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct FlowsSummary {
    /// What was looked at: a file, or ports.
    pub sources: Vec<String>,
    /// The ports' counters; none of a file.
    pub ports: Vec<PortSummary>,
    /// How long packets were looked at.
    pub seconds: f64,
    /// All packets.
    #[serde(flatten)]
    pub all: Count,
    /// Packets that `--match` leaves out; they are counted nowhere else.
    pub left_out: u64,
    /// Packets with a VLAN tag.
    pub tagged: u64,
    /// Packets that make sense.
    pub sound: u64,
    /// Of these, packets whose end was not there.
    pub cut: u64,
    /// Packets of which too little was there to tell.
    pub cut_in_headers: u64,
    /// Packets without a 5-tuple.
    pub without_tuple: Count,
    /// Packets of flows that the table had no room for.
    pub not_in_table: Count,
    /// Flows in the table.
    pub flows: u64,
    /// Flows that the table has room for.
    pub table: u32,
    /// Whether a flow is a conversation of both directions.
    pub bidirectional: bool,
    /// The largest flows.
    pub top: Vec<FlowLine>,
    /// Packets by protocol.
    pub protocols: Vec<ProtocolLine>,
    /// Malformed packets by what is wrong.
    pub malformed: Vec<FaultLine>,
    /// What ended it; null for a file that was read to its end.
    pub stopped_by: Option<StoppedBy>,
    /// What went wrong.
    pub errors: Vec<String>,
}

/// One flow. `packets` and `bytes` are of both directions.
#[derive(Clone, Debug, Serialize)]
pub struct FlowLine {
    /// Where its first packet came from.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// Its name, where it has a well-known one.
    pub protocol_name: Option<&'static str>,
    /// The port of TCP, UDP or SCTP.
    pub source_port: Option<u16>,
    /// The same of the destination.
    pub destination_port: Option<u16>,
    /// Both directions together.
    #[serde(flatten)]
    pub both: Count,
    /// From source to destination.
    pub forward: Count,
    /// From destination to source; nothing without `--bidirectional`.
    pub backward: Count,
    /// From the first packet of all to the first of the flow, in seconds.
    pub start: f64,
    /// From its first to its last packet, in seconds.
    pub duration: f64,
}

/// Packets of one protocol.
#[derive(Clone, Debug, Serialize)]
pub struct ProtocolLine {
    /// Its name, with the network's.
    pub name: String,
    /// The Ethernet type of what is no IP.
    pub ethernet_type: Option<u16>,
    /// 4 or 6.
    pub ip_version: Option<u8>,
    /// The IP protocol.
    pub ip_protocol: Option<u8>,
    /// How many.
    #[serde(flatten)]
    pub count: Count,
}

/// Packets with one fault.
#[derive(Clone, Debug, Serialize)]
pub struct FaultLine {
    /// The parser's name of it.
    pub reason: String,
    /// The first of them in words, with the byte at which it stops making sense.
    pub first: String,
    /// The number of the first of them, from 1.
    pub first_packet: u64,
    /// How many.
    pub packets: u64,
}

/// The names of IP protocols that people know (IANA, protocol numbers).
fn protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        0 => "hop-by-hop",
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        41 => "ipv6",
        43 => "routing",
        44 => "fragment",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        59 => "none",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        115 => "l2tp",
        132 => "sctp",
        _ => return None,
    })
}

/// The names of Ethernet types that people know (IANA, IEEE 802 numbers).
fn type_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        // What Open vSwitch has in place of a type for a frame with a length.
        0x05ff => "802.3",
        0x0800 => "IPv4, header not readable",
        0x0806 => "ARP",
        0x8035 => "RARP",
        0x8100 => "VLAN",
        0x86dd => "IPv6, header not readable",
        0x8808 => "Ethernet flow control",
        0x8809 => "slow protocols (LACP)",
        0x8847 => "MPLS",
        0x8848 => "MPLS multicast",
        0x8863 => "PPPoE discovery",
        0x8864 => "PPPoE",
        0x888e => "EAPOL",
        0x88a8 => "provider VLAN",
        0x88cc => "LLDP",
        0x88e5 => "MACsec",
        0x88f7 => "PTP",
        0x894f => "NSH",
        _ => return None,
    })
}

impl ProtocolLine {
    fn new(MixEntry { network, count }: MixEntry) -> Self {
        let of_ip = |version: u8, protocol: u8| {
            let name = protocol_name(protocol).map_or_else(|| format!("protocol {protocol}"), str::to_owned);
            (format!("IPv{version} {name}"), None, Some(version), Some(protocol))
        };
        let (name, ethernet_type, ip_version, ip_protocol) = match network {
            Network::V4(protocol) => of_ip(4, protocol),
            Network::V6(protocol) => of_ip(6, protocol),
            Network::Other(0) => ("no Ethernet type".to_owned(), Some(0), None, None),
            Network::Other(kind) => {
                let name = type_name(kind).map_or_else(|| format!("type {kind:#06x}"), str::to_owned);
                (name, Some(kind), None, None)
            }
        };
        Self { name, ethernet_type, ip_version, ip_protocol, count }
    }
}

impl FlowLine {
    fn new(flow: &Flow, start: u64) -> Self {
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        let tuple = flow.tuple;
        Self {
            source: tuple.source,
            destination: tuple.destination,
            protocol: tuple.protocol,
            protocol_name: protocol_name(tuple.protocol),
            source_port: tuple.ports.map(|(source, _)| source),
            destination_port: tuple.ports.map(|(_, destination)| destination),
            both: flow.both(),
            forward: flow.forward,
            backward: flow.backward,
            start: seconds(start, flow.first),
            duration: seconds(flow.first, flow.last),
        }
    }
}

impl FaultLine {
    fn new(fault: Fault) -> Self {
        Self {
            reason: format!("{:?}", fault.first.reason),
            first: fault.first.to_string(),
            first_packet: fault.first_packet,
            packets: fault.packets,
        }
    }
}

/// How a run went, apart from what was seen.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was looked at.
    pub sources: Vec<String>,
    /// The ports' counters.
    pub ports: Vec<PortSummary>,
    /// How long.
    pub seconds: f64,
    /// What ended it.
    pub stopped_by: Option<StoppedBy>,
    /// What went wrong.
    pub errors: Vec<String>,
}

impl FlowsSummary {
    /// Of what an observer saw, with the `top` largest flows.
    pub fn new(run: Run, observer: &Observer, top: u32, by: By) -> Self {
        let Run { sources, ports, seconds, stopped_by, errors } = run;
        let (seen, table) = (&observer.seen, &observer.table);
        let start = table.flows().iter().map(|flow| flow.first).min().unwrap_or_default();
        let largest = table.largest(usize::try_from(top).unwrap_or(usize::MAX), |flow| match by {
            By::Packets => flow.both().packets,
            By::Bytes => flow.both().bytes,
        });
        Self {
            sources,
            ports,
            seconds,
            all: seen.all,
            left_out: seen.left_out,
            tagged: seen.tagged,
            sound: seen.sound,
            cut: seen.cut,
            cut_in_headers: seen.cut_in_headers,
            without_tuple: seen.without_tuple,
            not_in_table: table.unlisted(),
            flows: table.flows().len() as u64,
            table: table.limit(),
            bidirectional: table.has_both_directions(),
            top: largest.iter().map(|flow| FlowLine::new(flow, start)).collect(),
            protocols: observer.mix.entries().into_iter().map(ProtocolLine::new).collect(),
            malformed: observer.faults.entries().into_iter().map(FaultLine::new).collect(),
            stopped_by,
            errors,
        }
    }

    /// Packets that ports received and lost, or could not receive.
    pub fn lost(&self) -> u64 {
        let lost = |port: &PortSummary| port.missed.unwrap_or_default().saturating_add(port.receive_errors);
        self.ports.iter().map(lost).fold(0, u64::saturating_add)
    }

    /// The summary for people.
    pub fn text(&self) -> String {
        let mut text = self.top_text();
        text.push('\n');
        let mut table = Table::new(&["protocol", "packets", "bytes", "of all"]);
        for line in &self.protocols {
            let share = line.count.packets as f64 * 100.0 / self.all.packets.max(1) as f64;
            let numbers = [grouped(line.count.packets), grouped(line.count.bytes), format!("{share:.1} %")];
            table.row([line.name.clone()].into_iter().chain(numbers).collect());
        }
        text.push_str(&table.render());
        if !self.malformed.is_empty() {
            let mut table = Table::new(&["malformed", "packets", "the first"]);
            for line in &self.malformed {
                let first = format!("packet {}", grouped(line.first_packet));
                table.row(vec![line.first.clone(), grouped(line.packets), first]);
            }
            text.push('\n');
            text.push_str(&table.render());
        }
        // Writing to a string doesn't fail.
        let _ = self.totals(&mut text);
        text
    }

    fn top_text(&self) -> String {
        let (there, back) = ("sent", "sent back");
        let mut heading = vec!["flow", "packets", "bytes"];
        if self.bidirectional {
            heading.extend([there, back]);
        }
        heading.push("seconds");
        let mut table = Table::new(&heading);
        for flow in &self.top {
            let mut row = vec![flow.to_string(), grouped(flow.both.packets), grouped(flow.both.bytes)];
            if self.bidirectional {
                row.extend([grouped(flow.forward.packets), grouped(flow.backward.packets)]);
            }
            row.push(format!("{:.3}", flow.duration));
            table.row(row);
        }
        table.render()
    }

    fn totals(&self, text: &mut String) -> fmt::Result {
        let what = match (self.bidirectional, self.flows) {
            (true, 1) => "conversation",
            (true, _) => "conversations",
            (false, 1) => "flow",
            (false, _) => "flows",
        };
        writeln!(
            text,
            "\n{} packets, {} bytes in {:.2} s: {} {what}, {} packets of none",
            grouped(self.all.packets),
            grouped(self.all.bytes),
            self.seconds,
            grouped(self.flows),
            grouped(self.without_tuple.packets),
        )?;
        if self.left_out > 0 {
            writeln!(text, "{} more packets were left out (--match)", grouped(self.left_out))?;
        }
        if self.not_in_table.packets > 0 {
            writeln!(
                text,
                "the table was full: {} packets were of others (--table)",
                grouped(self.not_in_table.packets)
            )?;
        }
        if self.cut > 0 || self.cut_in_headers > 0 {
            writeln!(
                text,
                "{} packets were cut, {} of them in their headers",
                grouped(self.cut.saturating_add(self.cut_in_headers)),
                grouped(self.cut_in_headers)
            )?;
        }
        if self.lost() > 0 {
            writeln!(text, "PACKETS WERE LOST: {} never got here", grouped(self.lost()))?;
        }
        Ok(())
    }
}

impl fmt::Display for FlowLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol_name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{}", self.protocol)?,
        }
        let end = |f: &mut fmt::Formatter<'_>, address: IpAddr, port: Option<u16>| match (address, port) {
            (address, None) => write!(f, "{address}"),
            (IpAddr::V4(address), Some(port)) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
        };
        f.write_str(" ")?;
        end(f, self.source, self.source_port)?;
        f.write_str(" > ")?;
        end(f, self.destination, self.destination_port)
    }
}
