//! The fast path: finds out whether a frame has one of the usual shapes, and goes to the code for that.
//!
//! All the functions that it can go to take the same arguments, so that going there is a jump. What has none of the
//! shapes goes to the general path.

use super::{general, shapes};
use crate::bytes::{half, number};
use crate::layout::Layout;
use crate::metadata::{Metadata, VlanLimit};
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

/// Goes to the shape of a frame behind `$tags` tags, if it has one. `$bytes` are the frame's first less four bytes a
/// tag, so that the Ethernet type is at 12; the sizes are those of the headers of the four shapes.
macro_rules! go_by_shape {
    ($bytes:expr, $tags:literal, [$a:literal, $b:literal, $c:literal, $d:literal],
     $packet:ident, $metadata:ident, $flow:ident, $vlan_limit:ident) => {
        let kind = half($bytes, 12);
        if kind & TYPE_AND_HEADER_LENGTH == IPV4 {
            let protocol = half($bytes, 20) & FRAGMENT_AND_PROTOCOL;
            if protocol == WHOLE_UDP {
                return shapes::udp_ipv4::<L, $tags, $a>($packet, $metadata, $flow, $vlan_limit);
            }
            if protocol == WHOLE_TCP {
                return shapes::tcp_ipv4::<L, $tags, $b>($packet, $metadata, $flow, $vlan_limit);
            }
            return general::frame($packet, $metadata, $flow, $vlan_limit);
        }
        if kind & TYPE == IPV6 {
            if $bytes[20] == 17 {
                return shapes::udp_ipv6::<L, $tags, $c>($packet, $metadata, $flow, $vlan_limit);
            }
            if $bytes[20] == 6 {
                return shapes::tcp_ipv6::<L, $tags, $d>($packet, $metadata, $flow, $vlan_limit);
            }
        }
    };
}

/// Extracts a frame that came with plain metadata.
#[inline(always)]
pub(super) fn extract<L: Layout>(
    packet: &[u8],
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
) -> Extraction {
    // The shortest packet of all shapes.
    let Some(bytes) = packet.first_chunk::<42>() else {
        return general::frame(packet, metadata, flow, vlan_limit);
    };
    go_by_shape!(bytes, 0, [42, 54, 62, 74], packet, metadata, flow, vlan_limit);
    if is_tag(bytes) && vlan_limit.tags() >= 1 {
        return one_tag(packet, metadata, flow, vlan_limit);
    }
    match number(bytes, 12) {
        0x0806 => shapes::arp(packet, metadata, flow, vlan_limit),
        0x8847 => shapes::mpls(packet, metadata, flow, vlan_limit),
        _ => general::frame(packet, metadata, flow, vlan_limit),
    }
}

/// Behind one tag.
#[inline(never)]
fn one_tag<L: Layout>(
    packet: &[u8],
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
) -> Extraction {
    let Some((_, bytes)) = packet.first_chunk::<46>().and_then(|bytes| bytes.split_last_chunk::<42>()) else {
        return general::frame(packet, metadata, flow, vlan_limit);
    };
    go_by_shape!(bytes, 1, [46, 58, 66, 78], packet, metadata, flow, vlan_limit);
    if is_tag(bytes)
        && vlan_limit.tags() >= 2
        && let Some((_, bytes)) = packet.first_chunk::<50>().and_then(|bytes| bytes.split_last_chunk::<42>())
    {
        go_by_shape!(bytes, 2, [50, 62, 70, 82], packet, metadata, flow, vlan_limit);
    }
    general::frame(packet, metadata, flow, vlan_limit)
}

#[inline(always)]
fn is_tag(bytes: &[u8; 42]) -> bool {
    matches!(number(bytes, 12), 0x8100 | 0x88a8)
}
