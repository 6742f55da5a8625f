//! TCP or UDP behind one VLAN tag, over IPv4 without options or over IPv6 without extension headers.
//!
//! In the manner of `shapes`, but one function has both protocols: which one it is can't be foreseen, so nothing branches
//! on it. TCP's flags are read and written in any case, and where UDP is found the ports go over them. What doesn't fit
//! goes on to `one_tag`.

use super::fast::{Place, is_tag, one_tag};
use super::shapes::{
    IPV4, LEAST_OFFSET, TCP_FLAGS, TYPE_AND_HEADER_LENGTH, TYPE_IPV4, TYPE_IPV6, addresses_ipv6, common,
    done, ends_in_ports, fits, last, network_ipv4, network_ipv6, padding, start,
};
use crate::bytes::{half, number, pair, quarter, quarters, word};
use crate::layout::{At, Layout, bits, union};
use crate::metadata::{Metadata, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::{Extraction, Protocols};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The network header: behind Ethernet and a tag.
const IP: usize = 18;
/// IPv4 bytes 6 to 9: fragment bits (without "don't fragment"), and the bits that neither protocol's number has.
const NEITHER: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xc0]);

/// TCP or UDP over IPv4 behind a tag.
#[inline(never)]
pub(super) fn ports_ipv4<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    match whole_ipv4(metadata, flow, packet, vlan_limit) {
        Some(extraction) => extraction,
        None => one_tag(metadata, flow, vlan_limit, Place::NONE, packet),
    }
}

/// TCP or UDP over IPv6 behind a tag.
#[inline(never)]
pub(super) fn ports_ipv6<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    match whole_ipv6(metadata, flow, packet, vlan_limit) {
        Some(extraction) => extraction,
        None => one_tag(metadata, flow, vlan_limit, Place::NONE, packet),
    }
}

#[inline(always)]
fn whole_ipv4<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
    vlan_limit: VlanLimit,
) -> Option<Extraction> {
    const TRANSPORT: usize = IP + 20;
    // As far as TCP's flags: shorter frames with UDP go the general way, if there are any.
    let bytes = packet.first_chunk::<{ TRANSPORT + 14 }>()?;
    let protocol = bytes[IP + 9];
    if !is_tag(quarter(bytes, 12))
        || vlan_limit.tags() < 1
        || half(bytes, IP - 2) & TYPE_AND_HEADER_LENGTH != IPV4
        || half(bytes, IP + 6) & NEITHER != 0
        || !is_tcp_or_udp(protocol)
    {
        return None;
    }
    let is_udp = is_udp(protocol);
    let total = number(bytes, IP + 2);
    let padding = padding(packet, IP, total, 28)?;
    if !is_header(is_udp, bytes[TRANSPORT + 12], total.wrapping_sub(20)) {
        return None;
    }
    start::<L, 1, { TRANSPORT + 14 }>(bytes, TYPE_IPV4, metadata, flow);
    let [addresses, network, ends @ ..] = last::<L, 1, 4>(flow)?;
    *addresses = word(bytes, IP + 12);
    *network = network_ipv4(bytes, IP);
    write_ends(ends, is_udp, quarter(bytes, TRANSPORT + 12), half(bytes, TRANSPORT));
    let before = union(common::<L, 1>(), bits(At::<L>::IPV4, 1));
    Some(finish(flow, before, is_udp, padding, TRANSPORT, Protocols::IPV4))
}

#[inline(always)]
fn whole_ipv6<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
    vlan_limit: VlanLimit,
) -> Option<Extraction> {
    const TRANSPORT: usize = IP + 40;
    let bytes = packet.first_chunk::<{ TRANSPORT + 14 }>()?;
    let protocol = bytes[IP + 6];
    if !is_tag(quarter(bytes, 12))
        || vlan_limit.tags() < 1
        || quarter(bytes, IP - 2) != TYPE_IPV6
        || protocol & 0xc0 != 0
        || !is_tcp_or_udp(protocol)
    {
        return None;
    }
    let is_udp = is_udp(protocol);
    let payload = number(bytes, IP + 4);
    let padding = padding(packet, IP + 40, payload, 8)?;
    if !is_header(is_udp, bytes[TRANSPORT + 12], payload) {
        return None;
    }
    start::<L, 1, { TRANSPORT + 14 }>(bytes, TYPE_IPV6, metadata, flow);
    let [a, b, c, d, network, ends @ ..] = last::<L, 1, 7>(flow)?;
    [*a, *b, *c, *d] = addresses_ipv6(bytes, IP);
    *network = network_ipv6(bytes, IP);
    write_ends(ends, is_udp, quarter(bytes, TRANSPORT + 12), half(bytes, TRANSPORT));
    let before = union(common::<L, 1>(), bits(At::<L>::IPV6, 4));
    Some(finish(flow, before, is_udp, padding, TRANSPORT, Protocols::IPV6))
}

/// Whether a protocol's number, under 64, is one of the two, without a branch on which.
#[inline(always)]
fn is_tcp_or_udp(protocol: u8) -> bool {
    const BOTH: u64 = 1 << TCP | 1 << UDP;
    BOTH.wrapping_shr(u32::from(protocol)) & 1 != 0
}

/// 1 for UDP and 0 for TCP: the lowest bit of the number tells them apart.
#[inline(always)]
fn is_udp(protocol: u8) -> u64 {
    u64::from(protocol) & 1
}

/// Whether `offset`, where TCP has its data offset, is one that can be in `length` bytes. With UDP it always is: both
/// limits are put off by more than it can be.
#[inline(always)]
fn is_header(is_udp: u64, offset: u8, length: usize) -> bool {
    let (offset, put_off) = (u32::from(offset), (is_udp as u32).wrapping_mul(256));
    offset.wrapping_add(put_off) >= LEAST_OFFSET && fits(offset, length.wrapping_add(put_off as usize / 4))
}

/// TCP's flags, and the ports behind them or in their place.
#[inline(always)]
fn write_ends(words: &mut [u64; 2], is_udp: u64, flags: u16, ports: u32) {
    words[0] = pair(0, quarters(flags & TCP_FLAGS, 0));
    words[(is_udp & 1 ^ 1) as usize] = pair(ports, 0);
}

/// The map, and what is given back.
#[inline(always)]
fn finish<L: Layout>(
    flow: &mut Miniflow<L>,
    before: [u64; 2],
    is_udp: u64,
    padding: usize,
    transport: usize,
    network: Protocols,
) -> Extraction {
    const { assert!(At::<L>::TCP_FLAGS >= 64) };
    let flags = (is_udp ^ 1).wrapping_shl(At::<L>::TCP_FLAGS as u32 % 64);
    flow.map = union(union(before, ends_in_ports::<L>()), [0, flags]);
    done(padding, IP, transport, network.with(Protocols::TCP)).with_udp_for_tcp(is_udp)
}
