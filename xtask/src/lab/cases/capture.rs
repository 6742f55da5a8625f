//! `ringway capture` on one NIC, and `ringway replay` of it on the other.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, SECOND};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::traffic::frames;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "capture-and-replay",
        shows: "what one NIC captured comes out of the other byte for byte, in order",
        configuration: Configuration::Iommu39,
        run: virtio,
    },
    Case {
        name: "capture-and-replay-ixgbe",
        shows: "the same on emulated 82599s",
        configuration: Configuration::EmulatedIommu,
        run: ixgbe,
    },
];

const LIMIT: Duration = Duration::from_secs(120);
const FILE: &str = "/tmp/capture.pcapng";
/// Sent at once: less than a ring, or a TAP's queue, holds.
const WINDOW: usize = 200;

fn virtio(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    capture_and_replay(machine)
}

/// The kernel's driver has the cards first, as on any machine.
fn ixgbe(machine: &mut Machine) -> Result<()> {
    machine.check_within("modprobe ixgbe", LIMIT)?;
    for address in [FIRST, SECOND] {
        machine.check_within(&format!("await 60 has_interface {address}"), LIMIT)?;
    }
    forwarder::bind(machine, &[FIRST, SECOND])?;
    capture_and_replay(machine)
}

fn capture_and_replay(machine: &mut Machine) -> Result<()> {
    let frames = frames::assorted();
    let command = format!("ringway capture {FIRST} --write {FILE} --json --interval 100ms");
    forwarder::start_saying(machine, &command, "capturing")?;
    let mut sent = 0;
    for window in frames.chunks(WINDOW) {
        frames::send_all(machine.wire(0)?, window)?;
        sent += window.len();
        written(machine, sent)?;
    }
    let ended = forwarder::end(machine, "INT")?;
    let summary: Value = serde_json::from_str(&ended.cleanly()?.output)?;
    let count = |field: &str| summary[field].as_u64().unwrap_or_default();
    if count("written_packets") < frames.len() as u64 || count("dropped") != 0 {
        bail!("expected at least {} packets written and none dropped, saw:\n{}", frames.len(), ended.output);
    }
    let receiver = frames::Receiver::open(machine.wire(1)?)?;
    // Slow enough for the far end's socket.
    let command = format!("ringway replay {FILE} {SECOND} --rate 500pps --json");
    forwarder::start_saying(machine, &command, "replaying")?;
    let seen = receiver.expect(&frames, |_| Ok(()));
    let ended = forwarder::ended_by_itself(machine)?;
    seen.with_context(|| format!("the program said:\n{}", ended.last_words()))?;
    ended.cleanly()?;
    machine.check(&format!("rm {FILE}"))?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// Waits until so many packets are written.
fn written(machine: &mut Machine, packets: usize) -> Result<()> {
    let script = format!(
        "enough() {{ n=$(sed -n 's/.*written \\([0-9,]*\\).*/\\1/p' /run/lab/forward.err | tail -n 1 | tr -d ,); \
         [ \"${{n:-0}}\" -ge {packets} ]; }}; await 60 enough"
    );
    machine
        .check_within(&script, LIMIT)
        .with_context(|| format!("{packets} packets were not written"))
        .map(|_| ())
}
