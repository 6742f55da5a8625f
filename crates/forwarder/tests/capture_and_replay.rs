//! `ringway capture` and `ringway replay` as a user runs them, on emulated ports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails shall say so")]

use ringway_traffic::capture::{Reader, Writer};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn ringway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", errors(output)))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a capture says that came to its end. On a busy machine the writer may fall behind: then what was dropped is
/// counted, and the exit status says so.
fn captured(output: &Output) -> Value {
    let summary = json(output);
    let [received, written, dropped] =
        ["received_packets", "written_packets", "dropped"].map(|field| number(&summary, field));
    assert_eq!(received, written + dropped, "{summary}");
    let expected = if dropped == 0 { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(expected), "{}", errors(output));
    summary
}

/// Lengths as they were and as they were kept, of all frames of a file.
fn lengths(path: &Path) -> Vec<(u32, usize)> {
    let mut reader = Reader::open(path).unwrap();
    let mut lengths = Vec::new();
    let mut before = Duration::ZERO;
    while let Some(frame) = reader.next_frame().unwrap() {
        assert!(frame.time >= before && frame.time > Duration::from_secs(1_600_000_000), "{:?}", frame.time);
        before = frame.time;
        lengths.push((frame.length, frame.bytes.len()));
    }
    lengths
}

#[test]
fn what_is_captured_is_whole_and_what_is_replayed_from_it_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.pcapng");
    let file = path.to_str().unwrap();
    for device in ["82599", "virtio-net"] {
        let arguments =
            ["capture", "emulated:0", "--write", file, "--packets=20000", "--json", "--emulate", device];
        let output = ringway(&arguments);
        let summary = captured(&output);
        let written = number(&summary, "written_packets");
        assert!((20_000..20_032).contains(&written), "with the last batch no more than that: {written}");
        assert_eq!(number(&summary, "written_bytes"), written * 60);
        assert!(errors(&output).contains("the port stamps none"));
        assert_eq!(lengths(&path), vec![(60, 60); written as usize]);

        let arguments = [
            "replay",
            file,
            "emulated:0",
            "--as-fast-as-possible",
            "--loops=3",
            "--json",
            "--emulate",
            device,
        ];
        let output = ringway(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let summary = json(&output);
        assert_eq!((number(&summary, "sent_packets"), number(&summary, "loops")), (3 * written, 3));
        assert_eq!(number(&summary, "sent_bytes"), 3 * written * 60);
        assert_eq!(number(&summary, "unsent") + number(&summary, "too_long"), 0);
    }
}

#[test]
fn a_snap_length_keeps_beginnings_and_full_files_are_followed_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcapng");
    let file = path.to_str().unwrap();
    let arguments =
        ["capture", "emulated:0", "-w", file, "-s", "20", "--rotate-size=10kB", "--packets=1000", "--json"];
    let summary = captured(&ringway(&arguments));
    let files = number(&summary, "files");
    assert!(files > 1, "{summary}");
    let mut written = 0;
    for index in 1..=files {
        let lengths = lengths(&folder.path().join(format!("cut-{index:05}.pcapng")));
        assert!(lengths.iter().all(|&pair| pair == (60, 20)));
        written += lengths.len() as u64;
    }
    assert_eq!(written, number(&summary, "written_packets"));
    assert_eq!(number(&summary, "written_bytes"), written * 20);
    // What was cut can't be sent.
    let output = ringway(&["replay", &file.replace("cut", "cut-00001"), "emulated:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("has 20 of its 60 bytes"), "{}", errors(&output));
}

#[test]
fn a_match_decides_what_is_written_and_the_limit_counts_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("match.pcapng");
    let file = path.to_str().unwrap();
    let capture = |matching: &str, end: &str| {
        ringway(&["capture", "emulated:0", "-w", file, "--json", "--match", matching, end])
    };
    let output = capture("udp,tp_dst=9,nw_src=198.18.0.0/15", "--packets=1000");
    let summary = captured(&output);
    assert!(number(&summary, "written_packets") >= 1000);
    assert_eq!(number(&summary, "left_out"), 0);
    assert!(errors(&output).contains("capturing udp,tp_dst=9,nw_src=198.18.0.0/15 on emulated:0"));
    let output = capture("tcp", "--duration=300ms");
    let summary = json(&output);
    assert!(number(&summary, "received_packets") > 0);
    assert_eq!(number(&summary, "left_out"), number(&summary, "received_packets"));
    assert_eq!(lengths(&path), []);
    for (matching, part) in [("in_port=1", "a capture is of one port"), ("tp_dst=80", "write tcp,tp_dst=80")]
    {
        let output = capture(matching, "--packets=1");
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(part), "{}", errors(&output));
    }
}

#[test]
fn a_disk_that_is_full_is_told_of_and_counted_and_stops_nothing() {
    // The first blocks fit into the system's own buffer of this file, which takes nothing.
    let output = ringway(&["capture", "emulated:0", "--write=/dev/full", "--duration=1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("/dev/full can't be written"), "{}", errors(&output));
    let output = ringway(&["capture", "emulated:0", "--write=/nonexistent/a.pcapng"]);
    assert!(errors(&output).contains("/nonexistent/a.pcapng"), "{}", errors(&output));
    // A limit on files' sizes, 8 MiB, is met in the midst of a run. Packet memory is a file too, and is below it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.pcapng");
    let script = format!(
        "ulimit -f 16384; trap '' XFSZ; exec {} capture emulated:0 --write {} --packets 600000 --interval 100ms --json",
        env!("CARGO_BIN_EXE_ringway"),
        path.display()
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let summary = json(&output);
    let [written, dropped, received] =
        ["written_packets", "dropped", "received_packets"].map(|field| number(&summary, field));
    assert!(written > 0 && dropped > 0, "{summary}");
    assert_eq!(written + dropped, received, "every packet is accounted for");
    assert!(errors(&output).contains("small.pcapng can't be written"), "{}", errors(&output));
    assert!(errors(&output).contains("os error 27"), "with the errno: {}", errors(&output));
    assert_eq!(summary["stopped_by"], "packets", "it went on receiving");
    assert_eq!(
        lengths(&path).len() as u64,
        written,
        "what counts as written is there, and the file ends whole"
    );
    assert_eq!(number(&summary, "written_bytes"), written * 60);
}

#[test]
fn a_pipe_that_nobody_reads_on_is_given_up_at_the_end_and_everything_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    // The reader opens the pipe and reads nothing until the capture has ended.
    let script = format!(
        "cd {}; mkfifo pipe stop; {{ read stop < stop; }} < pipe & \
         {} capture emulated:0 --write pipe --packets 20000 --json; status=$?; echo > stop; wait; exit $status",
        folder.path().display(),
        env!("CARGO_BIN_EXE_ringway"),
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let summary = json(&output);
    let [written, dropped, received] =
        ["written_packets", "dropped", "received_packets"].map(|field| number(&summary, field));
    assert_eq!(written + dropped, received, "{summary}");
    assert!(dropped > 0 && errors(&output).contains("pipe can't be written"), "{}", errors(&output));
}

#[test]
fn a_replay_keeps_the_distances_of_the_file_or_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow.pcapng");
    let file = path.to_str().unwrap();
    let mut writer = Writer::create(&path, &["a"]).unwrap();
    for number in 0..11u32 {
        writer
            .write(0, Duration::from_millis(1_700_000_000_000 + u64::from(number) * 100), &[1; 60])
            .unwrap();
    }
    drop(writer);
    let took = |arguments: &[&str]| {
        let started = Instant::now();
        let output = ringway(&[&["replay", file, "emulated:0", "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(number(&json(&output), "sent_packets"), 11);
        started.elapsed()
    };
    // A second, a fifth of one, and none to speak of; a busy machine makes all of them longer, and none shorter.
    assert!(took(&[]) >= Duration::from_secs(1));
    assert!(took(&["--speed=5"]) >= Duration::from_millis(200));
    assert!(took(&["--rate=20pps"]) >= Duration::from_millis(450));
    took(&["--as-fast-as-possible"]);
    let output =
        ringway(&["replay", file, "emulated:0", "--loops=0", "--packets=100", "--speed=100", "--json"]);
    assert_eq!(number(&json(&output), "sent_packets"), 100, "{}", errors(&output));
    // What ended it, and how often the file was sent whole: eleven frames, nine times and one more.
    let ends = |arguments: &[&str]| {
        let output = ringway(&[&["replay", file, "emulated:0", "--speed=100", "--json"], arguments].concat());
        let summary = json(&output);
        (summary["stopped_by"].clone(), number(&summary, "loops"))
    };
    assert_eq!(ends(&["--loops=0", "--packets=100"]), ("packets".into(), 9));
    assert_eq!(ends(&["--packets=5"]), ("packets".into(), 0));
    assert_eq!(ends(&[]), (Value::Null, 1));
    assert_eq!(ends(&["--loops=3"]), (Value::Null, 3));
    let output = ringway(&["replay", file, "emulated:0", "--speed=100"]);
    assert!(text(&output).contains("ended by the end of the file"), "{}", text(&output));
}

#[test]
fn a_file_that_breaks_on_the_way_is_an_error_and_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.pcapng");
    let mut writer = Writer::create(&path, &["a"]).unwrap();
    // More than are looked at before a port is opened.
    for _ in 0..10_500 {
        writer.write(0, Duration::from_secs(1_700_000_000), &[1; 60]).unwrap();
    }
    drop(writer);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 50).unwrap();
    let output = ringway(&["replay", path.to_str().unwrap(), "emulated:0", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let summary = json(&output);
    assert_eq!((summary["stopped_by"].as_str(), number(&summary, "loops")), (Some("error"), 0), "{summary}");
    assert!(summary["errors"][0].as_str().is_some_and(|error| error.contains("broken.pcapng")), "{summary}");
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pcapng");
    drop(Writer::create(&empty, &["a"]).unwrap());
    let long = folder.path().join("long.pcapng");
    let mut writer = Writer::create(&long, &["a"]).unwrap();
    writer.write(0, Duration::from_secs(1_700_000_000), &[1; 3000]).unwrap();
    writer.write(0, Duration::from_secs(1_700_000_000), &[1; 60]).unwrap();
    drop(writer);
    let refused = |path: &Path, part: &str| {
        let output = ringway(&["replay", path.to_str().unwrap(), "emulated:0"]);
        assert!(!output.status.success());
        assert!(errors(&output).contains(part), "{part} in {}", errors(&output));
    };
    refused(&empty, "no packet to be sent");
    refused(Path::new("/nonexistent.pcap"), "/nonexistent.pcap");
    refused(Path::new("/dev/null"), "no regular file");
    refused(folder.path(), "no regular file");
    refused(&long, "1 packets are longer than a buffer holds");
}
