//! What stock `ixgbe.ko` can be told to do on the emulated 82599s, seen to be done.

use std::net::UdpSocket;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Case;
use super::ixgbe_model::{GUEST, LIMIT, load, unload, without_warning};
use crate::lab::configuration::{Configuration, FIRST, SECOND};
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ixgbe-model-offloads",
        shows: "ethtool -K: each offload of stock ixgbe off and on, ping and TCP after each change",
        configuration: Configuration::Emulated,
        run: offloads,
    },
    Case {
        name: "ixgbe-model-tags",
        shows: "VLAN tags taken out and put in by the card or not: tagged frames pass a bridge unchanged",
        configuration: Configuration::Emulated,
        run: tags,
    },
    Case {
        name: "ixgbe-model-filters",
        shows: "ethtool -N and -X: filters of flow director and the table of RSS, seen to steer and to drop",
        configuration: Configuration::Emulated,
        run: filters,
    },
    Case {
        name: "ixgbe-model-settings",
        shows: "ethtool -C, -A, -G, -d, -e: moderation, pause, ring sizes, registers and EEPROM",
        configuration: Configuration::Emulated,
        run: settings,
    },
];

/// Bytes of each transfer, and the ports that they are served on.
const PART: usize = 300_000;
const PORTS: Range<u16> = 7101..7199;

/// Runs ethtool; `%` is the first card's interface.
fn tool(machine: &mut Machine, arguments: &str) -> Result<String> {
    let script = format!("i=$(interface_of {FIRST}); ethtool {}", arguments.replace('%', "$i"));
    machine.check_within(&script, LIMIT * 2).with_context(|| format!("ethtool {arguments}"))
}

/// One of the driver's counters.
fn counter(statistics: &str, name: &str) -> Result<u64> {
    let line = statistics.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
    match line.map(|text| text.trim().parse()) {
        Some(Ok(value)) => Ok(value),
        _ => bail!("expected a counter {name} from ethtool -S, saw:\n{statistics}"),
    }
}

/// A file in the guest, served on one port after another.
struct Served {
    hash: String,
    ports: Range<u16>,
}

impl Served {
    fn start(machine: &mut Machine) -> Result<Self> {
        machine.check(&format!(
            "dd if=/dev/urandom of=/tmp/sent bs=1000 count={} 2> /dev/null
             cat > /tmp/serve.sh << 'END OF SCRIPT'
             for port in $(seq {} {}); do nc -l -p $port < /tmp/sent > /dev/null; done
             exec sleep 1000
END OF SCRIPT
             sh /tmp/serve.sh > /dev/null 2>&1 & echo $! > /tmp/serve.pid",
            PART / 1000,
            PORTS.start,
            PORTS.end - 1,
        ))?;
        let said = machine.check("sha256sum < /tmp/sent")?;
        Ok(Self { hash: said.split_whitespace().next().unwrap_or_default().to_owned(), ports: PORTS })
    }

    /// Ping both ways of looking at it, and a transfer from the guest and its acknowledgements.
    fn exchange(&mut self, machine: &mut Machine) -> Result<()> {
        let wire = machine.wire(0)?;
        ping::address_until_answered(wire, GUEST, LIMIT)?;
        ping::address_without_loss(wire, GUEST, 5, 56)?;
        ping::address_without_loss(wire, GUEST, 3, 1472)?;
        let port = self.ports.next().context("too few ports for all transfers")?;
        let came = transfer::fetch(wire, GUEST, port, LIMIT * 2)?;
        if came != self.hash {
            bail!("expected the hash {}, saw {came}", self.hash);
        }
        Ok(())
    }

    fn stop(self, machine: &mut Machine) -> Result<()> {
        machine
            .check(
                "p=$(cat /tmp/serve.pid); for c in $(cat /proc/$p/task/$p/children); do kill $c; done; \
                 kill $p; await 10 test ! -e /proc/$p",
            )
            .map(drop)
    }
}

/// Short name for `-K`, and how `-k` has it.
const OFFLOADS: [(&str, &str); 13] = [
    ("rx", "rx-checksumming"),
    ("tx-checksum-ip-generic", "tx-checksum-ip-generic"),
    ("tx-checksum-sctp", "tx-checksum-sctp"),
    ("tx-udp-segmentation", "tx-udp-segmentation"),
    ("sg", "scatter-gather"),
    ("tso", "tcp-segmentation-offload"),
    ("gso", "generic-segmentation-offload"),
    ("gro", "generic-receive-offload"),
    ("rxvlan", "rx-vlan-offload"),
    ("txvlan", "tx-vlan-offload"),
    ("rxhash", "receive-hashing"),
    ("ntuple", "ntuple-filters"),
    ("rx-vlan-filter", "rx-vlan-filter"),
];

fn offloads(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    let mut served = Served::start(machine)?;
    served.exchange(machine)?;
    // What is off at first is switched on first.
    for states in [["off", "on"], ["on", "off"]] {
        for (short, long) in OFFLOADS {
            let shown = tool(machine, "-k %")?;
            let state = |shown: &str| {
                let line = shown.lines().find_map(|line| line.trim().strip_prefix(long)?.strip_prefix(": "));
                line.map(|state| state.trim_end_matches(" [requested on]").to_owned())
            };
            let before = state(&shown).with_context(|| format!("-k has no {long}:\n{shown}"))?;
            if before == states[0] {
                continue;
            }
            for wanted in states {
                tool(machine, &format!("-K % {short} {wanted}"))?;
                let now = state(&tool(machine, "-k %")?);
                if now.as_deref() != Some(wanted) {
                    bail!("expected {long} to be {wanted}, saw {now:?}");
                }
                served.exchange(machine).with_context(|| format!("with {long} {wanted}"))?;
            }
            // One that others depend on takes them along.
            tool(machine, "-K % rx on tx on sg on tso on gso on gro on")?;
            println!("      {long}: {} and {}, traffic after each", states[0], states[1]);
        }
    }
    served.stop(machine)?;
    let statistics = tool(machine, "-S %")?;
    for name in ["rx_errors", "tx_errors", "rx_csum_offload_errors", "tx_timeout_count"] {
        if counter(&statistics, name)? != 0 {
            bail!("expected no {name}, saw:\n{statistics}");
        }
    }
    without_warning(machine)?;
    unload(machine)
}

fn tags(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    machine.check(&format!("ip addr flush dev $(interface_of {FIRST})"))?;
    machine.check(&format!("bridge_of lab0 {FIRST} {SECOND}"))?;
    // A short frame without its tag would be padded before it gets it back.
    let all: Vec<Vec<u8>> = frames::assorted().into_iter().filter(|frame| frame.len() >= 68).collect();
    for strip in ["on", "off"] {
        for insert in ["on", "off"] {
            for address in [FIRST, SECOND] {
                machine.check_within(
                    &format!("ethtool -K $(interface_of {address}) rxvlan {strip} txvlan {insert}"),
                    LIMIT,
                )?;
            }
            let (a, b) = (machine.wire(0)?, machine.wire(1)?);
            ping::until_answered(a, b, LIMIT)?;
            frames::pass_unchanged(a, b, &all)
                .and_then(|()| frames::pass_unchanged(b, a, &all))
                .with_context(|| format!("with rxvlan {strip}, txvlan {insert}"))?;
        }
    }
    machine.check("ip link del lab0")?;
    without_warning(machine)?;
    unload(machine)
}

/// Sends a datagram to the guest from each of that many ports, and says how many each of the two queues got of them, and
/// how many flow director matched.
fn datagrams(machine: &mut Machine, port: u16, count: u16) -> Result<[u64; 3]> {
    let read = |machine: &mut Machine| -> Result<[u64; 3]> {
        let said = tool(machine, "-S %")?;
        Ok([
            counter(&said, "rx_queue_0_packets")?,
            counter(&said, "rx_queue_1_packets")?,
            counter(&said, "fdir_match")?,
        ])
    };
    ping::address_until_answered(machine.wire(0)?, GUEST, LIMIT)?;
    // The driver collects the card's counters about every two seconds.
    let settle = Duration::from_secs(3);
    std::thread::sleep(settle);
    let before = read(machine)?;
    machine.wire(0)?.namespace.within(|| {
        for source in 0..count {
            let socket = UdpSocket::bind(("0.0.0.0", 20_000 + source)).context("cannot bind a port")?;
            socket.send_to(&[0x5a; 64], (GUEST, port)).context("cannot send a datagram")?;
        }
        Ok(())
    })?;
    std::thread::sleep(settle);
    let after = read(machine)?;
    Ok(std::array::from_fn(|index| after[index] - before[index]))
}

fn filters(machine: &mut Machine) -> Result<()> {
    const COUNT: u16 = 60;
    const PORT: u16 = 9999;
    load(machine)?;
    // By its table the card spreads flows, over both queues or as it is told.
    tool(machine, "-N % rx-flow-hash udp4 sdfn")?;
    let many = u64::from(COUNT);
    let spread = datagrams(machine, PORT, COUNT)?;
    if spread[0] < many / 6 || spread[1] < many / 6 {
        bail!("expected RSS to spread {COUNT} flows over both queues, saw {spread:?}");
    }
    for (table, few) in [("weight 0 1", 0), ("weight 1 0", 1)] {
        tool(machine, &format!("-X % {table}"))?;
        let counts = datagrams(machine, PORT, COUNT)?;
        if counts[1 - few] < many || counts[few] > many / 6 {
            bail!("expected all of {COUNT} flows on queue {} with {table}, saw {counts:?}", 1 - few);
        }
    }
    tool(machine, "-X % default")?;
    // By a filter of flow director one port's packets go to one queue, or nowhere.
    tool(machine, "-K % ntuple on")?;
    ping::address_until_answered(machine.wire(0)?, GUEST, LIMIT)?;
    for action in [1i32, 0, -1] {
        tool(machine, &format!("-N % flow-type udp4 dst-port {PORT} action {action} loc 7"))?;
        let shown = tool(machine, "-n %")?;
        if !shown.contains("Filter: 7") || !shown.contains(&format!("Dest port: {PORT}")) {
            bail!("expected the filter to be shown, saw:\n{shown}");
        }
        let counts = datagrams(machine, PORT, COUNT)?;
        let other = datagrams(machine, PORT + 1, COUNT)?;
        let is_right = match action {
            -1 => counts[0] + counts[1] < many / 2,
            queue => counts[queue as usize] >= many && counts[1 - queue as usize] < many / 6,
        };
        if !is_right || counts[2] < many || other[2] != 0 || other[0] < many / 6 || other[1] < many / 6 {
            bail!("expected action {action} on {COUNT} datagrams, saw {counts:?}, others {other:?}");
        }
        println!("      action {action}: queues and matches {counts:?}; another port {other:?}");
        tool(machine, "-N % delete 7")?;
    }
    let gone = datagrams(machine, PORT, COUNT)?;
    if gone[2] != 0 || gone[0] < many / 6 || gone[1] < many / 6 {
        bail!("expected no filter to be left, saw {gone:?}");
    }
    // All fields, so that the whole of the hash counts.
    let source = machine.wire(0)?.host_address().to_owned();
    for queue in [0u16, 1] {
        tool(
            machine,
            &format!(
                "-N % flow-type udp4 src-ip {source} dst-ip {GUEST} src-port {} dst-port {PORT} action {queue} loc 9",
                20_000 + queue
            ),
        )?;
        let counts = datagrams(machine, PORT, COUNT)?;
        if counts[2] != 1 {
            bail!("expected one datagram of {COUNT} to match all fields, saw {counts:?}");
        }
        tool(machine, "-N % delete 9")?;
    }
    without_warning(machine)?;
    unload(machine)
}

fn settings(machine: &mut Machine) -> Result<()> {
    load(machine)?;
    let mut served = Served::start(machine)?;
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut expect = |machine: &mut Machine, set: &str, get: &str, wanted: &[&str]| -> Result<()> {
        tool(machine, set)?;
        served.exchange(machine).with_context(|| format!("after ethtool {set}"))?;
        let shown = plain(&tool(machine, get)?);
        match wanted.iter().find(|word| !shown.contains(**word)) {
            None => Ok(()),
            Some(word) => bail!("expected \"{word}\" from ethtool {get} after {set}, saw:\n{shown}"),
        }
    };
    for microseconds in [0u32, 10, 100, 900] {
        let shown = format!("rx-usecs: {microseconds}");
        expect(machine, &format!("-C % rx-usecs {microseconds}"), "-c %", &[&shown])?;
    }
    expect(machine, "-C % rx-usecs 1", "-c %", &["rx-usecs: 1"])?;
    expect(machine, "-A % autoneg off rx on tx on", "-a %", &["RX: on", "TX: on"])?;
    expect(machine, "-A % autoneg off rx off tx off", "-a %", &["RX: off", "TX: off"])?;
    expect(machine, "-G % rx 128 tx 64", "-g %", &["RX: 128", "TX: 64"])?;
    expect(machine, "-G % rx 4096 tx 4096", "-g %", &["RX: 4096 RX Mini"])?;
    served.stop(machine)?;
    let registers = plain(&tool(machine, "-d %")?);
    for wanted in ["0x00000: CTRL", "0x00008: STATUS", "Link Status: up", "0x05080: FCTRL", "RDLEN00"] {
        let wanted = plain(wanted);
        if !registers.contains(&wanted) {
            bail!(
                "expected \"{wanted}\" from ethtool -d, saw:\n{}",
                registers.get(..3000).unwrap_or(&registers)
            );
        }
    }
    // The address stands at the EEPROM's beginning.
    let words = plain(&tool(machine, "-e % offset 0 length 6")?);
    let address = machine.check(&format!("cat /sys/class/net/$(interface_of {FIRST})/address"))?;
    let address = address.trim().replace(':', " ");
    if !words.contains(&address) {
        bail!("expected the address {address} at the EEPROM's beginning, saw {words}");
    }
    without_warning(machine)?;
    unload(machine)
}
