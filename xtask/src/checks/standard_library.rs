//! The compiler's own library in source: thread sanitizer sees nothing of a lock that it has not instrumented, so its runs
//! build the library too.
//!
//! It is the toolchain's component `rust-src`. Where that isn't installed, rustup is asked for it; without rustup, Debian's
//! package is fetched (and not installed), if it is of the compiler's very version.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::cache::Cache;
use crate::debian::{self, Closure, Set};
use crate::tool;

/// Where cargo looks for the library instead of in the toolchain.
pub(super) const PLACE: &str = "__CARGO_TESTS_ONLY_SRC_ROOT";

/// The folder `library` of the compiler's source.
pub(super) fn source() -> Result<PathBuf> {
    let rustc = || Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let root = tool::output_of(rustc().args(["--print", "sysroot"]))?;
    let installed = PathBuf::from(root.trim()).join("lib/rustlib/src/rust/library");
    let is_installed = || installed.join("Cargo.lock").is_file();
    if !is_installed() {
        println!(
            "      adding rust-src to the toolchain: thread sanitizer's runs build the standard library"
        );
        let added = tool::output_of(Command::new("rustup").args(["component", "add", "rust-src"]));
        if !is_installed() {
            let version = tool::output_of(rustc().arg("--version"))?;
            let version = version
                .split_whitespace()
                .nth(1)
                .ok_or_else(|| anyhow!("rustc doesn't say its version: {version}"))?;
            return packaged(version).with_context(|| {
                let said = added.err().map_or_else(String::new, |error| format!(" ({error})"));
                format!(
                    "the source of Rust's standard library is missing: rustup component add rust-src{said}"
                )
            });
        }
    }
    Ok(installed)
}

/// Debian's package of it.
fn packaged(version: &str) -> Result<PathBuf> {
    let set = Set {
        name: "rust-src",
        suites: &["trixie", "trixie-backports"],
        prefer: Some("trixie-backports"),
        packages: &["rust-src"],
        closure: Closure::Named,
        at_least: version,
    };
    let unpacked = debian::obtain(&Cache::open()?, &set, false)?;
    let upstream = unpacked.version.split(['+', '-', '~']).next().unwrap_or_default();
    if upstream != version {
        bail!("Debian's rust-src is {}, the compiler is {version}", unpacked.version);
    }
    unpacked.file(&[&format!("usr/src/rustc-{version}/library")])
}
