//! There is no lock on the packet path: what receiving, sending and taking back are compiled to calls none.
//!
//! Both drivers are compiled optimised, with what they stand on, to assembly; then every function is followed that
//! receive, transmit and reclaim name, and those that these name, and so on. An uncontended lock is a few instructions in its
//! place, but each names the function that waits where it is contended. Not followed are calls through a table of functions
//! (a restart's), and three functions that are known to lock and are not on the way of packets to and from a real card, but
//! for those of the time protocol.
//!
//! That no two queues share a cache line is said by a test on their layout, beside the emulated ports.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Functions of the standard library and the system that wait for a lock.
const LOCKS: [&str; 6] =
    ["lock_contended", "read_contended", "write_contended", "pthread_mutex", "pthread_rwlock", "5futex"];

/// What an 82599's queue calls for packets of the time protocol only, whose clock it shares with the control handle.
const OF_THE_CLOCK: &str = "11SharedClock5stamp";

/// What stands for the IOMMU where there is none: a buffer is taken back from a device in software when that doesn't look
/// into it any more.
const OF_THE_EMULATION: &str = "5Views4wait";

/// What the last handle to something shared does as it goes: a pool's memory is unmapped then, which queues that hold the pool
/// never come to.
const OF_THE_LAST: &str = "9drop_slow";

/// What each function names.
type Names = BTreeMap<String, BTreeSet<String>>;

/// Compiles the drivers, and gives where the assembly lies.
fn assembly() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packet-path");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    command.args([
        "build",
        "--offline",
        "--quiet",
        "--release",
        "-p",
        "ringway-ixgbe",
        "-p",
        "ringway-virtio",
    ]);
    command.arg("--target-dir").arg(&target);
    command.env("RUSTFLAGS", "--emit=asm -Ccodegen-units=1 -Csymbol-mangling-version=v0");
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("release/deps")
}

fn is_symbol(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '$')
}

/// Reads what the functions of a file name.
fn read(text: &str, names: &mut Names) {
    let mut functions = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.trim().strip_prefix(".type")
            && let Some(name) = rest.trim().strip_suffix(",@function")
        {
            functions.insert(name.to_owned());
        }
    }
    let mut inside: Option<String> = None;
    for line in text.lines() {
        if let Some(label) = line.strip_suffix(':')
            && functions.contains(label)
        {
            inside = Some(label.to_owned());
            names.entry(label.to_owned()).or_default();
            continue;
        }
        if line.trim_start().starts_with(".size") {
            inside = None;
        }
        // Directives say nothing of what is called.
        if let Some(named) = inside.as_ref().and_then(|function| names.get_mut(function))
            && !line.trim_start().starts_with('.')
        {
            let words = line.split(|letter| !is_symbol(letter)).filter(|word| !word.starts_with('.'));
            named.extend(words.filter(|word| word.len() > 4).map(str::to_owned));
        }
    }
}

/// The functions that are reached from the `roots`, by which way; `leaves` are not gone into.
fn reached(names: &Names, roots: &[String], leaves: &[&str]) -> BTreeMap<String, String> {
    let mut from: BTreeMap<String, String> = BTreeMap::new();
    let mut left: Vec<String> = roots.to_vec();
    while let Some(function) = left.pop() {
        for named in names.get(&function).into_iter().flatten() {
            if leaves.iter().any(|leaf| named.contains(leaf)) || from.contains_key(named) {
                continue;
            }
            from.insert(named.clone(), function.clone());
            left.push(named.clone());
        }
    }
    from
}

/// The way to a lock, if one is reached.
fn way_to_a_lock(names: &Names, roots: &[String], leaves: &[&str]) -> Option<Vec<String>> {
    let from = reached(names, roots, leaves);
    let lock = from.keys().find(|name| LOCKS.iter().any(|lock| name.contains(lock)))?;
    Some(std::iter::successors(Some(lock), |name| from.get(*name)).take(50).cloned().collect())
}

#[test]
fn no_lock_is_on_the_packet_path() {
    let mut names = Names::new();
    for entry in std::fs::read_dir(assembly()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "s") {
            read(&std::fs::read_to_string(&path).unwrap(), &mut names);
        }
    }
    // Methods of the traits of queues: their names are the trait's and the method's at the end.
    let of = |driver: &str, method: &str| -> Vec<String> {
        let is_method = |name: &&String| {
            name.starts_with("_RNv")
                && name.contains(driver)
                && name.contains("12ringway_port")
                && name.ends_with(method)
        };
        names.keys().filter(is_method).cloned().collect()
    };
    for (driver, receivers) in [("13ringway_ixgbe", 2), ("14ringway_virtio", 1)] {
        let roots: Vec<String> =
            ["7receive", "8transmit", "7reclaim"].iter().flat_map(|method| of(driver, method)).collect();
        assert_eq!(of(driver, "7receive").len(), receivers, "{roots:?}");
        assert!(roots.len() >= receivers + 2, "{roots:?}");
        let reach = reached(&names, &roots, &[]);
        assert!(reach.keys().any(|name| name.contains("14ringway_packet")), "{driver}: the pool is reached");
        assert_eq!(
            way_to_a_lock(&names, &roots, &[OF_THE_CLOCK, OF_THE_EMULATION, OF_THE_LAST]),
            None,
            "{driver}"
        );
    }
    // What is looked for is found where it is.
    let clock: Vec<String> = names.keys().filter(|name| name.ends_with(OF_THE_CLOCK)).cloned().collect();
    assert_eq!(clock.len(), 1, "{clock:?}");
    assert!(way_to_a_lock(&names, &clock, &[]).is_some(), "the clock's lock is not seen");
    assert!(way_to_a_lock(&names, &of("13ringway_ixgbe", "7receive"), &[]).is_some());
    assert!(way_to_a_lock(&names, &of("14ringway_virtio", "7reclaim"), &[]).is_some());
}
