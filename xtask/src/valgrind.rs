//! valgrind: the one that is installed, or else unpacked from its Debian package.
//!
//! Memcheck replaces functions of the dynamic loader, which it finds by the loader's debugging symbols: with an installed
//! valgrind they may be missing, and those of another version don't fit. Then programs run on a C library and its loader
//! that are unpacked together with their symbols, beside the machine's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use ringway_benches::callgrind::Valgrind;

use crate::cache::{self, Cache};
use crate::debian::{self, Closure, Set};
use crate::tool;

/// Debian's current suite first: a newer valgrind knows more of processors and kernels.
const SUITES: &[&str] = &["trixie"];
/// Where a package of this architecture has its libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The valgrind to be used.
pub fn obtain(cache: &Cache) -> Result<Valgrind> {
    if let Ok(program) = tool::find("valgrind", "valgrind") {
        return Ok(Valgrind { program, library: None });
    }
    unpacked(cache).context("valgrind isn't installed (apt install valgrind), and its package can't be had")
}

fn unpacked(cache: &Cache) -> Result<Valgrind> {
    let set = Set {
        name: "valgrind",
        suites: SUITES,
        prefer: None,
        packages: &["valgrind"],
        closure: Closure::Named,
        at_least: "1:3.24",
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

/// Runs programs under memcheck.
#[derive(Debug)]
pub struct Memcheck {
    valgrind: Valgrind,
    /// The loader that programs run on, where the machine's has no symbols.
    loader: Option<PathBuf>,
}

impl Memcheck {
    /// One that works on this machine.
    pub fn obtain(cache: &Cache) -> Result<Self> {
        let plain = Self { valgrind: obtain(cache)?, loader: None };
        if plain.works()? {
            return Ok(plain);
        }
        let loader = loader_with_symbols(cache).context(
            "memcheck needs the C library's symbols (apt install libc6-dbg), and they can't be had",
        )?;
        Ok(Self { loader: Some(loader), ..plain })
    }

    /// Whether a program of the machine's own runs.
    fn works(&self) -> Result<bool> {
        let mut command = self.command(&[], Path::new("/bin/true"));
        Ok(tool::run(&mut command)?.status.success())
    }

    /// A command that runs the program under memcheck; its own arguments come after these.
    pub fn command(&self, options: &[&str], program: &Path) -> Command {
        let mut command = Command::new(&self.valgrind.program);
        if let Some(library) = &self.valgrind.library {
            command.env("VALGRIND_LIB", library);
        }
        command.args(["--tool=memcheck", "--quiet"]).args(options);
        if let Some(loader) = &self.loader {
            command.arg(loader);
            if let Some(libraries) = loader.parent() {
                command.arg("--library-path").arg(libraries);
            }
        }
        command.arg(program);
        command
    }
}

/// A C library's loader, unpacked with its symbols where valgrind looks for them.
fn loader_with_symbols(cache: &Cache) -> Result<PathBuf> {
    let set = Set {
        name: "c-library",
        suites: SUITES,
        prefer: None,
        packages: &["libc6", "libc6-dbg", "libgcc-s1"],
        closure: Closure::Named,
        at_least: "2.36",
    };
    let unpacked = debian::obtain(cache, &set, false)?;
    let loader = unpacked.file(&[&format!("{LIBRARIES}/ld-linux-x86-64.so.2")])?;
    // Beside the library, in `.debug`, by the name that the library has for it: the rest of its number.
    let folder = unpacked.root.join(LIBRARIES).join(".debug");
    cache::create_folder(&folder)?;
    let numbers = unpacked.file(&["usr/lib/debug/.build-id"])?;
    for number in fs::read_dir(&numbers).with_context(|| format!("cannot read {}", numbers.display()))? {
        for symbols in fs::read_dir(number?.path())? {
            let symbols = symbols?;
            let link = folder.join(symbols.file_name());
            if !link.exists() {
                fs::hard_link(symbols.path(), &link)
                    .with_context(|| format!("cannot make {}", link.display()))?;
            }
        }
    }
    Ok(loader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "fetches packages from the machine's Debian mirror"]
    fn one_that_is_unpacked_counts_and_checks() {
        let root = std::env::temp_dir().join(format!("ringway-valgrind-{}", std::process::id()));
        let cache = Cache::at(root.clone()).unwrap();
        let valgrind = unpacked(&cache).unwrap();
        let program = std::env::current_exe().unwrap();
        let profile = valgrind.profile(&program, &["--list".to_owned()], "*main*", false).unwrap();
        assert!(!profile.functions().is_empty());
        let memcheck = Memcheck { valgrind, loader: Some(loader_with_symbols(&cache).unwrap()) };
        assert!(memcheck.works().unwrap());
        cache::remove_folder(&root).unwrap();
    }
}
