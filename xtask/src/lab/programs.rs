//! Builds the programs that run in the guest, linked statically: the guest has no C library.

use std::path::Path;

use anyhow::{Result, bail};

use super::image::Program;
use crate::tool;

/// The only target the lab's guests have.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds all of them into a folder of their own, so that their flags don't undo other builds.
pub fn build(root: &Path) -> Result<Vec<Program>> {
    let target = root.join("target/lab");
    let mut command = tool::cargo();
    command
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", "ringway", "--bin", "ringway"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target)
        // A lab's program needn't be the fastest: what costs minutes to build is left out.
        .args(["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    tool::output_of(&mut command)?;
    let path = target.join(TARGET).join("release/ringway");
    if !path.is_file() {
        bail!("cargo built no {}", path.display());
    }
    Ok(vec![Program { name: "ringway".to_owned(), path }])
}
