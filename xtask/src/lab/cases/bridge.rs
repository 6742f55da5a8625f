//! The kernel's own bridge between the two NICs: what it passes vouches for the wires and for the checks that
//! the forwarder is measured with.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, SECOND};
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "kernel-bridge-39",
        shows: "ping, TCP and frames pass the kernel's own drivers behind a 39-bit IOMMU",
        configuration: Configuration::Iommu39,
        run: kernel_bridge,
    },
    Case {
        name: "kernel-bridge-48",
        shows: "ping, TCP and frames pass the kernel's own drivers behind a 48-bit IOMMU",
        configuration: Configuration::Iommu48,
        run: kernel_bridge,
    },
    Case {
        name: "a-cut-wire-is-noticed",
        shows: "without a bridge nothing passes, and the checks say so",
        configuration: Configuration::Iommu39,
        run: cut_wire,
    },
];

fn kernel_bridge(machine: &mut Machine) -> Result<()> {
    machine.check(&format!("bridge_of lab0 {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    ping::without_loss(a, b, 100, 56)?;
    ping::without_loss(b, a, 50, 1472)?;
    let time = transfer::with_matching_hash(a, b, transfer::HUNDRED_MEGABYTES)?;
    println!("      TCP, 100 MB: {:.1} s", time.as_secs_f64());
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)?;
    machine.check("ip link del lab0")?;
    Ok(())
}

fn cut_wire(machine: &mut Machine) -> Result<()> {
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    if ping::until_answered(a, b, Duration::from_secs(2)).is_ok() {
        bail!("expected ping to fail with no bridge in the guest, and it passed");
    }
    Ok(())
}
