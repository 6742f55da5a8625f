//! `ringway generate` towards a kernel that counts and checks what comes.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Case;
use crate::lab::configuration::{Configuration, FIRST};
use crate::lab::forwarder;
use crate::lab::machine::Machine;
use crate::lab::wire::Wire;

pub(super) const CASES: &[Case] = &[Case {
    name: "generate",
    shows: "UDP, TCP and ICMP over IPv4 and IPv6 all come to a kernel, which finds no wrong checksum",
    configuration: Configuration::Iommu39,
    run: generate,
}];

const PACKETS: u64 = 2000;
/// Where packets come from, as far as the kernel is told.
const GUEST_V4: &str = "10.77.0.9";
const GUEST_V6: &str = "fd77::9";
const WIRE_V6: &str = "fd77::1";

/// What one protocol's packets raise in the kernel, and what they may not. ICMP's own errors are none of the packets': answers
/// to an address that nobody has come back as unreachable.
struct Expectation {
    arguments: &'static str,
    raised: &'static str,
    untouched: &'static [&'static str],
}

const EXPECTATIONS: [Expectation; 6] = [
    Expectation {
        arguments: "--protocol udp --size imix --flows 50",
        raised: "Udp NoPorts",
        untouched: &["Udp InCsumErrors", "Udp InErrors", "Ip InHdrErrors"],
    },
    Expectation {
        arguments: "--protocol tcp --size 128-1518 --flows 50",
        raised: "Tcp InSegs",
        untouched: &["Tcp InCsumErrors", "Tcp InErrs", "Ip InHdrErrors"],
    },
    Expectation {
        arguments: "--protocol icmp --size 64-1518 --flows 50",
        raised: "Icmp InEchos",
        untouched: &["Icmp InCsumErrors", "Ip InHdrErrors"],
    },
    Expectation {
        arguments: "--ipv6 --protocol udp --size 128-1518",
        raised: "Udp6NoPorts",
        untouched: &["Udp6InCsumErrors", "Udp6InErrors", "Ip6InHdrErrors"],
    },
    Expectation {
        arguments: "--ipv6 --protocol tcp --size 128-1518",
        raised: "Tcp InSegs",
        untouched: &["Tcp InCsumErrors", "Tcp InErrs", "Ip6InHdrErrors"],
    },
    Expectation {
        arguments: "--ipv6 --protocol icmp --size 128-1518",
        raised: "Icmp6InEchos",
        untouched: &["Icmp6InCsumErrors", "Ip6InHdrErrors"],
    },
];

fn generate(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST])?;
    machine.wire(0)?.set_ipv6(Some(&format!("{WIRE_V6}/64")))?;
    let checked = EXPECTATIONS.iter().try_for_each(|expectation| check(machine, expectation));
    machine.wire(0)?.set_ipv6(None)?;
    checked?;
    forwarder::unbind(machine, &[FIRST])
}

fn check(machine: &mut Machine, expectation: &Expectation) -> Result<()> {
    let Expectation { arguments, raised, untouched } = expectation;
    let wire = machine.wire(0)?;
    let before = counters(wire)?;
    let (source, destination) = if arguments.contains("--ipv6") {
        (GUEST_V6, WIRE_V6.to_owned())
    } else {
        (GUEST_V4, wire.host_address().to_owned())
    };
    let mac = wire.end.hardware_address.clone();
    let command = format!(
        "ringway generate {FIRST} {arguments} --destination-mac {mac} --source-ip {source} \
         --destination-ip {destination} --vary source-port --packets {PACKETS} --rate 5kpps --json"
    );
    let ended = forwarder::run(machine, &command)?;
    let summary: Value = serde_json::from_str(&ended.cleanly()?.output)?;
    if summary["sent_packets"].as_u64() != Some(PACKETS) || summary["unsent"].as_u64() != Some(0) {
        bail!("expected {PACKETS} packets sent, saw:\n{}", ended.output);
    }
    let after = counters(machine.wire(0)?)?;
    let grown = |name: &str| -> Result<u64> {
        let both = after.get(name).zip(before.get(name));
        let (after, before) = both.with_context(|| format!("the kernel has no counter {name}"))?;
        Ok(after.saturating_sub(*before))
    };
    // The kernel's own few packets may come on top.
    if grown(raised)? < PACKETS || grown(raised)? > PACKETS + 20 {
        bail!("expected {raised} to grow by {PACKETS} with {arguments}, saw {}", grown(raised)?);
    }
    for name in *untouched {
        if grown(name)? != 0 {
            bail!("expected no {name} with {arguments}, saw {}", grown(name)?);
        }
    }
    Ok(())
}

/// The kernel's counters in the wire's namespace, as `nstat` shows them: `Udp NoPorts`, `Udp6NoPorts`.
fn counters(wire: &Wire) -> Result<BTreeMap<String, u64>> {
    wire.namespace.within(|| {
        let read = |name: &str| {
            let path = format!("/proc/thread-self/net/{name}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let mut counters = BTreeMap::new();
        let (four, six) = (read("snmp")?, read("snmp6")?);
        // Pairs of lines: names, then values.
        let mut lines = four.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (Some((protocol, names)), Some((_, values))) =
                (names.split_once(':'), values.split_once(':'))
            else {
                bail!("expected pairs of lines in /proc/net/snmp, saw {names:?}");
            };
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                // Some are negative, none of those that matter.
                counters.insert(format!("{protocol} {name}"), value.parse().unwrap_or_default());
            }
        }
        for line in six.lines() {
            if let Some((name, value)) = line.split_once(char::is_whitespace) {
                counters.insert(name.to_owned(), value.trim().parse().unwrap_or_default());
            }
        }
        Ok(counters)
    })
}
