//! Open vSwitch's own tests with our library in place.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::source::{Release, Switch};
use crate::tool;

/// Tests that are about extraction itself: seconds.
const FEW: [&str; 2] = ["flow,extractor", "packet-type-aware"];
/// Tests that extract a great deal: minutes.
const ALL: [&str; 10] = [
    "flow,extractor",
    "packet-type-aware",
    "nsh",
    "mpls",
    "odp",
    "classifier",
    "dpif-netdev",
    "ofproto-dpif",
    "tunnel",
    "fuzz-regression",
];
/// Up to 3.7 the switch can compare its extractors with one another; what it calls the scalar one is ours then.
const AUTOVALIDATOR: &str = "MFEX";

/// Runs them with the C and with ours, and wants the same passes and calls that came to us.
pub(super) fn run(switch: &Switch, library: &Path, full: bool) -> Result<()> {
    // The programs that the tests use are built with the tests; this builds them and runs one test.
    let mut make = Command::new("make");
    make.current_dir(&switch.build).args(["check", "TESTSUITEFLAGS=1"]);
    super::with_libraries(&mut make, switch);
    tool::timed("built the programs of Open vSwitch's tests", || tool::output_of(&mut make))?;

    let mut keywords: Vec<&str> = if full { ALL.to_vec() } else { FEW.to_vec() };
    if full && switch.release == Release::V3_5 {
        keywords.push(AUTOVALIDATOR);
    }
    let theirs = tool::timed("Open vSwitch's own tests with the C", || tests(switch, &keywords, None))?;
    let calls = switch.build.join("ringway-calls");
    let _ = fs::remove_file(&calls);
    let ours = tool::timed("Open vSwitch's own tests with ours", || {
        tests(switch, &keywords, Some((library, &calls)))
    })?;
    if ours.failed != theirs.failed {
        bail!("with the C these tests fail: {:?}; with ours {:?}", theirs.failed, ours.failed);
    }
    let text =
        fs::read_to_string(&calls).with_context(|| format!("no call came to {}", library.display()))?;
    let calls: u64 = text.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
    if calls == 0 {
        bail!("no call came to {}", library.display());
    }
    println!("      {} tests passed, {calls} calls came to ours", ours.passed);
    if !ours.failed.is_empty() {
        println!("      these fail with the C, too: {}", ours.failed.join(" "));
    }
    Ok(())
}

struct Outcome {
    passed: usize,
    failed: Vec<String>,
}

fn tests(switch: &Switch, keywords: &[&str], ours: Option<(&Path, &Path)>) -> Result<Outcome> {
    let mut command = Command::new("sh");
    command.current_dir(switch.build.join("tests")).arg(switch.source.join("tests/testsuite"));
    command.args(["-C", ".", "AUTOTEST_PATH=utilities:vswitchd:ovsdb:vtep:tests:ipsec::"]);
    for keyword in keywords {
        command.args(["-k", keyword]);
    }
    super::with_libraries(&mut command, switch);
    if let Some((library, calls)) = ours {
        command.env("LD_PRELOAD", library).env("RINGWAY_FLOW_CALLS", calls);
    }
    // A failing test isn't an error here: what counts is that the same ones fail.
    let output = tool::run(&mut command)?;
    let text = tool::both_streams(&output);
    let outcome = read(&text);
    if outcome.passed == 0 {
        bail!("no test of Open vSwitch's passed\n{}", tool::last_lines(&text, 30));
    }
    Ok(outcome)
}

/// Reads lines such as ` 62: flow extractor      ok` and `123: name   FAILED (file:line)`.
fn read(text: &str) -> Outcome {
    let mut outcome = Outcome { passed: 0, failed: Vec::new() };
    for line in text.lines() {
        let Some((number, rest)) = line.trim_start().split_once(": ") else { continue };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        if rest.ends_with(" ok") {
            outcome.passed += 1;
        } else if rest.contains(" FAILED ") {
            outcome.failed.push(number.to_owned());
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    #[test]
    fn passes_and_failures_are_told_apart() {
        let text = " 62: flow extractor       ok\n963: tunnel - Geneve   FAILED (tunnel.at:7)\n\
                    964: tunnel - set        skipped (tunnel.at:9)\nWARNING: 1: not a test ok\n";
        let outcome = super::read(text);
        assert_eq!((outcome.passed, outcome.failed), (1, vec!["963".to_owned()]));
    }
}
