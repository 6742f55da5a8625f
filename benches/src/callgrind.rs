//! Runs a program under callgrind and says what each of its functions took: instructions, and on request loads, stores
//! and branches.
//!
//! These counts repeat exactly on a noisy machine. Valgrind knows no AVX-512: build with `-C target-cpu=x86-64-v2`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Callgrind's names of what is counted.
pub mod event {
    /// Instructions.
    pub const INSTRUCTIONS: &str = "Ir";
    /// Loads.
    pub const LOADS: &str = "Dr";
    /// Stores.
    pub const STORES: &str = "Dw";
    /// Conditional branches.
    pub const CONDITIONAL: &str = "Bc";
    /// Conditional branches that a simple predictor foresees wrongly.
    pub const CONDITIONAL_WRONG: &str = "Bcm";
    /// Indirect branches.
    pub const INDIRECT: &str = "Bi";
}

/// The valgrind that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valgrind {
    /// The program.
    pub program: PathBuf,
    /// Where its tools are, if not where it was built for (`VALGRIND_LIB`).
    pub library: Option<PathBuf>,
}

impl Default for Valgrind {
    /// The one that is installed.
    fn default() -> Self {
        Self { program: PathBuf::from("valgrind"), library: None }
    }
}

/// What is counted, by function, its callees' not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    events: Vec<String>,
    functions: BTreeMap<String, Vec<u64>>,
}

impl Valgrind {
    /// Runs `program` with `arguments`, and counts what happens inside the functions whose names match `inside` (`*`
    /// stands for anything). With `simulated`, loads, stores and branches too.
    ///
    /// # Errors
    /// When valgrind is not there, or the program fails under it.
    pub fn profile(
        &self,
        program: &Path,
        arguments: &[String],
        inside: &str,
        simulated: bool,
    ) -> io::Result<Profile> {
        let out = std::env::temp_dir().join(format!("ringway-callgrind-{}", std::process::id()));
        let mut command = Command::new(&self.program);
        command
            .args(["--tool=callgrind", "--collect-atstart=no", "--quiet"])
            .arg(format!("--toggle-collect={inside}"))
            .arg(format!("--callgrind-out-file={}", out.display()));
        if simulated {
            command.args(["--cache-sim=yes", "--branch-sim=yes"]);
        }
        if let Some(library) = &self.library {
            command.env("VALGRIND_LIB", library);
        }
        let output = command.arg(program).args(arguments).stdin(Stdio::null()).output().map_err(|error| {
            io::Error::new(error.kind(), format!("{} can't be run: {error}", self.program.display()))
        })?;
        let text = std::fs::read_to_string(&out);
        let _ = std::fs::remove_file(&out);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!(
                "{} {} under valgrind: {}\n{}",
                program.display(),
                arguments.join(" "),
                output.status,
                said.trim_end()
            )));
        }
        let profile = Profile::parse(&text?);
        if profile.functions.is_empty() {
            return Err(io::Error::other(format!(
                "{} has no function that matches {inside}, or it was never called",
                program.display()
            )));
        }
        Ok(profile)
    }
}

impl Profile {
    /// All of an event of functions for which `wanted` says yes; 0 for one that was not counted.
    pub fn sum(&self, event: &str, wanted: impl Fn(&str) -> bool) -> u64 {
        let Some(column) = self.events.iter().position(|name| name == event) else { return 0 };
        let cost = |costs: &Vec<u64>| costs.get(column).copied().unwrap_or_default();
        self.functions.iter().filter(|(name, _)| wanted(name)).map(|(_, costs)| cost(costs)).sum()
    }

    /// The functions and their instructions, most first.
    pub fn functions(&self) -> Vec<(&str, u64)> {
        let first = |costs: &Vec<u64>| costs.first().copied().unwrap_or_default();
        let mut functions: Vec<_> =
            self.functions.iter().map(|(name, costs)| (name.as_str(), first(costs))).collect();
        functions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        functions
    }

    /// The format of callgrind's output: `fn=` begins a function, each line that begins with a position is a cost (as many
    /// numbers as events, zeros at the end left out), and the one behind `calls=` is the callee's.
    fn parse(text: &str) -> Self {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let mut profile = Self::default();
        let mut function = "";
        let mut is_call = false;
        for line in text.lines() {
            if let Some(events) = line.strip_prefix("events: ") {
                profile.events = events.split_whitespace().map(str::to_owned).collect();
            } else if let Some(called) = line.strip_prefix("cfn=") {
                name(&mut names, called);
            } else if let Some(begun) = line.strip_prefix("fn=") {
                function = name(&mut names, begun);
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
                && !std::mem::take(&mut is_call)
            {
                let costs = profile.functions.entry(function.to_owned()).or_default();
                costs.resize(profile.events.len(), 0);
                let numbers = line.split(' ').skip(1).filter_map(|cost| cost.parse::<u64>().ok());
                for (cost, number) in costs.iter_mut().zip(numbers) {
                    *cost += number;
                }
            }
        }
        profile
    }
}

/// `(7) name` gives a name a number, `(7)` is the name with that number.
fn name<'a>(names: &mut BTreeMap<&'a str, &'a str>, text: &'a str) -> &'a str {
    match text.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(text).copied().unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callees_cost_is_its_own() {
        let text = "events: Ir\n\nfn=(1) main\n1 10\ncfn=(2) work\ncalls=3 7\n2 300\n+1 5\n\nfn=(2)\n* 100\n8 200\nfn=(1)\n3 1\n";
        let profile = Profile::parse(text);
        assert_eq!(profile.functions(), [("work", 300), ("main", 16)]);
        assert_eq!(profile.sum(event::INSTRUCTIONS, |name| name != "work"), 16);
    }

    #[test]
    fn loads_stores_and_branches_are_columns_and_what_is_left_out_is_zero() {
        let text = "events: Ir Dr Dw Bc Bi\nfn=(1) main\n1 10 3 2 1 1\n+1 5\n-1 4 1\n";
        let profile = Profile::parse(text);
        let sum = |event| profile.sum(event, |_| true);
        assert_eq!(
            [event::INSTRUCTIONS, event::LOADS, event::STORES, event::CONDITIONAL, event::INDIRECT].map(sum),
            [19, 4, 2, 1, 1]
        );
        assert_eq!(sum(event::CONDITIONAL_WRONG), 0);
    }
}
