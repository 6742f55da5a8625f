//! `ringway forward --offload` between real network stacks: what the cards were asked to do is seen in their counters.

use anyhow::{Result, bail};

use super::{Case, ixgbe_driver};
use crate::lab::configuration::{BESIDE, BESIDE_WIRE, Configuration, FIRST, SECOND};
use crate::lab::forwarder::{self, PortSummary};
use crate::lab::machine::Machine;
use crate::lab::traffic::{frames, ping, transfer};
use crate::lab::vlan::Vlan;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "offloads-segmentation",
        shows: "long TCP packets that a virtio NIC gives are cut by an 82599, over IPv4 and IPv6; checksums both ways",
        configuration: Configuration::EmulatedIommu,
        run: segmentation,
    },
    Case {
        name: "offloads-tags-jumbo",
        shows: "82599 to 82599: tags taken out and put in, checksums checked, frames of 9,000 bytes: TCP, over a VLAN too, ping",
        configuration: Configuration::EmulatedIommu,
        run: tags_and_jumbo_frames,
    },
];

/// For TCP: a second or two on an emulated processor.
const BYTES: u64 = 2_000_000;
const IPV6: [&str; 2] = ["fd78::1", "fd78::2"];
const JUMBO_BYTES: u64 = 4_000_000;
const JUMBO_MTU: u32 = 9000;
const USUAL_MTU: u32 = 1500;
const VLAN: u8 = 5;
const VLAN_ADDRESSES: [&str; 2] = ["10.79.0.1", "10.79.0.2"];
const VLAN_BYTES: u64 = 500_000;
const FCS: u64 = 4;
const TAG: u64 = 4;

fn segmentation(machine: &mut Machine) -> Result<()> {
    let of_82599 = "receive-checksum,tcp-udp-checksum,ipv4-checksum,tcp4-segmentation,tcp6-segmentation";
    let of_virtio = "receive-checksum,tcp-udp-checksum,tcp4-segmentation,tcp6-segmentation,large-receive";
    ixgbe_driver::bind(machine, &[FIRST, BESIDE])?;
    let options = format!("--offload {of_82599}/{of_virtio} --json");
    forwarder::start(machine, &format!("ringway forward {FIRST} {BESIDE} {options}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(BESIDE_WIRE)?);
    ping::until_answered(a, b, ixgbe_driver::LIMIT)?;
    ping::without_loss(b, a, 20, 1400)?;
    // From the kernel behind the virtio NIC, which leaves cutting and checksums to it.
    transfer::with_matching_hash(b, a, BYTES)?;
    transfer::with_matching_hash(a, b, BYTES)?;
    let [one, other] = IPV6;
    a.set_ipv6(Some(&format!("{one}/64")))?;
    b.set_ipv6(Some(&format!("{other}/64")))?;
    let moved = transfer::to_address(b, a, one, BYTES);
    a.set_ipv6(None)?;
    b.set_ipv6(None)?;
    moved?;
    let ended = forwarder::end(machine, "INT")?;
    let summary = ended.cleanly()?.summary()?;
    let card = summary.port(FIRST)?;
    let (handed, frames) = (card.sent_packets, count(card, "GPTC")?);
    println!("      {handed} packets handed to the 82599 became {frames} frames");
    // Twice 2 MB are 2,750 frames at least.
    if frames < 2500 || frames < handed * 2 {
        bail!(
            "expected the 82599 to have cut long packets, saw {handed} packets and {frames} frames: {card:?}"
        );
    }
    forwarder::unbind(machine, &[FIRST, BESIDE])
}

fn tags_and_jumbo_frames(machine: &mut Machine) -> Result<()> {
    ixgbe_driver::bind(machine, &[FIRST, SECOND])?;
    let options =
        "--offload vlan-strip,vlan-insert,receive-checksum,hash,scatter,gather --maximum-frame 9600 --json";
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND} {options}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, ixgbe_driver::LIMIT)?;
    let frames = frames::assorted();
    frames::pass_unchanged(a, b, &frames)?;
    frames::pass_unchanged(b, a, &frames)?;
    a.set_mtu(JUMBO_MTU)?;
    b.set_mtu(JUMBO_MTU)?;
    let moved = ping::without_loss(a, b, 20, 8000)
        .and_then(|()| ping::without_loss(b, a, 20, 8900))
        .and_then(|()| transfer::with_matching_hash(a, b, JUMBO_BYTES))
        .and_then(|_| transfer::with_matching_hash(b, a, JUMBO_BYTES));
    a.set_mtu(USUAL_MTU)?;
    b.set_mtu(USUAL_MTU)?;
    moved?;
    let [one, other] = VLAN_ADDRESSES;
    {
        let _ends = [Vlan::on(a, VLAN, &format!("{one}/24"))?, Vlan::on(b, VLAN, &format!("{other}/24"))?];
        transfer::to_address(a, b, other, VLAN_BYTES)?;
        transfer::to_address(b, a, one, VLAN_BYTES)?;
    }
    let ended = forwarder::end(machine, "INT")?;
    let summary = ended.cleanly()?.summary()?;
    for name in [FIRST, SECOND] {
        let port = summary.port(name)?;
        // What the card counts are bytes on the wire: four of FCS, and four of a tag that the driver didn't see.
        let tags = |counter, packets: u64, bytes: u64| -> Result<u64> {
            Ok(count(port, counter)?.saturating_sub(bytes + FCS * packets) / TAG)
        };
        let stripped = tags("GORC", port.received_packets, port.received_bytes)?;
        let inserted = tags("GOTC", port.sent_packets, port.sent_bytes)?;
        println!(
            "      {name}: {} packets of {} bytes, {stripped} tags taken out, {inserted} put in",
            port.received_packets, port.received_bytes
        );
        // As ordinary frames the transfer alone would have taken more than all there were.
        let ordinary = JUMBO_BYTES / u64::from(USUAL_MTU);
        if port.received_bytes < JUMBO_BYTES || port.received_packets > 2 * ordinary {
            bail!("expected frames of 9,000 bytes, saw {port:?}");
        }
        let segments = VLAN_BYTES / u64::from(USUAL_MTU);
        if stripped < segments || inserted < segments || count(port, "XEC")? != 0 {
            bail!("expected {segments} tags at least, and no wrong checksum, saw {port:?}");
        }
    }
    forwarder::unbind(machine, &[FIRST, SECOND])
}

fn count(port: &PortSummary, name: &str) -> Result<u64> {
    match port.device.get(name) {
        Some(&count) => Ok(count),
        None => bail!("expected {} to count {name}, saw {:?}", port.name, port.device),
    }
}
