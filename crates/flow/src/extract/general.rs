//! The general path: every packet type, all metadata, link layer to network layer.
//!
//! It reads from top to bottom in the order of the words of a flow: metadata, Ethernet, VLAN tags, MPLS; then
//! `network` and `transport` go on. A header is taken off the front of what is left only when it is there in
//! whole.

use super::network;
use super::store::Store;
use crate::bytes::{half, pair, quarters, word};
use crate::layout::{At, Layout};
use crate::metadata::{Metadata, PacketType, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::{Extraction, Reason};
use crate::tunnel::Tunnel;

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
    /// Takes over the original protocol. The third byte of four, after identifier and state.
    #[inline(always)]
    pub(super) fn set_protocol(&mut self, protocol: u8) {
        self.protocol = protocol;
        if let Some(word) = self.word.as_deref_mut() {
            *word |= u64::from_ne_bytes([0, 0, 0, 0, 0, protocol, 0, 0]);
        }
    }
}

impl Extraction {
    /// Ends the extraction: `reason` at `offset`.
    #[inline(always)]
    pub(super) fn stop(mut self, reason: Reason, offset: usize) -> Extraction {
        self.reason = reason;
        self.offset = offset as u32;
        self
    }
}

/// Extracts whatever it is.
#[inline(never)]
pub(super) fn extract<L: Layout>(
    packet: &[u8],
    packet_type: PacketType,
    metadata: &Metadata,
    vlan_limit: VlanLimit,
    flow: &mut Miniflow<L>,
) -> Extraction {
    let mut store = Store::new(&mut flow.values);
    let tracked = push_metadata::<L>(&mut store, metadata, packet_type);
    let mut rest = Rest { bytes: packet, offset: 0 };
    let mut extraction = Extraction::NONE;

    let ethernet_type = if packet_type == PacketType::ETHERNET {
        match push_ethernet::<L>(&mut store, &mut rest, vlan_limit, &mut extraction) {
            Some(ethernet_type) => ethernet_type,
            None => {
                flow.map = store.map;
                return extraction.stop(Reason::EthernetTruncated, 0);
            }
        }
    } else {
        let ethernet_type = packet_type.value();
        store.push(At::<L>::ETHERNET_TYPE, [pair(0, quarters(ethernet_type.to_be(), 0))]);
        ethernet_type
    };

    if ethernet_type == TYPE_MPLS || ethernet_type == TYPE_MPLS_MULTICAST {
        extraction.layers.mpls = rest.offset as u16;
        if !push_mpls::<L>(&mut store, &mut rest) {
            extraction = extraction.stop(Reason::MplsUnterminated, rest.offset);
        }
    }
    extraction.layers.network = rest.offset as u16;
    let extraction = network::push::<L>(&mut store, ethernet_type, rest, extraction, tracked);
    flow.map = store.map;
    extraction
}

/// Pushes the metadata's words.
#[inline(always)]
fn push_metadata<'a, L: Layout>(
    store: &mut Store<'a>,
    metadata: &'a Metadata,
    packet_type: PacketType,
) -> Option<Tracked<'a>> {
    if metadata.tunnel.destination_bits() != 0 {
        push_tunnel::<L>(store, &metadata.tunnel);
    }
    if metadata.priority | metadata.mark != 0 {
        store.push(At::<L>::PRIORITY, [pair(metadata.priority, metadata.mark)]);
    }
    store.push(At::<L>::INPUT, [pair(metadata.datapath_hash, metadata.in_port)]);
    let packet_type = packet_type.to_network_order();
    if metadata.ct_state == 0 {
        if metadata.recirculation != 0 {
            store.push(At::<L>::RECIRCULATION, [pair(metadata.recirculation, 0)]);
        }
        store.push(At::<L>::PACKET_TYPE, [pair(0, packet_type)]);
        return None;
    }
    let state = quarters(u16::from_ne_bytes([metadata.ct_state, 0]), metadata.ct_zone);
    let word = store.push_open(At::<L>::RECIRCULATION, pair(metadata.recirculation, state));
    store.push(At::<L>::PACKET_TYPE, [pair(metadata.ct_mark, packet_type)]);
    if metadata.ct_label != [0; 2] {
        store.push(At::<L>::CT_LABEL, metadata.ct_label);
    }
    Some(Tracked {
        word,
        is_ipv6: metadata.ct_tuple_is_ipv6 != 0,
        tuple: &metadata.ct_tuple,
        protocol: 0,
        ports: 0,
    })
}

/// Pushes a tunnel: its fixed part, then the options in the form they have.
#[inline(never)]
fn push_tunnel<L: Layout>(store: &mut Store<'_>, tunnel: &Tunnel) {
    store.push(At::<L>::TUNNEL, tunnel.fixed_words());
    if tunnel.has_raw_options() {
        if tunnel.raw_length() != 0 {
            store.push(At::<L>::TUNNEL_OPTIONS, [tunnel.presence()]);
            for (index, word) in tunnel.raw_words().enumerate() {
                store.write([word]);
                store.mark_variable(index.wrapping_add(At::<L>::TUNNEL_OPTIONS + 2));
            }
        }
    } else if tunnel.presence() != 0 {
        for (index, word) in tunnel.option_words().enumerate() {
            store.write([word]);
            store.mark_variable(index.wrapping_add(At::<L>::TUNNEL_OPTIONS));
        }
    }
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
    extraction: &mut Extraction,
) -> Option<u16> {
    let header = rest.peek::<14>()?;
    let (destination, source) = (word(header, 0), half(header, 8));
    rest.skip(12)?;
    let mut tags = [0u32; 2];
    let mut count = 0usize;
    for tag in tags.iter_mut().take(vlan_limit.tags() as usize) {
        let Some(ethernet_type) = rest.peek::<2>() else { break };
        if !is_tag(u16::from_be_bytes(*ethernet_type)) {
            break;
        }
        let Some(bytes) = rest.peek::<6>() else {
            *extraction = extraction.stop(Reason::VlanTruncated, rest.offset);
            break;
        };
        *tag = half(bytes, 0) | u32::from_ne_bytes([0, 0, 0x10, 0]);
        rest.skip(4)?;
        count = count.wrapping_add(1);
    }
    let at = rest.offset;
    let field = u16::from_be_bytes(*rest.take::<2>()?);
    let ethernet_type = if field >= TYPE_MINIMUM {
        field
    } else {
        let ethernet_type = snap(rest);
        if ethernet_type == TYPE_NONE {
            *extraction = extraction.stop(Reason::NotSnap, at);
        }
        ethernet_type
    };
    store.push(At::<L>::ETHERNET, [destination, pair(source, quarters(ethernet_type.to_be(), 0))]);
    if count != 0 {
        store.push(At::<L>::VLANS, [pair(tags[0], tags[1])]);
    }
    Some(ethernet_type)
}

/// The Ethernet type in a SNAP header, which it takes off, or "none".
#[inline(never)]
fn snap(rest: &mut Rest<'_>) -> u16 {
    let Some(header) = rest.peek::<8>() else { return TYPE_NONE };
    let [a, b, c, d, e, f, high, low] = *header;
    if [a, b, c, d, e, f] != SNAP {
        return TYPE_NONE;
    }
    if rest.skip(8).is_none() {
        return TYPE_NONE;
    }
    match u16::from_be_bytes([high, low]) {
        ethernet_type if ethernet_type >= TYPE_MINIMUM => ethernet_type,
        _ => TYPE_NONE,
    }
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
