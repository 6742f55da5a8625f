//! The general path: every packet type, all metadata, link layer to network layer.
//!
//! It reads from top to bottom in the order of the words of a flow: metadata, Ethernet, VLAN tags, MPLS; then
//! `network` and `transport` go on. A header is taken off the front of what is left only when it is there in
//! whole.

use super::fast::Place;
use super::store::Store;
use super::{metadata, network};
use crate::bytes::{half, pair, quarters, word};
use crate::layout::{At, Layout, MAX_PACKET_WORDS, bits, union};
use crate::metadata::{Metadata, PacketType, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::{Extraction, Found, Reason};

/// Ethernet type of what has none (`FLOW_DL_TYPE_NONE`).
const TYPE_NONE: u16 = 0x05ff;
/// The least Ethernet type; below it is a length.
const TYPE_MINIMUM: u16 = 0x0600;

pub(super) const TYPE_IPV4: u16 = 0x0800;
pub(super) const TYPE_ARP: u16 = 0x0806;
pub(super) const TYPE_RARP: u16 = 0x8035;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_VLAN_SERVICE: u16 = 0x88a8;
pub(super) const TYPE_IPV6: u16 = 0x86dd;
const TYPE_MPLS: u16 = 0x8847;
const TYPE_MPLS_MULTICAST: u16 = 0x8848;
pub(super) const TYPE_NSH: u16 = 0x894f;

/// LLC and SNAP header of encapsulated Ethernet: both access points 0xaa, control 3, organisation 0.
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];

/// What is left of a packet, and how far into it that is.
#[derive(Clone, Copy)]
pub(super) struct Rest<'p> {
    pub(super) bytes: &'p [u8],
    pub(super) offset: usize,
}

impl<'p> Rest<'p> {
    /// The next `N` bytes, if there are that many.
    #[inline(always)]
    pub(super) fn peek<const N: usize>(&self) -> Option<&'p [u8; N]> {
        self.bytes.first_chunk::<N>()
    }

    /// Takes the next `N` bytes off, if there are that many.
    #[inline(always)]
    pub(super) fn take<const N: usize>(&mut self) -> Option<&'p [u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        self.offset = self.offset.wrapping_add(N);
        Some(taken)
    }

    /// Takes `count` bytes off, if there are that many.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes = self.bytes.get(count..)?;
        self.offset = self.offset.wrapping_add(count);
        Some(())
    }

    /// Cuts off what lies behind the next `count` bytes.
    #[inline(always)]
    pub(super) fn limit(&mut self, count: usize) {
        self.bytes = self.bytes.get(..count).unwrap_or(self.bytes);
    }
}

/// What the metadata says of a tracked connection, while the flow is being built.
pub(super) struct Tracked<'a> {
    /// The word with the original protocol, not known before the network header is.
    pub(super) word: Option<&'a mut u64>,
    pub(super) is_ipv6: bool,
    pub(super) tuple: &'a [u8; 64],
    /// The original protocol once taken over, or 0.
    pub(super) protocol: u8,
    /// The original ports once taken over, in memory order.
    pub(super) ports: u32,
}

impl Tracked<'_> {
    /// Takes over the original protocol, which lies behind identifier and state.
    #[inline(always)]
    pub(super) fn set_protocol(&mut self, protocol: u8) {
        self.protocol = protocol;
        if let Some(word) = self.word.as_deref_mut() {
            *word |= u64::from_ne_bytes([0, 0, 0, 0, 0, protocol, 0, 0]);
        }
    }
}

/// Extracts whatever it is, with whatever metadata.
#[inline(never)]
pub(super) fn extract<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    packet_type: PacketType,
    packet: &[u8],
) -> Extraction {
    let (map, before, connection) = metadata::push::<L>(&mut flow.values, metadata, packet_type);
    let (front, room) = flow.values.split_at_mut(before.min(MAX_PACKET_WORDS));
    let tracked = connection.map(|at| Tracked {
        word: front.get_mut(at),
        is_ipv6: metadata.ct_tuple_is_ipv6 != 0,
        tuple: &metadata.ct_tuple,
        protocol: 0,
        ports: 0,
    });
    let mut store = Store { room, map };
    let found = push_packet::<L>(&mut store, packet, packet_type, vlan_limit, tracked);
    flow.map = store.map;
    found.finish()
}

/// Extracts an Ethernet frame of any shape that came with plain metadata.
#[inline(never)]
pub(super) fn frame<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    let [input, kind, room @ ..] = &mut flow.values;
    *input = pair(metadata.datapath_hash, metadata.in_port);
    *kind = pair(0, PacketType::ETHERNET.to_network_order());
    let map = union(bits(At::<L>::INPUT, 1), bits(At::<L>::PACKET_TYPE, 1));
    let mut store = Store { room, map };
    let found = push_packet::<L>(&mut store, packet, PacketType::ETHERNET, vlan_limit, None);
    flow.map = store.map;
    found.finish()
}

/// Pushes all that the packet's bytes say.
#[inline(always)]
fn push_packet<L: Layout>(
    store: &mut Store<'_>,
    packet: &[u8],
    packet_type: PacketType,
    vlan_limit: VlanLimit,
    tracked: Option<Tracked<'_>>,
) -> Found {
    let mut rest = Rest { bytes: packet, offset: 0 };
    let mut found = Found::NOTHING;
    let ethernet_type = if packet_type == PacketType::ETHERNET {
        match push_ethernet::<L>(store, &mut rest, vlan_limit, &mut found) {
            Some(ethernet_type) => ethernet_type,
            None => return found.stop(Reason::EthernetTruncated, 0),
        }
    } else {
        let ethernet_type = packet_type.value();
        store.push(At::<L>::ETHERNET_TYPE, [pair(0, quarters(ethernet_type.to_be(), 0))]);
        ethernet_type
    };
    if ethernet_type == TYPE_MPLS || ethernet_type == TYPE_MPLS_MULTICAST {
        found.layers.mpls = rest.offset as u16;
        let ended = push_mpls::<L>(store, &mut rest);
        found.layers.network = rest.offset as u16;
        return if ended { found } else { found.stop(Reason::MplsUnterminated, rest.offset) };
    }
    found.layers.network = rest.offset as u16;
    network::push::<L>(store, ethernet_type, rest, found, tracked)
}

#[inline(always)]
fn is_tag(ethernet_type: u16) -> bool {
    ethernet_type == TYPE_VLAN || ethernet_type == TYPE_VLAN_SERVICE
}

/// Pushes Ethernet and VLAN tags, and gives the Ethernet type; `None` if there isn't a whole header.
#[inline(always)]
fn push_ethernet<L: Layout>(
    store: &mut Store<'_>,
    rest: &mut Rest<'_>,
    vlan_limit: VlanLimit,
    found: &mut Found,
) -> Option<u16> {
    let header = rest.peek::<14>()?;
    let (destination, source) = (word(header, 0), half(header, 8));
    rest.skip(12)?;
    let mut tags = [0u32; 2];
    for tag in tags.iter_mut().take(vlan_limit.tags() as usize) {
        let Some(field) = rest.peek::<2>() else { break };
        if !is_tag(u16::from_be_bytes(*field)) {
            break;
        }
        let Some(bytes) = rest.peek::<6>() else {
            *found = found.stop(Reason::VlanTruncated, rest.offset);
            break;
        };
        *tag = half(bytes, 0) | u32::from_ne_bytes([0, 0, 0x10, 0]);
        rest.skip(4)?;
    }
    let at = rest.offset;
    let mut ethernet_type = u16::from_be_bytes(*rest.take::<2>()?);
    if ethernet_type < TYPE_MINIMUM {
        ethernet_type = match snap(rest.bytes) {
            Some(snap_type) => {
                rest.skip(8)?;
                snap_type
            }
            None => TYPE_NONE,
        };
        if ethernet_type == TYPE_NONE {
            *found = found.stop(Reason::NotSnap, at);
        }
    }
    store.push(At::<L>::ETHERNET, [destination, pair(source, quarters(ethernet_type.to_be(), 0))]);
    // A tag that is there has the presence bit, so the first isn't 0.
    if tags[0] != 0 {
        store.push(At::<L>::VLANS, [pair(tags[0], tags[1])]);
    }
    Some(ethernet_type)
}

/// The Ethernet type in a SNAP header, or "none" if what it has is a length; `None` without such a header.
#[inline]
fn snap(bytes: &[u8]) -> Option<u16> {
    let &[a, b, c, d, e, f, high, low] = bytes.first_chunk::<8>()?;
    if [a, b, c, d, e, f] != SNAP {
        return None;
    }
    let ethernet_type = u16::from_be_bytes([high, low]);
    Some(if ethernet_type >= TYPE_MINIMUM { ethernet_type } else { TYPE_NONE })
}

/// Takes the label stack off and pushes its first three labels. False if it doesn't end.
#[inline(always)]
fn push_mpls<L: Layout>(store: &mut Store<'_>, rest: &mut Rest<'_>) -> bool {
    let mut labels = [0u32; 3];
    let mut count = 0usize;
    let mut ended = false;
    while let Some(label) = rest.take::<4>() {
        if let Some(room) = labels.get_mut(count) {
            *room = u32::from_ne_bytes(*label);
        }
        count = count.wrapping_add(1);
        if label[2] & 1 != 0 {
            ended = true;
            break;
        }
    }
    match count {
        0 => {}
        1 | 2 => store.push(At::<L>::MPLS, [pair(labels[0], labels[1])]),
        _ => store.push(At::<L>::MPLS, [pair(labels[0], labels[1]), pair(labels[2], 0)]),
    }
    ended
}
