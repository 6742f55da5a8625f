//! Extraction: packet bytes and metadata to a miniflow.
//!
//! Two paths give the same result. The fast one (`fast`) takes what most packets are: nothing in the metadata
//! but the input port; Ethernet, up to two VLAN tags, IPv4 or IPv6, TCP or UDP, not a fragment; ARP, MPLS, neighbour
//! discovery. It checks lengths once and writes words to fixed places. The general one (`general` and below) takes
//! everything, and is the description of the behaviour that one should read first.
//!
//! Neither has a panic in it: every access is to an array of known size that a length check gave out.

mod batch;
mod fast;
mod general;
mod icmpv6;
mod internet;
mod ipv6;
mod metadata;
mod network;
mod shapes;
mod store;
mod tagged;
mod transport;

pub use batch::extract_batch;

use crate::layout::Layout;
use crate::metadata::{Metadata, PacketType, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::Extraction;

/// Extracts the flow of one packet, as Open vSwitch's `miniflow_extract()` does.
///
/// `packet` is the whole packet from its first byte, `packet_type` what that first byte belongs to. The
/// miniflow is overwritten; it needs no clearing. Whatever the packet's bytes are, this neither fails nor
/// panics, and takes time linear in the length of the packet at most: what doesn't make sense ends the
/// extraction, and [`Extraction::outcome`] says where and why.
#[inline(always)]
pub fn extract<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    if metadata.is_plain(packet_type) {
        fast::extract(metadata, flow, packet, vlan_limit)
    } else {
        general::extract(metadata, flow, vlan_limit, packet_type, packet)
    }
}

/// Extracts by the general path only: for tests that compare the two.
#[doc(hidden)]
pub fn extract_by_general_path<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    general::extract(metadata, flow, vlan_limit, packet_type, packet)
}
