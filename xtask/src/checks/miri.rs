//! Miri: an interpreter that sees undefined behaviour. `cargo xtask miri` runs the tests that are fit for it, where it is
//! installed; the step `miri-ready` of the test run compiles and runs the same tests as Miri would see them (`--cfg miri`), without
//! it, so that they stay fit.
//!
//! Fit is what asks nothing of a kernel: no memory files, no sockets, no assembly. What can't be is marked in the tests with the
//! reason, and long loops are short there: Miri takes about a second for what is done in a millisecond.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use super::Surroundings;
use super::steps::{cargo, logged, passed_tests};
use crate::tool;

/// Arguments of `cargo xtask miri`.
#[derive(Debug, Args)]
pub struct MiriArgs {
    /// Runs only these groups of tests
    groups: Vec<String>,
    /// The toolchain that has Miri
    #[arg(long, default_value = "nightly", value_name = "NAME")]
    toolchain: String,
}

/// Tests that are compiled together.
struct Group {
    name: &'static str,
    /// For `cargo test`, and behind `--` for the tests themselves.
    arguments: &'static [&'static str],
}

/// What is run, the crates with `unsafe` first.
const GROUPS: &[Group] = &[
    Group {
        name: "memory",
        arguments: &[
            "--package=ringway-dma",
            "--package=ringway-packet",
            "--lib",
            "--test=spaces",
            "--test=packets",
            "--test=runs",
            "--test=hostile_driver",
            "--test=conservation",
            "--test=threads",
        ],
    },
    Group {
        name: "parser",
        arguments: &[
            "--package=ringway-flow",
            "--package=ringway-flow-ovs",
            "--features=ringway-flow/samples",
            "--lib",
            "--test=paths",
            "--test=vectors",
        ],
    },
    Group { name: "pci", arguments: &["--package=ringway-pci", "--lib"] },
    // On models that are stepped by hand.
    Group {
        name: "virtio",
        arguments: &[
            "--package=ringway-virtio",
            "--lib",
            "--test=full",
            "--test=hostile",
            "--test=order",
            "--test=restart",
        ],
    },
    // A start of the 82599 is long, so a few that go a packet's whole way.
    Group {
        name: "ixgbe",
        arguments: &[
            "--package=ringway-ixgbe",
            "--lib",
            "--test=ixgbe",
            "--",
            "tests::",
            "hostile::a_length_beyond",
            "hostile::a_whole_ring",
            "moving::a_full_receive_ring",
        ],
    },
];

/// What Miri is told: memory that is left behind on purpose is no mistake (address sanitizer looks for what is by accident).
const FLAGS: &str = "-Zmiri-ignore-leaks";

/// Runs the tests under Miri.
pub fn run(arguments: &MiriArgs) -> Result<ExitCode> {
    let toolchain = &arguments.toolchain;
    let there = tool::run(miri(toolchain).arg("--version"));
    if !there.is_ok_and(|output| output.status.success()) {
        bail!(
            "the toolchain {toolchain} has no Miri: `rustup +{toolchain} component add miri rust-src` adds it, and \
             `rustup toolchain install {toolchain} --component miri,rust-src` where there is no such toolchain"
        );
    }
    let names: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
    if let Some(unknown) = arguments.groups.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no group {unknown}; there are {}", names.join(", "));
    }
    let root = crate::workspace()?;
    let wanted = |group: &&Group| {
        arguments.groups.is_empty() || arguments.groups.iter().any(|name| name == group.name)
    };
    let mut failed = Vec::new();
    for group in GROUPS.iter().filter(wanted) {
        println!("{}:", group.name);
        let mut command = miri(toolchain);
        command.arg("test").arg("--no-fail-fast").args(group.arguments).current_dir(&root);
        // Of the compiler that runs this.
        command.env("MIRIFLAGS", FLAGS).env_remove("RUSTFLAGS").env_remove("CARGO").env_remove("RUSTC");
        if !command.status()?.success() {
            failed.push(group.name);
        }
    }
    if !failed.is_empty() {
        bail!("Miri found something in: {}", failed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn miri(toolchain: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, "cargo", "miri"]);
    command
}

/// The same tests as Miri would see them, without it.
pub(super) fn ready(surroundings: &Surroundings) -> Result<String> {
    let mut passed = 0;
    for group in GROUPS {
        let mut command = cargo(surroundings);
        command
            .args(["test", "--no-fail-fast"])
            .args(group.arguments)
            .env("RUSTFLAGS", "--cfg miri")
            .env("CARGO_TARGET_DIR", surroundings.root.join("target/miri-ready"));
        let text = logged(surroundings, &format!("miri-ready-{}", group.name), &mut command, |_| false)?;
        let count = passed_tests(&text);
        if count == 0 {
            bail!("expected tests of the group {} to run, saw none", group.name);
        }
        passed += count;
    }
    Ok(format!("{passed} tests fit for Miri"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_without_miri_is_refused_with_the_way_out() {
        let toolchain = "none-of-that-name".to_owned();
        let error = run(&MiriArgs { groups: Vec::new(), toolchain }).unwrap_err().to_string();
        assert!(error.contains("rustup +none-of-that-name component add miri"), "{error}");
    }
}
