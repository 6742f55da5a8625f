//! Valgrind's memcheck on the crates with `unsafe`: what no sanitizer sees in code that wasn't built with one, the standard
//! library's and the C library's among it. Slow, so the test programs are chosen; leaks are the address sanitizer's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Surroundings;
use super::steps::{logged, passed_tests};
use crate::cache::Cache;
use crate::tool;
use crate::valgrind::Memcheck;

/// Test programs by package. Those with many threads or thousands of random cases take hours under memcheck.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("ringway-dma", &["ringway_dma"]),
    ("ringway-packet", &["hostile_driver", "packets", "runs"]),
    ("ringway-pci", &["ringway_pci"]),
];
/// The status that valgrind ends with when it found an error.
const FOUND: &str = "--error-exitcode=99";

/// The step of the test run.
pub(super) fn check(surroundings: &Surroundings) -> Result<String> {
    let memcheck = Memcheck::obtain(&Cache::open()?)?;
    let programs = programs(surroundings)?;
    let mut passed = 0;
    for name in PROGRAMS.iter().flat_map(|(_, names)| names.iter()) {
        let program = programs.get(*name).with_context(|| format!("cargo built no test program {name}"))?;
        let mut command = memcheck.command(&[FOUND, "--leak-check=no", "--fair-sched=try"], program);
        command.arg("--test-threads=1").current_dir(&surroundings.root);
        let text = logged(surroundings, &format!("valgrind-{name}"), &mut command, |_| false)?;
        passed += passed_tests(&text);
    }
    if passed == 0 {
        bail!("expected tests to run, saw none");
    }
    Ok(format!("{passed} tests without an error of memory"))
}

/// The test programs that cargo builds of these packages, by name.
fn programs(surroundings: &Surroundings) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = tool::cargo();
    command.current_dir(&surroundings.root).args(["test", "--no-run", "--message-format=json"]);
    for (package, _) in PROGRAMS {
        command.args(["--package", package]);
    }
    Ok(named(&tool::output_of(&mut command)?))
}

/// Test programs in what cargo says.
fn named(said: &str) -> BTreeMap<String, PathBuf> {
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, message["executable"].as_str()?.into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_what_cargo_says_and_libraries_are_not() {
        let said = "{\"target\":{\"name\":\"packets\"},\"profile\":{\"test\":true},\"executable\":\"/a/packets-1\"}\n\
                    {\"target\":{\"name\":\"some\"},\"profile\":{\"test\":false},\"executable\":\"/a/some\"}\n\
                    {\"target\":{\"name\":\"other\"},\"profile\":{\"test\":true},\"executable\":null}\nno JSON\n";
        assert_eq!(named(said), [("packets".to_owned(), PathBuf::from("/a/packets-1"))].into());
    }
}
