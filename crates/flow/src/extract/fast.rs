//! The fast path: finds out whether a frame has one of the usual shapes, and goes to the code for that.
//!
//! All the functions that it can go to take the same arguments, so that going there is a jump. What has none of the
//! shapes goes to the general path.

use super::{general, shapes};
use crate::bytes::{half, number};
use crate::layout::Layout;
use crate::metadata::{Metadata, PacketType, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::Extraction;

/// Bytes 12 to 15: Ethernet type, and for IPv4 version and header length.
const TYPE: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);
const TYPE_AND_HEADER_LENGTH: u32 = u32::from_ne_bytes([0xff, 0xff, 0x0f, 0]);
const IPV4: u32 = u32::from_ne_bytes([0x08, 0x00, 0x05, 0]);
const IPV6: u32 = u32::from_ne_bytes([0x86, 0xdd, 0, 0]);

/// IPv4 bytes 6 to 9: fragment bits (without "don't fragment") and protocol, without the time to live.
const FRAGMENT_AND_PROTOCOL: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
const WHOLE_TCP: u32 = u32::from_ne_bytes([0, 0, 0, 6]);
const WHOLE_UDP: u32 = u32::from_ne_bytes([0, 0, 0, 17]);

/// What a frame is, as far as its protocol numbers say.
enum Shape {
    UdpIpv4,
    TcpIpv4,
    UdpIpv6,
    TcpIpv6,
    Other,
}

/// Extracts a frame that came with plain metadata.
#[inline(always)]
pub(super) fn extract<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    // The shortest packet of all shapes.
    let Some(bytes) = packet.first_chunk::<42>() else {
        return general::frame(packet, packet_type, metadata, vlan_limit, flow);
    };
    match shape(bytes) {
        Shape::UdpIpv4 => shapes::udp_ipv4::<L, 0, 42>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::TcpIpv4 => shapes::tcp_ipv4::<L, 0, 54>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::UdpIpv6 => shapes::udp_ipv6::<L, 0, 62>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::TcpIpv6 => shapes::tcp_ipv6::<L, 0, 74>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::Other if is_tag(bytes) && vlan_limit.tags() >= 1 => {
            one_tag(packet, packet_type, metadata, vlan_limit, flow)
        }
        Shape::Other => general::frame(packet, packet_type, metadata, vlan_limit, flow),
    }
}

/// Behind one tag.
#[inline(never)]
fn one_tag<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    let Some((_, bytes)) = packet.first_chunk::<46>().and_then(|bytes| bytes.split_last_chunk::<42>()) else {
        return general::frame(packet, packet_type, metadata, vlan_limit, flow);
    };
    match shape(bytes) {
        Shape::UdpIpv4 => shapes::udp_ipv4::<L, 1, 46>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::TcpIpv4 => shapes::tcp_ipv4::<L, 1, 58>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::UdpIpv6 => shapes::udp_ipv6::<L, 1, 66>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::TcpIpv6 => shapes::tcp_ipv6::<L, 1, 78>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::Other if is_tag(bytes) && vlan_limit.tags() >= 2 => {
            two_tags(packet, packet_type, metadata, vlan_limit, flow)
        }
        Shape::Other => general::frame(packet, packet_type, metadata, vlan_limit, flow),
    }
}

/// Behind two tags.
#[inline(always)]
fn two_tags<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    let Some((_, bytes)) = packet.first_chunk::<50>().and_then(|bytes| bytes.split_last_chunk::<42>()) else {
        return general::frame(packet, packet_type, metadata, vlan_limit, flow);
    };
    match shape(bytes) {
        Shape::UdpIpv4 => shapes::udp_ipv4::<L, 2, 50>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::TcpIpv4 => shapes::tcp_ipv4::<L, 2, 62>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::UdpIpv6 => shapes::udp_ipv6::<L, 2, 70>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::TcpIpv6 => shapes::tcp_ipv6::<L, 2, 82>(packet, packet_type, metadata, vlan_limit, flow),
        Shape::Other => general::frame(packet, packet_type, metadata, vlan_limit, flow),
    }
}

/// The shape of a frame, less four bytes a tag, so that the Ethernet type is at 12.
#[inline(always)]
fn shape(bytes: &[u8; 42]) -> Shape {
    let kind = half(bytes, 12);
    if kind & TYPE_AND_HEADER_LENGTH == IPV4 {
        match half(bytes, 20) & FRAGMENT_AND_PROTOCOL {
            WHOLE_UDP => Shape::UdpIpv4,
            WHOLE_TCP => Shape::TcpIpv4,
            _ => Shape::Other,
        }
    } else if kind & TYPE == IPV6 {
        match bytes[20] {
            17 => Shape::UdpIpv6,
            6 => Shape::TcpIpv6,
            _ => Shape::Other,
        }
    } else {
        Shape::Other
    }
}

#[inline(always)]
fn is_tag(bytes: &[u8; 42]) -> bool {
    matches!(number(bytes, 12), 0x8100 | 0x88a8)
}
