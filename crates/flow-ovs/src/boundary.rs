//! The functions that C calls, and the entry points of Open vSwitch that they stand behind.
//!
//! Contract with `c/boundary.c`, which upholds it by passing on what Open vSwitch guarantees: `data` and `size`
//! are a packet that nobody writes to during the call, and `data` isn't null; `metadata` is its `struct pkt_metadata`, whose layout the
//! C half has compared with [`Metadata`]; `flow` is a `struct miniflow` followed by room for at least
//! `FLOW_MAX_PACKET_U64S` words that nobody else uses.

use core::slice;

use ringway_flow::{Extraction, HashKind, Metadata, Miniflow, Murmur, PacketType, VlanLimit};

use crate::Target;
use crate::hash::Crc;

/// The packet as bytes.
///
/// # Safety
/// See the contract of the module.
#[inline(always)]
unsafe fn packet<'a>(data: *const u8, size: usize) -> &'a [u8] {
    // SAFETY: the C half passes the data pointer and the size of one dp_packet, which holds that many bytes and
    // isn't written to before this returns (contract of the module). It passes no null pointer.
    unsafe { slice::from_raw_parts(data, size) }
}

/// Extraction, all but what needs `struct dp_packet`.
///
/// The arguments stand so that `flow` stays where `miniflow_extract()` got it, and the rest where the parser wants it: the
/// packet type, done with at once, where x86-64 has the number of bits to shift by.
///
/// # Safety
/// See the contract of the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringway_flow_extract(
    metadata: *const Metadata,
    flow: *mut Miniflow<Target>,
    vlan_limit: u32,
    packet_type: u32,
    data: *const u8,
    size: usize,
) -> Extraction {
    // SAFETY: contract of the module, for all three. Metadata and Miniflow are made of integers only, and the
    // parser reads no word of the miniflow before it has written it, so it doesn't matter what they hold.
    let (bytes, metadata, flow) = unsafe { (packet(data, size), &*metadata, &mut *flow) };
    let packet_type = PacketType::from_network_order(packet_type);
    ringway_flow::extract(bytes, packet_type, metadata, VlanLimit::new(vlan_limit), flow)
}

/// The software RSS hash of a TCP or UDP packet, Murmur kind; 0 for other packets, for which C doesn't ask.
///
/// # Safety
/// See the contract of the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringway_flow_rss_hash_murmur(
    data: *const u8,
    size: usize,
    extraction: Extraction,
) -> u32 {
    // SAFETY: contract of the module.
    let bytes = unsafe { packet(data, size) };
    extraction.rss_hash::<Murmur>(bytes).unwrap_or(0)
}

/// The software RSS hash of a TCP or UDP packet, CRC32C kind; 0 for other packets, for which C doesn't ask.
///
/// # Safety
/// See the contract of the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringway_flow_rss_hash_crc32c(
    data: *const u8,
    size: usize,
    extraction: Extraction,
) -> u32 {
    // SAFETY: contract of the module.
    let bytes = unsafe { packet(data, size) };
    extraction.rss_hash::<Crc>(bytes).unwrap_or(0)
}

/// A view of a miniflow of any size: C passes miniflows that have no more room than present words.
///
/// # Safety
/// `flow` points to a `struct miniflow` followed by as many words as its map has bits.
#[inline(always)]
unsafe fn miniflow_hash<H: HashKind>(flow: *const u64, basis: u32) -> u32 {
    // SAFETY: the map is the first two words of every struct miniflow.
    let map = unsafe { [*flow, *flow.add(1)] };
    let present = (map[0].count_ones() + map[1].count_ones()) as usize;
    // SAFETY: the present words follow the map (contract of this function).
    let values = unsafe { slice::from_raw_parts(flow.add(2), present) };
    ringway_flow::hash_five_tuple_of_words::<H, Target>(map, values, basis)
}

/// `miniflow_hash_5tuple()`, Murmur kind, of a miniflow that is there.
///
/// # Safety
/// `flow` points to a `struct miniflow` followed by as many words as its map has bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringway_flow_miniflow_hash_murmur(flow: *const u64, basis: u32) -> u32 {
    // SAFETY: the same contract.
    unsafe { miniflow_hash::<Murmur>(flow, basis) }
}

/// `miniflow_hash_5tuple()`, CRC32C kind, of a miniflow that is there.
///
/// # Safety
/// `flow` points to a `struct miniflow` followed by as many words as its map has bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringway_flow_miniflow_hash_crc32c(flow: *const u64, basis: u32) -> u32 {
    // SAFETY: the same contract.
    unsafe { miniflow_hash::<Crc>(flow, basis) }
}

/// # Safety
/// `flow` points to a `struct flow`.
#[inline(always)]
unsafe fn flow_hash<H: HashKind>(flow: *const u64, basis: u32) -> u32 {
    // SAFETY: a struct flow is that many words (compared by the C half).
    let words = unsafe { slice::from_raw_parts(flow, <Target as ringway_flow::Layout>::WORDS) };
    ringway_flow::hash_five_tuple_of_flow::<H, Target>(words, basis)
}

/// `flow_hash_5tuple()`, Murmur kind, of a flow that is there.
///
/// # Safety
/// `flow` points to a `struct flow`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringway_flow_flow_hash_murmur(flow: *const u64, basis: u32) -> u32 {
    // SAFETY: the same contract.
    unsafe { flow_hash::<Murmur>(flow, basis) }
}

/// `flow_hash_5tuple()`, CRC32C kind, of a flow that is there.
///
/// # Safety
/// `flow` points to a `struct flow`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringway_flow_flow_hash_crc32c(flow: *const u64, basis: u32) -> u32 {
    // SAFETY: the same contract.
    unsafe { flow_hash::<Crc>(flow, basis) }
}

/// Open vSwitch's own names. In a comparison with the C these stay out: the C's are wanted under them.
#[cfg(all(ringway_ovs, not(feature = "differential")))]
mod entry {
    use core::ffi::c_void;

    unsafe extern "C" {
        fn ringway_ovs_miniflow_extract(packet: *mut c_void, flow: *mut c_void);
        fn ringway_ovs_miniflow_hash_5tuple(flow: *const c_void, basis: u32) -> u32;
        fn ringway_ovs_flow_hash_5tuple(flow: *const c_void, basis: u32) -> u32;
    }

    /// Open vSwitch's `miniflow_extract()`.
    ///
    /// # Safety
    /// As there: a valid `struct dp_packet`, and a `struct miniflow` with room for `FLOW_MAX_PACKET_U64S` words.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn miniflow_extract(packet: *mut c_void, flow: *mut c_void) {
        // SAFETY: handed through.
        unsafe { ringway_ovs_miniflow_extract(packet, flow) }
    }

    /// Open vSwitch's `miniflow_hash_5tuple()`.
    ///
    /// # Safety
    /// As there: a valid `struct miniflow`, or null.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn miniflow_hash_5tuple(flow: *const c_void, basis: u32) -> u32 {
        // SAFETY: handed through.
        unsafe { ringway_ovs_miniflow_hash_5tuple(flow, basis) }
    }

    /// Open vSwitch's `flow_hash_5tuple()`.
    ///
    /// # Safety
    /// As there: a valid `struct flow`, or null.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn flow_hash_5tuple(flow: *const c_void, basis: u32) -> u32 {
        // SAFETY: handed through.
        unsafe { ringway_ovs_flow_hash_5tuple(flow, basis) }
    }
}

#[cfg(test)]
mod tests {
    //! The functions called as C calls them: with pointers to memory that is exactly as long as the contract says.
    //!
    //! What they return is compared with the parser's own. Miri and address sanitizer see whether they stay inside.

    use ringway_flow::samples::Kind;
    use ringway_flow::{Crc32c, FlowKey, Layout, Metadata, Miniflow, Murmur, PacketType, VlanLimit, extract};

    use super::*;

    const BASIS: u32 = 0x1234_5678;

    /// The packet type of Ethernet, in network order as C has it.
    const ETHERNET: u32 = 0;

    /// Memory of its own for each packet, of its length: an access beyond it is seen.
    fn samples() -> impl Iterator<Item = Box<[u8]>> {
        Kind::ALL.into_iter().flat_map(|kind| {
            let packet = kind.packet(0x0203);
            let middle = packet.len() / 2;
            [packet[..middle].into(), packet.into_boxed_slice()]
        })
    }

    fn safe(packet: &[u8]) -> (Extraction, Miniflow<Target>) {
        let mut flow = Miniflow::new();
        let found = extract(packet, PacketType::ETHERNET, &Metadata::new(9), VlanLimit::TWO, &mut flow);
        (found, flow)
    }

    #[test]
    fn what_c_extracts_is_what_the_parser_finds() {
        for packet in samples() {
            let (found, expected) = safe(&packet);
            let mut flow = Box::new(Miniflow::<Target>::new());
            let metadata = Box::new(Metadata::new(9));
            // SAFETY: all three are whole, and nobody else uses them.
            let through_c = unsafe {
                ringway_flow_extract(&*metadata, &mut *flow, 2, ETHERNET, packet.as_ptr(), packet.len())
            };
            assert_eq!((through_c, &*flow), (found, &expected), "{packet:02x?}");
            // SAFETY: the packet is whole.
            let hashes = unsafe {
                [
                    ringway_flow_rss_hash_murmur(packet.as_ptr(), packet.len(), through_c),
                    ringway_flow_rss_hash_crc32c(packet.as_ptr(), packet.len(), through_c),
                ]
            };
            let expected = [found.rss_hash::<Murmur>(&packet), found.rss_hash::<Crc32c>(&packet)];
            assert_eq!(hashes, expected.map(Option::unwrap_or_default));
        }
    }

    #[test]
    fn an_empty_packet_is_no_packet() {
        let (found, expected) = safe(&[]);
        let mut flow = Box::new(Miniflow::<Target>::new());
        let metadata = Box::new(Metadata::new(9));
        let nothing: Box<[u8]> = Box::new([]);
        // SAFETY: nothing is read of a packet without bytes, and its pointer isn't null.
        let through_c =
            unsafe { ringway_flow_extract(&*metadata, &mut *flow, 2, ETHERNET, nothing.as_ptr(), 0) };
        assert_eq!((through_c, &*flow), (found, &expected));
    }

    #[test]
    fn hashes_read_no_more_of_a_flow_than_there_is() {
        for packet in samples() {
            let (_, flow) = safe(&packet);
            let key = FlowKey::from(&flow);
            // C's miniflows have room for the present words only.
            let mini: Box<[u64]> = flow.map().into_iter().chain(flow.values().iter().copied()).collect();
            let whole: Box<[u64]> = (0..Target::WORDS).map(|index| key.word(index)).collect();
            // SAFETY: the one is a map and as many words, the other all words of a flow.
            let hashes = unsafe {
                [
                    ringway_flow_miniflow_hash_murmur(mini.as_ptr(), BASIS),
                    ringway_flow_flow_hash_murmur(whole.as_ptr(), BASIS),
                    ringway_flow_miniflow_hash_crc32c(mini.as_ptr(), BASIS),
                    ringway_flow_flow_hash_crc32c(whole.as_ptr(), BASIS),
                ]
            };
            let (murmur, crc) =
                (flow.hash_five_tuple::<Murmur>(BASIS), flow.hash_five_tuple::<Crc32c>(BASIS));
            assert_eq!(hashes, [murmur, murmur, crc, crc], "{packet:02x?}");
        }
    }
}
