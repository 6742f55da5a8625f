//! Stock `ixgbe.ko` on the emulated 82599s: what it accepts vouches for the model.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, SECOND};
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ixgbe-model-probe",
        shows: "stock ixgbe takes both emulated 82599s without a warning, link up at 10 Gbit/s",
        configuration: Configuration::Emulated,
        run: probe,
    },
    Case {
        name: "ixgbe-model-copper",
        shows: "stock ixgbe takes the emulated X540 and X550, link up at 10 Gbit/s, its self-tests pass",
        configuration: Configuration::Emulated,
        run: copper,
    },
    Case {
        name: "ixgbe-model-ethtool",
        shows: "ethtool -i, -S, -g, -l, -m, -x and the driver's own self-test",
        configuration: Configuration::Emulated,
        run: ethtool,
    },
    Case {
        name: "ixgbe-model-traffic",
        shows: "ping and TCP with offloads as they come, both ways; two queues with interrupts on both",
        configuration: Configuration::Emulated,
        run: traffic,
    },
    Case {
        name: "ixgbe-model-bridge",
        shows: "ping, TCP and frames pass a bridge between two emulated 82599s",
        configuration: Configuration::Emulated,
        run: bridge,
    },
    Case {
        name: "ixgbe-model-reload",
        shows: "the module can be unloaded and loaded again, and the card works after it",
        configuration: Configuration::Emulated,
        run: reload,
    },
    Case {
        name: "ixgbe-model-iommu",
        shows: "the same traffic behind the virtual IOMMU, without a DMA fault",
        configuration: Configuration::EmulatedIommu,
        run: behind_iommu,
    },
];

pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// The guest's address on the first wire.
pub(super) const GUEST: &str = "10.77.0.9";
const TRANSFER: u64 = 20_000_000;
/// Bytes of each of the guest's own connections, and their ports.
const PART: u64 = 2_500_000;
const FROM_GUEST: Range<u16> = 7001..7009;
const TO_GUEST: Range<u16> = 7011..7015;

/// Loads the driver and gives the first card an address.
pub(super) fn load(machine: &mut Machine) -> Result<()> {
    machine.check_within(
        &format!(
            "modprobe ixgbe && await 60 has_interface {FIRST} && i=$(interface_of {FIRST}) && \
             ip addr replace {GUEST}/24 dev $i && ip link set $i up && \
             await 60 grep -q 1 /sys/class/net/$i/carrier"
        ),
        LIMIT * 3,
    )?;
    Ok(())
}

pub(super) fn unload(machine: &mut Machine) -> Result<()> {
    machine.check_within("rmmod ixgbe", LIMIT * 2).map(|_| ())
}

/// What the kernel has said of the cards since the case began, and nothing of it a warning.
pub(super) fn without_warning(machine: &mut Machine) -> Result<String> {
    let since = "awk '/ringway-lab: case /{said=\"\"} {said=said $0 \"\\n\"} END{printf \"%s\", said}'";
    let said =
        machine.check(&format!("dmesg | {since} | grep -E 'ixgbe|DMAR|AER|NETDEV WATCHDOG' || true"))?;
    const WRONG: [&str; 14] = [
        "warn",
        "fail",
        "error",
        "fault",
        "timed out",
        "Timeout",
        "not supported",
        "unsupported",
        "pre-production",
        "Reset adapter",
        "Hang",
        "hung",
        "polling",
        "could not complete",
    ];
    for line in said.lines() {
        if let Some(word) = WRONG.iter().find(|word| line.to_lowercase().contains(&word.to_lowercase())) {
            bail!("expected no warning of the driver's, saw (\"{word}\"):\n{said}");
        }
    }
    Ok(said)
}

fn probe(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    machine.check_within(
        &format!(
            "i=$(interface_of {SECOND}) && ip link set $i up && await 60 grep -q 1 /sys/class/net/$i/carrier"
        ),
        LIMIT * 3,
    )?;
    for address in [FIRST, SECOND] {
        let speed = machine.check(&format!("cat /sys/class/net/$(interface_of {address})/speed"))?;
        if speed.trim() != "10000" {
            bail!("expected a link of 10000 Mbit/s on {address}, saw {}", speed.trim());
        }
    }
    let said = without_warning(machine)?;
    for expected in ["NIC Link is Up 10 Gbps", "detected SFP+: 5", "MAC: 2, PHY: "] {
        if !said.contains(expected) {
            bail!("expected the driver to say \"{expected}\", saw:\n{said}");
        }
    }
    unload(machine)
}

fn copper(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    for address in ["0000:03:00.0", "0000:04:00.0"] {
        machine.check_within(
            &format!(
                "await 60 has_interface {address} && i=$(interface_of {address}) && ip link set $i up && \
                 await 60 grep -q 1 /sys/class/net/$i/carrier && [ $(cat /sys/class/net/$i/speed) = 10000 ]"
            ),
            LIMIT * 3,
        )?;
        // Registers, EEPROM, interrupts, packets in loopback, link.
        let said =
            machine.check_within(&format!("ethtool -t $(interface_of {address}) offline"), LIMIT * 3)?;
        if !said.contains("The test result is PASS") {
            bail!("expected the self-test of {address} to pass, saw:\n{said}");
        }
    }
    without_warning(machine)?;
    unload(machine)
}

fn ethtool(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    let mut tool = |arguments: &str| {
        let script = format!("i=$(interface_of {FIRST}); ethtool {}", arguments.replace('%', "$i"));
        machine.check_within(&script, LIMIT * 2)
    };
    let expectations: [(&str, &[&str]); 6] = [
        ("-i %", &["driver: ixgbe", FIRST]),
        ("-g %", &["RX:\t\t512", "TX:\t\t512"]),
        ("-l %", &["Combined:\t2"]),
        ("-m %", &["Transceiver codes : 0x10 0x00 0x00 0x01", "EMULATED-SR"]),
        ("-x %", &["RX flow hash indirection table", "with 2 RX ring(s)"]),
        ("%", &["Speed: 10000Mb/s", "Link detected: yes"]),
    ];
    for (arguments, wanted) in expectations {
        let said = tool(arguments).with_context(|| format!("ethtool {arguments}"))?;
        for word in wanted {
            // ethtool pads with tabs or blanks, as its version likes.
            let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            if !plain(&said).contains(&plain(word)) {
                bail!("expected \"{word}\" from ethtool {arguments}, saw:\n{said}");
            }
        }
    }
    let said = tool("-S %")?;
    if !said.contains("rx_packets:") || !said.contains("tx_queue_1_packets:") {
        bail!("expected statistics of two queues, saw:\n{said}");
    }
    let said = tool("-t % offline")?;
    if !said.contains("The test result is PASS") {
        bail!("expected the self-test to pass, saw:\n{said}");
    }
    without_warning(machine)?;
    unload(machine)
}

/// Interrupts that each queue of the first card has had.
fn interrupts(machine: &mut Machine) -> Result<Vec<u64>> {
    let said = machine.check(&format!("grep \"$(interface_of {FIRST})-TxRx\" /proc/interrupts"))?;
    Ok(said
        .lines()
        .map(|line| {
            line.split_whitespace().skip(1).take(2).filter_map(|count| count.parse::<u64>().ok()).sum()
        })
        .collect())
}

/// Traffic between the first wire's kernel and the guest's own.
fn exchange(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    {
        let wire = machine.wire(0)?;
        ping::address_until_answered(wire, GUEST, LIMIT)?;
        ping::address_without_loss(wire, GUEST, 50, 56)?;
        ping::address_without_loss(wire, GUEST, 20, 1472)?;
    }
    // The guest's programs have one parent, so that none of them becomes the child of the command channel's shell,
    // whose reading the end of a child disturbs.
    machine.check(&format!(
        "dd if=/dev/urandom of=/tmp/sent bs=1000 count={} 2> /dev/null; rm -f /tmp/got.* /tmp/served
         cat > /tmp/serve.sh << 'END OF SCRIPT'
         for port in $(seq {} {}); do nc -l -p $port < /tmp/sent > /dev/null; done
         for port in $(seq {} {}); do nc -l -p $port > /tmp/got.$port; done
         touch /tmp/served
         exec sleep 1000
END OF SCRIPT
         sh /tmp/serve.sh > /dev/null 2>&1 & echo $! > /tmp/serve.pid",
        PART / 1000,
        FROM_GUEST.start,
        FROM_GUEST.end - 1,
        TO_GUEST.start,
        TO_GUEST.end - 1,
    ))?;
    let hash = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    let sent = hash(&machine.check("sha256sum < /tmp/sent")?);
    // From the guest: segmentation and checksums are the card's. Several connections, so that both queues have some.
    for port in FROM_GUEST {
        let received = transfer::fetch(machine.wire(0)?, GUEST, port, LIMIT * 2)?;
        if sent != received {
            bail!("expected the hash {sent}, saw {received}");
        }
    }
    // To the guest: checksums are judged by the card.
    let mut delivered = Vec::new();
    for port in TO_GUEST {
        delivered.push((port, transfer::deliver(machine.wire(0)?, GUEST, port, PART, LIMIT * 2)?));
    }
    machine.check_within("await 60 test -e /tmp/served", LIMIT * 2)?;
    for (port, sent) in delivered {
        let got = hash(&machine.check(&format!("sha256sum < /tmp/got.{port}"))?);
        if got != sent {
            bail!("expected the hash {sent}, saw {got}");
        }
    }
    machine
        .check("kill $(cat /tmp/serve.pid); await 10 test ! -e /proc/$(cat /tmp/serve.pid); rm /tmp/got.*")?;
    let counts = interrupts(machine)?;
    if counts.len() != 2 || counts.contains(&0) {
        bail!("expected interrupts on two queues, saw {counts:?}");
    }
    println!("      interrupts of the two queues: {counts:?}");
    Ok(())
}

fn traffic(machine: &mut Machine) -> Result<()> {
    exchange(machine)?;
    let statistics = machine.check(&format!("ethtool -S $(interface_of {FIRST})"))?;
    let value = |name: &str| {
        let line = statistics.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    for name in ["rx_packets", "tx_packets", "rx_queue_0_packets", "rx_queue_1_packets", "tx_queue_0_packets"]
    {
        if value(name) == 0 {
            bail!("expected {name} above zero, saw:\n{statistics}");
        }
    }
    for name in ["rx_errors", "tx_errors", "rx_csum_offload_errors", "tx_timeout_count", "rx_crc_errors"] {
        if value(name) != 0 {
            bail!("expected no {name}, saw:\n{statistics}");
        }
    }
    without_warning(machine)?;
    unload(machine)
}

fn bridge(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    machine.check(&format!("ip addr flush dev $(interface_of {FIRST})"))?;
    machine.check(&format!("bridge_of lab0 {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    ping::without_loss(a, b, 50, 56)?;
    ping::without_loss(b, a, 20, 1472)?;
    let time = transfer::with_matching_hash(a, b, TRANSFER)?;
    println!("      TCP, 20 MB through two cards: {:.1} s", time.as_secs_f64());
    // With tags taken off and put back, the driver fills short frames up while they have none.
    for address in [FIRST, SECOND] {
        machine.check(&format!("ethtool -K $(interface_of {address}) rxvlan off"))?;
    }
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    let all = frames::assorted();
    frames::pass_unchanged(a, b, &all)?;
    frames::pass_unchanged(b, a, &all)?;
    machine.check("ip link del lab0")?;
    without_warning(machine)?;
    unload(machine)
}

fn reload(machine: &mut Machine) -> Result<()> {
    for _ in 0..3 {
        load(machine)?;
        ping::address_until_answered(machine.wire(0)?, GUEST, LIMIT)?;
        ping::address_without_loss(machine.wire(0)?, GUEST, 10, 500)?;
        unload(machine)?;
        let left = machine.check(&format!("driver_of {FIRST} || true"))?;
        if !left.trim().is_empty() {
            bail!("expected no driver after unloading, saw {left}");
        }
    }
    without_warning(machine).map(|_| ())
}

fn behind_iommu(machine: &mut Machine) -> Result<()> {
    exchange(machine)?;
    without_warning(machine)?;
    unload(machine)
}
