//! `ringway ports --features`: what each driver can do, as it says itself.
//!
//! Every device there is an emulation of is opened, and asked; of what it can't do, it is asked for that and says why.

use crate::Error;
use crate::PortName;
use crate::ports::{self, EmulationOptions, Kind, OpenOptions, OpenPorts};
use ringway_dma::BufferSize;
use ringway_model::ixgbe::Personality;
use ringway_port::{Capabilities, HashTypes, Offloads, PortOptions};
use std::fmt::Write;

/// A device and its emulation.
const DEVICES: [(&str, Kind); 4] = [
    ("82599", Kind::Ixgbe(Personality::Fibre82599)),
    ("X540", Kind::Ixgbe(Personality::X540)),
    ("X550", Kind::Ixgbe(Personality::X550)),
    ("virtio-net", Kind::VirtioNet),
];

/// What is common to all lines of numbers.
const BUFFERS: u32 = 2048;

/// The table, in Markdown.
///
/// # Errors
/// When an emulated port can't be opened.
pub(super) fn table() -> Result<String, Error> {
    let devices = DEVICES.iter().map(|&(_, kind)| capabilities(kind)).collect::<Result<Vec<_>, Error>>()?;
    let mut reasons: Vec<String> = Vec::new();
    let mut text = String::from("| |");
    let names = DEVICES.map(|(name, _)| format!(" {name} |"));
    // Writing to a string doesn't fail.
    let _ = writeln!(text, "{}", names.concat());
    let _ = writeln!(text, "|---|{}", "---|".repeat(DEVICES.len()));
    for (one, name) in Offloads::known() {
        let mut cells = String::new();
        for (&(_, kind), can) in DEVICES.iter().zip(&devices) {
            if can.offloads.contains(one) {
                cells.push_str(" yes |");
                continue;
            }
            let reason = reason(kind, one);
            let known = reasons.iter().position(|earlier| *earlier == reason);
            let number = known.unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len().saturating_sub(1)
            });
            let _ = write!(cells, " no ({}) |", number.saturating_add(1));
        }
        let _ = writeln!(text, "| `{name}`: {} |{cells}", Offloads::meaning(name).unwrap_or_default());
    }
    for (name, value) in LINES {
        let cells: String = devices.iter().map(|can| format!(" {} |", value(can))).collect();
        let _ = writeln!(text, "| {name} |{cells}");
    }
    for (number, reason) in (1..).zip(&reasons) {
        let separator = if number == 1 { "\n" } else { "" };
        let _ = writeln!(text, "{separator}{number}. {reason}");
    }
    Ok(text)
}

type Line = (&'static str, fn(&Capabilities) -> String);

/// What isn't about packets one by one.
const LINES: [Line; 14] = [
    ("receive queues", |can| can.receive_queues.to_string()),
    ("transmit queues", |can| can.transmit_queues.to_string()),
    ("queues that a hash reaches", |can| can.hash.map_or_else(no, |hash| hash.queues.to_string())),
    ("entries of the hash's table", |can| can.hash.map_or_else(no, |hash| hash.table.to_string())),
    ("what is hashed", |can| can.hash.map_or_else(no, |hash| types(hash.types))),
    ("filters by EtherType", |can| count(can.filters.ether_type)),
    ("filters by 5-tuple", |can| count(can.filters.five_tuple)),
    ("filters by exact match", |can| count(can.filters.exact)),
    ("further station addresses", |can| count(can.addresses.into())),
    ("longest frame without FCS", |can| can.longest_frame.to_string()),
    ("interrupts; held back", |can| format!("{}; {}", yes(can.interrupts), yes(can.moderation))),
    ("pause frames", |can| yes(can.pause).to_owned()),
    ("clock", |can| yes(can.clock).to_owned()),
    ("reset of one queue", |can| yes(can.queue_reset).to_owned()),
];

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn no() -> String {
    "no".to_owned()
}

fn count(number: u32) -> String {
    if number == 0 { no() } else { number.to_string() }
}

fn types(types: HashTypes) -> String {
    let ipv4 = [(types.ipv4, "addresses"), (types.tcp_ipv4, "TCP"), (types.udp_ipv4, "UDP")];
    let ipv6 = [(types.ipv6, "addresses"), (types.tcp_ipv6, "TCP"), (types.udp_ipv6, "UDP")];
    let names = |version: &str, of: [(bool, &str); 3]| {
        let names: Vec<_> = of.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        format!("{version} {}", names.join(", "))
    };
    format!("{}; {}", names("IPv4", ipv4), names("IPv6", ipv6))
}

fn capabilities(kind: Kind) -> Result<Capabilities, Error> {
    let OpenPorts { opened, .. } = open(kind, Offloads::NONE)?;
    let first = opened.into_iter().next().ok_or(Error::NoPorts)?;
    Ok(first.control.capabilities())
}

/// Why an offload can't be had, in the driver's words without the port's name.
fn reason(kind: Kind, offload: Offloads) -> String {
    match open(kind, offload) {
        Ok(_) => "opening a port with it is not refused, which is a mistake".to_owned(),
        Err(error) => {
            let text = error.to_string();
            let name = format!("{}: ", PortName::Emulated(0));
            text.strip_prefix(&name).map(str::to_owned).unwrap_or(text)
        }
    }
}

fn open(kind: Kind, offloads: Offloads) -> Result<OpenPorts, Error> {
    let options = OpenOptions {
        port: PortOptions::default(),
        offloads: vec![offloads],
        buffers: BUFFERS,
        buffer_size: BufferSize::default(),
        largest_page: ringway_dma::PageSize::Ordinary,
        emulation: EmulationOptions { kinds: vec![kind], ..EmulationOptions::default() },
    };
    ports::open(&[PortName::Emulated(0)], &options)
}
