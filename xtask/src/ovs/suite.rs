//! Open vSwitch's own tests with our library in place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::source::Switch;
use crate::cache::{self, Cache};
use crate::tool;

/// Files with tests that are about extraction itself: a minute or two.
const FEW: [&str; 5] =
    ["packet-type-aware.at", "nsh.at", "mpls-xlate.at", "odp.at", "fuzz-regression-list.at"];
/// Files with further tests that extract a great deal.
const MORE: [&str; 6] = [
    "classifier.at",
    "dpif-netdev.at",
    "ofproto-dpif.at",
    "tunnel.at",
    "tunnel-push-pop.at",
    "tunnel-push-pop-ipv6.at",
];
/// Single tests of other files, by what is in their names. Up to 3.7 the switch can compare its extractors with one
/// another; what it calls the scalar one is ours then.
const SINGLE: [&str; 2] = ["flow extractor", "MFEX"];

/// The numbers of the tests, from the list that the test program gives of all, in lines such as
/// `  58: library.at:3       flow extractor`.
fn chosen(list: &str, full: bool) -> Result<Vec<String>> {
    let tests: Vec<(&str, &str, &str)> = list
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.trim_start().split_once(": ")?;
            let (place, title) = rest.trim_start().split_once(char::is_whitespace)?;
            Some((number, place.split_once(':')?.0, title))
        })
        .collect();
    let files: Vec<&str> = if full { [&FEW[..], &MORE[..]].concat() } else { FEW.to_vec() };
    if let Some(file) = files.iter().find(|&file| !tests.iter().any(|(_, place, _)| place == file)) {
        bail!("Open vSwitch's tests have none of {file}");
    }
    if !tests.iter().any(|(_, _, title)| title.contains(SINGLE[0])) {
        bail!("Open vSwitch's tests have no \"{}\"", SINGLE[0]);
    }
    let wanted = |&(_, place, title): &(&str, &str, &str)| {
        files.contains(&place) || SINGLE.iter().any(|name| title.contains(name))
    };
    Ok(tests.iter().filter(|test| wanted(test)).map(|(number, ..)| (*number).to_owned()).collect())
}

/// Runs them with the C and with ours, and wants the same outcome of each and calls that came to us.
///
/// What the C gave is kept in the cache: it doesn't change. `afresh` runs it again.
pub(super) fn run(cache: &Cache, switch: &Switch, library: &Path, full: bool, afresh: bool) -> Result<()> {
    // One run at a time: they share a folder.
    let _lock = cache.lock(&format!("ovs-suite-{}", switch.version))?;
    // The programs that the tests use are built with the tests; this builds them and runs one test.
    let mut make = Command::new("make");
    make.current_dir(&switch.build).args(["check", "TESTSUITEFLAGS=1"]);
    super::with_libraries(&mut make, switch);
    tool::timed("built the programs of Open vSwitch's tests", || tool::output_of(&mut make))?;

    let list = tool::output_of(program(switch, 1, None).arg("--list"))?;
    let chosen = chosen(&list, full)?;
    let kept = cache.path(format!("ovs/suite/{}-{}", switch.version, if full { "all" } else { "few" }));
    let mut theirs = match fs::read_to_string(&kept) {
        Ok(text) if !afresh => {
            println!("      Open vSwitch's own tests with the C: as kept in {}", kept.display());
            read(&text)
        }
        _ => {
            let text = tool::timed("Open vSwitch's own tests with the C", || tests(switch, &chosen, None))?;
            if let Some(folder) = kept.parent() {
                cache::create_folder(folder)?;
            }
            cache::write_whole(&kept, text.as_bytes())?;
            read(&text)
        }
    };
    let calls = switch.build.join("ringway-calls");
    let _ = fs::remove_file(&calls);
    let mut ours = read(&tool::timed("Open vSwitch's own tests with ours", || {
        tests(switch, &chosen, Some((library, &calls)))
    })?);
    // Some wait for less time than a busy machine takes: first ours, then the C once more, what differs and by itself.
    again(switch, &differing(&theirs, &ours), &mut ours, Some((library, &calls)))?;
    again(switch, &differing(&theirs, &ours), &mut theirs, None)?;
    let text =
        fs::read_to_string(&calls).with_context(|| format!("no call came to {}", library.display()))?;
    let calls: u64 = text.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
    if calls == 0 {
        bail!("no call came to {}", library.display());
    }
    let (passed, differences) = (count(&ours, "ok"), differences(&theirs, &ours));
    println!("      {} tests ran, {passed} passed, {calls} calls came to ours", ours.len());
    for (outcome, name) in [("FAILED", "fail"), ("skipped", "are skipped")] {
        let those: Vec<&str> = numbers(&ours, outcome).collect();
        if !those.is_empty() {
            println!("      these {name}: {}", those.join(" "));
        }
    }
    if !differences.is_empty() {
        bail!("with ours these tests end otherwise than with the C:\n{}", differences.join("\n"));
    }
    Ok(())
}

/// Runs these tests once more by themselves, and replaces their outcomes.
fn again(
    switch: &Switch,
    tests: &[String],
    outcomes: &mut Outcomes,
    ours: Option<(&Path, &Path)>,
) -> Result<()> {
    if tests.is_empty() {
        return Ok(());
    }
    println!("      once more, alone, with {}: {}", ours.map_or("the C", |_| "ours"), tests.join(" "));
    outcomes.extend(read(&tool::both_streams(&tool::run(program(switch, 1, ours).args(tests))?)));
    Ok(())
}

/// The tests that don't end alike.
fn differing(theirs: &Outcomes, ours: &Outcomes) -> Vec<String> {
    let all: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    all.into_iter().filter(|&number| theirs.get(number) != ours.get(number)).cloned().collect()
}

/// What became of each test, by its number.
type Outcomes = BTreeMap<String, String>;

fn numbers<'a>(outcomes: &'a Outcomes, which: &'a str) -> impl Iterator<Item = &'a str> {
    outcomes.iter().filter(move |(_, outcome)| *outcome == which).map(|(number, _)| number.as_str())
}

fn count(outcomes: &Outcomes, which: &str) -> usize {
    numbers(outcomes, which).count()
}

/// The tests that don't end alike, and how they end.
fn differences(theirs: &Outcomes, ours: &Outcomes) -> Vec<String> {
    let shown = |outcome: Option<&String>| outcome.map_or("not run", String::as_str).to_owned();
    differing(theirs, ours)
        .iter()
        .map(|number| format!("{number}: C {}, ours {}", shown(theirs.get(number)), shown(ours.get(number))))
        .collect()
}

/// Runs the tests with these numbers, and gives what the test program says.
fn tests(switch: &Switch, chosen: &[String], ours: Option<(&Path, &Path)>) -> Result<String> {
    // They wait more than they compute.
    let jobs = 2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut command = program(switch, jobs, ours);
    command.args(chosen);
    // A failing test isn't an error here: what counts is that the same ones fail.
    let text = tool::both_streams(&tool::run(&mut command)?);
    if count(&read(&text), "ok") == 0 {
        bail!("no test of Open vSwitch's passed\n{}", tool::last_lines(&text, 30));
    }
    Ok(text)
}

/// The test program, ours preloaded into all that it runs, or not.
fn program(switch: &Switch, jobs: usize, ours: Option<(&Path, &Path)>) -> Command {
    let mut command = Command::new("sh");
    command.current_dir(switch.build.join("tests")).arg(switch.source.join("tests/testsuite"));
    command.args(["-C", ".", "AUTOTEST_PATH=utilities:vswitchd:ovsdb:vtep:tests:ipsec::"]);
    command.arg(format!("-j{jobs}"));
    super::with_libraries(&mut command, switch);
    if let Some((library, calls)) = ours {
        command.env("LD_PRELOAD", library).env("RINGWAY_FLOW_CALLS", calls);
    }
    command
}

/// Reads lines such as ` 62: flow extractor      ok` and `123: name   FAILED (file:line)`.
fn read(text: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for line in text.lines() {
        let Some((number, rest)) = line.trim_start().split_once(": ") else { continue };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let outcome = ["FAILED", "skipped", "expected failure"]
            .into_iter()
            .find(|outcome| rest.contains(&format!(" {outcome} (")) || rest.ends_with(&format!(" {outcome}")))
            .or_else(|| rest.ends_with(" ok").then_some("ok"));
        if let Some(outcome) = outcome {
            outcomes.insert(number.to_owned(), outcome.to_owned());
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::{chosen, differences, read};

    const TEXT: &str = " 62: flow extractor       ok\n963: tunnel - Geneve   FAILED (tunnel.at:7)\n\
                        964: tunnel - set        skipped (tunnel.at:9)\nWARNING: 1: not a test ok\n";

    #[test]
    fn passes_failures_and_skips_are_told_apart() {
        let outcomes = read(TEXT);
        let outcomes: Vec<(&str, &str)> =
            outcomes.iter().map(|(number, outcome)| (number.as_str(), outcome.as_str())).collect();
        assert_eq!(outcomes, [("62", "ok"), ("963", "FAILED"), ("964", "skipped")]);
    }

    #[test]
    fn tests_are_chosen_by_file_and_by_name_and_a_file_without_any_is_an_error() {
        let files =
            ["packet-type-aware", "nsh", "mpls-xlate", "odp", "fuzz-regression-list", "bfd", "tunnel"];
        let mut list =
            String::from("NUM: FILE-NAME:LINE     TEST-GROUP-NAME\n  1: library.at:3   flow extractor\n");
        for (number, file) in files.iter().enumerate() {
            list += &format!("{:3}: {file}.at:7  some - test\n      keyword\n", number + 2);
        }
        assert_eq!(chosen(&list, false).unwrap(), ["1", "2", "3", "4", "5", "6"]);
        assert!(chosen(&list, true).unwrap_err().to_string().contains("classifier.at"));
        assert!(chosen(&list.replace("flow ex", "ex"), false).is_err());
    }

    #[test]
    fn a_test_that_is_no_longer_run_is_a_difference() {
        let fewer = read(" 62: flow extractor       ok\n963: tunnel - Geneve   FAILED (tunnel.at:7)\n");
        assert_eq!(differences(&read(TEXT), &fewer), ["964: C skipped, ours not run"]);
        assert!(differences(&read(TEXT), &read(TEXT)).is_empty());
    }
}
