//! `ringway forward --interrupts`: it sleeps while nothing comes, and loses nothing by it.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Case, ixgbe_driver};
use crate::lab::configuration::{Configuration, FIRST, SECOND};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "forward-interrupts",
        shows: "with --interrupts it idles below 1 % of a processor, and the first packets after that arrive",
        configuration: Configuration::Iommu39,
        run: virtio,
    },
    Case {
        name: "ixgbe-interrupts",
        shows: "the same on emulated 82599s: MSI-X through the virtual IOMMU",
        configuration: Configuration::EmulatedIommu,
        run: ixgbe,
    },
];

/// How long the idle forwarder is looked at, in the guest's seconds.
const IDLE_SECONDS: u32 = 20;
/// The largest share of a processor that it may take meanwhile.
const MOST: f64 = 0.01;
/// The kernel counts processor time in hundredths of a second.
const TICKS_A_SECOND: u32 = 100;

fn virtio(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    sleeps(machine)
}

fn ixgbe(machine: &mut Machine) -> Result<()> {
    ixgbe_driver::bind(machine, &[FIRST, SECOND])?;
    sleeps(machine)
}

/// Once a second the drivers look whether each card is there and still their own: of an 82599 that is two registers, which
/// are nothing on hardware. On an emulated card each is a way out of the guest and to another process, for which the
/// guest's processor waits: a fifth of a percent, so that the limit for hardware serves here too.
fn sleeps(machine: &mut Machine) -> Result<()> {
    // A line of rates reads all counters of both cards: some hundred accesses, each a way out of the guest.
    let options = "--interrupts --interval 60 --json";
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} {options}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(60))?;
    ping::without_loss(a, b, 20, 56)?;
    let share = idle_share(machine)?;
    println!("      idle for {IDLE_SECONDS} s: {:.2} % of a processor", share * 100.0);
    if share >= MOST {
        let [most, share] = [MOST, share].map(|share| share * 100.0);
        bail!("expected an idle forwarder to take less than {most} % of a processor, saw {share:.2} %");
    }
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    // One by one with a pause before each: every one of them wakes a worker.
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(500));
        ping::without_loss(a, b, 1, 56)?;
        ping::without_loss(b, a, 1, 56)?;
    }
    ping::without_loss(a, b, 50, 1400)?;
    transfer::with_matching_hash(a, b, 5_000_000)?;
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    let ended = forwarder::end(machine, "INT")?;
    let summary = ended.cleanly()?.summary()?;
    summary.plausible(FIRST, SECOND, 80)?;
    if summary.slept < 10 {
        bail!("expected the workers to have slept before each ping, saw {} sleeps", summary.slept);
    }
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// What the forwarder takes of a processor while nothing is sent. What else the machine does can only add to it, so a
/// figure that is too high is taken again, twice at most.
fn idle_share(machine: &mut Machine) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let used = idle_ticks(machine)?;
        least = least.min(f64::from(used) / f64::from(IDLE_SECONDS * TICKS_A_SECOND));
        if least < MOST {
            break;
        }
    }
    Ok(least)
}

/// The processor time that the forwarder takes while nothing is sent, in ticks.
fn idle_ticks(machine: &mut Machine) -> Result<u32> {
    let script = format!(
        "ticks() {{ awk '{{ print $14 + $15 }}' /proc/$(cat /run/lab/forward.pid)/stat; }}\n\
         before=$(ticks); sleep {IDLE_SECONDS}; after=$(ticks); echo $((after - before))"
    );
    let said = machine.check_within(&script, Duration::from_secs(300))?;
    said.trim().parse().with_context(|| format!("expected a number of ticks, saw {said:?}"))
}
