//! Runs both sides and says where they differ.

use std::fmt;

use ringway_flow::{Crc32c, Extraction, FlowKey, Layout, Miniflow, Murmur, PacketType, VlanLimit};

use super::case::Case;
use super::oracle::{self, Side, Which};
use crate::Target;

/// What comparing one case gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same in everything.
    Same,
    /// The C would have read up to two bytes past the packet (see [`OVER_READ`]); given those bytes, the same.
    SameAfterOverRead,
}

/// The one difference that is known and wanted: on a later IPv6 or IPv4 fragment with less than two payload bytes,
/// of a tracked connection whose original protocol is ICMPv6, Open vSwitch 3.5 to 4.0 looks at two bytes that
/// aren't there. Ours takes them for "no neighbour discovery"; the C is given two bytes 0xff to read.
pub const OVER_READ: &str = "ICMPv6 later fragment over-read (Open vSwitch 3.5 to 4.0)";

/// A case on which the two sides differ.
#[derive(Debug)]
pub struct Difference {
    /// The case.
    pub case: Box<Case>,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { origin, bytes, packet_type, vlan_limit, nic_hash, offloads, checksum, .. } = &*self.case;
        writeln!(f, "{origin}: {}", self.what)?;
        writeln!(f, "packet type {packet_type:#x} VLAN limit {vlan_limit} NIC hash {nic_hash:?}")?;
        writeln!(f, "offloads {offloads:#x} checksum {checksum:?}")?;
        write!(f, "packet ({} bytes): ", bytes.len())?;
        bytes.iter().take(160).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "\nmetadata: ")?;
        self.case.metadata.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::error::Error for Difference {}

/// Compares the two sides on one case.
///
/// # Errors
/// Where they differ.
pub fn compare(case: &Case) -> Result<Comparison, Difference> {
    let mut ours = Side::EMPTY;
    let mut theirs = Side::EMPTY;
    let over_read = would_over_read(case);
    if over_read {
        // Ours must do without the bytes behind the packet.
        oracle::run(case, 0, Which::Ours, &mut ours);
    }
    let slack = if over_read { 2 } else { 0 };
    oracle::run(case, slack, Which::Ours, &mut ours);
    oracle::run(case, slack, Which::C, &mut theirs);
    if ours != theirs {
        return Err(Difference { case: Box::new(case.clone()), what: explain(&ours, &theirs) });
    }
    Ok(if over_read { Comparison::SameAfterOverRead } else { Comparison::Same })
}

/// Compares what is built on extraction: CRC32C hashes, symmetric hashes, the two textual forms.
///
/// # Errors
/// Where they differ.
pub fn compare_expanded(case: &Case) -> Result<(), Difference> {
    let fail = |what: String| Err(Difference { case: Box::new(case.clone()), what });
    let mut theirs = Side::EMPTY;
    oracle::run(case, 2, Which::Crc, &mut theirs);
    let (flow, extraction) = extract(case);
    let key: FlowKey<Target> = flow.expand();
    let rss = case.nic_hash.or_else(|| extraction.rss_hash::<crate::hash::Crc>(&case.bytes));
    if rss.is_some_and(|rss| rss != theirs.rss_hash) {
        return fail(format!("CRC32C RSS hash {rss:x?}, C {:#x}", theirs.rss_hash));
    }
    let crc = flow.hash_five_tuple::<crate::hash::Crc>(case.basis);
    if crc != theirs.miniflow_hash || key.hash_five_tuple::<Crc32c>(case.basis) != theirs.flow_hash {
        return fail(format!("CRC32C 5-tuple hash {crc:#x}, C {:#x}", theirs.miniflow_hash));
    }
    let mut words = [0; Target::WORDS];
    words.iter_mut().zip(key.words()).for_each(|(place, &word)| *place = word);
    let narrow = case.basis & 0xffff;
    let hashes = [
        key.hash_symmetric_l4(case.basis),
        key.hash_symmetric_l3(narrow),
        key.hash_symmetric_l2::<Murmur>(case.basis),
        key.hash_symmetric_l3l4::<Murmur>(case.basis, false),
        key.hash_symmetric_l3l4::<Murmur>(case.basis, true),
        key.hash_ethernet_source(narrow),
        key.hash_network_source(narrow),
        key.hash_network_destination(narrow),
    ];
    let expected = oracle::hashes(&words, case.basis);
    if hashes != expected {
        return fail(format!("field hashes {hashes:x?}, C {expected:x?}"));
    }
    compare_texts(case, &key, &words)
}

/// Compares the two textual forms.
fn compare_texts(case: &Case, key: &FlowKey<Target>, words: &[u64; Target::WORDS]) -> Result<(), Difference> {
    // Both leave out tunnel options, ours because it can't know their meaning; the C would look up its table.
    if key.tunnel().is_some() {
        return Ok(());
    }
    let ours = [key.ofctl().to_string(), key.dpctl().to_string()];
    let theirs = oracle::texts(words);
    // The C makes a key without a label of MPLS without a label, and then complains of it.
    let no_labels = theirs[1].contains("(bad key length 0)");
    if ours[0] == theirs[0] && (no_labels || ours[1] == theirs[1]) {
        return Ok(());
    }
    let what = format!("text\nours {}\nC    {}\nours {}\nC    {}", ours[0], theirs[0], ours[1], theirs[1]);
    Err(Difference { case: Box::new(case.clone()), what })
}

/// The miniflow and the rest as the crate gives them to a Rust program.
fn extract(case: &Case) -> (Miniflow<Target>, Extraction) {
    let mut flow = Miniflow::new();
    let metadata = oracle::metadata(&case.metadata);
    let packet_type = PacketType::from_network_order(case.packet_type);
    let limit = VlanLimit::new(case.vlan_limit);
    let extraction = ringway_flow::extract(&case.bytes, packet_type, &metadata, limit, &mut flow);
    (flow, extraction)
}

/// Whether the C looks past the end of this packet, going by what ours finds in it.
fn would_over_read(case: &Case) -> bool {
    let tracked = case.metadata[ringway_flow::METADATA_OFFSETS[4]] != 0;
    if !tracked || !Target::CONNECTION_PORTS_ON_LATER_FRAGMENTS {
        return false;
    }
    let (flow, extraction) = extract(case);
    let key = flow.expand();
    if key.fragment_bits() & 2 == 0 || key.connection_protocol() != 58 {
        return false;
    }
    let end = case.bytes.len() - usize::from(extraction.layers().padding);
    end < usize::from(extraction.layers().transport) + 2
}

fn explain(ours: &Side, theirs: &Side) -> String {
    if ours.map != theirs.map {
        return format!("map {:x?}, C {:x?}", ours.map, theirs.map);
    }
    for (index, (our, their)) in ours.values.iter().zip(&theirs.values).enumerate() {
        if our != their {
            return format!("value {index}: {our:#018x}, C {their:#018x} (map {:x?})", ours.map);
        }
    }
    for (offset, (our, their)) in ours.packet.iter().zip(&theirs.packet).enumerate() {
        if our != their {
            return format!("byte {offset} of struct dp_packet: {our:#x}, C {their:#x}");
        }
    }
    format!(
        "hashes {:#x} {:#x}, C {:#x} {:#x}",
        ours.miniflow_hash, ours.flow_hash, theirs.miniflow_hash, theirs.flow_hash
    )
}
