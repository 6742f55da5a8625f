//! The code for the usual shapes: Ethernet, `TAGS` VLAN tags, IPv4 or IPv6 without options, TCP or UDP; and without
//! tags ARP and up to three MPLS labels. `internet` goes on with what is longer.
//!
//! Each function looks at the packet through one array of `SIZE` bytes, the headers of the shape, that a single
//! length check gave out; tests what is left to test; and only then writes, to fixed places. When a test fails it
//! jumps to the general path, which starts over. Fields are moved as they lie in memory, with masks made from
//! bytes, so that nothing is swapped but lengths.

use super::fast::Place;
use super::general;
use crate::bytes::{half, number, pair, quarter, quarters, word};
use crate::layout::{At, Layout, bits, union};
use crate::metadata::{Metadata, PacketType, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::{Extraction, Found, Protocols};

/// Presence bit that Open vSwitch keeps in a tag's control information.
const TAG_PRESENT: u32 = u32::from_ne_bytes([0, 0, 0x10, 0]);
/// Source and type in the second of the Ethernet words, without what follows them in the packet.
const SOURCE_AND_TYPE: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
/// TCP bytes 12 and 13 without the data offset.
pub(super) const TCP_FLAGS: u16 = u16::from_ne_bytes([0x0f, 0xff]);
pub(super) const TYPE_IPV4: u16 = u16::from_ne_bytes([0x08, 0x00]);
pub(super) const TYPE_IPV6: u16 = u16::from_ne_bytes([0x86, 0xdd]);
const TYPE_ARP: u16 = u16::from_ne_bytes([0x08, 0x06]);
const TYPE_MPLS: u16 = u16::from_ne_bytes([0x88, 0x47]);

/// Ethernet type, and for IPv4 the header's length.
pub(super) const TYPE_AND_HEADER_LENGTH: u32 = u32::from_ne_bytes([0xff, 0xff, 0x0f, 0]);
pub(super) const IPV4: u32 = u32::from_ne_bytes([0x08, 0x00, 0x05, 0]);
/// IPv4 bytes 6 to 9: fragment bits (without "don't fragment") and protocol, without the time to live.
const FRAGMENT_AND_PROTOCOL: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
const WHOLE_TCP: u32 = u32::from_ne_bytes([0, 0, 0, 6]);
const WHOLE_UDP: u32 = u32::from_ne_bytes([0, 0, 0, 17]);

/// Makes the function of a shape from one that gives nothing where the frame hasn't that shape.
macro_rules! shape {
    ($(#[$doc:meta])* $name:ident, $whole:ident) => {
        $(#[$doc])*
        #[inline(never)]
        pub(super) fn $name<L: Layout, const TAGS: usize, const SIZE: usize>(
            metadata: &Metadata,
            flow: &mut Miniflow<L>,
            vlan_limit: VlanLimit,
            _: Place,
            packet: &[u8],
        ) -> Extraction {
            match $whole::<L, TAGS, SIZE>(metadata, flow, packet) {
                Some(extraction) => extraction,
                None => general::frame(metadata, flow, vlan_limit, Place::NONE, packet),
            }
        }
    };
}
pub(super) use shape;

shape! {
    /// UDP over IPv4.
    udp_ipv4, whole_udp_ipv4
}
shape! {
    /// TCP over IPv4.
    tcp_ipv4, whole_tcp_ipv4
}
shape! {
    /// UDP over IPv6.
    udp_ipv6, whole_udp_ipv6
}
shape! {
    /// TCP over IPv6.
    tcp_ipv6, whole_tcp_ipv6
}

#[inline(always)]
fn whole_udp_ipv4<L: Layout, const TAGS: usize, const SIZE: usize>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
) -> Option<Extraction> {
    let bytes = packet.first_chunk::<SIZE>()?;
    let ip = 14 + 4 * TAGS;
    if half(bytes, ip - 2) & TYPE_AND_HEADER_LENGTH != IPV4
        || half(bytes, ip + 6) & FRAGMENT_AND_PROTOCOL != WHOLE_UDP
    {
        return None;
    }
    let total = number(bytes, ip + 2);
    let padding = padding(packet, ip, total, 28)?;
    start::<L, TAGS, SIZE>(bytes, TYPE_IPV4, metadata, flow);
    let [addresses, network, transport] = last::<L, TAGS, 3>(flow)?;
    *addresses = word(bytes, ip + 12);
    *network = network_ipv4(bytes, ip);
    *transport = pair(half(bytes, ip + 20), 0);
    flow.map = union(common::<L, TAGS>(), union(bits(At::<L>::IPV4, 1), ends_in_ports::<L>()));
    Some(done(padding, ip, ip + 20, Protocols::IPV4.with(Protocols::UDP)))
}

#[inline(always)]
fn whole_tcp_ipv4<L: Layout, const TAGS: usize, const SIZE: usize>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
) -> Option<Extraction> {
    let bytes = packet.first_chunk::<SIZE>()?;
    let ip = 14 + 4 * TAGS;
    if half(bytes, ip - 2) & TYPE_AND_HEADER_LENGTH != IPV4
        || half(bytes, ip + 6) & FRAGMENT_AND_PROTOCOL != WHOLE_TCP
    {
        return None;
    }
    let total = number(bytes, ip + 2);
    let padding = padding(packet, ip, total, 0)?;
    let offset = u32::from(*bytes.get(ip + 32)?);
    if offset < LEAST_OFFSET || !fits(offset, total.wrapping_sub(20)) {
        return None;
    }
    start::<L, TAGS, SIZE>(bytes, TYPE_IPV4, metadata, flow);
    let [addresses, network, flags, transport] = last::<L, TAGS, 4>(flow)?;
    *addresses = word(bytes, ip + 12);
    *network = network_ipv4(bytes, ip);
    *flags = pair(0, quarters(quarter(bytes, ip + 32) & TCP_FLAGS, 0));
    *transport = pair(half(bytes, ip + 20), 0);
    flow.map = union(common::<L, TAGS>(), union(bits(At::<L>::IPV4, 1), ends_in_tcp::<L>()));
    Some(done(padding, ip, ip + 20, Protocols::IPV4.with(Protocols::TCP)))
}

#[inline(always)]
fn whole_udp_ipv6<L: Layout, const TAGS: usize, const SIZE: usize>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
) -> Option<Extraction> {
    let bytes = packet.first_chunk::<SIZE>()?;
    let ip = 14 + 4 * TAGS;
    if quarter(bytes, ip - 2) != TYPE_IPV6 || bytes.get(ip + 6) != Some(&17) {
        return None;
    }
    let payload = number(bytes, ip + 4);
    let padding = padding(packet, ip + 40, payload, 8)?;
    start::<L, TAGS, SIZE>(bytes, TYPE_IPV6, metadata, flow);
    let [a, b, c, d, network, transport] = last::<L, TAGS, 6>(flow)?;
    [*a, *b, *c, *d] = addresses_ipv6(bytes, ip);
    *network = network_ipv6(bytes, ip);
    *transport = pair(half(bytes, ip + 40), 0);
    flow.map = union(common::<L, TAGS>(), union(bits(At::<L>::IPV6, 4), ends_in_ports::<L>()));
    Some(done(padding, ip, ip + 40, Protocols::IPV6.with(Protocols::UDP)))
}

#[inline(always)]
fn whole_tcp_ipv6<L: Layout, const TAGS: usize, const SIZE: usize>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
) -> Option<Extraction> {
    let bytes = packet.first_chunk::<SIZE>()?;
    let ip = 14 + 4 * TAGS;
    if quarter(bytes, ip - 2) != TYPE_IPV6 || bytes.get(ip + 6) != Some(&6) {
        return None;
    }
    let payload = number(bytes, ip + 4);
    let padding = padding(packet, ip + 40, payload, 0)?;
    let offset = u32::from(*bytes.get(ip + 52)?);
    if offset < LEAST_OFFSET || !fits(offset, payload) {
        return None;
    }
    start::<L, TAGS, SIZE>(bytes, TYPE_IPV6, metadata, flow);
    let [a, b, c, d, network, flags, transport] = last::<L, TAGS, 7>(flow)?;
    [*a, *b, *c, *d] = addresses_ipv6(bytes, ip);
    *network = network_ipv6(bytes, ip);
    *flags = pair(0, quarters(quarter(bytes, ip + 52) & TCP_FLAGS, 0));
    *transport = pair(half(bytes, ip + 40), 0);
    flow.map = union(common::<L, TAGS>(), union(bits(At::<L>::IPV6, 4), ends_in_tcp::<L>()));
    Some(done(padding, ip, ip + 40, Protocols::IPV6.with(Protocols::TCP)))
}

/// ARP for IPv4 over Ethernet, without tags.
#[inline(never)]
pub(super) fn arp<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    match whole_arp(metadata, flow, packet) {
        Some(extraction) => extraction,
        None => general::frame(metadata, flow, vlan_limit, Place::NONE, packet),
    }
}

#[inline(always)]
fn whole_arp<L: Layout>(metadata: &Metadata, flow: &mut Miniflow<L>, packet: &[u8]) -> Option<Extraction> {
    // Hardware Ethernet, protocol IPv4, lengths 6 and 4, an operation under 256.
    const USUAL: u64 = u64::from_ne_bytes([0, 1, 8, 0, 6, 4, 0, 0]);
    const WITHOUT_OPERATION: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    let bytes = packet.first_chunk::<42>()?;
    if quarter(bytes, 12) != TYPE_ARP || word(bytes, 14) & WITHOUT_OPERATION != USUAL {
        return None;
    }
    start::<L, 0, 42>(bytes, 0, metadata, flow);
    let [addresses, network, first, second] = last::<L, 0, 4>(flow)?;
    *addresses = pair(half(bytes, 28), half(bytes, 38));
    *network = pair(0, quarters(0, u16::from_ne_bytes([0, bytes[21]])));
    // The sender's six bytes, and the first two of the target's: these stand four bytes further on here.
    *first = pair(half(bytes, 22), quarters(quarter(bytes, 26), quarter(bytes, 32)));
    *second = pair(half(bytes, 34), 0);
    flow.map = union(
        common::<L, 0>(),
        union(union(bits(At::<L>::IPV4, 1), bits(At::<L>::NETWORK, 1)), bits(At::<L>::ARP, 2)),
    );
    let mut found = Found::NOTHING;
    found.layers.network = 14;
    Some(found.finish())
}

/// MPLS whose label stack ends within three labels, without tags.
#[inline(never)]
pub(super) fn mpls<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    match whole_mpls(metadata, flow, packet) {
        Some(extraction) => extraction,
        None => general::frame(metadata, flow, vlan_limit, Place::NONE, packet),
    }
}

#[inline(always)]
fn whole_mpls<L: Layout>(metadata: &Metadata, flow: &mut Miniflow<L>, packet: &[u8]) -> Option<Extraction> {
    let bytes = packet.first_chunk::<26>()?;
    if quarter(bytes, 12) != TYPE_MPLS {
        return None;
    }
    // A bit of a label is set on the last of the stack.
    let last_of_stack = [bytes[16] & 1, bytes[20] & 1, bytes[24] & 1];
    if last_of_stack == [0; 3] {
        return None;
    }
    start::<L, 0, 26>(bytes, 0, metadata, flow);
    let [first, second] = last::<L, 0, 2>(flow)?;
    // How many labels there are can't be foreseen, so nothing branches on it. The second word is written in any case;
    // where it isn't present, nobody looks.
    let [one, two, _] = last_of_stack.map(u64::from);
    let both = u64::from(u32::MAX).wrapping_mul(one ^ 1);
    *first = word(bytes, 14) & pair(u32::MAX, both as u32);
    *second = pair(half(bytes, 22), 0);
    let words = if one | two != 0 { bits(At::<L>::MPLS, 1) } else { bits(At::<L>::MPLS, 2) };
    let end = if one != 0 {
        18
    } else if two != 0 {
        22
    } else {
        26
    };
    let common = common::<L, 0>();
    flow.map = union(common, words);
    let mut found = Found::NOTHING;
    found.layers.mpls = 14;
    found.layers.network = end;
    Some(found.finish())
}

/// What follows the `length` bytes that start at `from`; `None` if it would be less than nothing, or if the length is
/// under `least`.
///
/// One comparison does for both: what is under `least` wraps to more than any packet here has (see
/// [`LONGEST`](super::fast::LONGEST)).
#[inline(always)]
pub(super) fn padding(packet: &[u8], from: usize, length: usize, least: usize) -> Option<usize> {
    let surplus = (length as u16).wrapping_sub(least as u16);
    let room = packet.len().wrapping_sub(from).wrapping_sub(least) as isize;
    let padding = room.wrapping_sub(surplus as isize);
    usize::try_from(padding).ok()
}

/// The least that a TCP header's byte of the data offset can be: five, in its upper half.
pub(super) const LEAST_OFFSET: u32 = 0x50;

/// Whether a TCP header with this byte of its data offset fits in `length` bytes, which may be less than nothing.
///
/// The byte is four times the length, and has flags in its lower half. These are left in: so it may be said of a header
/// that fits to the byte that it doesn't, and the general path sees that it does.
#[inline(always)]
pub(super) fn fits(offset: u32, length: usize) -> bool {
    (length as i32).wrapping_mul(4) >= offset as i32
}

/// Type of service, time to live and protocol; no label, no fragment.
///
/// Each is read with what lies behind it, which is then cut off: so the compiler doesn't take it out of the words that
/// were tested before and keep those in registers, of which there are none to spare.
#[inline(always)]
pub(super) fn network_ipv4<const SIZE: usize>(bytes: &[u8; SIZE], ip: usize) -> u64 {
    let [service, _] = quarter(bytes, ip + 1).to_ne_bytes();
    let [time_to_live, protocol, ..] = half(bytes, ip + 8).to_ne_bytes();
    u64::from_ne_bytes([0, 0, 0, 0, 0, service, time_to_live, protocol])
}

/// Label, traffic class, hop limit and protocol; no fragment.
#[inline(always)]
pub(super) fn network_ipv6<const SIZE: usize>(bytes: &[u8; SIZE], ip: usize) -> u64 {
    let first = half(bytes, ip);
    let service = (u32::from_be(first) >> 20) as u8;
    let label = first & u32::from_ne_bytes([0, 0x0f, 0xff, 0xff]);
    // Protocol and hop limit stand the other way round than in the flow.
    let limits = quarter(bytes, ip + 6).swap_bytes();
    pair(label, quarters(u16::from_ne_bytes([0, service]), limits))
}

/// Source and destination.
#[inline(always)]
pub(super) fn addresses_ipv6<const SIZE: usize>(bytes: &[u8; SIZE], ip: usize) -> [u64; 4] {
    // Written out: the closure of a `map` isn't always inlined, and then there is an addition that can overflow.
    [word(bytes, ip + 8), word(bytes, ip + 16), word(bytes, ip + 24), word(bytes, ip + 32)]
}

/// Metadata, Ethernet and tags: the words that every shape starts with.
#[inline(always)]
pub(super) fn start<L: Layout, const TAGS: usize, const SIZE: usize>(
    bytes: &[u8; SIZE],
    ethernet_type: u16,
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
) {
    let [input, packet_type, first, second, tags, ..] = &mut flow.values;
    *input = pair(metadata.datapath_hash, metadata.in_port);
    *packet_type = pair(0, PacketType::ETHERNET.to_network_order());
    *first = word(bytes, 0);
    *second = match TAGS {
        0 => word(bytes, 8) & SOURCE_AND_TYPE,
        _ => pair(half(bytes, 8), quarters(ethernet_type, 0)),
    };
    match TAGS {
        0 => {}
        1 => *tags = pair(half(bytes, 12) | TAG_PRESENT, 0),
        _ => *tags = word(bytes, 12) | pair(TAG_PRESENT, TAG_PRESENT),
    }
}

/// The words after those of `start`.
#[inline(always)]
pub(super) fn last<L: Layout, const TAGS: usize, const N: usize>(
    flow: &mut Miniflow<L>,
) -> Option<&mut [u64; N]> {
    let before = if TAGS == 0 { 4 } else { 5 };
    flow.values.get_mut(before..)?.first_chunk_mut::<N>()
}

/// The map of what `start` writes.
#[inline(always)]
pub(super) const fn common<L: Layout, const TAGS: usize>() -> [u64; 2] {
    let map = union(bits(At::<L>::INPUT, 1), bits(At::<L>::PACKET_TYPE, 1));
    let map = union(map, bits(At::<L>::ETHERNET, 2));
    if TAGS == 0 { map } else { union(map, bits(At::<L>::VLANS, 1)) }
}

/// The map of network and ports.
#[inline(always)]
pub(super) const fn ends_in_ports<L: Layout>() -> [u64; 2] {
    union(bits(At::<L>::NETWORK, 1), bits(At::<L>::TRANSPORT, 1))
}

/// The map of network, TCP flags and ports.
#[inline(always)]
pub(super) const fn ends_in_tcp<L: Layout>() -> [u64; 2] {
    union(ends_in_ports::<L>(), bits(At::<L>::TCP_FLAGS, 1))
}

#[inline(always)]
pub(super) fn done(padding: usize, network: usize, transport: usize, protocols: Protocols) -> Extraction {
    let mut found = Found::NOTHING;
    found.layers.network = network as u16;
    found.layers.transport = transport as u16;
    found.protocols = protocols;
    found.finish().with_padding(padding)
}
