//! What the steps do. Each keeps its whole output in a log and shows what a person needs of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Surroundings, safety};
use crate::tool;

/// How many lines of a failing program are shown; the rest is in its log.
const SHOWN: usize = 80;

pub(super) fn format(surroundings: &Surroundings) -> Result<String> {
    component("fmt", "rustfmt")?;
    let mut command = cargo(surroundings);
    command.args(["fmt", "--all", "--", "--check"]);
    logged(surroundings, "format", &mut command, |_| false)?;
    Ok(String::new())
}

pub(super) fn clippy(surroundings: &Surroundings) -> Result<String> {
    component("clippy", "clippy")?;
    let mut command = cargo(surroundings);
    command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    logged(surroundings, "clippy", &mut command, |_| false)?;
    Ok(String::new())
}

pub(super) fn docs(surroundings: &Surroundings) -> Result<String> {
    let mut command = cargo(surroundings);
    command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    logged(surroundings, "docs", &mut command, |_| false)?;
    Ok(String::new())
}

pub(super) fn tests(surroundings: &Surroundings) -> Result<String> {
    let mut command = cargo(surroundings);
    // With it, a worker can be made to panic.
    command.args(["test", "--workspace", "--no-fail-fast", "--features", "ringway/fault-injection"]);
    let text = logged(surroundings, "tests", &mut command, |line| {
        let start = line.trim_start();
        ["Running ", "Doc-tests ", "test result:"].iter().any(|word| start.starts_with(word))
    })?;
    let passed = passed_tests(&text);
    if passed == 0 {
        bail!("expected tests to run, saw none");
    }
    let witnesses = safety::witnesses(&surroundings.root)?;
    let missing = witnesses.missing(&names_of_passed(&text));
    if !missing.is_empty() {
        bail!("docs/safety.md names tests that did not run: {}", missing.join(", "));
    }
    let (kinds, tests, cases) = (witnesses.kinds, witnesses.of_faults.len(), witnesses.cases.len());
    println!(
        "faults: {kinds} kinds made to happen, {tests} tests of them passed, {cases} cases are the lab's, violations 0"
    );
    Ok(format!("{passed} tests"))
}

/// The names, without their modules, of the tests that passed, by the harness's lines.
fn names_of_passed(text: &str) -> BTreeSet<&str> {
    let passed = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... ok"));
    passed.map(|path| path.rsplit("::").next().unwrap_or(path)).collect()
}

/// The lab runs as a process of its own: it moves itself into namespaces.
pub(super) fn lab(surroundings: &Surroundings) -> Result<String> {
    let mut command = Command::new(tool::OWN_PROGRAM);
    command.arg("lab").current_dir(&surroundings.root);
    let text = logged(surroundings, "lab", &mut command, |_| true)?;
    Ok(text.lines().next_back().unwrap_or_default().to_owned())
}

/// The budgets of instructions, at the batch sizes that have one.
pub(super) fn bench(surroundings: &Surroundings) -> Result<String> {
    let mut command = Command::new(tool::OWN_PROGRAM);
    command.args(["bench", "--budgets"]).current_dir(&surroundings.root);
    let text = logged(surroundings, "bench", &mut command, |_| true)?;
    Ok(text.lines().next_back().unwrap_or_default().to_owned())
}

/// A shorter form of the comparison with Open vSwitch, on one layout, and a few of its own tests with ours in place.
pub(super) fn ovs(surroundings: &Surroundings) -> Result<String> {
    let mut command = Command::new(tool::OWN_PROGRAM);
    command.args(["ovs", "--release", "4.0", "--tests", "--from-start"]).current_dir(&surroundings.root);
    let text = logged(surroundings, "ovs", &mut command, |_| true)?;
    Ok(text.lines().next_back().unwrap_or_default().trim().to_owned())
}

/// How many tests passed, by cargo's closing lines.
pub(super) fn passed_tests(text: &str) -> u64 {
    text.lines().filter_map(passed_in).sum()
}

/// The number in a line such as `test result: ok. 12 passed; 0 failed; …`.
fn passed_in(line: &str) -> Option<u64> {
    let (_, rest) = line.trim().strip_prefix("test result:")?.split_once(". ")?;
    rest.split_once(" passed")?.0.parse().ok()
}

pub(super) fn cargo(surroundings: &Surroundings) -> Command {
    let mut command = tool::cargo();
    command.current_dir(&surroundings.root);
    command
}

/// A part of the toolchain that may be missing.
fn component(subcommand: &str, component: &str) -> Result<()> {
    let output = tool::run(tool::cargo().args([subcommand, "--version"]))?;
    if !output.status.success() {
        bail!("cargo {subcommand} isn't installed: rustup component add {component}");
    }
    Ok(())
}

/// Runs a program, writes all it says to the step's log, and shows the lines that the filter picks as they
/// come. If the program fails, the error says which tests failed, or its last lines.
pub(super) fn logged(
    surroundings: &Surroundings,
    name: &str,
    command: &mut Command,
    show: impl Fn(&str) -> bool,
) -> Result<String> {
    let path = surroundings.logs.join(format!("{name}.log"));
    let mut log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let shown_command = tool::shown(command);
    // Both streams through one pipe keep their order.
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {shown_command}"))?;
    // The command still holds the pipe's writing end; without it, reading ends with the child.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(log, "{line}")?;
        if show(&line) {
            println!("{line}");
        }
        text.push_str(&line);
        text.push('\n');
    }
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "{shown_command} ended with {status}; all it said is in {}; {}",
            path.display(),
            failures(&text)
        );
    }
    Ok(text)
}

/// What a failed program said that matters: what the test harness says of the tests that failed, with their names
/// in the last line; without any, the last lines.
fn failures(text: &str) -> String {
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .collect();
    if names.is_empty() {
        return format!("its last lines:\n{}", tool::last_lines(text, SHOWN));
    }
    let mut told = String::from("what failed:\n");
    let mut inside = false;
    for line in text.lines() {
        inside = (inside || line.starts_with("---- ")) && !line.starts_with("failures:");
        if inside {
            told.push_str(line);
            told.push('\n');
        }
    }
    format!("{}\nfailed: {}", tool::last_lines(&told, SHOWN), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_from_cargos_closing_lines() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(passed_in(line), Some(12));
        assert_eq!(passed_in("test result: FAILED. 3 passed; 1 failed"), Some(3));
        assert_eq!(passed_in("test some_test ... ok"), None);
    }

    #[test]
    fn passed_tests_are_known_by_their_names_and_ignored_ones_are_not() {
        let text = "test a::b::one_of_them ... ok\ntest two ... FAILED\ntest three ... ignored, slow\ntest four ... ok\n";
        assert_eq!(names_of_passed(text), ["four", "one_of_them"].into());
    }

    #[test]
    fn a_failing_test_is_told_by_name_at_the_end_whatever_came_after_it() {
        let harness = "test good ... ok\ntest bad::one ... FAILED\n\nfailures:\n\n---- bad::one stdout ----\n\
                       4 is not 5\n\nfailures:\n    bad::one\n\ntest result: FAILED. 1 passed; 1 failed\n";
        let text = format!("{harness}{}", "test other ... ok\n".repeat(200));
        let told = failures(&text);
        assert!(told.contains("4 is not 5") && told.ends_with("failed: bad::one"), "{told}");
        assert!(!told.contains("other"), "{told}");
        assert!(failures("error: no such file\n").ends_with("its last lines:\nerror: no such file"));
    }

    #[test]
    fn a_failing_program_leaves_its_words_in_the_log_and_in_the_error() {
        let logs = std::env::temp_dir().join(format!("ringway-steps-{}", std::process::id()));
        std::fs::create_dir_all(&logs).unwrap();
        let surroundings = Surroundings { root: logs.clone(), logs: logs.clone() };
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 4"]);
        let error = logged(&surroundings, "trial", &mut command, |_| false).unwrap_err().to_string();
        assert!(error.contains("exit status: 4") && error.contains("one\ntwo"), "{error}");
        assert_eq!(std::fs::read_to_string(logs.join("trial.log")).unwrap(), "one\ntwo\n");
        std::fs::remove_dir_all(logs).unwrap();
    }
}
