//! However a forwarder ends, the same NICs start again, and the kernel's drivers get them back in order.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, SECOND};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "restart-after-sigint",
        shows: "after SIGINT the same NICs forward again",
        configuration: Configuration::Iommu48,
        run: after_interrupt,
    },
    Case {
        name: "restart-after-sigkill",
        shows: "after SIGKILL under traffic the same NICs forward again",
        configuration: Configuration::Iommu48,
        run: after_kill,
    },
    Case {
        name: "restart-after-twenty-kills",
        shows: "killed at twenty moments of its start and its work, it leaves nothing and starts again",
        configuration: Configuration::Iommu48,
        run: after_twenty_kills,
    },
    Case {
        name: "second-program-refused",
        shows: "a second program is refused with the first one's name, which goes on",
        configuration: Configuration::Iommu48,
        run: second_program,
    },
    Case {
        name: "restart-after-panic",
        shows: "after a panic in a worker, which is told and ends the program, the same NICs forward again",
        configuration: Configuration::Iommu48,
        run: after_panic,
    },
    Case {
        name: "given-back",
        shows: "given back after a kill, the NICs work under the kernel's own driver",
        configuration: Configuration::Iommu48,
        run: given_back,
    },
];

/// The program's exit status after a panic in a worker.
const PANICKED: i32 = 101;
const LIMIT: Duration = Duration::from_secs(30);

/// Tells what a program that ended may have left behind.
pub(super) const HELD: &str =
    "grep -E 'HugePages_Free|HugePages_Rsvd' /proc/meminfo; ls /dev/shm /dev/hugepages 2> /dev/null; true";

/// Starts the forwarder and shows that it forwards.
pub(super) fn forwards(machine: &mut Machine) -> Result<()> {
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    ping::without_loss(a, b, 30, 500)
}

fn after_interrupt(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    for _ in 0..3 {
        forwards(machine)?;
        forwarder::end(machine, "INT")?.cleanly()?;
    }
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn after_kill(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    forwards(machine)?;
    kill_under_traffic(machine)?;
    forwards(machine)?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    frames::pass_unchanged(a, b, &frames::assorted())?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// The time from a start to the kill, in tenths of a second, round by round: from before anything is open until packets
/// would pass. Fixed, so that a failure comes again.
const MOMENTS: [u32; 20] = [0, 3, 1, 7, 2, 12, 4, 0, 9, 5, 1, 15, 6, 2, 8, 3, 11, 0, 4, 10];

fn after_twenty_kills(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    let before = machine.check(HELD)?;
    for tenths in MOMENTS {
        machine.check_within(
            &format!(
                "background forward ringway forward {FIRST} {SECOND}\n\
                 await 20 test -s /run/lab/forward.pid\n\
                 sleep {}.{}\n\
                 signal forward KILL\n\
                 await 20 test -e /run/lab/forward.status",
                tenths / 10,
                tenths % 10
            ),
            LIMIT * 2,
        )?;
        let status = machine.check("cat /run/lab/forward.status")?;
        if status.trim() != "137" {
            bail!("expected the forwarder to be killed after {tenths} tenths of a second, saw {status}");
        }
    }
    let after = machine.check(HELD)?;
    if after != before {
        bail!("expected nothing to be left behind, saw before:\n{before}and after:\n{after}");
    }
    forwards(machine)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn second_program(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    forwards(machine)?;
    let said = machine.check_within(
        &format!(
            "background second ringway forward {FIRST} {SECOND}\n\
             await 20 test -e /run/lab/second.status\n\
             cat /run/lab/second.status /run/lab/second.err"
        ),
        LIMIT,
    )?;
    let told = [FIRST, "in use", "ringway", "/dev/vfio/"].iter().all(|word| said.contains(word));
    if said.starts_with('0') || !told {
        bail!("expected a second program to be refused with the first one's name, saw:\n{said}");
    }
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::without_loss(a, b, 30, 500)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// Kills the forwarder while both directions are busy.
fn kill_under_traffic(machine: &mut Machine) -> Result<()> {
    let traffic = {
        let (a, b) = (machine.wire(0)?, machine.wire(1)?);
        ping::background_flood(a, b)?
    };
    let ended = forwarder::end(machine, "KILL");
    drop(traffic);
    let status = ended?.status;
    if status != 128 + 9 {
        bail!("expected the forwarder to be killed (status 137), saw {status}");
    }
    Ok(())
}

fn after_panic(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    let command = format!("env RINGWAY_TEST_PANIC_AFTER=20 ringway forward {FIRST} {SECOND}");
    forwarder::start(machine, &command)?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::flood(a, b, 100)?;
    let ended = forwarder::ended_by_itself(machine)?;
    if ended.status != PANICKED || !ended.errors.contains("panic") {
        bail!(
            "expected the program to tell of the panic and end with status {PANICKED}, saw {} and:\n{}",
            ended.status,
            ended.last_words()
        );
    }
    forwards(machine)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn given_back(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    forwards(machine)?;
    kill_under_traffic(machine)?;
    forwarder::unbind(machine, &[FIRST, SECOND])?;
    machine.check(&format!("bridge_of lab0 {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    ping::without_loss(a, b, 50, 1000)?;
    machine.check("ip link del lab0")?;
    Ok(())
}
