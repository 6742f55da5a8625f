//! The program as a user runs it: what it says, what it prints, how it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails shall say so")]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn ringway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RINGWAY_TEST_PANIC_AFTER");
    command
}

fn run(arguments: &[&str]) -> Output {
    ringway(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one JSON object on standard output.
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", text(output), errors(output)))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value}"))
}

#[test]
fn without_an_argument_every_packet_crosses_between_two_emulated_cards() {
    let output = run(&["--duration", "2", "--interval", "200ms", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    assert_eq!(summary["stopped_by"], "duration");
    assert_eq!(number(&summary, "dropped"), 0);
    let ports = summary["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 2);
    let mut received = 0;
    for (port, name) in ports.iter().zip(["emulated:0", "emulated:1"]) {
        assert_eq!(port["name"], name);
        assert_eq!(port["driver"], "ixgbe");
        assert_eq!(
            number(port, "received_bytes"),
            number(port, "received_packets") * 60,
            "64 bytes with FCS"
        );
        received += number(port, "received_packets");
    }
    assert_eq!(number(&summary, "forwarded"), received);
    let streams = summary["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 2);
    for (stream, (from, to)) in
        streams.iter().zip([("emulated:0", "emulated:1"), ("emulated:1", "emulated:0")])
    {
        assert_eq!((stream["from"].as_str(), stream["to"].as_str()), (Some(from), Some(to)));
        assert!(number(stream, "sent") > 0);
        assert_eq!(number(stream, "received"), number(stream, "sent"));
        for field in ["lost", "out_of_order", "doubled", "damaged"] {
            assert_eq!(number(stream, field), 0, "{stream}");
        }
    }
    let said = errors(&output);
    assert!(said.lines().any(|line| line.starts_with("forwarding ")), "{said}");
    for part in ["emulated", "ringway forward ", "bind", "Mpps", "Gbit/s", "promiscuous mode off again"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn for_people_the_summary_is_a_table_with_a_verdict() {
    let output = run(&["--duration", "200ms", "-q"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = text(&output);
    for part in ["received", "lost", "out of order", "emulated:0 to emulated:1", "every packet arrived"] {
        assert!(summary.contains(part), "{part} in {summary}");
    }
    assert_eq!(errors(&output), "", "quiet");
}

#[test]
fn a_number_of_packets_is_forwarded_exactly_and_what_was_under_way_is_not_called_lost() {
    let output = run(&["forward", "emulated:0", "emulated:1", "--packets", "5001", "--json", "-v"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    assert_eq!((summary["stopped_by"].as_str(), number(&summary, "forwarded")), (Some("packets"), 5001));
    let said = errors(&output);
    for part in ["in huge pages", "mappings", "first packet", "memory: 0 KiB in 0 mappings are left"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn sources_with_a_rate_lose_what_finds_no_room_and_every_lost_packet_has_a_place() {
    // Far more than a model makes: most of it is missed.
    let output = run(&["--rate", "100Mpps", "--duration", "300ms", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    let summary = json(&output);
    assert_eq!(summary["offered"], 1e8);
    let sum = |list: &str, field: &str| -> u64 {
        summary[list].as_array().unwrap().iter().map(|item| number(item, field)).sum()
    };
    let lost = sum("streams", "lost");
    assert!(lost > 0);
    assert_eq!(lost, sum("ports", "missed") + sum("ports", "dropped"));
    assert_eq!(sum("streams", "out_of_order") + sum("streams", "doubled") + sum("streams", "damaged"), 0);
    let output = run(&["--rate", "100Mpps", "--duration", "300ms", "-q"]);
    assert!(text(&output).contains("missed by the cards"), "{}", text(&output));
    let output = run(&["--rate", "100Mpps", "--duration", "300ms", "-q", "--emulate", "82599,virtio-net"]);
    assert!(text(&output).contains("(uncounted by emulated:1"), "{}", text(&output));
    // One that makes none in time has lost none, and nothing is praised.
    let output = run(&["--rate", "0.001pps", "--duration", "100ms", "-q"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).contains("no source has made a packet"), "{}", text(&output));
}

#[test]
fn emulated_cards_of_all_kinds_forward_to_one_another_without_loss() {
    for (devices, drivers) in [
        ("82599,virtio-net", ["ixgbe", "virtio-net"]),
        ("virtio-net", ["virtio-net", "virtio-net"]),
        ("x540,x550", ["ixgbe", "ixgbe"]),
        ("82599-kx4", ["ixgbe", "ixgbe"]),
    ] {
        let output =
            run(&["forward", "emulated:0", "emulated:1", "--emulate", devices, "--duration=300ms", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{devices}: {}", errors(&output));
        let summary = json(&output);
        assert!(number(&summary, "forwarded") > 0);
        for (port, driver) in summary["ports"].as_array().unwrap().iter().zip(drivers) {
            assert_eq!(port["driver"], driver, "{devices}");
        }
    }
}

#[test]
fn what_is_generated_arrives_whole_whatever_its_shape() {
    for arguments in [
        &["--flows=100", "--packets=20000"][..],
        &["--size=imix", "--flows=70000", "--packets=80000", "--batch=256"],
        &["--ipv6", "--protocol=icmp", "--size=128-1518", "--packets=5000"],
        &["--protocol=tcp", "--vlan=5,6", "--flows=500", "--vary=vlan,destination-ip", "--packets=5000"],
        &["--rate=20kpps", "--poisson", "--duration=300ms", "--emulate=virtio-net"],
        &["--rate=0.2%", "--duration=300ms"],
    ] {
        let output = ringway(&["generate", "emulated:0", "--json"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        let summary = json(&output);
        let sent = number(&summary, "sent_packets");
        assert!(sent > 0, "{arguments:?}: {summary}");
        assert_eq!(number(&summary["arrived"], "received"), sent, "{arguments:?}");
        for field in ["lost", "out_of_order", "doubled", "damaged", "foreign"] {
            assert_eq!(number(&summary["arrived"], field), 0, "{arguments:?}: {summary}");
        }
        if let Some(packets) = arguments.iter().find_map(|argument| argument.strip_prefix("--packets=")) {
            assert_eq!(sent.to_string(), packets);
        }
    }
}

#[test]
fn a_receiver_times_what_comes_and_tells_of_each_flow_and_draws_it() {
    let plot = std::env::temp_dir().join(format!("ringway-plot-{}.svg", std::process::id()));
    let path = plot.to_str().unwrap();
    let arguments = ["receive", "emulated:0", "--packets=20000", "--per-flow", "--json", "--plot", path];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    let received = number(&summary, "received");
    assert!(received >= 20_000);
    assert_eq!((number(&summary, "lost"), number(&summary, "foreign")), (0, 0));
    assert_eq!(number(&summary["latency"], "packets"), received);
    assert_eq!(number(&summary["flows"][0], "received"), received);
    let percentiles: Vec<u64> = summary["latency"]["percentiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[1].as_u64().unwrap())
        .collect();
    assert!(percentiles.len() == 8 && percentiles.is_sorted() && percentiles[0] > 0, "{percentiles:?}");
    assert!(std::fs::read_to_string(&plot).unwrap().starts_with("<svg"));
    std::fs::remove_file(plot).unwrap();
}

#[test]
fn latency_is_measured_through_the_forwarder_between_cabled_ports() {
    let plot = std::env::temp_dir().join(format!("ringway-latency-{}.svg", std::process::id()));
    let arguments = ["--latency", "emulated:2", "emulated:3", "--load=20kpps", "--poisson", "--duration=1"];
    let mut command =
        ringway(&["forward", "emulated:0", "emulated:1", "--json", "--emulate=82599,virtio-net"]);
    let output = command.args(arguments).arg("--plot").arg(&plot).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    let sent = |stream: usize| number(&summary["streams"][stream], "sent");
    assert!(sent(0) > 0 && sent(1) > 0);
    for (stream, names) in [(0, ["emulated:2", "emulated:3"]), (1, ["emulated:3", "emulated:2"])] {
        let found = &summary["streams"][stream];
        assert_eq!([&found["from"], &found["to"]], names);
        assert_eq!((number(found, "received"), number(found, "lost")), (sent(stream), 0), "{found}");
        assert_eq!(summary["latency"][stream][0], names.join(" to "));
        assert_eq!(number(&summary["latency"][stream][1], "packets"), sent(stream));
    }
    assert_eq!(number(&summary, "forwarded"), sent(0) + sent(1));
    assert!(std::fs::read_to_string(&plot).unwrap().contains("emulated:3 to emulated:2"));
    std::fs::remove_file(plot).unwrap();
}

#[test]
fn packets_that_cannot_be_made_are_refused_before_a_port_is_opened() {
    for (arguments, parts) in [
        (&["--size=64", "--ipv6"][..], ["60 bytes are not possible", "80 to"]),
        (&["--flows=100000", "--vary=destination-port"], ["100000 flows", "50000 values"]),
        (&["--vlan=1,2,3"], ["3 VLAN tags", "two are the most"]),
        (&["--template=/nonexistent.pcap"], ["/nonexistent.pcap", "No such file"]),
        (&["--destination-ip=::1"], ["198.18.0.1 and ::1", "two versions"]),
        (&["--poisson"], ["--rate", "required"]),
        (&["--size=9000"], ["8996 bytes", "--buffer-size"]),
        (&["--rate=101%"], ["50%", "101%"]),
    ] {
        let output = ringway(&["generate", "emulated:0"]).args(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        for part in parts {
            assert!(errors(&output).contains(part), "{part} in {}", errors(&output));
        }
    }
}

#[test]
fn options_of_emulated_ports_are_refused_for_others_and_wrong_values_with_what_there_is() {
    for (arguments, parts) in [
        (["0000:7f:1f.0", "0000:7f:1f.1", "--rate=1Mpps"], ["--rate is for emulated ports", "0000:7f:1f.0"]),
        (["0000:7f:1f.0", "emulated:1", "--emulate=x540"], ["--emulate is for emulated", "0000:7f:1f.0"]),
        (["emulated:0", "emulated:1", "--emulate=x710"], ["82599-kx4, x540, x550 and virtio-net", "x710"]),
        (["emulated:0", "emulated:1", "--emulate=x540,x550,82599"], ["3 devices", "2 ports"]),
        (["emulated:0", "emulated:1", "--load=5kpps"], ["--latency", "required"]),
        (["emulated:0", "emulated:1", "--rate=5"], ["2Mpps", "2.5Gbit/s"]),
        (["emulated:0", "emulated:1", "--rate=0pps"], ["2Mpps", "500kpps"]),
    ] {
        let output = ringway(&["forward"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        for part in parts {
            assert!(errors(&output).contains(part), "{part} in {}", errors(&output));
        }
    }
}

#[test]
fn every_option_of_forward_can_be_used_together() {
    let output = run(&[
        "forward",
        "emulated:3",
        "emulated:7",
        "--batch=256",
        "--receive-ring=64",
        "--transmit-ring=128",
        "--pool=2000",
        "--buffer-size=4096",
        "--touch=no",
        "--rss-table=0",
        "--pause=rx,tx",
        "--filter=ethertype=0x88f7,queue=0",
        "--when-full=wait",
        "--packets=1000",
        "--duration=60",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    assert_eq!(summary["ports"][1]["name"], "emulated:7");
    assert_eq!(number(&summary, "forwarded"), 1000);
}

#[test]
fn packets_that_were_changed_on_the_way_are_damaged_and_the_exit_status_says_so() {
    let output = run(&["forward", "emulated:0", "emulated:1", "--touch=write", "--packets=1000", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    let summary = json(&output);
    // All may have come from one card, as the machine gives them time.
    let damaged = |stream: usize| number(&summary["streams"][stream], "damaged");
    assert!(damaged(0) + damaged(1) > 0, "{summary}");
}

#[test]
fn what_is_dropped_for_want_of_room_is_exactly_what_the_sinks_miss() {
    // A ring of 2, which only virtio has.
    let arguments = ["--when-full=drop", "--transmit-ring=2", "--batch=256", "--duration=1", "--json"];
    let ports = ["forward", "emulated:0", "emulated:1", "--emulate=virtio-net"];
    let output = run(&[&ports[..], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
    let summary = json(&output);
    let lost = |stream: usize| number(&summary["streams"][stream], "lost");
    assert!(lost(0) + lost(1) > 0, "{summary}");
    for (stream, receiver) in [(0, 1), (1, 0)] {
        let (stream, port) = (&summary["streams"][stream], &summary["ports"][receiver]);
        assert_eq!(number(stream, "lost"), number(port, "dropped"), "{summary}");
        assert_eq!(number(stream, "received"), number(port, "sent_packets"), "{summary}");
        assert_eq!((number(stream, "out_of_order"), number(stream, "under_way")), (0, 0), "{summary}");
    }
}

#[test]
fn each_direction_has_a_worker_of_its_own_where_two_processors_are_named() {
    let cores: Vec<String> = ringway::machine::cpu::allowed().iter().take(2).map(usize::to_string).collect();
    let output = run(&["--duration=200ms", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let list = cores.join(",");
    let output = run(&["forward", "emulated:0", "emulated:1", "--cores", &list, "--duration", "1", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(number(&json(&output), "forwarded") > 0);
}

#[test]
fn a_signal_ends_it_in_order_and_a_second_one_changes_nothing() {
    use rustix::process::Signal;
    let heard = ringway::machine::signals::asking_for_the_end();
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        if !heard.contains(&signal.as_raw()) {
            // This process was started so that it isn't heard, and what it starts is too: see the next test.
            continue;
        }
        let mut child = ringway(&["forward", "emulated:0", "emulated:1", "--json", "--duration=300"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().starts_with("forwarding ")), "it never forwarded");
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, signal).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
        let rest: Vec<String> = said.map(Result::unwrap).collect();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "SIG{name}: {rest:?}");
        assert_eq!(json(&output)["stopped_by"], "signal");
        assert!(rest.iter().any(|line| line.contains("promiscuous mode off again")), "{rest:?}");
    }
}

#[test]
fn under_nohup_a_terminal_that_goes_ends_nothing() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut child = Command::new("nohup")
        .arg(env!("CARGO_BIN_EXE_ringway"))
        .args(["forward", "emulated:0", "emulated:1", "--json", "--interval=200ms", "--duration=300"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.starts_with("forwarding ")), "it never forwarded");
    let process = Pid::from_child(&child);
    kill_process(process, Signal::HUP).unwrap();
    // A signal that isn't ignored would end it before the second of these lines.
    assert_eq!(said.by_ref().filter(|line| line.contains("Mpps")).take(2).count(), 2, "it ended");
    kill_process(process, Signal::TERM).unwrap();
    let rest: Vec<String> = said.collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{rest:?}");
    assert_eq!(json(&output)["stopped_by"], "signal");
}

#[cfg(feature = "fault-injection")]
#[test]
fn a_panic_in_a_worker_gives_the_ports_back_and_ends_with_a_status_of_its_own() {
    let output = ringway(&["forward", "emulated:0", "emulated:1", "--json", "-v"])
        .env("RINGWAY_TEST_PANIC_AFTER", "1000")
        .output()
        .unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert_eq!(json(&output)["stopped_by"], "panic");
    for part in [
        "worker-0 panicked",
        "RINGWAY_TEST_PANIC_AFTER",
        "promiscuous mode off again",
        "memory: 0 KiB in 0 mappings are left",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn ports_are_listed_for_people_and_as_json() {
    let output = run(&["ports"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(text(&output).contains("emulated:0"), "{}", text(&output));
    let listing = json(&run(&["ports", "--json"]));
    let ports = listing["ports"].as_array().unwrap();
    for port in ports {
        assert!(
            port["usable"] == true || port["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{port}"
        );
    }
    assert!(ports.iter().any(|port| port["name"] == "emulated:0" && port["usable"] == true));
}

#[test]
fn what_cannot_be_done_is_refused_with_the_thing_and_the_way_out() {
    for (arguments, status, parts) in [
        (&["forward", "emulated:0", "emulated:0"][..], 2, &["emulated:0", "two different"][..]),
        (&["forward", "emulated:0", "7f:1f.7"], 2, &["0000:7f:1f.7", "emulated:0", "address spaces"]),
        (&["forward", "7f:1f.7", "7f:1f.6"], 1, &["0000:7f:1f.7", "no PCI function"]),
        (&["forward", "eth0", "emulated:0"], 2, &["`eth0`", "0000:03:00.0", "emulated:0"]),
        (&["forward", "emulated:0", "emulated:1", "--pool=64"], 2, &["--pool 64", "at least", "--ring-size"]),
        (&["forward", "emulated:0", "emulated:1", "--cores=0,0"], 2, &["processor 0", "twice"]),
        (
            &["forward", "emulated:0", "emulated:1", "--cores=0,1,2", "--queues=1"],
            2,
            &["3 threads", "--queues"],
        ),
        (&["forward", "emulated:0", "emulated:1", "--cores=1023"], 2, &["processor 1023", "may use"]),
        (&["forward", "emulated:0"], 2, &["<B>", "Usage"]),
        (&["fly"], 2, &["fly", "Usage"]),
    ] {
        let output = run(arguments);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {part} in {said}");
        }
        assert_eq!(text(&output), "", "errors go to standard error");
    }
}

#[test]
fn standard_error_may_be_closed_and_a_reader_of_the_summary_may_go() {
    let mut child =
        ringway(&["--duration", "100ms"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_doctor_asks_for_is_enough_for_a_run_by_default_and_not_much_more() {
    const MIB: f64 = 1_048_576.0;
    let output = run(&["doctor", "--json"]);
    let checks = json(&output)["checks"].as_array().unwrap().clone();
    let memory = checks.iter().find(|check| check["name"] == "locked memory").unwrap();
    let needed = memory["finding"].as_str().unwrap();
    let needed: f64 = needed.split_once(" MiB needed").unwrap().0.parse().unwrap();

    for device in ["82599", "virtio-net"] {
        let output =
            run(&["forward", "emulated:0", "emulated:1", "--emulate", device, "--packets", "1000", "-v"]);
        let errors = errors(&output);
        // "memory: 5.2 MiB mapped for the emulated ports in 9 mappings, …"
        let line = errors.lines().find(|line| line.contains("mapped for the emulated ports")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "mapped").unwrap();
        let unit = match words[at - 1] {
            "KiB" => MIB / 1024.0,
            "MiB" => MIB,
            other => panic!("{other} in {line}"),
        };
        let mapped = words[at - 2].parse::<f64>().unwrap() * unit;
        assert!(mapped <= needed * MIB && mapped * 2.0 > needed * MIB, "{needed} MiB needed, {line}");
    }
}

#[test]
fn with_interrupts_few_packets_are_slept_between_and_none_is_lost() {
    for device in ["82599", "virtio-net"] {
        // On a busy machine packets come in bunches, and between two looks at a queue there is always one: the longer the
        // gaps, the busier the machine may be.
        let slept = [(500, 400), (50, 40), (5, 8)].into_iter().any(|(rate, packets)| {
            let summary = forwarded_with_interrupts(device, rate, packets);
            assert!(number(&summary, "forwarded") >= packets, "{summary}");
            for stream in summary["streams"].as_array().unwrap() {
                assert_eq!((number(stream, "damaged"), number(stream, "out_of_order")), (0, 0), "{stream}");
            }
            assert_eq!(number(&summary, "dropped"), 0, "{summary}");
            number(&summary, "slept") >= 1
        });
        assert!(slept, "{device}: not at five packets a second either");
    }
}

fn forwarded_with_interrupts(device: &str, rate: u64, packets: u64) -> Value {
    let (rate, packets) = (format!("{rate}pps"), packets.to_string());
    let mut arguments =
        vec!["forward", "emulated:0", "emulated:1", "--interrupts", "--idle", "20us", "--json"];
    arguments.extend(["--emulate", device, "--rate", &rate, "--packets", &packets]);
    json(&run(&arguments))
}

#[test]
fn four_queues_on_four_threads_share_the_flows_and_keep_each_in_order() {
    for device in ["82599", "virtio-net"] {
        four_queues(device);
    }
}

fn four_queues(device: &str) {
    let output = run(&[
        "forward",
        "emulated:0",
        "emulated:1",
        "--emulate",
        device,
        "--queues",
        "4",
        "--workers",
        "4",
        "--packets",
        "100000",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let summary = json(&output);
    for stream in summary["streams"].as_array().unwrap() {
        for field in ["lost", "out_of_order", "doubled", "damaged"] {
            assert_eq!(number(stream, field), 0, "{stream}");
        }
    }
    // Both ports together: which of them got more is a matter of the machine.
    let mut received = [0; 4];
    for port in summary["ports"].as_array().unwrap() {
        let queues = port["queues"].as_array().unwrap();
        assert_eq!(queues.len(), 4);
        for (sum, queue) in received.iter_mut().zip(queues) {
            *sum += number(queue, "received_packets");
        }
    }
    let even = received.iter().sum::<u64>() as f64 / 4.0;
    for count in &received {
        let share = *count as f64 / even;
        assert!((0.9..=1.1).contains(&share), "{received:?} is not even to 10 %");
    }
}

#[test]
fn what_the_queues_and_offloads_cannot_be_is_said_with_what_can() {
    for (arguments, parts) in [
        (&["--workers", "3", "--queues", "1"][..], &["3 threads", "2", "--queues"][..]),
        (&["--offload", "vlan-stripes"], &["vlan-stripes", "vlan-strip,"]),
        (&["--offload", "vlan-filter"], &["--vlan"]),
        (&["--vlan", "4096"], &["4096", "4095"]),
        (&["--filter", "udp,destination-port=53"], &["queue=N, or drop"]),
        (&["--rss-key", "6d5"], &["hexadecimal"]),
        (&["--pause", "on"], &["rx,tx"]),
        (&["--idle", "10us"], &["--interrupts"]),
        (&["--interrupts", "--idle", "soon"], &["50us"]),
        (&["--interrupts", "--moderation", "often"], &["adaptive"]),
        (&["--queues", "2", "--latency", "emulated:2", "emulated:3"], &["--queues", "--latency"]),
    ] {
        let output = run(&[&["forward", "emulated:0", "emulated:1"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", errors(&output));
        for part in parts {
            assert!(errors(&output).contains(part), "{part} in {}", errors(&output));
        }
    }
}

#[test]
fn each_port_can_have_offloads_of_its_own() {
    let lists =
        "large-receive,tcp4-segmentation,receive-checksum/vlan-strip,vlan-insert,tcp4-segmentation,hash";
    let output = run(&[
        "forward",
        "emulated:0",
        "emulated:1",
        "--emulate",
        "virtio-net,82599",
        "--offload",
        lists,
        "--packets",
        "20000",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(number(&json(&output), "forwarded"), 20_000);
    let lists = "vlan-strip/none";
    let output = run(&[
        "forward",
        "emulated:0",
        "emulated:1",
        "--offload",
        lists,
        "--packets",
        "1000",
        "--vlan",
        "5,6",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let said = errors(&output);
    assert!(said.contains("emulated:0 has vlan-strip, emulated:1 lacks vlan-insert"), "{said}");
    assert!(!said.contains("emulated:1 has"), "{said}");
    let output = run(&["forward", "emulated:0", "emulated:1", "--offload", "none/large-receive"]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    for part in ["emulated:1", "large-receive", "in a row only"] {
        assert!(errors(&output).contains(part), "{part} in {}", errors(&output));
    }
}

#[test]
fn the_table_of_features_in_the_documentation_is_what_the_drivers_say() {
    let output = run(&["ports", "--features"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let table = text(&output);
    let documented =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/features.md")).unwrap();
    let documented = documented.split_once("\n| |").map(|(_, rest)| format!("| |{rest}")).unwrap();
    assert_eq!(documented, table, "docs/features.md ends with what `ringway ports --features` prints");
    assert!(!table.contains("is a mistake"), "{table}");
}
