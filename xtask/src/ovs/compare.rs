//! The differential test.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::source::Switch;
use crate::cache::{self, Cache};
use crate::tool;

/// How much to compare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) packets: u64,
    pub(super) seed: u64,
    pub(super) from_start: bool,
}

/// Compares; a difference is an error that shows the case.
///
/// How far a seed has come is kept in the cache, by version, so that a long run can be interrupted.
pub(super) fn run(cache: &Cache, switch: &Switch, program: &Path, run: &Run) -> Result<()> {
    let mut command = Command::new(program);
    super::with_libraries(&mut command, switch);
    command.args(["compare", "--packets", &run.packets.to_string(), "--seed", &run.seed.to_string()]);
    if !run.from_start {
        let folder = cache.path("ovs/compared");
        cache::create_folder(&folder)?;
        command.arg("--state").arg(folder.join(format!("{}-{:x}", switch.version, run.seed)));
    }
    let said = tool::timed("compared with the C", || tool::output_of(&mut command))?;
    said.lines().for_each(|line| println!("      {line}"));
    Ok(())
}
