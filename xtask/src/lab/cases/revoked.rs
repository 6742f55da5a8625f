//! A NIC that is taken from a running forwarder: the rights on its group's node, the node itself, and the function.
//!
//! What is open stays open, so rights and node are of no consequence before the next start. A function that root unbinds is
//! another matter: the kernel asks for it and waits, and the forwarder must let go of it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Case;
use super::restart::{HELD, forwards};
use crate::lab::configuration::{Configuration, FIRST, SECOND};
use crate::lab::forwarder::{self, Ended};
use crate::lab::image::USER;
use crate::lab::machine::Machine;
use crate::lab::traffic::ping;
use crate::tool;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "revoked-rights",
        shows: "rights on a node that are taken away disturb nothing that runs; the next start says whose they are",
        configuration: Configuration::Iommu48,
        run: rights,
    },
    Case {
        name: "revoked-node",
        shows: "a node that is removed disturbs nothing that runs; the next start says what makes it again",
        configuration: Configuration::Iommu48,
        run: node,
    },
    Case {
        name: "revoked-function",
        shows: "a NIC that root unbinds while it forwards is let go of, named, and forwards again once it is bound",
        configuration: Configuration::Iommu48,
        run: function,
    },
    Case {
        name: "revoked-function-ixgbe",
        shows: "the same of an 82599, with workers that sleep",
        configuration: Configuration::EmulatedIommu,
        run: function_ixgbe,
    },
];

/// From the wish for a function to its being unbound. The guest's clock may be slow.
const LIMIT: u32 = 30;

fn rights(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    let node = node_of(machine, FIRST)?;
    forwards(machine)?;
    machine.check(&format!("chown root {node} && chmod 600 {node}"))?;
    goes_on(machine)?;
    let refused = forwarder::run(machine, &format!("ringway forward {FIRST} {SECOND}"))?;
    refused.refused_with(&[
        &[&node],
        &["no rights"],
        &[&format!("sudo ringway bind {FIRST} --user {USER}")],
    ])?;
    // What the message says.
    forwarder::bind(machine, &[FIRST])?;
    forwards(machine)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn node(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    let node = node_of(machine, FIRST)?;
    forwards(machine)?;
    machine.check(&format!("rm {node}"))?;
    goes_on(machine)?;
    let refused = forwarder::run(machine, &format!("ringway forward {FIRST} {SECOND}"))?;
    refused.refused_with(&[&[&node], &["is missing"], &["unbound and bound again"]])?;
    // What the message says.
    forwarder::unbind(machine, &[FIRST])?;
    forwarder::bind(machine, &[FIRST])?;
    forwards(machine)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn function(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    for victim in [FIRST, SECOND] {
        unbound_while_it_runs(machine, victim, "")?;
    }
    forwards(machine)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn function_ixgbe(machine: &mut Machine) -> Result<()> {
    super::ixgbe_driver::bind(machine, &[FIRST, SECOND])?;
    unbound_while_it_runs(machine, SECOND, " --interrupts")?;
    forwards(machine)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// The node of a function's group.
fn node_of(machine: &mut Machine, address: &str) -> Result<String> {
    let group = machine.check(&format!("group_of {address}"))?;
    Ok(format!("/dev/vfio/{}", group.trim()))
}

/// The running forwarder still forwards, and ends as always.
fn goes_on(machine: &mut Machine) -> Result<()> {
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::without_loss(a, b, 30, 500)?;
    forwarder::end(machine, "INT")?.cleanly().map(|_| ())
}

/// Root unbinds `victim` under a forwarder that runs with `options`, and binds it again.
fn unbound_while_it_runs(machine: &mut Machine, victim: &str, options: &str) -> Result<()> {
    let before = machine.check(HELD)?;
    forwarder::start(machine, &format!("ringway forward{options} {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    let start = Instant::now();
    // The write returns when the function is free.
    machine.check_within(
        &format!(
            "rm -f /run/lab/unbind.status\n\
             (echo {victim} > /sys/bus/pci/drivers/vfio-pci/unbind; echo $? > /run/lab/unbind.status) &\n\
             await {LIMIT} test -s /run/lab/unbind.status"
        ),
        Duration::from_secs(300),
    )?;
    println!("      {victim}: free {} after it was wanted back", tool::seconds(start.elapsed()));
    let status = machine.check("cat /run/lab/unbind.status")?;
    if status.trim() != "0" {
        bail!("expected {victim} to be unbound, saw status {status}");
    }
    let ended = forwarder::ended_by_itself(machine)?;
    ended.refused_with(&[
        &[&format!("{victim}: the kernel wants the device back")],
        &["unbound or unplugged"],
        &[&format!("ringway bind {victim}")],
    ])?;
    all_given_back(&ended)?;
    let after = machine.check(HELD)?;
    if after != before {
        bail!("expected nothing to be left behind, saw before:\n{before}and after:\n{after}");
    }
    // What the message says.
    forwarder::bind(machine, &[victim])
}

/// Both ports were stopped in order, and no buffer stayed with a device.
fn all_given_back(ended: &Ended) -> Result<()> {
    for port in [FIRST, SECOND] {
        let line = format!("{port}: promiscuous mode off again");
        if !ended.errors.contains(&line) {
            bail!("expected {line:?}, saw:\n{}", ended.last_words());
        }
    }
    if ended.errors.contains("stayed with a device") || ended.errors.contains("could not be taken from") {
        bail!("expected all memory to come back, saw:\n{}", ended.last_words());
    }
    Ok(())
}
