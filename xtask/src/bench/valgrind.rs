//! valgrind: the one that is installed, or else unpacked from its Debian package.

use anyhow::{Context, Result};
use ringway_benches::callgrind::Valgrind;

use crate::cache::Cache;
use crate::debian::{self, Closure, Set};
use crate::tool;

/// The valgrind to be used.
pub(super) fn obtain(cache: &Cache) -> Result<Valgrind> {
    if let Ok(program) = tool::find("valgrind", "valgrind") {
        return Ok(Valgrind { program, library: None });
    }
    unpacked(cache).context("valgrind isn't installed (apt install valgrind), and its package can't be had")
}

fn unpacked(cache: &Cache) -> Result<Valgrind> {
    let set = Set {
        name: "valgrind",
        suites: &["trixie", "bookworm"],
        prefer: Some("bookworm"),
        packages: &["valgrind"],
        closure: Closure::Named,
        at_least: "1:3.19",
    };
    let unpacked = debian::obtain(cache, &set, false)?;
    // `usr/bin/valgrind` is a script that looks for this one where it would be installed.
    let program = unpacked.file(&["usr/bin/valgrind.bin", "usr/bin/valgrind"])?;
    let tool = unpacked.file(&[
        "usr/libexec/valgrind/callgrind-amd64-linux",
        "usr/lib/x86_64-linux-gnu/valgrind/callgrind-amd64-linux",
    ])?;
    Ok(Valgrind { program, library: tool.parent().map(Into::into) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "fetches a package from the machine's Debian mirror"]
    fn one_that_is_unpacked_counts() {
        let root = std::env::temp_dir().join(format!("ringway-valgrind-{}", std::process::id()));
        let valgrind = unpacked(&Cache::at(root.clone()).unwrap()).unwrap();
        let program = std::env::current_exe().unwrap();
        let profile = valgrind.profile(&program, &["--list".to_owned()], "*main*", false).unwrap();
        assert!(!profile.functions().is_empty());
        crate::cache::remove_folder(&root).unwrap();
    }
}
