//! Ringway's own 82599 driver on the emulated cards, through VFIO and the virtual IOMMU, as an ordinary user.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ringway_traffic::capture::Reader;

use super::Case;
use crate::lab::configuration::{BESIDE, BESIDE_WIRE, COPPER, Configuration, FIRST, SECOND};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ixgbe-forward",
        shows: "ping, TCP and frames pass between two emulated 82599s; the kernel's driver takes them back",
        configuration: Configuration::EmulatedIommu,
        run: forward,
    },
    Case {
        name: "ixgbe-forward-virtio",
        shows: "the same between an 82599 and a virtio NIC, in one address space",
        configuration: Configuration::EmulatedIommu,
        run: beside_virtio,
    },
    Case {
        name: "ixgbe-forward-small",
        shows: "the smallest rings and batches of one: nothing lost, every frame the same",
        configuration: Configuration::EmulatedIommu,
        run: small_rings,
    },
    Case {
        name: "ixgbe-forward-copper",
        shows: "the X540 and the X550 open, tell a link of 10 Gbit/s, and are given back",
        configuration: Configuration::EmulatedIommu,
        run: copper,
    },
    Case {
        name: "ixgbe-restart",
        shows: "after SIGINT, SIGKILL under traffic and a panic the same cards forward again",
        configuration: Configuration::EmulatedIommu,
        run: restart,
    },
    Case {
        name: "ixgbe-capture-files",
        shows: "what capture files hold crosses from card to card into others, byte for byte and in order",
        configuration: Configuration::EmulatedFiles,
        run: capture_files,
    },
    Case {
        name: "ixgbe-server-killed",
        shows: "a card that is gone while it forwards is named, and the program ends",
        configuration: Configuration::EmulatedLost,
        run: lost,
    },
];

pub(super) const LIMIT: Duration = Duration::from_secs(60);
const TRANSFER: u64 = 20_000_000;

/// The kernel's driver has the cards first, as on any machine.
pub(super) fn bind(machine: &mut Machine, addresses: &[&str]) -> Result<()> {
    machine.check_within("modprobe ixgbe", LIMIT)?;
    for address in addresses {
        machine.check_within(&format!("await 60 has_interface {address}"), LIMIT * 3)?;
    }
    forwarder::bind(machine, addresses)
}

/// Ping, TCP and frames, both ways, between two wires.
fn exchange(machine: &Machine, first: usize, second: usize) -> Result<()> {
    let (a, b) = (machine.wire(first)?, machine.wire(second)?);
    ping::until_answered(a, b, LIMIT)?;
    ping::without_loss(a, b, 100, 56)?;
    ping::without_loss(b, a, 50, 1472)?;
    for (from, to) in [(a, b), (b, a)] {
        let time = transfer::with_matching_hash(from, to, TRANSFER)?;
        println!("      TCP, 20 MB: {:.1} s", time.as_secs_f64());
    }
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)
}

fn forward(machine: &mut Machine) -> Result<()> {
    bind(machine, &[FIRST, SECOND])?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} --json -v"))?;
    exchange(machine, 0, 1)?;
    let ended = forwarder::end(machine, "INT")?;
    ended.cleanly()?.summary()?.plausible(FIRST, SECOND, frames::assorted().len() as u64 + 150)?;
    for expected in ["82599ES SFP+ with 10GBASE-SR", "82599 KX4 backplane", "driver ixgbe", "10 Gbit/s"] {
        if !ended.errors.contains(expected) {
            bail!("expected \"{expected}\", saw:\n{}", ended.last_words());
        }
    }
    forwarder::unbind(machine, &[FIRST, SECOND])?;
    // Whatever state it was left in, the kernel's driver sets it up anew.
    machine.check(&format!("bridge_of lab0 {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    ping::without_loss(a, b, 30, 1000)?;
    machine.check("ip link del lab0").map(|_| ())
}

fn beside_virtio(machine: &mut Machine) -> Result<()> {
    bind(machine, &[FIRST, BESIDE])?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {BESIDE} --json"))?;
    exchange(machine, 0, BESIDE_WIRE)?;
    let ended = forwarder::end(machine, "INT")?;
    ended.cleanly()?.summary()?.plausible(FIRST, BESIDE, frames::assorted().len() as u64 + 150)?;
    forwarder::unbind(machine, &[FIRST, BESIDE])
}

fn small_rings(machine: &mut Machine) -> Result<()> {
    bind(machine, &[FIRST, SECOND])?;
    let options = "--batch 1 --ring-size 64 --pool 512";
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} {options}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn copper(machine: &mut Machine) -> Result<()> {
    bind(machine, &COPPER)?;
    let [x540, x550] = COPPER;
    forwarder::start(machine, &format!("ringway forward {x540} {x550} --duration 2"))?;
    let ended = forwarder::ended_by_itself(machine)?;
    for expected in ["X540-AT2, driver ixgbe", "X550-AT2, driver ixgbe", "link up, 10 Gbit/s"] {
        if !ended.cleanly()?.errors.contains(expected) {
            bail!("expected \"{expected}\", saw:\n{}", ended.last_words());
        }
    }
    forwarder::unbind(machine, &COPPER)
}

/// Starts the forwarder and shows that it forwards.
fn forwards(machine: &mut Machine) -> Result<()> {
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    ping::without_loss(a, b, 30, 500)
}

fn restart(machine: &mut Machine) -> Result<()> {
    const PANICKED: i32 = 101;
    const KILLED: i32 = 128 + 9;
    bind(machine, &[FIRST, SECOND])?;
    forwards(machine)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwards(machine)?;
    let traffic = ping::background_flood(machine.wire(0)?, machine.wire(1)?)?;
    let ended = forwarder::end(machine, "KILL");
    drop(traffic);
    if ended?.status != KILLED {
        bail!("expected the forwarder to be killed");
    }
    forwarder::start(machine, &format!("env RINGWAY_TEST_PANIC_AFTER=20 ringway forward {FIRST} {SECOND}"))?;
    ping::flood(machine.wire(0)?, machine.wire(1)?, 100)?;
    let ended = forwarder::ended_by_itself(machine)?;
    if ended.status != PANICKED {
        bail!("expected the status {PANICKED} after a panic, saw {}:\n{}", ended.status, ended.last_words());
    }
    forwards(machine)?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    frames::pass_unchanged(a, b, &frames::assorted())?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn capture_files(machine: &mut Machine) -> Result<()> {
    bind(machine, &[FIRST, SECOND])?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} --json --when-full wait"))?;
    for (from, to) in [(0, 1), (1, 0)] {
        let played = machine.card(from)?.files().context("the card has no files")?.played.clone();
        let written = machine.card(to)?.files().context("the card has no files")?.written.clone();
        let deadline = Instant::now() + LIMIT * 3;
        let seen = loop {
            let seen = whole_frames(&written);
            if seen.len() >= played.len() || Instant::now() >= deadline {
                break seen;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        if let Some(wrong) = played.iter().zip(&seen).position(|(played, seen)| played != seen) {
            bail!("expected frame {wrong} of {} to cross unchanged from card {from}", played.len());
        }
        if seen.len() != played.len() {
            bail!("expected {} frames from card {from}, saw {}", played.len(), seen.len());
        }
    }
    let ended = forwarder::end(machine, "INT")?;
    let frames = machine.card(0)?.files().map_or(0, |files| files.played.len());
    ended.cleanly()?.summary()?.plausible(FIRST, SECOND, frames as u64)?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// The frames that are whole in a file that is still being written.
fn whole_frames(path: &Path) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    if let Ok(mut reader) = Reader::open(path) {
        while let Ok(Some(frame)) = reader.next_whole() {
            frames.push(frame.bytes.into_owned());
        }
    }
    frames
}

fn lost(machine: &mut Machine) -> Result<()> {
    bind(machine, &[FIRST, SECOND])?;
    // Without a way to reset it, the kernel doesn't wait a minute for the card to come back from its last reset.
    machine.check(&format!("echo > /sys/bus/pci/devices/{SECOND}/reset_method"))?;
    forwards(machine)?;
    let traffic = ping::background_flood(machine.wire(0)?, machine.wire(1)?)?;
    machine.lose_card(1)?;
    let ended = forwarder::ended_by_itself(machine);
    drop(traffic);
    // The port that is lost, and not the other one.
    let ended = ended?;
    ended.refused_with(&[&[&format!("{SECOND}: the device is gone")]])?;
    if ended.errors.contains(&format!("{FIRST}: the device")) {
        bail!("expected {FIRST} not to be called gone, saw:\n{}", ended.last_words());
    }
    let left = machine.check("ps | grep -c '[r]ingway forward' || true")?;
    if left.trim() != "0" {
        bail!("expected no forwarder to be left, saw {left}");
    }
    Ok(())
}
