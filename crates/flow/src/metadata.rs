//! What is known of a packet beside its bytes: where it came from and what was found out before.
//!
//! [`Metadata`] has the memory layout of Open vSwitch's `struct pkt_metadata`, so that a switch hands it over
//! by reference; `ringway-flow-ovs` proves each offset at compile time against the headers of the switch. A
//! Rust program makes one with [`Metadata::new`] and the `with_` methods, and can share it between all the
//! packets of a port.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::bytes::pair;
use crate::tunnel::Tunnel;

/// What a frame starts with, in OpenFlow's terms: a name space and a type in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct PacketType(u32);

impl PacketType {
    /// An Ethernet frame, the usual case.
    pub const ETHERNET: PacketType = PacketType(0);

    /// A packet without Ethernet header that starts with what `ethertype` names: 0x0800 for IPv4, 0x86dd for
    /// IPv6, 0x8847 for MPLS, 0x894f for NSH.
    #[must_use]
    pub const fn network(ethertype: u16) -> Self {
        PacketType((1u32 << 16 | ethertype as u32).to_be())
    }

    /// From the number as OpenFlow carries it, in network byte order.
    #[must_use]
    pub const fn from_network_order(value: u32) -> Self {
        PacketType(value)
    }

    /// The number in network byte order.
    #[must_use]
    pub const fn to_network_order(self) -> u32 {
        self.0
    }

    /// The name space (0: Ethernet and other link layers, 1: Ethertypes).
    #[must_use]
    pub const fn name_space(self) -> u16 {
        (u32::from_be(self.0) >> 16) as u16
    }

    /// The type within the name space.
    #[must_use]
    pub const fn value(self) -> u16 {
        u32::from_be(self.0) as u16
    }
}

/// How many VLAN tags the parser takes apart; a further one is left as the Ethernet type.
// Not cut to two when it is made: that would cost every packet an instruction or three, and only packets with
// tags look at it.
#[derive(Clone, Copy, Debug)]
pub struct VlanLimit(u32);

impl VlanLimit {
    /// Look at no tag.
    pub const NONE: VlanLimit = VlanLimit(0);
    /// One tag, `ovs-vswitchd`'s default.
    pub const ONE: VlanLimit = VlanLimit(1);
    /// Two tags, the most that a flow has room for.
    pub const TWO: VlanLimit = VlanLimit(2);

    /// A limit from a number; more than two means two.
    #[must_use]
    pub const fn new(tags: u32) -> Self {
        VlanLimit(tags)
    }

    /// The number of tags.
    #[must_use]
    pub const fn tags(self) -> u32 {
        if self.0 > 2 { 2 } else { self.0 }
    }
}

/// The packet that opened a tracked connection: addresses, ports and protocol of the original direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionTuple {
    /// Of an IPv4 connection.
    V4 {
        /// Source address.
        source: Ipv4Addr,
        /// Destination address.
        destination: Ipv4Addr,
        /// Source port, or ICMP type.
        source_port: u16,
        /// Destination port, or ICMP code.
        destination_port: u16,
        /// IP protocol number; 0 means that nothing is known.
        protocol: u8,
    },
    /// Of an IPv6 connection.
    V6 {
        /// Source address.
        source: Ipv6Addr,
        /// Destination address.
        destination: Ipv6Addr,
        /// Source port, or ICMPv6 type.
        source_port: u16,
        /// Destination port, or ICMPv6 code.
        destination_port: u16,
        /// IP protocol number; 0 means that nothing is known.
        protocol: u8,
    },
}

/// State of a tracked connection, as the tracker found it before this extraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// State bits (1 new, 2 established, 4 related, 8 reply, 0x10 invalid, 0x20 tracked, 0x40 source
    /// translated, 0x80 destination translated). Zero means untracked: the rest is then ignored.
    pub state: u8,
    /// Zone.
    pub zone: u16,
    /// Mark.
    pub mark: u32,
    /// Label.
    pub label: u128,
    /// Original direction.
    pub tuple: Option<ConnectionTuple>,
}

/// What is known of a packet beside its bytes.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub struct Metadata {
    pub(crate) recirculation: u32,
    pub(crate) datapath_hash: u32,
    // Priority and mark, side by side.
    pub(crate) priority_and_mark: u64,
    pub(crate) ct_state: u8,
    pub(crate) ct_tuple_is_ipv6: u8,
    pub(crate) ct_zone: u16,
    pub(crate) ct_mark: u32,
    pub(crate) ct_label: [u64; 2],
    pub(crate) in_port: u32,
    // The switch's own: original port, cached connection, direction, ICMP relation. Never read here.
    _switch: [u8; 20],
    pub(crate) ct_tuple: [u8; 64],
    pub(crate) tunnel: Tunnel,
    _padding: [u8; 40],
}

/// Byte offsets and size of [`Metadata`], for whoever checks them against C headers.
///
/// In order: recirculation identifier, datapath hash, priority, mark, connection state, "tuple is IPv6",
/// zone, connection mark, label, input port, tuple, tunnel, whole size.
pub const METADATA_OFFSETS: [usize; 13] = [
    core::mem::offset_of!(Metadata, recirculation),
    core::mem::offset_of!(Metadata, datapath_hash),
    core::mem::offset_of!(Metadata, priority_and_mark),
    core::mem::offset_of!(Metadata, priority_and_mark) + 4,
    core::mem::offset_of!(Metadata, ct_state),
    core::mem::offset_of!(Metadata, ct_tuple_is_ipv6),
    core::mem::offset_of!(Metadata, ct_zone),
    core::mem::offset_of!(Metadata, ct_mark),
    core::mem::offset_of!(Metadata, ct_label),
    core::mem::offset_of!(Metadata, in_port),
    core::mem::offset_of!(Metadata, ct_tuple),
    core::mem::offset_of!(Metadata, tunnel),
    size_of::<Metadata>(),
];

impl Metadata {
    /// Of a packet that arrived at port `in_port`, with nothing else known.
    #[must_use]
    pub const fn new(in_port: u32) -> Self {
        Metadata {
            recirculation: 0,
            datapath_hash: 0,
            priority_and_mark: 0,
            ct_state: 0,
            ct_tuple_is_ipv6: 0,
            ct_zone: 0,
            ct_mark: 0,
            ct_label: [0; 2],
            in_port,
            _switch: [0; 20],
            ct_tuple: [0; 64],
            tunnel: Tunnel::NONE,
            _padding: [0; 40],
        }
    }

    /// With the datapath's own hash and recirculation identifier.
    #[must_use]
    pub const fn with_recirculation(mut self, identifier: u32, datapath_hash: u32) -> Self {
        self.recirculation = identifier;
        self.datapath_hash = datapath_hash;
        self
    }

    /// With a queueing priority and a packet mark.
    #[must_use]
    pub const fn with_priority(mut self, priority: u32, mark: u32) -> Self {
        self.priority_and_mark = pair(priority, mark);
        self
    }

    /// With the state of the connection that the packet belongs to.
    #[must_use]
    pub fn with_connection(mut self, connection: &Connection) -> Self {
        self.ct_state = connection.state;
        self.ct_zone = connection.zone;
        self.ct_mark = connection.mark;
        self.ct_label = [connection.label as u64, (connection.label >> 64) as u64];
        self.ct_tuple = [0; 64];
        self.ct_tuple_is_ipv6 = 0;
        match connection.tuple {
            None => {}
            Some(ConnectionTuple::V4 { source, destination, source_port, destination_port, protocol }) => {
                let bytes = &mut self.ct_tuple;
                bytes[0..4].copy_from_slice(&source.octets());
                bytes[4..8].copy_from_slice(&destination.octets());
                bytes[8..10].copy_from_slice(&source_port.to_be_bytes());
                bytes[10..12].copy_from_slice(&destination_port.to_be_bytes());
                bytes[12] = protocol;
            }
            Some(ConnectionTuple::V6 { source, destination, source_port, destination_port, protocol }) => {
                self.ct_tuple_is_ipv6 = 1;
                let bytes = &mut self.ct_tuple;
                bytes[0..16].copy_from_slice(&source.octets());
                bytes[16..32].copy_from_slice(&destination.octets());
                bytes[32..34].copy_from_slice(&source_port.to_be_bytes());
                bytes[34..36].copy_from_slice(&destination_port.to_be_bytes());
                bytes[36] = protocol;
            }
        }
        self
    }

    /// With the tunnel that the packet came out of.
    #[must_use]
    pub const fn with_tunnel(mut self, tunnel: Tunnel) -> Self {
        self.tunnel = tunnel;
        self
    }

    /// The port that the packet arrived at.
    #[must_use]
    pub const fn in_port(&self) -> u32 {
        self.in_port
    }

    /// Whether there is nothing beside the datapath hash and the input port, and the packet is an Ethernet frame: the
    /// usual case.
    #[inline(always)]
    pub(crate) fn is_plain(&self, packet_type: PacketType) -> bool {
        packet_type == PacketType::ETHERNET
            && self.tunnel.destination_bits()
                | self.priority_and_mark
                | u64::from(self.recirculation)
                | u64::from(self.ct_state)
                == 0
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Metadata::new(0)
    }
}
