//! The flow parser on any bytes: what the fuzz targets of the parser check, for them and for runs with fixed seeds.
//!
//! A broken rule is a panic of an assertion here, as fuzzers like it.

use crate::case::Seen;
use crate::memory::Violation;
use ringway_flow::{
    Crc32c, Extraction, Layout, Metadata, Miniflow, Murmur, PacketType, V3_1, V3_7, VlanLimit, extract,
    extract_by_general_path,
};

fn both<L: Layout>(packet: &[u8], packet_type: PacketType, limit: VlanLimit) -> bool {
    let [fast, general] = [extract::<L>, extract_by_general_path::<L>].map(|path| {
        let mut flow = Miniflow::<L>::new();
        let found: Extraction = path(packet, packet_type, &Metadata::new(1), limit, &mut flow);
        (found, flow)
    });
    assert_eq!(fast, general);
    if let Err(fault) = fast.0.outcome() {
        assert!(fault.offset as usize <= packet.len());
        return false;
    }
    true
}

/// No panic on any bytes, packet type, VLAN limit; on both layouts; fast and general path agree.
///
/// # Errors
/// None: it panics.
pub fn parse(input: &[u8]) -> Result<Seen, Violation> {
    let Some((&[control, high, low], packet)) = input.split_first_chunk::<3>() else {
        return Ok(Seen::default());
    };
    let packet_type = match control & 4 {
        0 => PacketType::ETHERNET,
        _ => PacketType::network(u16::from_be_bytes([high, low])),
    };
    let limit = VlanLimit::new(u32::from(control & 3));
    let is_sound = both::<V3_7>(packet, packet_type, limit);
    assert_eq!(both::<V3_1>(packet, packet_type, limit), is_sound);
    Ok(Seen { faults: u64::from(!is_sound), opened: true, ..Seen::default() })
}

/// The miniflow and the whole flow agree on every word and hash, and both print.
///
/// # Errors
/// None: it panics.
pub fn expand(packet: &[u8]) -> Result<Seen, Violation> {
    let mut flow = Miniflow::<V3_7>::new();
    let found = extract(packet, PacketType::ETHERNET, &Metadata::new(1), VlanLimit::TWO, &mut flow);
    let key = flow.expand();
    for index in 0..V3_7::WORDS {
        assert_eq!(flow.word(index), key.word(index));
    }
    assert_eq!(flow.words().count(), flow.values().len());
    assert_eq!(flow.hash_five_tuple::<Murmur>(7), key.hash_five_tuple::<Murmur>(7));
    assert_eq!(flow.hash_five_tuple::<Crc32c>(7), key.hash_five_tuple::<Crc32c>(7));
    let _ = (found.rss_hash::<Murmur>(packet), key.ofctl().to_string(), key.dpctl().to_string());
    let _ = (key.five_tuple(), key.hash_symmetric_l4(1), key.hash_symmetric_l3(1));
    let is_sound = found.outcome().is_ok();
    Ok(Seen { faults: u64::from(!is_sound), opened: true, ..Seen::default() })
}
