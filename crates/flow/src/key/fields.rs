//! The fields of a flow by name.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::U16;
use zerocopy::transmute;

use super::{FiveTuple, FlowKey, Mac, MplsLabel, ServiceHeader, Vlan};
use crate::layout::{At, Layout};
use crate::metadata::{ConnectionTuple, PacketType};

const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TYPE_ARP: u16 = 0x0806;
const TYPE_RARP: u16 = 0x8035;

impl<L: Layout> FlowKey<L> {
    fn bytes(&self, index: usize) -> [u8; 8] {
        self.word(index).to_ne_bytes()
    }

    /// The first half of a word as a number of this machine.
    fn first(&self, index: usize) -> u32 {
        self.halves(index)[0]
    }

    /// The second half of a word as a number of this machine.
    fn second(&self, index: usize) -> u32 {
        self.halves(index)[1]
    }

    fn halves(&self, index: usize) -> [u32; 2] {
        transmute!(self.word(index))
    }

    /// The four quarters of a word that is in network byte order.
    fn quarters(&self, index: usize) -> [U16; 4] {
        transmute!(self.word(index))
    }

    fn sixteen(&self, index: usize) -> [u8; 16] {
        transmute!([self.word(index), self.word(index.wrapping_add(1))])
    }

    /// Queueing priority.
    #[must_use]
    pub fn priority(&self) -> u32 {
        self.first(At::<L>::PRIORITY)
    }

    /// Packet mark.
    #[must_use]
    pub fn mark(&self) -> u32 {
        self.second(At::<L>::PRIORITY)
    }

    /// Hash that the datapath computed.
    #[must_use]
    pub fn datapath_hash(&self) -> u32 {
        self.first(At::<L>::INPUT)
    }

    /// The port that the packet arrived at.
    #[must_use]
    pub fn in_port(&self) -> u32 {
        self.second(At::<L>::INPUT)
    }

    /// Recirculation identifier.
    #[must_use]
    pub fn recirculation(&self) -> u32 {
        self.first(At::<L>::RECIRCULATION)
    }

    /// State bits of the tracked connection; 0 if it isn't tracked.
    #[must_use]
    pub fn connection_state(&self) -> u8 {
        self.bytes(At::<L>::RECIRCULATION)[4]
    }

    /// Protocol of the connection's original direction.
    #[must_use]
    pub fn connection_protocol(&self) -> u8 {
        self.bytes(At::<L>::RECIRCULATION)[5]
    }

    /// Connection tracking zone.
    #[must_use]
    pub fn connection_zone(&self) -> u16 {
        let [.., a, b] = self.bytes(At::<L>::RECIRCULATION);
        u16::from_ne_bytes([a, b])
    }

    /// Mark of the connection.
    #[must_use]
    pub fn connection_mark(&self) -> u32 {
        self.first(At::<L>::PACKET_TYPE)
    }

    /// Label of the connection.
    #[must_use]
    pub fn connection_label(&self) -> u128 {
        u128::from(self.word(At::<L>::CT_LABEL)) | u128::from(self.word(At::<L>::CT_LABEL + 1)) << 64
    }

    /// The connection's original direction, if it is known.
    #[must_use]
    pub fn connection_tuple(&self) -> Option<ConnectionTuple> {
        let protocol = self.connection_protocol();
        if protocol == 0 {
            return None;
        }
        let (source_port, destination_port) = self.connection_ports();
        match self.ethernet_type() {
            TYPE_IPV4 => {
                let [source, destination] = self.two_ipv4(At::<L>::CT_IPV4);
                Some(ConnectionTuple::V4 { source, destination, source_port, destination_port, protocol })
            }
            TYPE_IPV6 => {
                let [source, destination] = self.two_ipv6(At::<L>::CT_IPV6);
                Some(ConnectionTuple::V6 { source, destination, source_port, destination_port, protocol })
            }
            _ => None,
        }
    }

    pub(super) fn connection_ports(&self) -> (u16, u16) {
        let [.., source, destination] = self.quarters(At::<L>::TRANSPORT);
        (source.get(), destination.get())
    }

    pub(super) fn two_ipv4(&self, index: usize) -> [Ipv4Addr; 2] {
        let octets: [[u8; 4]; 2] = transmute!(self.word(index));
        octets.map(Ipv4Addr::from)
    }

    pub(super) fn two_ipv6(&self, index: usize) -> [Ipv6Addr; 2] {
        [Ipv6Addr::from(self.sixteen(index)), Ipv6Addr::from(self.sixteen(index.wrapping_add(2)))]
    }

    /// What the packet starts with.
    #[must_use]
    pub fn packet_type(&self) -> PacketType {
        PacketType::from_network_order(self.second(At::<L>::PACKET_TYPE))
    }

    /// Ethernet destination.
    #[must_use]
    pub fn ethernet_destination(&self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.bytes(At::<L>::ETHERNET);
        Mac::new([a, b, c, d, e, f])
    }

    /// Ethernet source.
    #[must_use]
    pub fn ethernet_source(&self) -> Mac {
        let [.., a, b] = self.bytes(At::<L>::ETHERNET);
        let [c, d, e, f, ..] = self.bytes(At::<L>::ETHERNET_TYPE);
        Mac::new([a, b, c, d, e, f])
    }

    /// Ethernet type, of what lies behind the VLAN tags; 0x05ff for a frame that has a length instead, 0
    /// where there is none at all.
    #[must_use]
    pub fn ethernet_type(&self) -> u16 {
        self.quarters(At::<L>::ETHERNET_TYPE)[2].get()
    }

    /// Tag protocol and control information of both VLAN tags, 0 where there is none.
    pub(crate) fn vlan_fields(&self) -> [(u16, u16); 2] {
        let [protocol, control, inner_protocol, inner_control] = self.quarters(At::<L>::VLANS).map(U16::get);
        [(protocol, control), (inner_protocol, inner_control)]
    }

    /// VLAN tags from the outermost.
    pub fn vlans(&self) -> impl Iterator<Item = Vlan> {
        self.vlan_fields().into_iter().take_while(|&(_, control)| control != 0).map(|(protocol, control)| {
            Vlan { protocol, identifier: control & 0x0fff, priority: (control >> 13) as u8 }
        })
    }

    /// The outermost VLAN tag.
    #[must_use]
    pub fn vlan(&self) -> Option<Vlan> {
        self.vlans().next()
    }

    pub(super) fn mpls_words(&self) -> [u32; 3] {
        [self.first(At::<L>::MPLS), self.second(At::<L>::MPLS), self.first(At::<L>::MPLS + 1)]
            .map(u32::from_be)
    }

    /// MPLS labels from the outermost: three at most, and none after the bottom of the stack.
    pub fn mpls_labels(&self) -> impl Iterator<Item = MplsLabel> {
        let labels = self.mpls_words().map(MplsLabel);
        let depth = match labels.iter().position(|label| label.is_bottom()) {
            Some(bottom) => bottom.wrapping_add(1),
            None => labels.iter().filter(|label| label.0 != 0).count(),
        };
        let is_mpls = matches!(self.ethernet_type(), 0x8847 | 0x8848);
        labels.into_iter().take(if is_mpls { depth } else { 0 })
    }

    /// Whether it is IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.network_type() == TYPE_IPV4
    }

    /// Whether it is IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.network_type() == TYPE_IPV6
    }

    /// The Ethernet type, unless the packet type is of a name space that has none.
    fn network_type(&self) -> u16 {
        let kind = self.packet_type();
        if kind == PacketType::ETHERNET || kind.name_space() == 1 { self.ethernet_type() } else { 0 }
    }

    /// Whether it is ARP or RARP.
    #[must_use]
    pub fn is_arp(&self) -> bool {
        matches!(self.ethernet_type(), TYPE_ARP | TYPE_RARP)
    }

    /// IPv4 source, or ARP's sender.
    #[must_use]
    pub fn ipv4_source(&self) -> Ipv4Addr {
        self.two_ipv4(At::<L>::IPV4)[0]
    }

    /// IPv4 destination, or ARP's target.
    #[must_use]
    pub fn ipv4_destination(&self) -> Ipv4Addr {
        self.two_ipv4(At::<L>::IPV4)[1]
    }

    /// IPv6 source.
    #[must_use]
    pub fn ipv6_source(&self) -> Ipv6Addr {
        self.two_ipv6(At::<L>::IPV6)[0]
    }

    /// IPv6 destination.
    #[must_use]
    pub fn ipv6_destination(&self) -> Ipv6Addr {
        self.two_ipv6(At::<L>::IPV6)[1]
    }

    /// IPv6 flow label.
    #[must_use]
    pub fn ipv6_label(&self) -> u32 {
        u32::from_be(self.first(At::<L>::NETWORK))
    }

    /// Fragment bits: 1 for a fragment, 2 for one that isn't the first.
    #[must_use]
    pub fn fragment_bits(&self) -> u8 {
        self.bytes(At::<L>::NETWORK)[4] & 3
    }

    /// Type of service or traffic class, with the congestion bits.
    #[must_use]
    pub fn type_of_service(&self) -> u8 {
        self.bytes(At::<L>::NETWORK)[5]
    }

    /// Time to live or hop limit.
    #[must_use]
    pub fn time_to_live(&self) -> u8 {
        self.bytes(At::<L>::NETWORK)[6]
    }

    /// IP protocol number, or ARP's operation.
    #[must_use]
    pub fn ip_protocol(&self) -> u8 {
        self.bytes(At::<L>::NETWORK)[7]
    }

    /// Source port of TCP, UDP or SCTP; type of ICMP, IGMP or ICMPv6.
    #[must_use]
    pub fn source_port(&self) -> u16 {
        self.quarters(At::<L>::TRANSPORT)[0].get()
    }

    /// Destination port of TCP, UDP or SCTP; code of ICMP, IGMP or ICMPv6.
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        self.quarters(At::<L>::TRANSPORT)[1].get()
    }

    /// TCP flags, 12 bits; in neighbour discovery the kind of the first option.
    #[must_use]
    pub fn tcp_flags(&self) -> u16 {
        self.quarters(At::<L>::TCP_FLAGS)[2].get()
    }

    /// Hardware address of ARP's sender, or of neighbour discovery's source option.
    #[must_use]
    pub fn arp_source(&self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.bytes(At::<L>::ARP);
        Mac::new([a, b, c, d, e, f])
    }

    /// Hardware address of ARP's target, or of neighbour discovery's target option.
    #[must_use]
    pub fn arp_target(&self) -> Mac {
        let [.., a, b] = self.bytes(At::<L>::ARP);
        let [c, d, e, f, ..] = self.bytes(At::<L>::TCP_FLAGS);
        Mac::new([a, b, c, d, e, f])
    }

    /// Target of neighbour discovery.
    #[must_use]
    pub fn discovery_target(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.sixteen(At::<L>::ND_TARGET))
    }

    /// Group of IGMP, or neighbour discovery's reserved word.
    #[must_use]
    pub fn igmp_group(&self) -> Ipv4Addr {
        self.two_ipv4(At::<L>::IGMP)[0]
    }

    /// Network service header.
    #[must_use]
    pub fn service_header(&self) -> Option<ServiceHeader> {
        if self.ethernet_type() != 0x894f {
            return None;
        }
        let [flags, time_to_live, metadata_type, next_protocol, a, b, c, index] = self.bytes(At::<L>::NSH);
        let (second, third) = (At::<L>::NSH + 1, At::<L>::NSH + 2);
        let context = [self.first(second), self.second(second), self.first(third), self.second(third)];
        Some(ServiceHeader {
            flags,
            time_to_live,
            metadata_type,
            next_protocol,
            path: u32::from_be_bytes([0, a, b, c]),
            index,
            context: context.map(u32::from_be),
        })
    }

    /// Who talks to whom, if it is IP.
    #[must_use]
    pub fn five_tuple(&self) -> Option<FiveTuple> {
        let (source, destination) = match self.ethernet_type() {
            TYPE_IPV4 => (IpAddr::V4(self.ipv4_source()), IpAddr::V4(self.ipv4_destination())),
            TYPE_IPV6 => (IpAddr::V6(self.ipv6_source()), IpAddr::V6(self.ipv6_destination())),
            _ => return None,
        };
        let protocol = self.ip_protocol();
        let has_ports =
            self.has_transport() && matches!(protocol, 6 | 17 | 132) && self.fragment_bits() & 2 == 0;
        let ports = has_ports.then(|| (self.source_port(), self.destination_port()));
        Some(FiveTuple { source, destination, protocol, ports })
    }

    /// Whether it is a neighbour solicitation or advertisement.
    #[must_use]
    pub fn is_neighbour_discovery(&self) -> bool {
        self.is_ipv6()
            && self.ip_protocol() == 58
            && self.destination_port() == 0
            && matches!(self.source_port(), 135 | 136)
    }
}
