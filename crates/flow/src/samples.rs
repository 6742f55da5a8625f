//! Sample packets of every kind that the parser knows, for tests, fuzzing and benchmarks.
//!
//! Not part of the parser: behind the feature `samples`, and the only code of the crate that allocates.

use alloc::vec::Vec;

/// A kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    UdpIpv4,
    TcpIpv4,
    VlanUdpIpv4,
    VlanTcpIpv4,
    QinqUdpIpv4,
    UdpIpv6,
    TcpIpv6,
    VlanUdpIpv6,
    VlanTcpIpv6,
    TcpIpv6Extensions,
    MplsOne,
    MplsThree,
    Arp,
    Solicitation,
    Advertisement,
    IcmpIpv4,
    Icmpv6,
    Igmp,
    SctpIpv4,
    SctpIpv6,
    Ipv4Options,
    Ipv4FirstFragment,
    Ipv4LaterFragment,
    Ipv6FirstFragment,
    Ipv6LaterFragment,
    ServiceHeaderContext,
    ServiceHeaderVariable,
    Snap,
    LengthOnly,
    UnknownType,
    MplsDeep,
    VlanThree,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 32] = [
        Kind::UdpIpv4,
        Kind::TcpIpv4,
        Kind::VlanUdpIpv4,
        Kind::VlanTcpIpv4,
        Kind::QinqUdpIpv4,
        Kind::UdpIpv6,
        Kind::TcpIpv6,
        Kind::VlanUdpIpv6,
        Kind::VlanTcpIpv6,
        Kind::TcpIpv6Extensions,
        Kind::MplsOne,
        Kind::MplsThree,
        Kind::Arp,
        Kind::Solicitation,
        Kind::Advertisement,
        Kind::IcmpIpv4,
        Kind::Icmpv6,
        Kind::Igmp,
        Kind::SctpIpv4,
        Kind::SctpIpv6,
        Kind::Ipv4Options,
        Kind::Ipv4FirstFragment,
        Kind::Ipv4LaterFragment,
        Kind::Ipv6FirstFragment,
        Kind::Ipv6LaterFragment,
        Kind::ServiceHeaderContext,
        Kind::ServiceHeaderVariable,
        Kind::Snap,
        Kind::LengthOnly,
        Kind::UnknownType,
        Kind::MplsDeep,
        Kind::VlanThree,
    ];

    /// The kinds whose speed is measured: those that Open vSwitch's figures are known for, and the VLAN and
    /// TCP variants that have a target of their own.
    pub const MEASURED: [Kind; 14] = [
        Kind::UdpIpv4,
        Kind::TcpIpv4,
        Kind::VlanUdpIpv4,
        Kind::VlanTcpIpv4,
        Kind::QinqUdpIpv4,
        Kind::UdpIpv6,
        Kind::TcpIpv6,
        Kind::VlanUdpIpv6,
        Kind::VlanTcpIpv6,
        Kind::TcpIpv6Extensions,
        Kind::MplsOne,
        Kind::MplsThree,
        Kind::Arp,
        Kind::Solicitation,
    ];

    /// A name for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::UdpIpv4 => "udp-ipv4",
            Kind::TcpIpv4 => "tcp-ipv4",
            Kind::VlanUdpIpv4 => "vlan-udp-ipv4",
            Kind::VlanTcpIpv4 => "vlan-tcp-ipv4",
            Kind::QinqUdpIpv4 => "qinq-udp-ipv4",
            Kind::UdpIpv6 => "udp-ipv6",
            Kind::TcpIpv6 => "tcp-ipv6",
            Kind::VlanUdpIpv6 => "vlan-udp-ipv6",
            Kind::VlanTcpIpv6 => "vlan-tcp-ipv6",
            Kind::TcpIpv6Extensions => "tcp-ipv6-4-extensions",
            Kind::MplsOne => "mpls-1-label",
            Kind::MplsThree => "mpls-3-labels",
            Kind::Arp => "arp",
            Kind::Solicitation => "nd-solicitation",
            Kind::Advertisement => "nd-advertisement",
            Kind::IcmpIpv4 => "icmp",
            Kind::Icmpv6 => "icmpv6",
            Kind::Igmp => "igmp",
            Kind::SctpIpv4 => "sctp-ipv4",
            Kind::SctpIpv6 => "sctp-ipv6",
            Kind::Ipv4Options => "ipv4-options",
            Kind::Ipv4FirstFragment => "ipv4-first-fragment",
            Kind::Ipv4LaterFragment => "ipv4-later-fragment",
            Kind::Ipv6FirstFragment => "ipv6-first-fragment",
            Kind::Ipv6LaterFragment => "ipv6-later-fragment",
            Kind::ServiceHeaderContext => "nsh-type-1",
            Kind::ServiceHeaderVariable => "nsh-type-2",
            Kind::Snap => "snap",
            Kind::LengthOnly => "length-only",
            Kind::UnknownType => "unknown-type",
            Kind::MplsDeep => "mpls-deep",
            Kind::VlanThree => "vlan-3-tags",
        }
    }

    /// The packet of this kind, 60 bytes long at least. `variant` changes addresses and ports.
    #[must_use]
    pub fn packet(self, variant: u32) -> Vec<u8> {
        let mut packet = Vec::with_capacity(256);
        let [.., a, b] = variant.to_be_bytes();
        packet.extend([0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, a, b]);
        let body = Body { a, b };
        match self {
            Kind::UdpIpv4 => body.ipv4(&mut packet, 17, 0, &[], &body.udp()),
            Kind::TcpIpv4 => body.ipv4(&mut packet, 6, 0, &[], &body.tcp()),
            Kind::VlanUdpIpv4 => {
                packet.extend([0x81, 0, 0x20, a]);
                body.ipv4(&mut packet, 17, 0, &[], &body.udp());
            }
            Kind::VlanTcpIpv4 => {
                packet.extend([0x81, 0, 0x20, a]);
                body.ipv4(&mut packet, 6, 0, &[], &body.tcp());
            }
            Kind::QinqUdpIpv4 => {
                packet.extend([0x88, 0xa8, 0, b, 0x81, 0, 0x60, a]);
                body.ipv4(&mut packet, 17, 0, &[], &body.udp());
            }
            Kind::VlanThree => {
                packet.extend([0x88, 0xa8, 0, b, 0x81, 0, 0x60, a, 0x81, 0, 0, 7]);
                body.ipv4(&mut packet, 17, 0, &[], &body.udp());
            }
            Kind::UdpIpv6 => body.ipv6(&mut packet, 17, &body.udp()),
            Kind::TcpIpv6 => body.ipv6(&mut packet, 6, &body.tcp()),
            Kind::VlanUdpIpv6 => {
                packet.extend([0x81, 0, 0x20, a]);
                body.ipv6(&mut packet, 17, &body.udp());
            }
            Kind::VlanTcpIpv6 => {
                packet.extend([0x81, 0, 0x20, a]);
                body.ipv6(&mut packet, 6, &body.tcp());
            }
            Kind::TcpIpv6Extensions => {
                // Hop-by-hop, routing, destination options, authentication.
                let mut chain: Vec<u8> = [43, 0, 1, 4, 0, 0, 0, 0].into();
                chain.extend([60, 0, 0, 0, 0, 0, 0, 0]);
                chain.extend([51, 0, 1, 4, 0, 0, 0, 0]);
                chain.extend([6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
                chain.extend(body.tcp());
                body.ipv6(&mut packet, 0, &chain);
            }
            Kind::MplsOne => body.mpls(&mut packet, 1),
            Kind::MplsThree => body.mpls(&mut packet, 3),
            Kind::MplsDeep => body.mpls(&mut packet, 24),
            Kind::Arp => {
                packet.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
                packet.extend([0x02, 0, 0, 0, a, b, 10, 0, 0, a, 0, 0, 0, 0, 0, 0, 10, 0, 0, b]);
            }
            Kind::Solicitation => body.discovery(&mut packet, 135, 1),
            Kind::Advertisement => body.discovery(&mut packet, 136, 2),
            Kind::IcmpIpv4 => body.ipv4(&mut packet, 1, 0, &[], &[8, 0, 0, 0, a, b, 0, 1]),
            Kind::Icmpv6 => body.ipv6(&mut packet, 58, &[128, 0, 0, 0, a, b, 0, 1]),
            Kind::Igmp => body.ipv4(&mut packet, 2, 0, &[], &[0x16, 0, 0, 0, 224, 0, a, b]),
            Kind::SctpIpv4 => body.ipv4(&mut packet, 132, 0, &[], &body.sctp()),
            Kind::SctpIpv6 => body.ipv6(&mut packet, 132, &body.sctp()),
            Kind::Ipv4Options => body.ipv4(&mut packet, 17, 0, &[1, 1, 1, 1, 1, 1, 1, 0], &body.udp()),
            Kind::Ipv4FirstFragment => body.ipv4(&mut packet, 17, 0x2000, &[], &body.udp()),
            Kind::Ipv4LaterFragment => body.ipv4(&mut packet, 17, 0x20b9, &[], &body.udp()),
            Kind::Ipv6FirstFragment => {
                let mut chain: Vec<u8> = [17, 0, 0, 1, 0, 0, a, b].into();
                chain.extend(body.udp());
                body.ipv6(&mut packet, 44, &chain);
            }
            Kind::Ipv6LaterFragment => {
                let mut chain: Vec<u8> = [17, 0, 5, 0xc8, 0, 0, a, b].into();
                chain.extend(body.udp());
                body.ipv6(&mut packet, 44, &chain);
            }
            Kind::ServiceHeaderContext => {
                packet.extend([0x89, 0x4f, 0x0f, 0xc6, 1, 3, 0, 0, a, 255]);
                packet.extend([0, 0, 0, a, 0, 0, 0, b, 0, 0, 0, 3, 0, 0, 0, 4]);
            }
            Kind::ServiceHeaderVariable => {
                packet.extend([0x89, 0x4f, 0x1f, 0xc4, 2, 3, 0, 0, a, 255, 0, 1, 2, 4, 0, 0, 0, b]);
            }
            Kind::Snap => {
                packet.extend([0, 46, 0xaa, 0xaa, 3, 0, 0, 0]);
                body.ipv4(&mut packet, 17, 0, &[], &body.udp());
            }
            Kind::LengthOnly => packet.extend([0, 46, 0x42, 0x42, 3, a, b]),
            Kind::UnknownType => packet.extend([0x88, 0xcc, 2, 7, 4, a, b]),
        }
        if packet.len() < 60 {
            packet.resize(60, 0);
        }
        packet
    }
}

struct Body {
    a: u8,
    b: u8,
}

impl Body {
    fn udp(&self) -> Vec<u8> {
        let mut udp: Vec<u8> = [0x30, self.a, 0x00, 0x35, 0, 18, 0, 0].into();
        udp.extend([self.b; 10]);
        udp
    }

    fn tcp(&self) -> Vec<u8> {
        let mut tcp: Vec<u8> =
            [0xc0, self.a, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff].into();
        tcp.extend([0, 0, 0, 0, self.b, self.b, 1, 2, 3, 4]);
        tcp
    }

    fn sctp(&self) -> Vec<u8> {
        let mut sctp: Vec<u8> = [0x0b, self.a, 0x0b, 0x5a, 0, 0, 0, 7, 1, 2, 3, 4].into();
        sctp.extend([0, 3, 0, 8, self.b, 0, 0, 0]);
        sctp
    }

    fn ipv4(&self, packet: &mut Vec<u8>, protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) {
        let words = 5 + options.len() / 4;
        let total = (words * 4 + payload.len()) as u16;
        packet.extend([0x08, 0x00, 0x40 | words as u8, 0x10]);
        packet.extend(total.to_be_bytes());
        packet.extend([self.a, self.b]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 10, 1, self.a, self.b, 10, 2, 0, self.b]);
        packet.extend_from_slice(options);
        packet.extend_from_slice(payload);
    }

    fn ipv6(&self, packet: &mut Vec<u8>, protocol: u8, payload: &[u8]) {
        packet.extend([0x86, 0xdd, 0x60, 0x20, self.a, self.b]);
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([protocol, 64]);
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.a, self.b]);
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.b]);
        packet.extend_from_slice(payload);
    }

    fn mpls(&self, packet: &mut Vec<u8>, labels: u8) {
        packet.extend([0x88, 0x47]);
        for label in 0..labels {
            packet.extend([0, label, 0x10 | u8::from(label + 1 == labels), 64]);
        }
        packet.extend([0x45, 0, 0, 40, self.a, self.b]);
    }

    fn discovery(&self, packet: &mut Vec<u8>, kind: u8, option: u8) {
        let mut message: Vec<u8> = [kind, 0, 0, 0, 0x60, 0, 0, 0].into();
        message.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.a, self.b]);
        message.extend([option, 1, 0x02, 0, 0, 0, self.a, self.b]);
        self.ipv6(packet, 58, &message);
    }
}
