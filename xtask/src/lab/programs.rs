//! Builds the programs that run in the guest, linked statically: the guest has no C library.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::image::Program;
use crate::tool;

/// The only target the lab's guests have.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The program under test.
const FORWARDER: &str = "ringway";
/// Its hooks for the lab, such as a panic in a worker at a chosen moment.
const FAULT_INJECTION: &str = "fault-injection";
/// Test programs that are examples of library crates; whichever crates have them.
const EXAMPLES: [&str; 2] = ["iommu-confinement", "virtio-modes"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    features: std::collections::BTreeMap<String, Vec<String>>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds all of them into a folder of their own, so that their flags don't undo other builds.
pub fn build(root: &Path) -> Result<Vec<Program>> {
    let text = tool::output_of(tool::cargo().current_dir(root).args([
        "metadata",
        "--no-deps",
        "--format-version=1",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text)?;
    let mut programs = Vec::new();
    let mut arguments = vec!["--bin".to_owned(), FORWARDER.to_owned()];
    if metadata
        .packages
        .iter()
        .any(|package| package.name == FORWARDER && package.features.contains_key(FAULT_INJECTION))
    {
        arguments.extend(["--features".to_owned(), FAULT_INJECTION.to_owned()]);
    }
    programs.push(build_one(root, FORWARDER, FORWARDER, FORWARDER, &arguments)?);
    for name in EXAMPLES {
        let has = |package: &&Package| {
            let is =
                |target: &Target| target.name == name && target.kind.iter().any(|kind| kind == "example");
            package.targets.iter().any(is)
        };
        if let Some(package) = metadata.packages.iter().find(has) {
            let arguments = ["--example".to_owned(), name.to_owned()];
            programs.push(build_one(root, &package.name, name, &format!("examples/{name}"), &arguments)?);
        }
    }
    Ok(programs)
}

fn build_one(root: &Path, package: &str, name: &str, file: &str, arguments: &[String]) -> Result<Program> {
    let target = root.join("target/lab");
    let mut command = tool::cargo();
    command
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", package])
        .args(arguments)
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target)
        // A lab's program needn't be the fastest: what costs minutes to build is left out.
        .args(["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    tool::output_of(&mut command)?;
    let path = target.join(TARGET).join("release").join(file);
    if !path.is_file() {
        bail!("cargo built no {}", path.display());
    }
    Ok(Program { name: name.to_owned(), path })
}
