//! The lab: `cargo xtask lab`. A guest with a virtual IOMMU and a stock Debian kernel, real network stacks at
//! both ends of the wire, and Ringway in between as an ordinary user.
//!
//! The run has two halves. The first, in the user's own surroundings, fetches (`fetch`) and builds
//! (`programs`, `image`). The second, in namespaces of its own (`isolate`), boots guests (`machine`) and runs
//! the cases (`cases`). docs/lab.md tells how to use it and how to add a case.

mod accelerator;
mod analysis;
mod archive;
mod cards;
mod cases;
mod configuration;
mod control;
mod fetch;
mod forwarder;
mod image;
mod isolate;
mod machine;
mod modules;
mod packet_socket;
mod plan;
mod process;
mod programs;
mod run;
mod tcpdump;
mod traffic;
mod userland;
mod vlan;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cache::{self, Cache};
use crate::tool;
use plan::Plan;

/// The names of all cases.
pub fn case_names() -> std::collections::BTreeSet<&'static str> {
    cases::all().iter().map(|case| case.name).chain(cases::ON_HOST.iter().map(|case| case.name)).collect()
}

/// Arguments of `cargo xtask lab`.
#[derive(Debug, Args)]
pub struct LabArgs {
    /// The cases to run; all if none is given. A name that ends in `*` stands for all that begin so
    cases: Vec<String>,
    /// Lists the cases and runs none
    #[arg(long)]
    list: bool,
    /// Keeps consoles and logs of what passed, too
    #[arg(long)]
    keep: bool,
    /// Asks the archive for newer packages even if those in the cache would do
    #[arg(long)]
    refresh: bool,
}

/// Arguments of the second half, which the first one starts.
#[derive(Debug, Args)]
pub struct InsideArgs {
    /// The plan's file
    plan: PathBuf,
}

/// Fetches, builds, boots and runs.
pub fn run(arguments: &LabArgs) -> Result<ExitCode> {
    let all = cases::all();
    if arguments.list {
        for case in cases::ON_HOST {
            println!("{:<27} {:<9} {}", case.name, "host", case.shows);
        }
        for case in &all {
            let waits = if case.waits() { " (waits: not run unless named)" } else { "" };
            println!("{:<27} {:<9} {}{waits}", case.name, case.configuration.to_string(), case.shows);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let names = chosen(&all, &arguments.cases)?;
    let root = crate::workspace()?;
    let logs = root.join("target/lab/logs");
    cache::remove_folder(&logs)?;
    cache::create_folder(&logs)?;
    let cache = Cache::open()?;
    let fetched = fetch::all(&cache, arguments.refresh)?;
    let programs = tool::timed("built the programs for the guest", || programs::build(&root))?;
    let image = root.join("target/lab/guest.image");
    tool::timed("wrote the guest's image", || image::build(&image, &fetched, &programs))?;
    let userland = root.join("target/lab/userland.image");
    cache::write_whole(&userland, &userland::build(&fetched.userland)?)?;
    let program = programs.first().map(|program| program.path.clone()).context("no program was built")?;
    let plan = Plan {
        qemu: fetched.qemu,
        kernel: fetched.kernel,
        image,
        userland,
        busybox: fetched.busybox,
        program,
        analysers: fetched.analysers,
        captures: fetched.captures,
        accelerator: None,
        accelerator_record: cache.path("accelerator.json"),
        logs: logs.clone(),
        cases: names,
        keep: arguments.keep,
    };
    let path = logs.join("plan.json");
    plan.write(&path)?;
    let path = path.to_str().context("the workspace's path is not valid text")?;
    let status = isolate::run_inside(&["lab-inside", path])?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The second half.
pub fn run_inside(arguments: &InsideArgs) -> Result<ExitCode> {
    isolate::end_with_parent()?;
    let plan = Plan::read(&arguments.plan)?;
    Ok(if run::all(&plan)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(all: &[cases::Case], wanted: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for pattern in wanted {
        let before = names.len();
        let both = cases::ON_HOST.iter().map(|case| case.name).chain(all.iter().map(|case| case.name));
        names.extend(both.filter(|name| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        }));
        if names.len() == before {
            bail!("there is no case {pattern}: see `cargo xtask lab --list`");
        }
    }
    if wanted.is_empty() {
        names.extend(cases::ON_HOST.iter().map(|case| case.name));
        names.extend(all.iter().filter(|case| !case.waits()).map(|case| case.name));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}
