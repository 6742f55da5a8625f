//! `cargo xtask bench`: what Ringway's packet path takes, in instructions, which repeat exactly, and in time, which doesn't.
//!
//! Instructions are counted under valgrind, compared with the baseline in `benches/baseline.json`, and held against the
//! budgets: a broken one fails the run. Time is measured and printed; it never fails a run. With `--write`, the baseline
//! and what docs/performance.md has between its markers are written anew.

mod baseline;
mod criterion;
mod document;
mod instructions;
mod latency;
pub mod nic;
mod peers;
mod plot;
mod programs;
mod rates;
mod scale;
mod tables;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::cache::Cache;
use baseline::Figures;
use document::Document;
use instructions::Extent;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Only count instructions: leave out everything that is measured in time
    #[arg(long)]
    no_time: bool,
    /// Only count instructions at the batch sizes that have budgets
    #[arg(long, conflicts_with = "write")]
    budgets: bool,
    /// Write the baseline, and the tables and plots of docs/performance.md
    #[arg(long)]
    write: bool,
    /// Only these parts of what is measured in time: criterion, rates, latency, scale
    #[arg(long = "part", value_name = "NAME", conflicts_with = "no_time")]
    parts: Vec<Part>,
    /// Seconds of each measurement of rates and latency
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
}

/// What is measured in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Criterion,
    Rates,
    Latency,
    Scale,
}

/// Runs it all.
pub fn run(arguments: &BenchArgs) -> Result<ExitCode> {
    let root = crate::workspace()?;
    let wants = |part| {
        !arguments.no_time
            && !arguments.budgets
            && (arguments.parts.is_empty() || arguments.parts.contains(&part))
    };
    let mut document = Document::open(&root)?;
    let figures = count(&root, if arguments.budgets { Extent::Budgets } else { Extent::All })?;
    let before = baseline::read(&root)?;
    print!("{}", baseline::comparison(&figures, &before));
    let broken = baseline::broken(&figures);
    if !arguments.budgets {
        tables::instructions(&mut document, &figures)?;
    }
    if wants(Part::Criterion) {
        criterion::run(&root)?;
        criterion::tell(&mut document, &criterion::estimates(&root)?)?;
    }
    if wants(Part::Rates) {
        rates::run(&root, &mut document, arguments.seconds)?;
    }
    if wants(Part::Latency) {
        latency::run(&root, &mut document, arguments.seconds)?;
    }
    if wants(Part::Scale) {
        scale::run(&root, &mut document)?;
    }
    if arguments.write {
        baseline::write(&root, &figures)?;
        document.write()?;
        println!("written: benches/baseline.json, docs/performance.md, docs/performance/");
    }
    if !broken.is_empty() {
        bail!("more instructions than the budget allows:\n  {}", broken.join("\n  "));
    }
    println!("every budget of instructions is met");
    Ok(ExitCode::SUCCESS)
}

/// Counts instructions.
fn count(root: &std::path::Path, extent: Extent) -> Result<Figures> {
    let valgrind = crate::valgrind::obtain(&Cache::open()?)?;
    let folder = programs::counted(root)?;
    instructions::count(&valgrind, &folder, extent)
}
