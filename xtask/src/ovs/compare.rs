//! The differential test.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

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
/// How far a seed has come is kept in the cache, so that a long run can be interrupted: by version, and by what the
/// program is, since what another parser has passed proves nothing of this one.
pub(super) fn run(cache: &Cache, switch: &Switch, program: &Path, run: &Run) -> Result<()> {
    let mut command = Command::new(program);
    super::with_libraries(&mut command, switch);
    command.args(["compare", "--packets", &run.packets.to_string(), "--seed", &run.seed.to_string()]);
    if !run.from_start {
        let folder = cache.path("ovs/compared");
        cache::create_folder(&folder)?;
        let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        let digest: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        command.arg("--state").arg(folder.join(format!("{}-{:x}-{digest}", switch.version, run.seed)));
    }
    let said = tool::timed("compared with the C", || tool::output_of(&mut command))?;
    said.lines().for_each(|line| println!("      {line}"));
    Ok(())
}
