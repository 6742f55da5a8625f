//! The steps that look at memory and threads more closely than a plain test does.
//!
//! Sanitizers are unstable options of the compiler; its stable releases bring the run-time libraries along, and take
//! the options with `RUSTC_BOOTSTRAP`, so the pinned compiler does. For thread sanitizer the standard library is built with
//! it, from source (`standard_library`): every lock is seen, and nothing has to be suppressed.

use std::process::Command;

use anyhow::{Result, bail};

use super::steps::{cargo, logged, passed_tests};
use super::{Surroundings, standard_library};

/// The only machine that these run on so far.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The crates with `unsafe` that have no C at their side, and their tests. What must not compile is left out: there is
/// nothing to run.
const MEMORY_TESTS: [&str; 13] = [
    "--package",
    "ringway-dma",
    "--package",
    "ringway-packet",
    "--lib",
    "--test",
    "packets",
    "--test",
    "hostile_driver",
    "--test",
    "runs",
    "--test",
    "threads",
];

/// Every interleaving of the protocols that two threads, or a driver and a device, have between them.
pub(super) fn loom(surroundings: &Surroundings) -> Result<String> {
    let mut command = cargo(surroundings);
    command
        .args([
            "test",
            "--release",
            "--package",
            "ringway-dma",
            "--package",
            "ringway-virtio",
            "--test",
            "loom",
        ])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", surroundings.root.join("target/loom"));
    passed(&logged(surroundings, "loom", &mut command, closing)?)
}

/// No access outside of what is allocated, and none after it is freed.
pub(super) fn address(surroundings: &Surroundings) -> Result<String> {
    let mut command = cargo(surroundings);
    sanitized(surroundings, &mut command, "asan", "-Zsanitizer=address");
    command.args(MEMORY_TESTS);
    let memory = logged(surroundings, "address-sanitizer", &mut command, closing)?;
    let mut command = cargo(surroundings);
    sanitized(surroundings, &mut command, "asan", "-Zsanitizer=address");
    command.args(["--package", "ringway-virtio", "--package", "ringway-ixgbe", "--tests"]);
    // What is forgotten on purpose stays until the process ends, which is a leak to the sanitizer and right to us.
    command.args(["--", "--skip", "forgotten"]);
    let drivers = logged(surroundings, "address-sanitizer-drivers", &mut command, closing)?;
    // The other crates with `unsafe`, without the C that one of them may stand beside: ioctls, mapped registers, pointers
    // from C.
    let mut command = cargo(surroundings);
    sanitized(surroundings, &mut command, "asan", "-Zsanitizer=address");
    command.args(["--package", "ringway-pci", "--package", "ringway-flow-ovs", "--lib"]);
    let boundaries = logged(surroundings, "address-sanitizer-boundaries", &mut command, closing)?;
    passed(&(memory + &drivers + &boundaries))
}

/// No two threads at the same place without an order between them.
pub(super) fn thread(surroundings: &Surroundings) -> Result<String> {
    let source = standard_library::source()?;
    let command = || {
        let mut command = cargo(surroundings);
        sanitized(surroundings, &mut command, "tsan", "-Zsanitizer=thread");
        command.arg("-Zbuild-std").env(standard_library::PLACE, &source);
        command
    };
    let mut memory = command();
    memory.args(MEMORY_TESTS).args(["--", "--test-threads=1"]);
    let memory = logged(surroundings, "thread-sanitizer", &mut memory, closing)?;
    let mut drivers = command();
    drivers.args(["--package", "ringway-virtio", "--package", "ringway-ixgbe", "--tests"]);
    // Those with queues and models on threads of their own.
    drivers.args(["--", "--test-threads=1", "thread", "panic_in_a_worker"]);
    let drivers = logged(surroundings, "thread-sanitizer-drivers", &mut drivers, closing)?;
    passed(&(memory + &drivers))
}

/// `cargo test` with a sanitizer, in a target folder of its own. A named target keeps it out of build scripts.
fn sanitized(surroundings: &Surroundings, command: &mut Command, folder: &str, flags: &str) {
    command
        .args(["test", "--no-fail-fast", "--target", TARGET])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", surroundings.root.join("target").join(folder));
}

fn closing(line: &str) -> bool {
    ["Running ", "test result:"].iter().any(|word| line.trim_start().starts_with(word))
}

fn passed(text: &str) -> Result<String> {
    match passed_tests(text) {
        0 => bail!("expected tests to run, saw none"),
        passed => Ok(format!("{passed} tests")),
    }
}
