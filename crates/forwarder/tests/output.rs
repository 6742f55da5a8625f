//! What commands print: CSV, a live view on a terminal, how long it still takes; and the exit status that says whether
//! packets were lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails shall say so")]

use ringway_traffic::capture::Writer;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn ringway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RINGWAY_TEST_PANIC_AFTER").env("TERM", "xterm");
    command
}

fn run(arguments: &[&str]) -> Output {
    ringway(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The rows of a CSV text, each a field by its column.
fn rows(output: &Output) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    reader
        .deserialize()
        .map(|row| row.unwrap_or_else(|error| panic!("{error}: {}", errors(output))))
        .collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> u64 {
    let field = row.get(column).unwrap_or_else(|| panic!("{column} in {row:?}"));
    field.parse().unwrap_or_else(|error| panic!("{column}: {error} in {row:?}"))
}

/// Frames a tenth of a second apart.
fn slow(path: &Path, frames: u32) {
    let mut writer = Writer::create(path, &["a"]).unwrap();
    for number in 0..frames {
        let time = Duration::from_millis(1_700_000_000_000 + u64::from(number) * 100);
        writer.write(0, time, &[1; 60]).unwrap();
    }
}

#[test]
fn every_command_with_a_result_prints_it_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.pcapng");
    let file = path.to_str().unwrap();
    slow(&path, 3);
    let written = folder.path().join("written.pcapng");
    let written = written.to_str().unwrap();
    for (arguments, count, columns) in [
        (
            &["forward", "emulated:0", "emulated:1", "--packets=1000"][..],
            2,
            &["name", "sent_packets", "forwarded"][..],
        ),
        (&["generate", "emulated:0", "--packets=1000"], 1, &["sent_packets", "mpps", "arrived_received"]),
        (
            &["receive", "emulated:0", "--packets=1000"],
            1,
            &["received", "lost", "latency_percentiles_99.999"],
        ),
        (
            &["receive", "emulated:0", "--packets=1000", "--per-flow"],
            1,
            &["flow", "received", "all_received"],
        ),
        (
            // Fewer than what waits for a writer that gets no time.
            &["capture", "emulated:0", "--packets=100", "--write", written],
            1,
            &["written_packets", "dropped"],
        ),
        (&["replay", file, "emulated:0", "--speed=100"], 1, &["sent_packets", "loops"]),
        (&["echo", "emulated:0", "--address=10.0.0.1", "--duration=200ms"], 1, &["name", "answered_arp"]),
        (&["flows", file], 0, &[]),
        (
            &["flows", "emulated:0", "--packets=1000"],
            1,
            &["source", "packets", "forward_bytes", "all_packets"],
        ),
        (&["--packets=1000"], 2, &["name", "forwarded"]),
    ] {
        let output = run(&[arguments, &["--csv"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        let rows = rows(&output);
        assert_eq!(rows.len(), count, "{arguments:?}: {rows:?}");
        for column in columns {
            assert!(
                rows.iter().all(|row| row.get(*column).is_some_and(|field| !field.is_empty())),
                "{column}: {rows:?}"
            );
        }
    }
    let output = run(&["replay", file, "emulated:0", "--speed=100", "--csv"]);
    assert_eq!(number(&rows(&output)[0], "sent_packets"), 3);
    let output = run(&["ports", "--csv"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(&["replay", file, "emulated:0", "--csv", "--json"]);
    assert_eq!(output.status.code(), Some(2), "one form at a time");
}

/// Runs a command on a terminal of its own. What was seen there, and on standard error.
fn on_a_terminal(command: &mut Command) -> (String, Output) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let other = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let child = command.stdout(other).stderr(Stdio::piped()).spawn().unwrap();
    // The last one who has the terminal open shall be the child.
    command.stdout(Stdio::null());
    let reader = std::thread::spawn(move || {
        let (mut seen, mut part) = (Vec::new(), [0; 4096]);
        let mut terminal = File::from(terminal);
        // Its end is an error (EIO).
        while let Ok(length @ 1..) = terminal.read(&mut part) {
            seen.extend_from_slice(&part[..length]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    let output = child.wait_with_output().unwrap();
    (reader.join().unwrap(), output)
}

/// What stands on a screen, in the order in which it was written: a jump of the cursor is a space.
fn words(screen: &str) -> String {
    let mut parts = screen.split('\x1b');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push(' ');
        text.push_str(
            part.split_once(|letter: char| letter.is_ascii_alphabetic()).map_or("", |(_, rest)| rest),
        );
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const ENTERED: &str = "\x1b[?1049h";
const LEFT: &str = "\x1b[?1049l";

#[test]
fn on_a_terminal_a_screen_shows_what_happens_and_gives_the_terminal_back() {
    for (arguments, parts) in [
        (
            &["forward", "emulated:0", "emulated:1"][..],
            &["ringway forward between", "queue 0", "starved"][..],
        ),
        (&["capture", "emulated:0", "--write=/dev/null"], &["ringway capture on emulated:0", "written"]),
        (&["flows", "emulated:0"], &["ringway flows on emulated:0", "not in the table 0"]),
        (&["echo", "emulated:0", "--address=10.0.0.1"], &["ringway echo on emulated:0", "answered: ARP"]),
    ] {
        let mut command = ringway(&[arguments, &["--duration=700ms", "--interval=100ms"]].concat());
        let (seen, output) = on_a_terminal(&mut command);
        // On a busy machine a capture may be too slow for its source, and says so.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", errors(&output));
        let (before, rest) = seen.split_once(ENTERED).unwrap_or_else(|| panic!("no screen: {seen:?}"));
        let (screen, after) = rest.split_once(LEFT).unwrap_or_else(|| panic!("it never left: {seen:?}"));
        assert!(!before.contains('\x1b') && !after.contains('\x1b'), "{after:?}");
        let screen = words(screen);
        for part in parts {
            assert!(screen.contains(part), "{arguments:?}: {part} in {screen:?}");
        }
        assert!(
            after.contains("ended by") || after.contains(" packets"),
            "the summary comes after: {after:?}"
        );
        // What was said meanwhile is not lost.
        assert!(errors(&output).contains(" mode off again"), "{}", errors(&output));
        assert!(!errors(&output).contains("Mpps   "), "no lines of rates: {}", errors(&output));
    }
}

#[test]
fn plain_lines_are_for_those_who_want_them_and_where_there_is_no_terminal() {
    let arguments = ["forward", "emulated:0", "emulated:1", "--duration=500ms", "--interval=100ms"];
    for (option, terminal) in [("--plain", "xterm"), ("--json", "xterm"), ("--csv", "xterm"), ("-v", "dumb")]
    {
        let mut command = ringway(&[&arguments[..], &[option]].concat());
        let (seen, output) = on_a_terminal(command.env("TERM", terminal));
        assert!(!seen.contains('\x1b') && !seen.is_empty(), "{option}: {seen:?}");
        assert!(errors(&output).contains("Gbit/s  dropped"), "{option}: {}", errors(&output));
    }
    let output = run(&arguments);
    assert!(!output.stdout.contains(&0x1b) && errors(&output).contains("Gbit/s  dropped"));
}

#[test]
fn what_takes_longer_than_two_seconds_tells_how_long_it_still_takes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow.pcapng");
    let file = path.to_str().unwrap();
    slow(&path, 26);
    for arguments in [
        &["replay", file, "emulated:0"][..],
        &["generate", "emulated:0", "--rate=1kpps", "--packets=2600"],
        &["generate", "emulated:0", "--duration=2600ms", "--rate=1kpps"],
    ] {
        let output = run(&[arguments, &["--interval=200ms"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let said = errors(&output);
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(" s left")).collect();
        assert!(!lines.is_empty(), "{arguments:?}: {said}");
        // Nothing at first: there is nothing to reckon with yet.
        for line in lines {
            let clock = line.split_whitespace().next().and_then(|clock| clock.split('/').next()).unwrap();
            assert!(clock.parse::<f64>().unwrap() >= 2.0, "{line}");
        }
    }
}

#[test]
fn the_exit_status_says_whether_packets_were_lost() {
    // A device that has no receive buffers left.
    let output = run(&["flows", "emulated:0", "--rate=100Mpps", "--duration=300ms", "-q"]);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    // Frames that no buffer holds.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.pcapng");
    let mut writer = Writer::create(&path, &["a"]).unwrap();
    writer.write(0, Duration::from_secs(1_700_000_000), &[1; 3000]).unwrap();
    writer.write(0, Duration::from_secs(1_700_000_000), &[1; 60]).unwrap();
    drop(writer);
    let output = run(&["replay", path.to_str().unwrap(), "emulated:0", "-q"]);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    // Packets that are changed on the way.
    let output = run(&["forward", "emulated:0", "emulated:1", "--touch=write", "--packets=1000", "-q"]);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    let latency = ["--latency", "emulated:2", "emulated:3", "--touch=write", "--duration=300ms", "-q"];
    let output = run(&[&["forward", "emulated:0", "emulated:1"], &latency[..]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
}

#[test]
fn a_capture_into_something_that_nobody_reads_drops_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let mut child = ringway(&["capture", "emulated:0", "--interval=100ms", "--duration=60", "--write"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Opened, but not read.
    let mut pipe = File::open(&path).unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let dropped = |line: &String| line.split("dropped ").nth(1).is_some_and(|rest| !rest.starts_with('0'));
    assert!(said.any(|line| dropped(&line)), "nothing was ever dropped");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    // It ends when what was accepted is written.
    let drain = std::thread::spawn(move || std::io::copy(&mut pipe, &mut std::io::sink()).unwrap());
    let rest: Vec<String> = said.collect();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{rest:?}");
    assert!(drain.join().unwrap() > 0);
}
