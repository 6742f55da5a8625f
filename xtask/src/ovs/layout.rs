//! The negative test of the layout: the C half doesn't compile when a constant is wrong.
//!
//! What the Rust half relies on is in a header that its build writes. With that header as it is, the C half passes the
//! compiler; with any one of the constants changed, as it would be for another release, it must not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use super::source::Switch;
use crate::cache::{self, Cache};
use crate::tool;

const HEADER: &str = "ringway_constants.h";

/// Checks that each constant is compared. `library` was built against the switch, and its header lies beside it.
pub(super) fn run(cache: &Cache, switch: &Switch, library: &Path) -> Result<()> {
    let header = header(library)?;
    let folder = cache.path(format!("ovs/layout-{}", std::process::id()));
    cache::create_folder(&folder)?;
    let outcome = tool::timed("changed each constant of the layout", || check(switch, &header, &folder));
    cache::remove_folder(&folder)?;
    let refused = outcome?;
    println!("      {refused} constants: with any one of them changed, the C half doesn't compile");
    Ok(())
}

fn check(switch: &Switch, header: &str, folder: &Path) -> Result<usize> {
    let said = compile(switch, header, folder)?;
    if !said.status.success() {
        bail!("the C half doesn't compile with its own header:\n{}", tool::both_streams(&said));
    }
    let mut refused = 0;
    for line in header.lines() {
        let (name, value) = constant(line).with_context(|| format!("not a constant: {line}"))?;
        // What is compared as a bound may move one way; then it has to be found when it moves the other.
        let mut found = false;
        for wrong in [value + 1, value.saturating_sub(1)] {
            let said = compile(switch, &with(header, line, &format!("#define {name} {wrong}")), folder)?;
            if !said.status.success() {
                let text = tool::both_streams(&said);
                if !text.contains("static assertion failed") {
                    bail!("with {name} {wrong} the compiler says something else:\n{text}");
                }
                found = true;
                break;
            }
        }
        if !found {
            bail!("{name} is {value}, but the C half compiles with one more and with one less");
        }
        refused += 1;
    }
    Ok(refused)
}

/// What the build of the library wrote, the newest if there are several.
fn header(library: &Path) -> Result<String> {
    let builds = library.parent().context("the library lies in no folder")?.join("build");
    let mut headers: Vec<PathBuf> = fs::read_dir(&builds)
        .with_context(|| format!("cannot read {}", builds.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join("out").join(HEADER)))
        .filter(|path| path.exists())
        .collect();
    headers.sort_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    let newest = headers.last().with_context(|| format!("no {HEADER} in {}", builds.display()))?;
    fs::read_to_string(newest).with_context(|| format!("cannot read {}", newest.display()))
}

/// The header with another line in place of one.
fn with(header: &str, line: &str, other: &str) -> String {
    header.lines().map(|each| if each == line { other } else { each }).collect::<Vec<_>>().join("\n")
}

/// Name and value in a line such as `#define RINGWAY_AT_TUNNEL 0`.
fn constant(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.strip_prefix("#define ")?.split_once(' ')?;
    Some((name, value.parse().ok()?))
}

/// Has the compiler look at the C half with that header.
fn compile(switch: &Switch, header: &str, folder: &Path) -> Result<Output> {
    fs::write(folder.join(HEADER), header)?;
    let mut version = switch.version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = version.next().unwrap_or(0) * 100 + version.next().unwrap_or(0);
    let mut command = Command::new("gcc");
    command.args(["-std=gnu11", "-fsyntax-only", "-w", "-DHAVE_CONFIG_H"]);
    command.arg(format!("-DRINGWAY_OVS_VERSION={version}")).arg("-I").arg(folder);
    for tree in [&switch.build, &switch.source] {
        for inside in ["", "include", "lib"] {
            command.arg("-I").arg(tree.join(inside));
        }
    }
    tool::run(command.arg(crate::workspace()?.join("crates/flow-ovs/c/boundary.c")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_constant_is_read() {
        assert_eq!(super::constant("#define RINGWAY_AT_END 92"), Some(("RINGWAY_AT_END", 92)));
        assert_eq!(super::constant("#include <x>"), None);
    }
}
