//! The programs that are run: built as they are needed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tool;

/// The processor that instructions are counted for: the same everywhere, and one that valgrind knows.
const COUNTED_FOR: &str = "-C target-cpu=x86-64-v2";
/// What runs under valgrind.
const COUNTED: [&str; 4] = ["flow-instructions", "ixgbe-forward", "pool-exchange", "virtio-forward"];
/// What runs by the clock.
const TIMED: [&str; 2] = ["bare-forward", "scale"];

/// Builds what is counted, in a folder of its own under `target`; returns where it is.
pub(super) fn counted(root: &Path) -> Result<PathBuf> {
    let target = root.join("target/v2");
    let mut command = tool::cargo();
    command.current_dir(root).env("RUSTFLAGS", COUNTED_FOR).env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.args(["build", "--release", "--quiet", "-p", "ringway-benches", "--target-dir"]).arg(&target);
    COUNTED.iter().for_each(|example| {
        command.args(["--example", example]);
    });
    tool::timed("built what is counted", || tool::output_of(&mut command).map(drop))?;
    Ok(target.join("release/examples"))
}

/// Builds what runs by the clock; returns where it is.
pub(super) fn timed(root: &Path) -> Result<PathBuf> {
    let mut command = tool::cargo();
    command.current_dir(root).args([
        "build",
        "--release",
        "--quiet",
        "-p",
        "ringway-benches",
        "--features",
        "program",
    ]);
    TIMED.iter().for_each(|example| {
        command.args(["--example", example]);
    });
    tool::timed("built what is timed", || tool::output_of(&mut command).map(drop))?;
    Ok(release(root).join("examples"))
}

/// Builds `ringway`; returns the program.
pub(super) fn ringway(root: &Path) -> Result<PathBuf> {
    let mut command = tool::cargo();
    command.current_dir(root).args(["build", "--release", "--quiet", "-p", "ringway"]);
    tool::timed("built ringway", || tool::output_of(&mut command).map(drop))?;
    Ok(release(root).join("ringway"))
}

fn release(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("release")
}

/// Runs `ringway` with `--json` and returns what it says. That packets were lost is no failure.
pub(super) fn summary(program: &Path, arguments: &[String]) -> Result<serde_json::Value> {
    const LOST: i32 = 3;
    let mut command = std::process::Command::new(program);
    command.args(arguments).args(["--json", "--quiet"]);
    let output = tool::run(&mut command)?;
    if !matches!(output.status.code(), Some(0 | LOST)) {
        let said = tool::last_lines(&tool::both_streams(&output), 20);
        bail!("{} ended with {}\n{said}", tool::shown(&command), output.status);
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} printed no JSON", tool::shown(&command)))
}

/// Two processors that this process may use: one for the driver, one for everything else. The same one twice where there is
/// only one.
pub(super) fn two_cores() -> (usize, usize) {
    let allowed = ringway::machine::cpu::allowed();
    let first = allowed.first().copied().unwrap_or_default();
    (first, allowed.get(1).copied().unwrap_or(first))
}

/// What this machine is, in a few words.
pub(super) fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown processor", |(_, name)| name.trim())
        .to_owned();
    let hypervisor = if text.contains(" hypervisor") { ", a virtual machine" } else { "" };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown");
    let processors = ringway::machine::cpu::allowed().len();
    format!("{model}, {processors} processors{hypervisor}, load average {load} as it was measured")
}

/// The middle one; 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(super::median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(Vec::new()), 0.0);
    }
}
