//! Instructions per packet and per buffer, counted by callgrind.
//!
//! Figures have names of parts: `ixgbe/forward/32` is what a forwarded packet takes at batch 32, `ixgbe/forward/32/receive`
//! what of it is receiving, `…/loads` how often memory is read.

use std::path::Path;

use anyhow::{Context, Result};
use ringway_benches::callgrind::{Profile, Valgrind, event};
use ringway_benches::forwarding::{self, IXGBE, Part, SIZES, Subject, VIRTIO};

use super::baseline::Figures;
use crate::tool;

/// Both drivers.
pub(super) const SUBJECTS: [Subject; 2] = [IXGBE, VIRTIO];
/// Batch sizes at which parts, loads, stores and branches are told, too.
pub(super) const TOLD: [usize; 2] = [8, 32];
/// What is counted beside instructions, and its name.
pub(super) const EVENTS: [(&str, &str); 5] = [
    ("loads", event::LOADS),
    ("stores", event::STORES),
    ("branches", event::CONDITIONAL),
    ("wrong", event::CONDITIONAL_WRONG),
    ("indirect", event::INDIRECT),
];
/// Batch sizes with flow extraction.
pub(super) const WITH_FLOW: [usize; 3] = [8, 32, 256];
/// Buffers that are exchanged with the pool at once.
pub(super) const POOL: [usize; 5] = [1, 8, 32, 128, 256];
/// Passes over 32 packets of the parser, and buffers of the pool.
const PASSES: usize = 100;
const BUFFERS: usize = 16_384;

/// How much is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All there is.
    All,
    /// What budgets ask for.
    Budgets,
}

/// Counts. `folder` has the programs.
pub(super) fn count(valgrind: &Valgrind, folder: &Path, extent: Extent) -> Result<Figures> {
    let mut figures = Figures::new();
    let all = extent == Extent::All;
    for subject in SUBJECTS {
        let program = folder.join(subject.example);
        let name = subject.driver;
        tool::timed(format!("counted {name}, forwarding"), || {
            let budgeted: Vec<usize> = subject.budgets.iter().map(|(size, _)| *size).collect();
            let sizes: &[usize] = if all { &SIZES } else { &budgeted };
            for &size in sizes {
                let told = TOLD.contains(&size);
                let (profile, packets) = subject.profile(valgrind, &program, size, false, told && all)?;
                forwarded(&mut figures, &format!("{name}/forward/{size}"), &profile, packets, told);
            }
            let sizes: &[usize] = if all { &WITH_FLOW } else { &TOLD };
            for &size in sizes {
                let (profile, packets) = subject.profile(valgrind, &program, size, true, false)?;
                forwarded(&mut figures, &format!("{name}/flow/{size}"), &profile, packets, false);
            }
            Ok(())
        })?;
    }
    tool::timed("counted the pool", || pool(&mut figures, valgrind, &folder.join("pool-exchange"), all))?;
    tool::timed("counted the flow parser", || {
        parser(&mut figures, valgrind, &folder.join("flow-instructions"), all)
    })?;
    Ok(figures)
}

/// One decimal: what is behind it is the start of a ring.
fn per(count: u64, packets: u64) -> f64 {
    (count as f64 * 10.0 / packets.max(1) as f64).round() / 10.0
}

fn forwarded(figures: &mut Figures, name: &str, profile: &Profile, packets: u64, told: bool) {
    let instructions = |part: Option<Part>| {
        profile.sum(event::INSTRUCTIONS, |function| {
            forwarding::counts(function) && part.is_none_or(|part| Part::of(function) == part)
        })
    };
    figures.insert(name.to_owned(), per(instructions(None), packets));
    if !told {
        return;
    }
    for part in Part::ALL.into_iter().filter(|part| *part != Part::Flow) {
        figures.insert(format!("{name}/{}", part.name()), per(instructions(Some(part)), packets));
    }
    for (word, is_part) in [("get", forwarding::gets as fn(&str) -> bool), ("put", forwarding::puts)] {
        let count = profile.sum(event::INSTRUCTIONS, is_part);
        figures.insert(format!("{name}/pool-{word}"), per(count, packets));
    }
    for (word, event) in EVENTS {
        let count = profile.sum(event, forwarding::counts);
        if count > 0 {
            figures.insert(format!("{name}/{word}"), per(count, packets));
        }
    }
}

fn pool(figures: &mut Figures, valgrind: &Valgrind, program: &Path, all: bool) -> Result<()> {
    for size in POOL.into_iter().filter(|&size| all || size == 32) {
        let arguments = [size.to_string(), (BUFFERS / size).to_string()];
        let profile = valgrind.profile(program, &arguments, "*pool_exchange::exchange*", false)?;
        let count = profile.sum(event::INSTRUCTIONS, |_| true);
        figures.insert(format!("pool/{size}"), per(count, BUFFERS as u64));
    }
    Ok(())
}

fn parser(figures: &mut Figures, valgrind: &Valgrind, program: &Path, all: bool) -> Result<()> {
    let kinds = tool::output_of(std::process::Command::new(program).arg("kinds"))?;
    for kind in kinds.lines().filter(|&kind| all || kind == "udp-ipv4") {
        let total = |does: &str| -> Result<u64> {
            let arguments = [kind.to_owned(), PASSES.to_string(), does.to_owned()];
            let profile = valgrind.profile(program, &arguments, "*flow_instructions::pass_*", false)?;
            Ok(profile.sum(event::INSTRUCTIONS, |_| true))
        };
        let parser = total("extract")?.checked_sub(total("nothing")?);
        let parser = parser.context("the parser takes less than nothing: the program was changed")?;
        figures.insert(format!("flow/{kind}"), per(parser, 32 * PASSES as u64));
    }
    Ok(())
}
