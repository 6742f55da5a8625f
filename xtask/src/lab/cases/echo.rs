//! `ringway echo`: the kernel at the other end of the wire asks, and the program answers, as an ordinary user.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::Case;
use crate::lab::configuration::{Configuration, FIRST};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::traffic::ping;
use crate::lab::wire::Wire;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "echo",
        shows: "a kernel finds the NIC by ARP and neighbour discovery, and 1,000 pings each over IPv4 and IPv6 are answered",
        configuration: Configuration::Iommu39,
        run: virtio,
    },
    Case {
        name: "echo-ixgbe",
        shows: "the same on an emulated 82599",
        configuration: Configuration::EmulatedIommu,
        run: ixgbe,
    },
];

const LIMIT: Duration = Duration::from_secs(60);
/// What the program answers for; the wire's own addresses are beside them.
const V4: &str = "10.77.0.77";
const V6: &str = "fd77::77";
const PEER_V6: &str = "fd77::1/64";
/// Pings of each kind that must all be answered.
const PINGS: u32 = 1000;
const LARGE_PINGS: u32 = 50;

fn virtio(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST])?;
    answers(machine)
}

/// The kernel's driver has the card first, as on any machine.
fn ixgbe(machine: &mut Machine) -> Result<()> {
    machine.check_within("modprobe ixgbe", LIMIT)?;
    machine.check_within(&format!("await 60 has_interface {FIRST}"), LIMIT * 3)?;
    forwarder::bind(machine, &[FIRST])?;
    answers(machine)
}

fn answers(machine: &mut Machine) -> Result<()> {
    let command = format!("ringway echo {FIRST} --address {V4}/24 --address {V6}/64 --json -v");
    forwarder::start_saying(machine, &command, "answering")?;
    let asked = {
        let wire = machine.wire(0)?;
        wire.set_ipv6(Some(PEER_V6))?;
        let asked = ask(wire);
        wire.set_ipv6(None)?;
        asked
    };
    let ended = forwarder::end(machine, "INT")?;
    asked?;
    ended.cleanly()?.summary()?.port(FIRST)?;
    let summary: Value = serde_json::from_str(&ended.output)?;
    let count = |what: &str, kind: &str| summary[what][kind].as_u64().unwrap_or_default();
    let least = u64::from(PINGS + LARGE_PINGS);
    for (kind, least) in [("arp", 1), ("neighbour_solicitation", 1), ("echo_v4", least), ("echo_v6", least)] {
        if count("answered", kind) < least {
            bail!("expected at least {least} of {kind} answered, saw:\n{}", ended.output);
        }
    }
    for reason in ["wrong_checksum", "malformed", "too_long", "claims_our_address"] {
        if count("ignored", reason) != 0 {
            bail!("expected nothing ignored as {reason}, saw:\n{}", ended.output);
        }
    }
    let mode = format!("{FIRST}: all-multicast mode off again");
    if !ended.errors.contains(&mode) {
        bail!("expected \"{mode}\", saw:\n{}", ended.last_words());
    }
    forwarder::unbind(machine, &[FIRST])
}

fn ask(wire: &Wire) -> Result<()> {
    // Data bytes that fill a frame of 1514 bytes.
    for (address, largest) in [(V4, 1472), (V6, 1452)] {
        ping::address_until_answered(wire, address, LIMIT)?;
        ping::address_without_loss(wire, address, PINGS, 56)?;
        ping::address_without_loss(wire, address, LARGE_PINGS, largest)?;
    }
    Ok(())
}
