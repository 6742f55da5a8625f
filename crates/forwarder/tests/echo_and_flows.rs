//! `ringway echo` and `ringway flows` as a user runs them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails shall say so")]

use ringway_flow::samples::Kind;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RINGWAY_TEST_PANIC_AFTER").output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", text(output), errors(output)))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn sum(list: &Value, field: &str) -> u64 {
    list.as_array().unwrap().iter().map(|entry| number(entry, field)).sum()
}

#[test]
fn echo_ignores_what_is_no_question_and_says_why() {
    let output = run(&[
        "echo",
        "emulated:0",
        "--address",
        "10.99.0.1/24",
        "--duration",
        "1",
        "--interval",
        "200ms",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    let port = &summary["ports"][0];
    let received = number(port, "received_packets");
    assert!(received > 0);
    let ignored: u64 = summary["ignored"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(ignored, received);
    assert_eq!(number(&summary["ignored"], "other_address"), received);
    assert_eq!(number(port, "sent_packets"), 0);
    let said = errors(&output);
    for part in ["answering on emulated:0 for 10.99.0.1", "ignored ", "all-multicast mode off again"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let output = run(&["echo", "emulated:0", "--address", "10.99.0.1", "--duration", "100ms", "-q"]);
    assert!(text(&output).contains("ARP requests"), "{}", text(&output));
}

#[test]
fn flows_on_emulated_ports_end_at_just_as_many_packets() {
    for ports in [&["emulated:0"][..], &["emulated:0", "emulated:1"]] {
        let options = ["--packets", "1001", "--batch", "7", "--json"];
        let arguments: Vec<&str> = ["flows"].iter().chain(ports).chain(&options).copied().collect();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let summary = json(&output);
        assert_eq!((number(&summary, "packets"), number(&summary, "bytes")), (1001, 1001 * 60));
        assert_eq!(sum(&summary["protocols"], "packets"), 1001);
        assert_eq!(sum(&summary["top"], "packets"), 1001);
        assert_eq!(summary["stopped_by"], "packets");
        assert_eq!(summary["protocols"][0]["name"], "IPv4 udp");
        let said = errors(&output);
        for part in
            ["flow table: up to 1,000,000 flows in ", "watching emulated:0", "promiscuous mode off again"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

/// Three packets of one UDP flow, one of TCP over IPv6, one ARP and one that is cut short by its sender.
fn frames() -> Vec<Vec<u8>> {
    let udp = || Kind::UdpIpv4.packet(1);
    let mut short = udp();
    short.truncate(30);
    vec![udp(), Kind::TcpIpv6.packet(1), udp(), Kind::Arp.packet(1), udp(), short]
}

/// A pcap file of frames a second apart, of which it has so many bytes at most.
fn write(path: &Path, frames: &[Vec<u8>], snap_length: usize) {
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let mut file = words(&[0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, 1]);
    for (second, frame) in (1_700_000_000..).zip(frames) {
        let captured = &frame[..frame.len().min(snap_length)];
        file.extend(words(&[second, 0, captured.len() as u32, frame.len() as u32]));
        file.extend(captured);
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn flows_of_a_capture_file_are_counted_with_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.pcap");
    write(&path, &frames(), 65_535);
    let file = path.to_str().unwrap();
    let output = run(&["flows", file, "--json", "--top", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    assert_eq!((number(&summary, "packets"), number(&summary, "flows")), (6, 2));
    assert_eq!(number(&summary["without_tuple"], "packets"), 2);
    assert_eq!(summary["top"].as_array().unwrap().len(), 1);
    let largest = &summary["top"][0];
    assert_eq!((number(largest, "packets"), number(largest, "protocol")), (3, 17));
    assert_eq!((largest["start"].as_f64(), largest["duration"].as_f64()), (Some(0.0), Some(4.0)));
    assert_eq!(largest["protocol_name"], "udp");
    assert!(largest["source_port"].is_u64() && largest["destination_port"].is_u64());
    let fault = &summary["malformed"][0];
    assert_eq!((fault["reason"].as_str(), number(fault, "first_packet")), (Some("Ipv4Truncated"), 6));
    assert!(summary["stopped_by"].is_null());

    let people = text(&run(&["flows", file]));
    for part in ["udp ", "tcp [", "ARP", "IPv4 header cut short at byte 14", "6 packets", "2 flows"] {
        assert!(people.contains(part), "{part} in {people}");
    }
    // With a snap length behind the headers (the TCP packet has 80 bytes) the same is counted.
    write(&path, &frames(), 76);
    let cut = json(&run(&["flows", file, "--json", "--top", "1"]));
    assert_eq!((&cut["top"], &cut["protocols"]), (&summary["top"], &summary["protocols"]));
    assert_eq!((number(&cut, "cut"), number(&cut, "cut_in_headers")), (1, 0));
    let output = run(&["flows", file, "--table", "1", "--json"]);
    assert_eq!(number(&json(&output)["not_in_table"], "packets"), 1);
}

#[test]
fn a_match_leaves_out_what_is_not_meant_and_faults_keep_their_place_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.pcap");
    write(&path, &frames(), 65_535);
    let file = path.to_str().unwrap();
    for (matching, packets, first) in [
        ("udp", 3, None),
        ("tcp6", 1, None),
        ("arp", 1, None),
        ("dl_type=0x0800", 4, Some(6)),
        ("in_port=1", 6, Some(6)),
    ] {
        let output = run(&["flows", file, "--json", "--match", matching]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let summary = json(&output);
        assert_eq!(
            (number(&summary, "packets"), number(&summary, "left_out")),
            (packets, 6 - packets),
            "{matching}"
        );
        assert_eq!(sum(&summary["protocols"], "packets"), packets);
        assert_eq!(summary["malformed"][0]["first_packet"].as_u64(), first, "{matching}");
    }
    let output = run(&["flows", file, "--json", "--match", "udp", "--packets", "2"]);
    assert_eq!((number(&json(&output), "packets"), number(&json(&output), "left_out")), (2, 1));
    assert!(text(&run(&["flows", file, "--match", "in_port=2"])).contains("6 more packets were left out"));
    let output = run(&[
        "flows",
        "emulated:0",
        "emulated:1",
        "--match",
        "udp,in_port=2",
        "--packets",
        "1000",
        "--json",
    ]);
    assert_eq!(number(&json(&output), "packets"), 1000, "{}", errors(&output));
    let output = run(&["flows", file, "--match", "tp_dst=53"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("write tcp,tp_dst=53"), "{}", errors(&output));
}

#[test]
fn what_is_no_source_is_a_usage_error_and_a_damaged_file_is_reported_up_to_there() {
    let output = run(&["flows", "no-such-file.pcap"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("no-such-file.pcap is neither a port"), "{}", errors(&output));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.pcap");
    write(&path, &frames(), 65_535);
    let output = run(&["flows", path.to_str().unwrap(), "emulated:0"]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));

    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&path, bytes).unwrap();
    let output = run(&["flows", path.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(number(&json(&output), "packets"), 5);
    assert!(errors(&output).contains("wire.pcap"), "{}", errors(&output));
}
