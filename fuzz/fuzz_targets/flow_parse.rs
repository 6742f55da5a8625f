//! The parser alone: no panic on any bytes, packet type, VLAN limit; on both layouts; fast and general path agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_flow::{
    Extraction, Layout, Metadata, Miniflow, PacketType, V3_1, V3_7, VlanLimit, extract, extract_by_general_path,
};

fn both<L: Layout>(packet: &[u8], packet_type: PacketType, limit: VlanLimit) {
    let [fast, general] = [extract::<L>, extract_by_general_path::<L>].map(|path| {
        let mut flow = Miniflow::<L>::new();
        let found: Extraction = path(packet, packet_type, &Metadata::new(1), limit, &mut flow);
        (found, flow)
    });
    assert_eq!(fast, general);
    if let Err(fault) = fast.0.outcome() {
        assert!(fault.offset as usize <= packet.len());
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[control, high, low], packet)) = input.split_first_chunk::<3>() else { return };
    let packet_type = match control & 4 {
        0 => PacketType::ETHERNET,
        _ => PacketType::network(u16::from_be_bytes([high, low])),
    };
    let limit = VlanLimit::new(u32::from(control & 3));
    both::<V3_7>(packet, packet_type, limit);
    both::<V3_1>(packet, packet_type, limit);
});
