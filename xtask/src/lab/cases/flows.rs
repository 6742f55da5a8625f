//! `ringway flows` on a NIC: what the kernel at the other end of the wire sends is found, flow by flow.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, guest_address};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::wire::{INTERFACE, Wire};
use crate::tool;

pub(super) const CASES: &[Case] = &[Case {
    name: "flows",
    shows: "datagrams from a kernel's sockets are counted by 5-tuple, packet for packet and byte for byte",
    configuration: Configuration::Iommu39,
    run: flows,
}];

/// An address on the wire's network that nobody has; its station is the NIC, so that nothing asks for it.
const TARGET: &str = "10.77.0.88";
const TARGET_PORT: u16 = 9000;
/// From each of these ports as many datagrams; in all fewer than a TAP's queue holds.
const SENT: [(u16, u64); 5] = [(4001, 50), (4002, 40), (4003, 30), (4004, 20), (4005, 10)];
/// Data in each, and the headers of UDP, IPv4 and Ethernet.
const DATA: usize = 100;
const HEADERS: u64 = 8 + 20 + 14;
const LIMIT: Duration = Duration::from_secs(120);

fn flows(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST])?;
    forwarder::start_saying(machine, &format!("ringway flows {FIRST} --json --top 100"), "watching")?;
    let sent = send(machine.wire(0)?);
    // All of them, and perhaps a few of the kernel's own.
    let seen = sent.and_then(|()| {
        machine.check_within("await 60 grep -qE 'packets 1[5-9][0-9] ' /run/lab/forward.err", LIMIT)
    });
    let ended = forwarder::end(machine, "INT")?;
    seen.with_context(|| format!("the program said:\n{}", ended.last_words()))?;
    let summary: Value = serde_json::from_str(&ended.cleanly()?.output)?;
    let top = summary["top"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: Vec<&Value> = top.iter().filter(|flow| flow["destination"] == TARGET).collect();
    if ours.len() != SENT.len() {
        bail!("expected {} flows to {TARGET}, saw:\n{}", SENT.len(), ended.output);
    }
    let source = machine.wire(0)?.host_address();
    // The largest come first.
    for (flow, (port, packets)) in ours.into_iter().zip(SENT) {
        let bytes = packets * (DATA as u64 + HEADERS);
        let is_it = flow["source"] == source
            && flow["protocol_name"] == "udp"
            && flow["source_port"] == port
            && flow["destination_port"] == TARGET_PORT
            && flow["packets"] == packets
            && flow["bytes"] == bytes;
        if !is_it {
            bail!("expected {packets} packets of {bytes} bytes from port {port}, saw {flow}");
        }
    }
    if summary["malformed"].as_array().is_none_or(|faults| !faults.is_empty()) {
        bail!("expected nothing malformed, saw:\n{}", ended.output);
    }
    forwarder::unbind(machine, &[FIRST])
}

fn send(wire: &Wire) -> Result<()> {
    wire.namespace.within(|| {
        let station = guest_address(0);
        tool::output_of(wire.busybox("arp").args(["-i", INTERFACE, "-s", TARGET, &station]))?;
        for (port, packets) in SENT {
            let socket = UdpSocket::bind((wire.host_address(), port))
                .with_context(|| format!("cannot have the port {port}"))?;
            for _ in 0..packets {
                socket
                    .send_to(&[0x5a; DATA], (TARGET, TARGET_PORT))
                    .with_context(|| format!("cannot send to {TARGET}"))?;
            }
        }
        tool::output_of(wire.busybox("arp").args(["-i", INTERFACE, "-d", TARGET])).map(|_| ())
    })
}
