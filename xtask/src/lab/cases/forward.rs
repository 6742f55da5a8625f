//! `ringway forward` between two NICs, as an ordinary user, behind the IOMMU.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, PLAIN, PLAIN_WIRE, SECOND};
use crate::lab::forwarder::{self, Ended};
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "forward-39",
        shows: "ping, 100 MB over TCP and frames pass the forwarder behind a 39-bit IOMMU",
        configuration: Configuration::Iommu39,
        run: forward,
    },
    Case {
        name: "forward-48",
        shows: "the same behind a 48-bit IOMMU, on huge pages",
        configuration: Configuration::Iommu48,
        run: forward,
    },
    Case {
        name: "forward-memory",
        shows: "-v tells memory, pages, mappings and the first packet; what is locked is what pool and rings need",
        configuration: Configuration::Iommu39,
        run: memory,
    },
    Case {
        name: "forward-small-rings",
        shows: "batch 1, the smallest pool and rings: nothing lost, every frame the same",
        configuration: Configuration::Iommu39,
        run: small_rings,
    },
    Case {
        name: "forward-plain-device",
        shows: "a NIC without a control queue, and so without receive modes, forwards frames for any address",
        configuration: Configuration::Iommu39,
        run: plain_device,
    },
    Case {
        name: "forward-duration",
        shows: "--duration and --packets end the forwarder by themselves, with a summary",
        configuration: Configuration::Iommu39,
        run: ends_by_itself,
    },
];

fn forward(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} --json -v"))?;
    without_capabilities(machine)?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    ping::without_loss(a, b, 100, 56)?;
    ping::without_loss(b, a, 50, 1472)?;
    let time = transfer::with_matching_hash(a, b, transfer::HUNDRED_MEGABYTES)?;
    println!("      TCP, 100 MB: {:.1} s", time.as_secs_f64());
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)?;
    let ended = forwarder::end(machine, "INT")?;
    // Each direction carried all the frames and the pings; the transfer's packets come on top.
    let least = frames.len() as u64 + 150;
    ended.cleanly()?.summary()?.plausible(FIRST, SECOND, least)?;
    promiscuous_is_told(&ended)?;
    if machine.configuration.reserves_huge_pages() && !says(&ended, &["huge"]) {
        bail!("expected a word on huge pages, which are reserved here, saw:\n{}", ended.last_words());
    }
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// The forwarder runs as the ordinary user with no capability in any set.
fn without_capabilities(machine: &mut Machine) -> Result<()> {
    let status = machine.check("cat /proc/$(cat /run/lab/forward.pid)/status")?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        if field(set) != "0000000000000000" {
            bail!("expected no capability in {set}, saw {}", field(set));
        }
    }
    if field("Name:") != "ringway" || !field("Uid:").starts_with("1000\t1000\t1000") {
        bail!("expected ringway to run as user 1000, saw {} as {}", field("Name:"), field("Uid:"));
    }
    Ok(())
}

fn promiscuous_is_told(ended: &Ended) -> Result<()> {
    if !says(ended, &["promiscuous"]) {
        bail!("expected a word on promiscuous mode, saw:\n{}", ended.last_words());
    }
    Ok(())
}

fn says(ended: &Ended, words: &[&str]) -> bool {
    let said = ended.errors.to_lowercase();
    words.iter().all(|word| said.contains(word))
}

fn memory(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    // 4096 buffers of at most 4 KiB are at most 16 MiB. Rings of 256 take less than 64 KiB a port.
    let (pool, most) = (4096, 20 * 1024);
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} -v --pool {pool} --ring-size 256"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    // VFIO counts what it pins as locked memory.
    let locked = machine.check("awk '/^VmLck/ { print $2 }' /proc/$(cat /run/lab/forward.pid)/status")?;
    let locked: u64 = locked.trim().parse()?;
    if locked == 0 || locked > most {
        bail!("expected between 1 and {most} KiB of locked memory, saw {locked}");
    }
    let ended = forwarder::end(machine, "TERM")?;
    ended.cleanly()?;
    for words in [["locked"], ["huge page"], ["mapping"], ["first packet"]] {
        if !says(&ended, &words) {
            bail!("expected -v to tell of {:?}, saw:\n{}", words[0], ended.last_words());
        }
    }
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn small_rings(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    forwarder::start(
        machine,
        &format!("ringway forward {FIRST} {SECOND} --batch 1 --ring-size 64 --pool 512"),
    )?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)?;
    ping::without_loss(a, b, 50, 1400)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    forwarder::unbind(machine, &[FIRST, SECOND])
}

/// Without receive modes the device is promiscuous for good; -v says so.
fn plain_device(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[PLAIN, SECOND])?;
    forwarder::start(machine, &format!("ringway forward {PLAIN} {SECOND} -v"))?;
    let (a, b) = (machine.wire(PLAIN_WIRE)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)?;
    let ended = forwarder::end(machine, "INT")?;
    forwarder::unbind(machine, &[PLAIN, SECOND])?;
    let line = format!("{PLAIN}: receives frames for any address");
    if !ended.cleanly()?.errors.contains(&line) {
        bail!("expected \"{line}\", saw:\n{}", ended.last_words());
    }
    Ok(())
}

fn ends_by_itself(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} --json --duration 3"))?;
    forwarder::ended_by_itself(machine)?.cleanly()?.summary()?.port(SECOND)?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} --json --packets 40"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    // It ends in the midst of these: some go unanswered.
    ping::flood(a, b, 100)?;
    let summary = forwarder::ended_by_itself(machine)?.cleanly()?.summary()?;
    let sent: u64 = summary.ports.iter().map(|port| port.sent_packets).sum();
    if sent != 40 {
        bail!("expected 40 packets forwarded, saw {sent}");
    }
    forwarder::unbind(machine, &[FIRST, SECOND])
}
