//! What `ringway capture` writes of a kernel's traffic, beside what tcpdump saw at the other end of the wire, both read by
//! tshark; and what `ringway replay` makes of it.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Case;
use crate::lab::analysis;
use crate::lab::configuration::{Configuration, FIRST, SECOND, guest_address};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::tcpdump::Tcpdump;
use crate::lab::wire::{INTERFACE, Wire};
use crate::tool;

pub(super) const CASES: &[Case] = &[Case {
    name: "capture-tcpdump",
    shows: "what is captured of a kernel's traffic is what tcpdump saw, --match is tshark's filter, and replay sends it all",
    configuration: Configuration::Iommu39,
    run,
}];

const LIMIT: Duration = Duration::from_secs(120);
const FILE: &str = "/tmp/capture.pcapng";
/// An address on the wire's network that nobody has; its station is the NIC.
const TARGET: &str = "10.77.0.88";
const BROADCAST: &str = "10.77.0.255";
const WIRE_V6: &str = "fd77::1/64";
/// A group of the link (RFC 4291, section 2.7), which needs no neighbour.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x1234);
const PORT: u16 = 9000;
/// Lengths of data from none to a full frame.
const LENGTHS: std::ops::RangeInclusive<usize> = 0..=1472;
const STEP: usize = 8;
/// A datagram of so much comes in three fragments.
const LARGE: usize = 4000;
const LARGE_ONES: u64 = 5;
const BROADCASTS: u64 = 5;
const CONNECTIONS: u64 = 5;
const OF_V6: u64 = 20;

/// What is asked for in the second round, and the same for tshark, which is not to put fragments together.
const MATCH: &str = "udp,tp_dst=9000,nw_dst=10.77.0.80/28";
const FILTER: &str = "udp.dstport == 9000 && ip.dst == 10.77.0.80/28";

/// Datagrams to the target, one of each length.
fn datagrams() -> u64 {
    LENGTHS.step_by(STEP).count() as u64
}

/// Frames that are sent at least: the kernel has a few of its own.
fn frames_sent() -> u64 {
    datagrams() + 3 * LARGE_ONES + BROADCASTS + CONNECTIONS + OF_V6
}

/// Those of them that are asked for: of a large datagram only the first fragment has a port.
fn frames_asked_for() -> u64 {
    datagrams() + LARGE_ONES
}

fn run(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    let all = round(machine, "all", None, frames_sent())?;
    let analysers = machine.plan().analysers.clone();
    analysis::is_sound(&analysers, &all.captured)?;
    analysis::is_sound(&analysers, &all.dumped)?;
    let captured = analysis::frames(&analysers, &all.captured, "")?;
    let dumped = analysis::frames(&analysers, &all.dumped, "")?;
    // The capture began before tcpdump, and ended after it.
    let starts = 0..=captured.len().saturating_sub(dumped.len());
    let is_there = |start: usize| captured.get(start..start + dumped.len()) == Some(dumped.as_slice());
    if (dumped.len() as u64) < frames_sent() || !starts.into_iter().any(is_there) {
        bail!(
            "expected tcpdump's {} frames in a row among the {} that were captured, saw others; sent were {}",
            dumped.len(),
            captured.len(),
            frames_sent()
        );
    }
    let names = analysis::interfaces(&analysers, &all.captured)?;
    if names.len() != 1 || names.get(FIRST) != Some(&(captured.len() as u64)) {
        bail!("expected all frames on {FIRST}, saw {names:?}");
    }
    replayed(machine, &captured)?;

    let some = round(machine, "some", Some(MATCH), frames_asked_for())?;
    analysis::is_sound(&analysers, &some.captured)?;
    let captured = analysis::frames(&analysers, &some.captured, "")?;
    let wanted = analysis::frames(&analysers, &some.dumped, FILTER)?;
    if captured != wanted || wanted.len() as u64 != frames_asked_for() {
        bail!(
            "expected the {} frames of tshark's {FILTER}, saw {} with --match {MATCH}; sent were {}",
            wanted.len(),
            captured.len(),
            frames_asked_for()
        );
    }
    machine.check(&format!("rm {FILE}"))?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// What both sides wrote of the same traffic.
struct Round {
    captured: PathBuf,
    dumped: PathBuf,
}

/// Traffic with a capture in the guest, which writes so many frames at least, and tcpdump at the other end.
fn round(machine: &mut Machine, name: &str, matching: Option<&str>, frames: u64) -> Result<Round> {
    let path = |side: &str| machine.plan().logs.join(format!("capture-{name}.{side}"));
    let (captured, dumped) = (path("ringway.pcapng"), path("tcpdump.pcap"));
    let matching = matching.map(|text| format!("--match {text}")).unwrap_or_default();
    let command = format!("ringway capture {FIRST} --write {FILE} --json --interval 100ms {matching}");
    forwarder::start_saying(machine, &command, "capturing")?;
    let seen = {
        let analysers = machine.plan().analysers.clone();
        let wire = machine.wire(0)?;
        wire.set_ipv6(Some(WIRE_V6))?;
        let tcpdump = Tcpdump::start(&analysers, wire, "out", &dumped);
        let seen = tcpdump.and_then(|tcpdump| {
            send(wire)?;
            tcpdump.end_with(frames_sent())
        });
        wire.set_ipv6(None)?;
        seen
    };
    let written = seen.and_then(|_| written(machine, frames));
    let ended = forwarder::end(machine, "INT")?;
    written.with_context(|| format!("the program said:\n{}", ended.last_words()))?;
    let summary: Value = serde_json::from_str(&ended.cleanly()?.output)?;
    let count = |field: &str| summary[field].as_u64().unwrap_or(u64::MAX);
    if count("dropped") != 0 || count("written_packets") + count("left_out") != count("received_packets") {
        bail!("expected every packet written or left out, saw:\n{}", ended.output);
    }
    std::fs::write(&captured, machine.read_file(FILE, LIMIT)?)?;
    Ok(Round { captured, dumped })
}

/// Sends from the kernel's own sockets.
fn send(wire: &Wire) -> Result<()> {
    wire.namespace.within(|| {
        let station = guest_address(0);
        tool::output_of(wire.busybox("arp").args(["-i", INTERFACE, "-s", TARGET, &station]))?;
        let socket = UdpSocket::bind((wire.host_address(), 0)).context("cannot have a socket")?;
        socket.set_broadcast(true)?;
        let data = [0x5a; LARGE];
        let datagram = |length: usize, address: &str| {
            let bytes = data.get(..length).unwrap_or(&data);
            socket
                .send_to(bytes, (address, PORT))
                .with_context(|| format!("cannot send {length} bytes to {address}"))
        };
        for length in LENGTHS.step_by(STEP) {
            datagram(length, TARGET)?;
        }
        for _ in 0..LARGE_ONES {
            datagram(LARGE, TARGET)?;
        }
        for _ in 0..BROADCASTS {
            datagram(100, BROADCAST)?;
        }
        for port in (80..).take(CONNECTIONS as usize) {
            // Nobody answers: what matters is that it asks.
            let address: SocketAddr = format!("{TARGET}:{port}").parse()?;
            let _ = TcpStream::connect_timeout(&address, Duration::from_millis(50));
        }
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).context("cannot have a socket for IPv6")?;
        let index = rustix::net::netdevice::name_to_index(&socket, INTERFACE)?;
        for length in (0..).step_by(64).take(OF_V6 as usize) {
            let bytes = data.get(..length).unwrap_or(&data);
            socket
                .send_to(bytes, SocketAddrV6::new(GROUP_V6, PORT, 0, index))
                .with_context(|| format!("cannot send {length} bytes to {GROUP_V6}"))?;
        }
        tool::output_of(wire.busybox("arp").args(["-i", INTERFACE, "-d", TARGET])).map(|_| ())
    })
}

/// Waits until so many packets are written.
fn written(machine: &mut Machine, packets: u64) -> Result<()> {
    let script = format!(
        "enough() {{ n=$(sed -n 's/.*written \\([0-9,]*\\).*/\\1/p' /run/lab/forward.err | tail -n 1 | tr -d ,); \
         [ \"${{n:-0}}\" -ge {packets} ]; }}; await 60 enough"
    );
    machine
        .check_within(&script, LIMIT)
        .with_context(|| format!("{packets} packets were not written"))
        .map(|_| ())
}

/// Sends the capture out of the other NIC, and demands that tcpdump at its wire's end sees just these frames.
fn replayed(machine: &mut Machine, frames: &[String]) -> Result<()> {
    let analysers = machine.plan().analysers.clone();
    let file = machine.plan().logs.join("capture-replayed.pcap");
    let tcpdump = Tcpdump::start(&analysers, machine.wire(1)?, "in", &file)?;
    // Slow enough for the far end's socket.
    let command = format!("ringway replay {FILE} {SECOND} --rate 500pps --json");
    forwarder::start_saying(machine, &command, "replaying")?;
    forwarder::ended_by_itself(machine)?.cleanly()?;
    let seen = analysis::frames(&analysers, &tcpdump.end_with(frames.len() as u64)?, "")?;
    if seen != frames {
        let at = seen.iter().zip(frames).position(|(seen, sent)| seen != sent);
        bail!(
            "expected the {} frames of the capture, saw {}; the first difference: {at:?}",
            frames.len(),
            seen.len()
        );
    }
    Ok(())
}
