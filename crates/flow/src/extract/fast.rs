//! The fast path: Ethernet, up to two VLAN tags, IPv4 or IPv6 without options, TCP or UDP.
//!
//! Each function looks at the packet through one array that a single length check gave out, tests every
//! condition of the shape it knows, and only then writes. `None` means "not my shape", never "bad packet"; the
//! general path then starts over. Multi-byte fields are compared and moved as they lie in memory, with masks
//! made from bytes, so that nothing is swapped but the length fields.

use super::general;
use crate::bytes::{half, number, pair, quarter, quarters, word};
use crate::layout::{At, Layout, bits, union};
use crate::metadata::{Metadata, PacketType, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::{Extraction, Found, Protocols};

/// Bytes 12 to 15: Ethernet type, and for IPv4 version and header length.
const TYPE: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);
const TYPE_AND_HEADER_LENGTH: u32 = u32::from_ne_bytes([0xff, 0xff, 0x0f, 0]);
const IPV4: u32 = u32::from_ne_bytes([0x08, 0x00, 0x05, 0]);
const IPV6: u32 = u32::from_ne_bytes([0x86, 0xdd, 0, 0]);
const VLAN: u32 = u32::from_ne_bytes([0x81, 0x00, 0, 0]);
const VLAN_SERVICE: u32 = u32::from_ne_bytes([0x88, 0xa8, 0, 0]);

/// Presence bit that Open vSwitch keeps in a tag's control information.
const TAG_PRESENT: u32 = u32::from_ne_bytes([0, 0, 0x10, 0]);
/// The Ethernet type and what precedes it, without what follows.
const SOURCE_AND_TYPE: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// IPv4 bytes 6 to 9: fragment bits (without "don't fragment"), time to live, protocol.
const FRAGMENT_AND_PROTOCOL: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
const WHOLE_TCP: u32 = u32::from_ne_bytes([0, 0, 0, 6]);
const WHOLE_UDP: u32 = u32::from_ne_bytes([0, 0, 0, 17]);

/// TCP bytes 12 and 13 without the data offset.
const TCP_FLAGS: u16 = u16::from_ne_bytes([0x0f, 0xff]);

/// Extracts a frame that came with plain metadata: finds its shape and goes there.
///
/// All the functions that it can go to take the same arguments, so that going there is a jump.
#[inline(always)]
pub(super) fn extract<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    match shape(packet) {
        Shape::Ipv4 => ipv4::<L, 0>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::Ipv6 => ipv6::<L, 0>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::Tag if vlan_limit.tags() >= 1 => tag(packet, packet_type, metadata, vlan_limit, flow),
        _ => general::frame(packet, packet_type, metadata, vlan_limit, flow),
    }
}

/// What the type field says, where the fast path has use of it.
enum Shape {
    Ipv4,
    Ipv6,
    Tag,
    Other,
}

/// The shape of `inner`: the packet less four bytes a tag, so that the Ethernet type is at 12.
#[inline(always)]
fn shape(inner: &[u8]) -> Shape {
    // The shortest packet of all shapes is UDP over IPv4.
    let Some(bytes) = inner.first_chunk::<42>() else { return Shape::Other };
    let kind = half(bytes, 12);
    if kind & TYPE_AND_HEADER_LENGTH == IPV4 {
        return Shape::Ipv4;
    }
    match kind & TYPE {
        IPV6 => Shape::Ipv6,
        VLAN | VLAN_SERVICE => Shape::Tag,
        _ => Shape::Other,
    }
}

/// Behind one tag.
#[inline(never)]
fn tag<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    match shape(packet.get(4..).unwrap_or(&[])) {
        Shape::Ipv4 => ipv4::<L, 1>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::Ipv6 => ipv6::<L, 1>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::Tag if vlan_limit.tags() >= 2 => match shape(packet.get(8..).unwrap_or(&[])) {
            Shape::Ipv4 => ipv4::<L, 2>(packet, packet_type, metadata, vlan_limit, flow),
            Shape::Ipv6 => ipv6::<L, 2>(packet, packet_type, metadata, vlan_limit, flow),
            _ => general::frame(packet, packet_type, metadata, vlan_limit, flow),
        },
        _ => general::frame(packet, packet_type, metadata, vlan_limit, flow),
    }
}

/// IPv4 behind `TAGS` tags, or else the general path.
#[inline(never)]
fn ipv4<L: Layout, const TAGS: usize>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    match packet.get(4 * TAGS..).and_then(|inner| whole_ipv4::<L, TAGS>(packet, inner, metadata, flow)) {
        Some(extraction) => extraction,
        None => general::frame(packet, packet_type, metadata, vlan_limit, flow),
    }
}

/// IPv6 behind `TAGS` tags, or else the general path.
#[inline(never)]
fn ipv6<L: Layout, const TAGS: usize>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    match packet.get(4 * TAGS..).and_then(|inner| whole_ipv6::<L, TAGS>(packet, inner, metadata, flow)) {
        Some(extraction) => extraction,
        None => general::frame(packet, packet_type, metadata, vlan_limit, flow),
    }
}

#[inline(always)]
fn whole_ipv4<L: Layout, const TAGS: usize>(
    packet: &[u8],
    inner: &[u8],
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
) -> Option<Extraction> {
    let bytes = inner.first_chunk::<42>()?;
    let total = number(bytes, 16);
    let padding = inner.len().wrapping_sub(14).wrapping_sub(total);
    if padding > 0xffff {
        return None;
    }
    let protocol = half(bytes, 20) & FRAGMENT_AND_PROTOCOL;
    let network = pair(0, quarters(u16::from_ne_bytes([0, bytes[15]]), quarter(bytes, 22)));
    if protocol == WHOLE_UDP {
        if total < 28 {
            return None;
        }
        start::<L, TAGS>(packet, bytes, metadata, flow)?;
        let [a, n, t] = last::<L, TAGS, 3>(flow, 2)?;
        (*a, *n, *t) = (word(bytes, 26), network, pair(half(bytes, 34), 0));
        flow.map = union(
            common::<L, TAGS>(),
            union(bits(At::<L>::IPV4, 1), union(bits(At::<L>::NETWORK, 1), bits(At::<L>::TRANSPORT, 1))),
        );
        Some(done::<TAGS>(padding, 34, Protocols::IPV4.with(Protocols::UDP)))
    } else if protocol == WHOLE_TCP {
        let bytes = inner.first_chunk::<54>()?;
        let offset = usize::from(bytes[46] >> 4).wrapping_mul(4);
        if offset < 20 || total < offset.wrapping_add(20) {
            return None;
        }
        start::<L, TAGS>(packet, bytes, metadata, flow)?;
        let flags = pair(0, quarters(quarter(bytes, 46) & TCP_FLAGS, 0));
        let [a, n, f, t] = last::<L, TAGS, 4>(flow, 2)?;
        (*a, *n, *f, *t) = (word(bytes, 26), network, flags, pair(half(bytes, 34), 0));
        flow.map = union(common::<L, TAGS>(), union(bits(At::<L>::IPV4, 1), tcp::<L>()));
        Some(done::<TAGS>(padding, 34, Protocols::IPV4.with(Protocols::TCP)))
    } else {
        None
    }
}

#[inline(always)]
fn whole_ipv6<L: Layout, const TAGS: usize>(
    packet: &[u8],
    inner: &[u8],
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
) -> Option<Extraction> {
    let bytes = inner.first_chunk::<62>()?;
    let payload = number(bytes, 18);
    let padding = inner.len().wrapping_sub(54).wrapping_sub(payload);
    if padding > 0xffff {
        return None;
    }
    let label = half(bytes, 14);
    let service = (u32::from_be(label) >> 20) as u8;
    let label = label & u32::from_ne_bytes([0, 0x0f, 0xff, 0xff]);
    let network =
        pair(label, quarters(u16::from_ne_bytes([0, service]), u16::from_ne_bytes([bytes[21], bytes[20]])));
    if bytes[20] == 17 {
        if payload < 8 {
            return None;
        }
        start::<L, TAGS>(packet, bytes, metadata, flow)?;
        let [a, b, c, d, n, t] = last::<L, TAGS, 6>(flow, 2)?;
        [*a, *b, *c, *d] = [word(bytes, 22), word(bytes, 30), word(bytes, 38), word(bytes, 46)];
        (*n, *t) = (network, pair(half(bytes, 54), 0));
        flow.map = union(
            common::<L, TAGS>(),
            union(bits(At::<L>::IPV6, 4), union(bits(At::<L>::NETWORK, 1), bits(At::<L>::TRANSPORT, 1))),
        );
        Some(done::<TAGS>(padding, 54, Protocols::IPV6.with(Protocols::UDP)))
    } else if bytes[20] == 6 {
        let bytes = inner.first_chunk::<74>()?;
        let offset = usize::from(bytes[66] >> 4).wrapping_mul(4);
        if offset < 20 || payload < offset {
            return None;
        }
        start::<L, TAGS>(packet, bytes, metadata, flow)?;
        let flags = pair(0, quarters(quarter(bytes, 66) & TCP_FLAGS, 0));
        let [a, b, c, d, n, f, t] = last::<L, TAGS, 7>(flow, 2)?;
        [*a, *b, *c, *d] = [word(bytes, 22), word(bytes, 30), word(bytes, 38), word(bytes, 46)];
        (*n, *f, *t) = (network, flags, pair(half(bytes, 54), 0));
        flow.map = union(common::<L, TAGS>(), union(bits(At::<L>::IPV6, 4), tcp::<L>()));
        Some(done::<TAGS>(padding, 54, Protocols::IPV6.with(Protocols::TCP)))
    } else {
        None
    }
}

/// Metadata, Ethernet and tags: the words that every shape starts with.
#[inline(always)]
fn start<L: Layout, const TAGS: usize>(
    packet: &[u8],
    inner: &[u8],
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
) -> Option<()> {
    let values = &mut flow.values;
    values[0] = pair(metadata.datapath_hash, metadata.in_port);
    values[1] = 0;
    let addresses = packet.first_chunk::<16>()?;
    values[2] = word(addresses, 0);
    let kind = quarter(inner.first_chunk::<14>()?, 12);
    match TAGS {
        0 => values[3] = word(addresses, 8) & SOURCE_AND_TYPE,
        _ => values[3] = pair(half(addresses, 8), quarters(kind, 0)),
    }
    match TAGS {
        0 => {}
        1 => values[4] = pair(half(addresses, 12) | TAG_PRESENT, 0),
        _ => {
            let tags = word(packet.first_chunk::<20>()?, 12);
            values[4] = tags | pair(TAG_PRESENT, TAG_PRESENT);
        }
    }
    Some(())
}

/// The last `N` words of the shape.
#[inline(always)]
fn last<L: Layout, const TAGS: usize, const N: usize>(
    flow: &mut Miniflow<L>,
    metadata_words: usize,
) -> Option<&mut [u64; N]> {
    let before = metadata_words.wrapping_add(if TAGS == 0 { 2 } else { 3 });
    flow.values.get_mut(before..)?.first_chunk_mut::<N>()
}

/// The map of what `start` writes.
#[inline(always)]
const fn common<L: Layout, const TAGS: usize>() -> [u64; 2] {
    let map = union(bits(At::<L>::INPUT, 1), bits(At::<L>::PACKET_TYPE, 1));
    let map = union(map, bits(At::<L>::ETHERNET, 2));
    if TAGS == 0 { map } else { union(map, bits(At::<L>::VLANS, 1)) }
}

/// The map of the words that end in TCP.
#[inline(always)]
const fn tcp<L: Layout>() -> [u64; 2] {
    union(bits(At::<L>::NETWORK, 1), union(bits(At::<L>::TCP_FLAGS, 1), bits(At::<L>::TRANSPORT, 1)))
}

#[inline(always)]
fn done<const TAGS: usize>(padding: usize, transport: u16, protocols: Protocols) -> Extraction {
    let tags = 4 * TAGS as u16;
    let mut found = Found::NOTHING;
    found.layers.padding = padding as u16;
    found.layers.network = tags.wrapping_add(14);
    found.layers.transport = tags.wrapping_add(transport);
    found.protocols = protocols;
    found.finish()
}
