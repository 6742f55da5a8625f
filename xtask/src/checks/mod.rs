//! The whole test run: `cargo xtask test`. A list of steps, one after the other; all run, whatever fails, and a
//! table sums them up.
//!
//! A step that finds something missing fails and says what: nothing is skipped silently. To add a step, add
//! one entry to [`STEPS`].

mod dependencies;
pub mod hostile;
mod licences;
pub mod miri;
pub mod safety;
mod sanitizers;
mod standard_library;
mod steps;
mod valgrind;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::{cache, tool};

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Leaves out what takes packages of Debian's: valgrind, the lab and the comparison with Open vSwitch
    #[arg(long)]
    quick: bool,
    /// Runs only these steps
    #[arg(long = "step", value_name = "NAME")]
    steps: Vec<String>,
}

/// One step of the run.
struct Step {
    /// A word.
    name: &'static str,
    /// What it does, in a few words.
    does: &'static str,
    /// Whether a quick run has it too.
    quick: bool,
    /// Does it, and returns a few words on what it saw.
    run: fn(&Surroundings) -> Result<String>,
}

/// How much of an error the closing table shows, in characters.
const BRIEF: usize = 300;

/// What the steps share.
#[derive(Debug)]
struct Surroundings {
    /// The workspace.
    root: PathBuf,
    /// Where each step's whole output is kept.
    logs: PathBuf,
}

/// The run, in order.
const STEPS: &[Step] = &[
    Step { name: "format", does: "formatting is rustfmt's", quick: true, run: steps::format },
    Step { name: "clippy", does: "no lint speaks up", quick: true, run: steps::clippy },
    Step { name: "docs", does: "the documentation builds without a warning", quick: true, run: steps::docs },
    Step {
        name: "licences",
        does: "every dependency's licence is permissive, and docs/dependencies.md says why it is there",
        quick: true,
        run: licences::check,
    },
    Step {
        name: "safety",
        does: "each `unsafe` is argued in docs/safety.md",
        quick: true,
        run: safety::check,
    },
    Step { name: "tests", does: "unit, model and documentation tests", quick: true, run: steps::tests },
    Step {
        name: "hostile",
        does: "hostile devices and packets, and faults, in bounded form",
        quick: true,
        run: hostile::check,
    },
    Step {
        name: "loom",
        does: "every interleaving of lending, and of doorbells and interrupts",
        quick: true,
        run: sanitizers::loom,
    },
    Step {
        name: "address",
        does: "address sanitizer on memory, packets and drivers",
        quick: true,
        run: sanitizers::address,
    },
    Step {
        name: "thread",
        does: "thread sanitizer on memory, packets and drivers",
        quick: true,
        run: sanitizers::thread,
    },
    Step {
        name: "miri-ready",
        does: "the tests that Miri can run, compiled as it would see them",
        quick: true,
        run: miri::ready,
    },
    Step {
        name: "bench",
        does: "the packet path keeps to its budgets of instructions",
        quick: false,
        run: steps::bench,
    },
    Step {
        name: "valgrind",
        does: "valgrind's memcheck on the crates with `unsafe`",
        quick: false,
        run: valgrind::check,
    },
    Step { name: "lab", does: "the cases in virtual machines", quick: false, run: steps::lab },
    Step {
        name: "ovs",
        does: "the flow parser beside and inside Open vSwitch",
        quick: false,
        run: steps::ovs,
    },
];

/// Runs the steps and prints the table.
pub fn run(arguments: &TestArgs) -> Result<ExitCode> {
    let root = crate::workspace()?;
    let surroundings = Surroundings { logs: root.join("target/test-logs"), root };
    cache::create_folder(&surroundings.logs)?;
    let chosen = chosen(arguments)?;
    let mut rows = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        println!("[{}/{}] {}: {}", index + 1, chosen.len(), step.name, step.does);
        let start = Instant::now();
        let outcome = (step.run)(&surroundings);
        let time = start.elapsed();
        match &outcome {
            Ok(_) => println!("      passed ({})", tool::seconds(time)),
            Err(error) => println!("      FAILED ({})\n{error:#}", tool::seconds(time)),
        }
        rows.push(Row { name: step.name, time, outcome: outcome.map_err(|error| brief(&error)) });
    }
    print!("{}", table(&rows));
    let passed = rows.iter().all(|row| row.outcome.is_ok());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(arguments: &TestArgs) -> Result<Vec<&'static Step>> {
    for name in &arguments.steps {
        if !STEPS.iter().any(|step| step.name == name) {
            let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            anyhow::bail!("there is no step {name}; there are {}", names.join(", "));
        }
    }
    let wanted = |step: &&Step| {
        if arguments.steps.is_empty() {
            step.quick || !arguments.quick
        } else {
            arguments.steps.iter().any(|name| name == step.name)
        }
    };
    Ok(STEPS.iter().filter(wanted).collect())
}

struct Row {
    name: &'static str,
    time: Duration,
    outcome: Result<String, String>,
}

/// The last line of an error, which names the tests that failed where there are any.
fn brief(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next_back().unwrap_or_default().chars().take(BRIEF).collect()
}

/// The closing table, and how many steps passed and failed.
fn table(rows: &[Row]) -> String {
    let mut text = String::from("\nstep         result        time  seen\n");
    for row in rows {
        let (result, seen) = match &row.outcome {
            Ok(seen) => ("passed", seen.as_str()),
            Err(why) => ("FAILED", why.as_str()),
        };
        text.push_str(&format!("{:<12} {result:<8} {:>9}  {seen}\n", row.name, tool::seconds(row.time)));
    }
    let failed = rows.iter().filter(|row| row.outcome.is_err()).count();
    text.push_str(&format!("{} passed, {failed} failed\n", rows.len() - failed));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ends_with_how_many_passed_and_failed() {
        let rows = [
            Row { name: "one", time: Duration::from_secs(1), outcome: Ok("7 tests".to_owned()) },
            Row { name: "two", time: Duration::from_millis(250), outcome: Err("failed: a test".to_owned()) },
        ];
        let text = table(&rows);
        assert!(text.contains("one          passed       1.0 s  7 tests\n"), "{text}");
        assert!(text.contains("two          FAILED       0.2 s  failed: a test\n"), "{text}");
        assert!(text.ends_with("1 passed, 1 failed\n"), "{text}");
    }

    #[test]
    fn a_quick_run_leaves_out_the_lab_and_an_unknown_step_is_refused() {
        let quick = chosen(&TestArgs { quick: true, steps: vec![] }).unwrap();
        assert!(quick.iter().all(|step| step.name != "lab"));
        let unknown = chosen(&TestArgs { quick: false, steps: vec!["nonsense".to_owned()] });
        assert!(unknown.err().unwrap().to_string().contains("nonsense"));
    }
}
