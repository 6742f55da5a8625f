//! What happens to the program from outside: it is killed at any moment, has too few descriptors, its memory is not there.
//! Nothing is left behind, errors name the thing, the next start works.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails shall say so")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Programs killed in all, and threads that do it.
const KILLS: u64 = 500;
const KILLERS: u64 = 4;

/// The program, in a place of its own for whatever it might leave.
fn ringway(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command
        .args(arguments)
        .current_dir(place)
        .env("TMPDIR", place)
        .env("HOME", place)
        .env("XDG_RUNTIME_DIR", place)
        .env_remove("RINGWAY_TEST_PANIC_AFTER")
        .stdin(Stdio::null());
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It forwards, and loses nothing.
fn works(place: &Path) {
    let output = ringway(place, &["forward", "emulated:0", "emulated:1", "--packets=2000", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

/// What is in a folder that outlives a process: shared memory files and files in huge pages. Folders of other tests, which
/// may run beside this one, are not the program's.
fn lasting() -> BTreeSet<String> {
    ["/dev/shm", "/dev/hugepages"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.to_lowercase().contains("ringway") && !name.starts_with("ringway-binding-"))
        .collect()
}

#[test]
fn killed_at_any_of_five_hundred_moments_it_leaves_nothing_and_starts_again() {
    let before = lasting();
    let killer = |number: u64| {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for round in 0..KILLS / KILLERS {
            // Xorshift: the same moments each time, as far as the machine has them.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let task: &[&str] = match random % 4 {
                0 => &["forward", "emulated:0", "emulated:1"],
                1 => &["capture", "emulated:0", "--write=killed.pcapng"],
                2 => &["generate", "emulated:0"],
                _ => &["forward", "emulated:0", "emulated:1", "--json", "--interrupts"],
            };
            let mut child =
                ringway(place, task).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            // Every second one is at work by then; the others die wherever they are, mostly as they start.
            let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
            let moment = if round % 2 == 0 {
                assert!(said.any(|line| line.unwrap().contains("link up")), "{task:?} ended by itself");
                random % 5_000
            } else {
                random % 60_000
            };
            std::thread::sleep(Duration::from_micros(moment));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            assert!(!status.success(), "it was killed, or had failed before: {status}");
            let left: BTreeSet<_> =
                std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(
                left.iter().all(|name| name == "killed.pcapng"),
                "only the file that it was told to write may be there: {left:?}"
            );
            if round % 25 == 24 {
                works(place);
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 1..=KILLERS {
            scope.spawn(move || killer(number));
        }
    });
    assert_eq!(lasting(), before);
}

#[test]
fn with_too_few_descriptors_it_says_so_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let limited = |descriptors: u32| {
        let program = env!("CARGO_BIN_EXE_ringway");
        let script = format!(
            "ulimit -n {descriptors}; exec {program} forward emulated:0 emulated:1 --interrupts --packets 100 --json"
        );
        Command::new("sh").args(["-c", &script]).current_dir(&folder).stdin(Stdio::null()).output().unwrap()
    };
    let (mut refused, worked) = (0, Cell::new(0));
    // What the test was started with counts too, so it is not known where it begins to work.
    for descriptors in (4..4096).take_while(|_| worked.get() < 20) {
        let output = limited(descriptors);
        match output.status.code() {
            Some(0) => worked.set(worked.get() + 1),
            Some(1 | 2) => {
                refused += 1;
                let said = errors(&output);
                assert!(said.contains("error: "), "{descriptors}: {said}");
                assert!(
                    said.contains("os error 24") || said.contains("descriptors"),
                    "{descriptors}: {said}"
                );
            }
            // The loader has no descriptor to read a library with, and says so.
            Some(127) => assert!(errors(&output).contains("error while loading"), "{descriptors}"),
            other => panic!("with {descriptors} descriptors it ended with {other:?}: {}", errors(&output)),
        }
    }
    assert!(refused > 0 && worked.get() > 0, "{refused} refused, {worked:?} worked");
    works(folder.path());
}

#[test]
fn without_memory_for_the_pool_it_says_how_much_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    // In KiB of address space: enough to load the program, and never enough for 256 MiB of buffers.
    let program = env!("CARGO_BIN_EXE_ringway");
    for kibibytes in [96 << 10, 128 << 10, 200 << 10] {
        let script = format!(
            "ulimit -v {kibibytes}; exec {program} forward emulated:0 emulated:1 --pool 131072 --packets 100 --json"
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{kibibytes}: {said}");
        for part in ["packet pool", "268435456 bytes", "os error 12"] {
            assert!(said.contains(part), "{kibibytes}: {part} in {said}");
        }
    }
    works(folder.path());
}
