//! QEMU's virtio-net, mode by mode: what a NIC offers and what is asked of it, each off and on, and the same traffic through
//! all of it. The table is printed.
//!
//! The program is `virtio-modes`, an example of the driver's crate: it forwards as `ringway forward` does and looks at
//! each packet, so that an offload is seen to be used.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, SECOND, guest_octets};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};
use crate::lab::wire::Wire;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "virtio-modes",
        shows: "mergeable buffers, event index, indirect descriptors, queues, checksums, segmentation: off and on",
        configuration: Configuration::VirtioModes,
        run: modes,
    },
    Case {
        name: "virtio-hashes",
        shows: "flows are spread over four queues by the driver's table, and each hash is the parser's",
        configuration: Configuration::VirtioModes,
        run: hashes,
    },
    Case {
        name: "virtio-vlans",
        shows: "a VLAN that was chosen comes through the NIC's filter, another doesn't",
        configuration: Configuration::VirtioModes,
        run: vlans,
    },
    Case {
        name: "virtio-queue-reset",
        shows: "queues are started anew one by one while TCP goes on",
        configuration: Configuration::VirtioModes,
        run: restarts,
    },
];

/// A row of the table.
struct Mode {
    name: &'static str,
    /// The NIC that [`SECOND`] is joined with, and its wire.
    nic: (&'static str, usize),
    arguments: &'static str,
    /// Whether packets without checksum must have been seen.
    partial: bool,
    /// Whether packets longer than a frame must have been seen: by the NIC, and by [`SECOND`].
    large: [bool; 2],
}

const CHECKSUMS: &str = "--offload receive-checksum,tcp-udp-checksum";
const SEGMENTS: &str =
    "--offload receive-checksum,tcp-udp-checksum,tcp4-segmentation,tcp6-segmentation,large-receive";
/// A NIC without mergeable buffers gives no long packets; it takes them.
const SEGMENTS_UNMERGED: &str = "--offload receive-checksum,tcp-udp-checksum,tcp4-segmentation,tcp6-segmentation/\
                                 receive-checksum,tcp-udp-checksum,tcp4-segmentation,tcp6-segmentation,large-receive";
const SEGMENTS_QUEUES: &str = "--queues 4 --offload \
                               receive-checksum,tcp-udp-checksum,tcp4-segmentation,tcp6-segmentation,large-receive";
const OTHERS: [(&str, usize); 4] =
    [("0000:03:00.0", 2), ("0000:04:00.0", 3), ("0000:05:00.0", 4), ("0000:06:00.0", 5)];
const ALL: (&str, usize) = (FIRST, 0);
const UNMERGED: (&str, usize) = OTHERS[0];
const NO_EVENT_INDEX: (&str, usize) = OTHERS[1];
const NO_INDIRECT: (&str, usize) = OTHERS[2];
const BARE: (&str, usize) = OTHERS[3];

const fn mode(name: &'static str, nic: (&'static str, usize), arguments: &'static str) -> Mode {
    Mode { name, nic, arguments, partial: false, large: [false; 2] }
}

const fn segmenting(name: &'static str, nic: (&'static str, usize), arguments: &'static str) -> Mode {
    Mode { partial: true, ..mode(name, nic, arguments) }
}

const TABLE: &[Mode] = &[
    mode("all offered, nothing asked for", ALL, ""),
    mode("mergeable buffers off", UNMERGED, ""),
    mode("event index off", NO_EVENT_INDEX, ""),
    mode("indirect descriptors off", NO_INDIRECT, ""),
    mode("all three off", BARE, ""),
    Mode { partial: true, ..mode("checksums on", ALL, CHECKSUMS) },
    Mode { partial: true, ..mode("checksums on, all three off", BARE, CHECKSUMS) },
    Mode { large: [true; 2], ..segmenting("segmentation on", ALL, SEGMENTS) },
    Mode { large: [true; 2], ..segmenting("segmentation on, indirect off", NO_INDIRECT, SEGMENTS) },
    Mode { large: [true; 2], ..segmenting("segmentation on, event index off", NO_EVENT_INDEX, SEGMENTS) },
    Mode {
        large: [false, true],
        ..segmenting("segmentation on, mergeable off", UNMERGED, SEGMENTS_UNMERGED)
    },
    Mode { large: [true; 2], ..segmenting("segmentation on, 4 queue pairs", ALL, SEGMENTS_QUEUES) },
    mode("2 queue pairs, the device's own steering", NO_EVENT_INDEX, "--queues 2"),
    mode("4 queue pairs, receive side scaling", ALL, "--queues 4"),
];

/// For TCP: a second on an emulated processor.
const BYTES: u64 = 2_000_000;
const IPV6: [&str; 2] = ["fd77::1", "fd77::2"];
/// The program ends when this is there.
const END: &str = "/tmp/virtio-modes.end";
/// Longer than any frame without a tag.
const FRAME: u64 = 1514;

fn modes(machine: &mut Machine) -> Result<()> {
    let nics: Vec<&str> = [FIRST, SECOND].into_iter().chain(OTHERS.map(|(nic, _)| nic)).collect();
    forwarder::bind(machine, &nics)?;
    println!("      {:42} ping  frames  TCP/IPv4  TCP/IPv6  seen", "mode");
    for mode in TABLE {
        let seen = run_mode(machine, mode).with_context(|| format!("with {}", mode.name))?;
        println!("      {:42} ok    ok      ok        ok        {seen}", mode.name);
    }
    forwarder::unbind(machine, &nics)
}

fn run_mode(machine: &mut Machine, mode: &Mode) -> Result<String> {
    start(machine, mode.nic.0, mode.arguments)?;
    let (a, b) = (machine.wire(mode.nic.1)?, machine.wire(1)?);
    let checked = checks(a, b, mode.arguments.contains("--queues"));
    let counted = end(machine);
    checked.with_context(|| format!("the program counted {counted:?}"))?;
    let counted = counted?;
    for (side, large) in ["first", "second"].into_iter().zip(mode.large) {
        let get = |what: &str| counted.get(side, what);
        if get("received-errors")? != 0 || get("sent-errors")? != 0 || get("wrong-queue")? != 0 {
            bail!("expected no error and no packet on a wrong queue, saw {counted:?}");
        }
        let is_large = get("large")? > 0 && get("longest")? > FRAME;
        if (get("partial")? > 0) != mode.partial || is_large != large {
            bail!(
                "expected packets without checksum: {}, long ones at the {side}: {large}; saw {counted:?}",
                mode.partial
            );
        }
    }
    let get = |what: &str| counted.get("first", what);
    Ok(format!(
        "{} packets, {} without checksum, {} large, the longest of {} bytes",
        get("received")?,
        get("partial")?,
        get("large")?,
        get("longest")?
    ))
}

/// The same traffic for every mode. With several queues tagged frames may overtake untagged ones: they are another flow.
fn checks(a: &Wire, b: &Wire, several_queues: bool) -> Result<()> {
    ping::until_answered(a, b, Duration::from_secs(60))?;
    ping::without_loss(a, b, 20, 1400)?;
    let frames = frames::assorted().into_iter().step_by(7);
    let frames: Vec<Vec<u8>> = frames.filter(|frame| !several_queues || !frames::is_tagged(frame)).collect();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)?;
    transfer::with_matching_hash(a, b, BYTES)?;
    transfer::with_matching_hash(b, a, BYTES)?;
    let [one, other] = IPV6;
    a.set_ipv6(Some(&format!("{one}/64")))?;
    b.set_ipv6(Some(&format!("{other}/64")))?;
    let moved = transfer::to_address(a, b, other, BYTES).and_then(|_| transfer::to_address(b, a, one, BYTES));
    a.set_ipv6(None)?;
    b.set_ipv6(None)?;
    moved.map(|_| ())
}

fn start(machine: &mut Machine, nic: &str, arguments: &str) -> Result<()> {
    machine.check(&format!("rm -f {END}"))?;
    let command = format!("virtio-modes {nic} {SECOND} {arguments} --until {END}");
    forwarder::start(machine, &command)
}

/// What the program has counted: side and word, number.
#[derive(Debug)]
struct Counted(BTreeMap<(String, String), u64>);

impl Counted {
    fn get(&self, side: &str, what: &str) -> Result<u64> {
        let key = (side.to_owned(), what.to_owned());
        self.0.get(&key).copied().ok_or_else(|| anyhow!("expected a count of {what}, saw {self:?}"))
    }
}

fn end(machine: &mut Machine) -> Result<Counted> {
    machine.check(&format!("touch {END}"))?;
    let ended = forwarder::ended_by_itself(machine)?;
    let mut counted = BTreeMap::new();
    for line in ended.cleanly()?.output.lines() {
        let mut words = line.split(' ');
        let (Some(side), Some(what), Some(value)) = (words.next(), words.next(), words.next()) else {
            bail!("expected a side, a word and a number, saw {line:?}");
        };
        counted.insert((side.to_owned(), what.to_owned()), value.parse()?);
    }
    Ok(Counted(counted))
}

/// How many flows, and datagrams of each.
const FLOWS: u16 = 200;
const EACH: u64 = 3;
const FLOW_PORT: u16 = 9000;

fn hashes(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    start(machine, FIRST, "--queues 4 --offload hash")?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    let moved = ping::until_answered(a, b, Duration::from_secs(60))
        .and_then(|()| transfer::with_matching_hash(a, b, BYTES))
        .and_then(|_| datagrams(a, b));
    let counted = end(machine);
    moved.with_context(|| format!("the program counted {counted:?}"))?;
    let counted = counted?;
    let get = |what: &str| counted.get("first", what);
    let least = u64::from(FLOWS) * EACH;
    if get("hashed")? < least
        || get("wrong-hash")? != 0
        || get("wrong-queue")? != 0
        || get("used-queues")? != 4
    {
        bail!("expected {least} hashes at least, all right, and four queues, saw {counted:?}");
    }
    println!("      {} hashes, all as ringway-flow has them; 4 queues in use", get("hashed")?);
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn datagrams(from: &Wire, to: &Wire) -> Result<()> {
    let receiver = to.namespace.within(|| {
        let socket =
            UdpSocket::bind((to.host_address(), FLOW_PORT)).context("cannot listen for datagrams")?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(socket)
    })?;
    let target = (to.host_address().to_owned(), FLOW_PORT);
    for flow in 0..FLOWS {
        let sender = from.namespace.within(|| Ok(UdpSocket::bind((from.host_address(), 20_000 + flow))?))?;
        for _ in 0..EACH {
            sender.send_to(&flow.to_be_bytes(), &target)?;
            let mut said = [0; 2];
            receiver.recv(&mut said).with_context(|| format!("a datagram of flow {flow} didn't come"))?;
            if said != flow.to_be_bytes() {
                bail!("expected a datagram of flow {flow}, saw one of {}", u16::from_be_bytes(said));
            }
        }
    }
    Ok(())
}

const VLAN: u8 = 100;

fn vlans(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    start(machine, FIRST, &format!("--vlan {VLAN}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    let to = |vlan, length| frames::in_vlan(guest_octets(0), vlan, length);
    let sent: Vec<Vec<u8>> = (0..20)
        .flat_map(|round| {
            let length = 64 + 12 * round;
            [
                to(None, length),
                to(Some(VLAN), length + 1),
                to(Some(VLAN + 1), length + 2),
                to(Some(1), length + 3),
            ]
        })
        .collect();
    let wanted: Vec<Vec<u8>> = sent.chunks(4).flat_map(|four| four.iter().take(2).cloned()).collect();
    let receiver = frames::Receiver::open(b)?;
    let mut given = Some(());
    let outcome = receiver.expect(&wanted, |_| match given.take() {
        Some(()) => frames::send_all(a, &sent),
        None => Ok(()),
    });
    let counted = end(machine);
    outcome.with_context(|| format!("the program counted {counted:?}"))?;
    counted?;
    // The same through a port that doesn't filter: all come.
    start(machine, FIRST, "")?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    let outcome = frames::pass_unchanged(a, b, &sent);
    let counted = end(machine);
    outcome.with_context(|| format!("the program counted {counted:?}"))?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn restarts(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    start(machine, FIRST, "--queues 2 --restart 150")?;
    let moved = traffic_while_queues_restart(machine);
    let counted = end(machine);
    moved.with_context(|| format!("the program counted {counted:?}"))?;
    let counted = counted?;
    let restarts = counted.get("first", "restarts")?;
    if restarts < 4 {
        bail!("expected each queue to be started anew at least once, saw {counted:?}");
    }
    println!("      {restarts} queues of each NIC started anew");
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// TCP both ways, again and again until every queue was started anew meanwhile.
fn traffic_while_queues_restart(machine: &mut Machine) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(120);
    ping::until_answered(machine.wire(0)?, machine.wire(1)?, Duration::from_secs(60))?;
    let end = Instant::now() + LIMIT;
    loop {
        let (a, b) = (machine.wire(0)?, machine.wire(1)?);
        transfer::with_matching_hash(a, b, BYTES)?;
        transfer::with_matching_hash(b, a, BYTES)?;
        if machine.run("grep -q '^restarted every queue' /run/lab/forward.err")?.status == 0 {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("expected every queue to be started anew within {} s of traffic", LIMIT.as_secs());
        }
    }
}
