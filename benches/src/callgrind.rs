//! Runs a program under callgrind and says how many instructions each of its functions took.
//!
//! Instructions repeat exactly on a noisy machine. Valgrind knows no AVX-512: build with `-C target-cpu=x86-64-v2`.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};

/// Instructions by function, its callees' not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    functions: BTreeMap<String, u64>,
}

impl Profile {
    /// Runs `program` with `arguments`, and counts what happens inside the functions whose names match `inside` (`*`
    /// stands for anything).
    ///
    /// # Errors
    /// When valgrind is not there, or the program fails under it.
    pub fn of(program: &std::path::Path, arguments: &[String], inside: &str) -> io::Result<Self> {
        let out = std::env::temp_dir().join(format!("ringway-callgrind-{}", std::process::id()));
        let status = Command::new("valgrind")
            .args(["--tool=callgrind", "--collect-atstart=no", "--quiet"])
            .arg(format!("--toggle-collect={inside}"))
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .map_err(|error| io::Error::new(error.kind(), format!("valgrind can't be run: {error}")))?;
        let text = std::fs::read_to_string(&out);
        let _ = std::fs::remove_file(&out);
        if !status.success() {
            return Err(io::Error::other(format!("{} under valgrind: {status}", program.display())));
        }
        Ok(Self::parse(&text?))
    }

    /// All instructions of functions for which `wanted` says yes.
    pub fn sum(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.functions.iter().filter(|(name, _)| wanted(name)).map(|(_, count)| count).sum()
    }

    /// The functions and their instructions, most first.
    pub fn functions(&self) -> Vec<(&str, u64)> {
        let mut functions: Vec<_> =
            self.functions.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        functions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        functions
    }

    /// The format of callgrind's output: `fn=` begins a function, each line that begins with a position is a cost, and
    /// the one behind `calls=` is the callee's.
    fn parse(text: &str) -> Self {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let mut profile = Self::default();
        let mut function = "";
        let mut is_call = false;
        for line in text.lines() {
            if let Some(called) = line.strip_prefix("cfn=") {
                name(&mut names, called);
            } else if let Some(begun) = line.strip_prefix("fn=") {
                function = name(&mut names, begun);
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
                && !std::mem::take(&mut is_call)
                && let Some(cost) = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok())
            {
                *profile.functions.entry(function.to_owned()).or_default() += cost;
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
        assert_eq!(profile.sum(|name| name != "work"), 16);
    }
}
