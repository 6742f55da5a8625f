//! The processor's own counters, by `perf`, where there are any.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::programs;
use crate::tool;

/// What is counted: all of it on the processor that forwards.
const EVENTS: [&str; 7] = [
    "cycles",
    "instructions",
    "branch-misses",
    "L1-dcache-load-misses",
    "LLC-load-misses",
    "dTLB-load-misses",
    "cache-misses",
];

/// Counts by name; `None` for those that the processor has not.
pub(super) type Counters = Vec<(String, Option<f64>)>;

/// `perf`, if it is there and counts.
#[derive(Debug)]
pub(super) struct Perf {
    program: Option<PathBuf>,
    why_not: &'static str,
}

impl Perf {
    /// Looks for it and tries it on processor `core`.
    pub(super) fn find(core: usize) -> Self {
        let Ok(program) = tool::find("perf", "linux-perf") else {
            return Self { program: None, why_not: "`perf` isn't installed (apt install linux-perf)" };
        };
        let mut command = Command::new(&program);
        command.args(["stat", "-x", ",", "-C", &core.to_string(), "-e", "cycles:u", "--", "true"]);
        let counts = tool::run(&mut command).is_ok_and(|output| {
            output.status.success() && counts(&tool::both_streams(&output), "cycles").is_some()
        });
        if counts {
            Self { program: Some(program), why_not: "" }
        } else {
            let why_not = "`perf` counts nothing here: the processor shows no counters (a virtual machine, say), or \
                           kernel.perf_event_paranoid forbids them (sudo sysctl kernel.perf_event_paranoid=0)";
            Self { program: None, why_not }
        }
    }

    /// The names of what is counted.
    pub(super) fn events(&self) -> impl Iterator<Item = &'static str> {
        EVENTS.into_iter().filter(|_| self.program.is_some())
    }

    /// Runs `ringway` and returns its summary and what was counted on processor `core` meanwhile.
    pub(super) fn summary(
        &self,
        program: &Path,
        arguments: &[String],
        core: usize,
    ) -> Result<(Value, Counters)> {
        let Some(perf) = &self.program else {
            return Ok((programs::summary(program, arguments)?, Vec::new()));
        };
        // Only user space: the kernel's interrupts are none of the driver's doing.
        let events: Vec<String> = EVENTS.iter().map(|event| format!("{event}:u")).collect();
        let mut command = Command::new(perf);
        command.args(["stat", "-x", ",", "-C", &core.to_string(), "-e", &events.join(","), "--"]);
        command.arg(program).args(arguments).args(["--json", "--quiet"]).stdin(Stdio::null());
        let output = tool::run(&mut command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let summary = serde_json::from_slice(&output.stdout);
        let Ok(summary) = summary else {
            bail!(
                "{} printed no JSON (processor {core}):\n{}",
                tool::shown(&command),
                tool::last_lines(&said, 20)
            );
        };
        let counted = EVENTS.map(|event| (event.to_owned(), counts(&said, event)));
        if counted.iter().all(|(_, count)| count.is_none()) {
            return Err(anyhow::anyhow!("perf counted nothing:\n{}", tool::last_lines(&said, 20)))
                .context("try again without perf in PATH");
        }
        Ok((summary, counted.into()))
    }
}

impl fmt::Display for Perf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.program {
            Some(program) => write!(f, "counters by {}", program.display()),
            None => write!(f, "no counters: {}", self.why_not),
        }
    }
}

/// The count of an event in what `perf stat -x ,` prints: count, unit, event, …
fn counts(text: &str, event: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let mut parts = line.split(',');
        let count = parts.next()?.parse().ok()?;
        parts.nth(1).filter(|name| name.trim_end_matches(":u") == event).map(|_| count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_event_and_what_is_not_supported_is_none() {
        let text = "123,,cycles:u,500,100.00,,\n<not supported>,,dTLB-load-misses:u,0,100.00,,\n";
        assert_eq!(counts(text, "cycles"), Some(123.0));
        assert_eq!(counts(text, "dTLB-load-misses"), None);
    }
}
