//! The lab's second half: inside its namespaces, boots a guest for each configuration and runs the cases.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::accelerator::{self, Accelerator};
use super::cases::{self, Case, HostCase};
use super::configuration::Configuration;
use super::machine::Machine;
use super::plan::Plan;
use crate::tool;

/// What a case's place in the kernel's log begins with.
const MARK: &str = "ringway-lab: case ";

/// Runs the plan's cases and returns whether all passed.
pub fn all(plan: &Plan) -> Result<bool> {
    let mut tally = Tally::default();
    let chosen = |name: &str| plan.cases.iter().any(|wanted| wanted == name);
    for case in cases::ON_HOST.iter().filter(|case| chosen(case.name)) {
        run_on_host(plan, case, &mut tally);
    }
    let mut by_configuration: BTreeMap<Configuration, Vec<Case>> = BTreeMap::new();
    for case in cases::all().into_iter().filter(|case| chosen(case.name)) {
        by_configuration.entry(case.configuration).or_default().push(case);
    }
    let accelerator = match plan.accelerator {
        Some(accelerator) => accelerator,
        None if by_configuration.is_empty() => Accelerator::Tcg,
        None => accelerator::settle(plan)?,
    };
    for (configuration, cases) in by_configuration {
        run_configuration(plan, accelerator, configuration, &cases, &mut tally);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

#[derive(Debug, Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

fn run_on_host(plan: &Plan, case: &HostCase, tally: &mut Tally) {
    let start = Instant::now();
    let outcome = caught(|| (case.run)(plan));
    let time = tool::seconds(start.elapsed());
    match outcome {
        Ok(()) => {
            tally.passed += 1;
            println!("ok    {} ({time})", case.name);
        }
        Err(error) => {
            tally.failed += 1;
            println!("FAIL  {} ({time})\n      {error:#}", case.name);
        }
    }
}

fn run_configuration(
    plan: &Plan,
    accelerator: Accelerator,
    configuration: Configuration,
    cases: &[Case],
    tally: &mut Tally,
) {
    let mut boots = 0;
    let mut machine = None;
    for case in cases {
        let start = Instant::now();
        if machine.is_none() {
            boots += 1;
            match Machine::boot(plan, accelerator, configuration, &format!("{configuration}-{boots}")) {
                Ok(booted) => {
                    println!(
                        "boot  {configuration} under {} ({})",
                        accelerator.name(),
                        tool::seconds(booted.boot_time)
                    );
                    machine = Some(booted);
                }
                Err(error) => {
                    tally.failed += 1;
                    println!("FAIL  {} ({})\n      {error:#}", case.name, tool::seconds(start.elapsed()));
                    continue;
                }
            }
        }
        let Some(running) = &mut machine else { continue };
        let outcome = begin(case, running).and_then(|()| guarded(case, running));
        let time = tool::seconds(start.elapsed());
        match outcome {
            Ok(()) => {
                tally.passed += 1;
                println!("ok    {} ({time})", case.name);
            }
            Err(error) => {
                tally.failed += 1;
                println!("FAIL  {} ({time})\n      {error:#}", case.name);
                explain(plan, case, running);
                // What a failed case left behind must not fail the next one.
                machine = None;
            }
        }
    }
    if let Some(running) = machine
        && !plan.keep
    {
        let console = running.console().to_owned();
        drop(running);
        // Nothing in it is of interest: all of its cases passed.
        let _ = fs::remove_file(console);
    }
}

/// Marks the place in the kernel's log where the case begins, and forgets the last one's programs.
fn begin(case: &Case, machine: &mut Machine) -> Result<()> {
    machine.check(&format!("echo '{MARK}{}' > /dev/kmsg; rm -f /run/lab/*.err", case.name)).map(|_| ())
}

/// A case that panics has failed; the others go on.
fn guarded(case: &Case, machine: &mut Machine) -> Result<()> {
    caught(|| (case.run)(machine))
}

fn caught(run: impl FnOnce() -> Result<()>) -> Result<()> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow!("the case itself panicked")),
    }
}

/// Prints and keeps what a person needs to understand a failure.
fn explain(plan: &Plan, case: &Case, machine: &mut Machine) {
    if machine.answers()
        && let Ok(answer) = machine.run("dmesg; tail -n 40 /run/lab/*.err 2> /dev/null")
    {
        let path = plan.logs.join(format!("{}.guest", case.name));
        if fs::write(&path, &answer.output).is_ok() {
            println!("      the kernel's and the programs' last lines are in {}", path.display());
        }
        let since = answer.output.rsplit_once(MARK).map_or(answer.output.as_str(), |(_, since)| since);
        println!("{}", indented(&tool::last_lines(since, 25)));
    }
    println!("      {}; it said last:", machine.ended());
    println!("{}", indented(&machine.qemu_tail(15)));
    println!("      console, kept in {}:", machine.console().display());
    println!("{}", indented(&machine.console_tail(15)));
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("      | {line}")).collect::<Vec<_>>().join("\n")
}
