//! Hostile devices and packets with fixed seeds, and the corpora of the fuzz targets: a line for each class. The faults in
//! docs/safety.md are made to happen by tests that run with the others, and by cases of the lab.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Surroundings;
use super::steps::{cargo, logged};
use crate::tool;

/// Each class and how many cases of it, its corpus among them: together some four minutes on two processors.
const CASES: [(&str, u64); 6] = [
    ("hostile-ixgbe", 500),
    ("hostile-virtio", 2_000),
    ("hostile-packets", 400),
    ("soak", 60),
    ("flow-parse", 20_000),
    ("flow-expand", 20_000),
];
/// The same scripts each time.
const SEED: &str = "1";

/// Builds the program that plays hostile cases, and says where it is.
pub(crate) fn build(root: &Path) -> Result<std::path::PathBuf> {
    let mut command = tool::cargo();
    command.current_dir(root).args(["build", "--package", "ringway-hostile", "--message-format=json"]);
    let said = tool::output_of(&mut command)?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ringway-hostile")
        .find_map(|message| message["executable"].as_str().map(Into::into))
        .context("cargo built ringway-hostile, and names no program")
}

/// The step of the test run.
pub(super) fn check(surroundings: &Surroundings) -> Result<String> {
    let root = &surroundings.root;
    // Through the log, so that a failing build shows itself.
    logged(
        surroundings,
        "hostile-build",
        cargo(surroundings).args(["build", "--package", "ringway-hostile"]),
        |_| false,
    )?;
    let program = build(root)?;
    let mut cases = 0;
    for (class, count) in CASES {
        let mut command = Command::new(&program);
        command.args([class, "--seed", SEED, "--cases", &count.to_string(), "--corpus"]);
        command.arg(root.join("fuzz/corpus")).current_dir(root);
        let text = logged(surroundings, class, &mut command, |line| line.contains("violations"))?;
        let line = text.lines().find_map(Totals::of).filter(|totals| totals.name == class);
        let Some(totals) = line else { bail!("expected a line of {class}, saw none") };
        if totals.cases != count || totals.violations != 0 {
            bail!("expected {count} cases without a violation, saw {totals:?}");
        }
        cases += totals.cases;
    }
    Ok(format!("{cases} cases, violations 0"))
}

/// What a run said of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// The class.
    pub(crate) name: String,
    /// Cases played.
    pub(crate) cases: u64,
    /// Faults raised in them.
    pub(crate) faults: u64,
    /// Broken rules.
    pub(crate) violations: u64,
}

impl Totals {
    /// From a line such as `hostile-ixgbe: 500 cases, 9000 faults raised, …, violations 0`.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(": ")?;
        let number = |text: &str| text.trim().split(' ').find_map(|word| word.parse().ok());
        let mut parts = rest.split(", ");
        let cases = number(parts.next().filter(|part| part.ends_with(" cases"))?)?;
        let faults = number(parts.next().filter(|part| part.contains(" faults"))?)?;
        let violations = rest.rsplit_once("violations ")?.1.trim().parse().ok()?;
        Some(Self { name: name.to_owned(), cases, faults, violations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_class_is_read_and_others_are_not() {
        let line = "hostile-ixgbe: 500 cases, 9000 faults raised, 12 errors told, 3 opened, violations 2";
        let expected = Totals { name: "hostile-ixgbe".to_owned(), cases: 500, faults: 9000, violations: 2 };
        assert_eq!(Totals::of(line), Some(expected));
        assert_eq!(Totals::of("hostile-ixgbe case 3: a guard was written to"), None);
        assert_eq!(Totals::of("  script 00ff"), None);
    }
}
