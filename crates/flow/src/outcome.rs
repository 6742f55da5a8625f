//! What extraction finds out beside the flow: where the layers lie, which protocols were recognised, and where
//! and why the packet stopped making sense.
//!
//! [`Extraction`] is two machine words. Who doesn't look at the outcome pays nothing for it.

use core::fmt;

use crate::bytes::{pair, quarters};

/// Offset of a layer that isn't there.
pub const ABSENT: u16 = u16::MAX;

/// Byte offsets of the layers from the start of the packet, as Open vSwitch keeps them.
///
/// Offsets are 16 bits wide, as in `struct dp_packet`: in a packet of more than 65,535 bytes they wrap round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Layers {
    /// Bytes of padding after the IP packet.
    pub padding: u16,
    /// First MPLS label, or [`ABSENT`].
    pub mpls: u16,
    /// Network header, or [`ABSENT`].
    pub network: u16,
    /// Transport header, or [`ABSENT`].
    pub transport: u16,
}

impl Layers {
    /// No layer known.
    pub const NONE: Layers = Layers { padding: 0, mpls: ABSENT, network: ABSENT, transport: ABSENT };
}

/// Which headers were recognised, as a set.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Protocols(u8);

impl Protocols {
    /// None.
    pub const NONE: Protocols = Protocols(0);
    /// An IPv4 header with sound lengths.
    pub const IPV4: Protocols = Protocols(1);
    /// An IPv6 header with a sound length.
    pub const IPV6: Protocols = Protocols(2);
    /// A TCP header with a sound data offset.
    pub const TCP: Protocols = Protocols(4);
    /// A whole UDP header.
    pub const UDP: Protocols = Protocols(8);
    /// A whole SCTP header.
    pub const SCTP: Protocols = Protocols(16);

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Protocols) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Protocols) -> Protocols {
        Protocols(self.0 | other.0)
    }

    /// The set as bits: IPv4 1, IPv6 2, TCP 4, UDP 8, SCTP 16.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["ipv4", "ipv6", "tcp", "udp", "sctp"];
        let set = names.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 != 0).map(|(_, name)| name);
        f.debug_set().entries(set).finish()
    }
}

/// Why a packet stopped making sense. What came before it is in the flow all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing wrong: the packet was read as far as a flow goes.
    None = 0,
    /// Fewer than 14 bytes of Ethernet header.
    EthernetTruncated,
    /// A VLAN tag with nothing behind it.
    VlanTruncated,
    /// A length field in place of an Ethernet type, and no SNAP header after it that names one.
    NotSnap,
    /// The label stack goes on to the end of the packet.
    MplsUnterminated,
    /// Fewer than 20 bytes of IPv4 header.
    Ipv4Truncated,
    /// IPv4 header length under 20 bytes or over what is left.
    Ipv4HeaderLength,
    /// IPv4 total length under the header's or over what is left.
    Ipv4TotalLength,
    /// More than 65,535 bytes after the end of the IP packet.
    PaddingTooLong,
    /// Fewer than 40 bytes of IPv6 header.
    Ipv6Truncated,
    /// IPv6 payload length over what is left.
    Ipv6PayloadLength,
    /// An IPv6 extension header goes over the end of the packet.
    Ipv6ExtensionTruncated,
    /// Fewer than 28 bytes of ARP.
    ArpTruncated,
    /// ARP that isn't about IPv4 over Ethernet.
    ArpNotEthernetIpv4,
    /// An ARP operation over 255.
    ArpOperation,
    /// Fewer than 8 bytes of network service header, or fewer than it says.
    NshTruncated,
    /// A network service header of another version than 0.
    NshVersion,
    /// A length that this kind of network service header can't have.
    NshLength,
    /// Fewer than 20 bytes of TCP.
    TcpTruncated,
    /// TCP data offset under 20 bytes or over what is left.
    TcpDataOffset,
    /// Fewer than 8 bytes of UDP.
    UdpTruncated,
    /// Fewer than 12 bytes of SCTP.
    SctpTruncated,
    /// Fewer than 8 bytes of ICMP.
    IcmpTruncated,
    /// Fewer than 8 bytes of IGMP.
    IgmpTruncated,
    /// Fewer than 8 bytes of ICMPv6.
    Icmpv6Truncated,
    /// Neighbour discovery without its target.
    NdTargetTruncated,
    /// A neighbour discovery option of length 0, or longer than what is left.
    NdOptionLength,
    /// The same neighbour discovery option twice: target and addresses are dropped.
    NdOptionTwice,
}

impl Reason {
    const ALL: [Reason; 28] = [
        Reason::None,
        Reason::EthernetTruncated,
        Reason::VlanTruncated,
        Reason::NotSnap,
        Reason::MplsUnterminated,
        Reason::Ipv4Truncated,
        Reason::Ipv4HeaderLength,
        Reason::Ipv4TotalLength,
        Reason::PaddingTooLong,
        Reason::Ipv6Truncated,
        Reason::Ipv6PayloadLength,
        Reason::Ipv6ExtensionTruncated,
        Reason::ArpTruncated,
        Reason::ArpNotEthernetIpv4,
        Reason::ArpOperation,
        Reason::NshTruncated,
        Reason::NshVersion,
        Reason::NshLength,
        Reason::TcpTruncated,
        Reason::TcpDataOffset,
        Reason::UdpTruncated,
        Reason::SctpTruncated,
        Reason::IcmpTruncated,
        Reason::IgmpTruncated,
        Reason::Icmpv6Truncated,
        Reason::NdTargetTruncated,
        Reason::NdOptionLength,
        Reason::NdOptionTwice,
    ];

    /// The reason with this number.
    const fn from_number(number: u8) -> Reason {
        if (number as usize) < Reason::ALL.len() { Reason::ALL[number as usize] } else { Reason::None }
    }
}

/// Where and why a packet stopped making sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Malformed {
    /// What is wrong.
    pub reason: Reason,
    /// Byte offset of the header at fault from the start of the packet.
    pub offset: u32,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            Reason::None => "nothing wrong",
            Reason::EthernetTruncated => "Ethernet header cut short",
            Reason::VlanTruncated => "nothing behind a VLAN tag",
            Reason::NotSnap => "neither an Ethernet type nor a SNAP header",
            Reason::MplsUnterminated => "MPLS label stack without an end",
            Reason::Ipv4Truncated => "IPv4 header cut short",
            Reason::Ipv4HeaderLength => "impossible IPv4 header length",
            Reason::Ipv4TotalLength => "impossible IPv4 total length",
            Reason::PaddingTooLong => "more than 65535 bytes of padding",
            Reason::Ipv6Truncated => "IPv6 header cut short",
            Reason::Ipv6PayloadLength => "impossible IPv6 payload length",
            Reason::Ipv6ExtensionTruncated => "IPv6 extension header cut short",
            Reason::ArpTruncated => "ARP cut short",
            Reason::ArpNotEthernetIpv4 => "ARP for something else than IPv4 over Ethernet",
            Reason::ArpOperation => "unknown ARP operation",
            Reason::NshTruncated => "network service header cut short",
            Reason::NshVersion => "unknown version of the network service header",
            Reason::NshLength => "impossible length of the network service header",
            Reason::TcpTruncated => "TCP header cut short",
            Reason::TcpDataOffset => "impossible TCP data offset",
            Reason::UdpTruncated => "UDP header cut short",
            Reason::SctpTruncated => "SCTP header cut short",
            Reason::IcmpTruncated => "ICMP header cut short",
            Reason::IgmpTruncated => "IGMP header cut short",
            Reason::Icmpv6Truncated => "ICMPv6 header cut short",
            Reason::NdTargetTruncated => "neighbour discovery target cut short",
            Reason::NdOptionLength => "impossible length of a neighbour discovery option",
            Reason::NdOptionTwice => "a neighbour discovery option twice",
        };
        write!(f, "{what} at byte {}", self.offset)
    }
}

impl core::error::Error for Malformed {}

/// What extraction gives beside the flow.
///
/// Two machine words, so that it is returned in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Extraction {
    // The fields of Layers in memory order.
    layers: u64,
    // In memory order: protocols, reason, two bytes of zero, offset.
    status: u64,
}

impl Extraction {
    /// Where the layers lie.
    #[inline]
    #[must_use]
    pub const fn layers(&self) -> Layers {
        let [a, b, c, d, e, f, g, h] = self.layers.to_ne_bytes();
        Layers {
            padding: u16::from_ne_bytes([a, b]),
            mpls: u16::from_ne_bytes([c, d]),
            network: u16::from_ne_bytes([e, f]),
            transport: u16::from_ne_bytes([g, h]),
        }
    }

    /// Which headers were recognised.
    #[inline]
    #[must_use]
    pub const fn protocols(&self) -> Protocols {
        Protocols(self.status.to_ne_bytes()[0])
    }

    /// Whether the packet made sense as far as a flow goes.
    ///
    /// # Errors
    /// Where and why it stopped making sense.
    #[inline]
    pub const fn outcome(&self) -> Result<(), Malformed> {
        let [_, reason, _, _, a, b, c, d] = self.status.to_ne_bytes();
        match Reason::from_number(reason) {
            Reason::None => Ok(()),
            reason => Err(Malformed { reason, offset: u32::from_ne_bytes([a, b, c, d]) }),
        }
    }
}

impl Extraction {
    /// With so much padding, where there was none. It must be less than 65,536: who asks has seen that the packet is.
    #[inline(always)]
    pub(crate) const fn with_padding(mut self, padding: usize) -> Extraction {
        self.layers |= pair(quarters(1, 0), 0).wrapping_mul(padding as u64);
        self
    }

    /// With UDP in place of TCP for 1, as it is for 0; without a branch.
    #[inline(always)]
    pub(crate) const fn with_udp_for_tcp(mut self, is_udp: u64) -> Extraction {
        const DIFFERENCE: u8 = Protocols::UDP.0 - Protocols::TCP.0;
        let difference = pair(quarters(u16::from_ne_bytes([DIFFERENCE, 0]), 0), 0);
        self.status = self.status.wrapping_add(difference.wrapping_mul(is_udp));
        self
    }
}

impl Default for Extraction {
    /// Nothing found.
    fn default() -> Self {
        Found::NOTHING.finish()
    }
}

/// The same while it is being found out.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) layers: Layers,
    pub(crate) protocols: Protocols,
    reason: Reason,
    offset: u32,
}

impl Found {
    pub(crate) const NOTHING: Found =
        Found { layers: Layers::NONE, protocols: Protocols::NONE, reason: Reason::None, offset: 0 };

    /// Notes that the packet stops making sense: `reason`, in what starts at `offset`.
    #[inline(always)]
    pub(crate) fn stop(mut self, reason: Reason, offset: usize) -> Found {
        self.reason = reason;
        self.offset = offset as u32;
        self
    }

    #[inline(always)]
    pub(crate) const fn finish(self) -> Extraction {
        let Layers { padding, mpls, network, transport } = self.layers;
        let kind = u16::from_ne_bytes([self.protocols.0, self.reason as u8]);
        Extraction {
            layers: pair(quarters(padding, mpls), quarters(network, transport)),
            status: pair(quarters(kind, 0), self.offset),
        }
    }
}
