//! Ringway's own chores: `cargo xtask <command>`.

mod bench;
mod cache;
mod checks;
mod debian;
mod lab;
mod man;
mod ovs;
mod prove;
mod tool;
mod valgrind;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use ringway::binding;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Ringway's own chores", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything that proves Ringway: formatting, lints, documentation, licences, tests, the lab
    Test(checks::TestArgs),
    /// Runs the tests that are fit for it under Miri, which sees undefined behaviour; for machines that have it
    Miri(checks::miri::MiriArgs),
    /// Counts instructions, measures time, and holds both against budgets and an earlier run
    Bench(bench::BenchArgs),
    /// The papers' figures on two network cards of this machine, and what the IOMMU costs
    BenchNic(bench::nic::NicArgs),
    /// Runs Ringway in a virtual machine with an IOMMU, with real network stacks at both ends
    Lab(lab::LabArgs),
    /// The lab's second half, which it starts itself
    #[command(hide = true)]
    LabInside(lab::InsideArgs),
    /// Compares the list of every `unsafe` in docs/safety.md with the source, or writes it
    Safety(checks::safety::SafetyArgs),
    /// Compares the flow parser with Open vSwitch's own, and runs Open vSwitch with ours
    Ovs(ovs::OvsArgs),
    /// Long runs, in turn: fuzzing, comparison with Open vSwitch, forwarding under faults; totals are kept
    Prove(prove::ProveArgs),
    /// Writes the manual pages of `ringway`
    Man(man::ManArgs),
    #[command(flatten)]
    Binding(binding::Command),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(arguments) => checks::run(&arguments),
        Command::Miri(arguments) => checks::miri::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::BenchNic(arguments) => bench::nic::run(&arguments),
        Command::Lab(arguments) => lab::run(&arguments),
        Command::LabInside(arguments) => lab::run_inside(&arguments),
        Command::Safety(arguments) => checks::safety::run(&arguments),
        Command::Ovs(arguments) => ovs::run(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::Binding(command) => {
            Ok(command.run(&binding::Context::new("cargo xtask", binding::Elevation::Sudo)))
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace that this program was built from.
fn workspace() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().context("xtask lies in no workspace")?;
    Ok(root.to_owned())
}
