//! Builds `ringway-flow-ovs` against a switch: the program that compares, and the library that goes into it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::source::Switch;
use crate::tool;

/// The program that compares with the C.
pub(super) fn comparison(switch: &Switch) -> Result<PathBuf> {
    let target =
        cargo(switch, "compare", &["--features", "differential", "--bin", "ringway-flow-differential"])?;
    Ok(target.join("ringway-flow-differential"))
}

/// The library to preload, which counts the calls it gets.
pub(super) fn library(switch: &Switch) -> Result<PathBuf> {
    Ok(cargo(switch, "library", &["--features", "count-calls", "--lib"])?.join("libringway_flow_ovs.so"))
}

/// The library to preload as it is meant to be used, without a counter.
pub(super) fn plain_library(switch: &Switch) -> Result<PathBuf> {
    Ok(cargo(switch, "plain", &["--lib"])?.join("libringway_flow_ovs.so"))
}

/// Runs cargo with a target folder of its own for each switch and use, and gives the folder that holds the result.
fn cargo(switch: &Switch, purpose: &str, arguments: &[&str]) -> Result<PathBuf> {
    let root = crate::workspace()?;
    let target = root.join("target").join(format!("ovs-{}-{purpose}", switch.release));
    let mut command: Command = tool::cargo();
    command.current_dir(&root).args(["build", "--quiet", "--profile", "ovs", "-p", "ringway-flow-ovs"]);
    command.args(arguments).env("CARGO_TARGET_DIR", &target);
    command.env("RINGWAY_OVS_SOURCE", &switch.source).env("RINGWAY_OVS_BUILD", &switch.build);
    command.env("RINGWAY_OVS_LIBRARIES", &switch.libraries);
    tool::output_of(&mut command)?;
    Ok(target.join("ovs"))
}
