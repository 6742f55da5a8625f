//! Hashes that are the same for both directions of a conversation, and OpenFlow's other hashes of fields.

use super::{HashKind, jenkins};
use crate::key::FlowKey;
use crate::layout::Layout;
use crate::metadata::PacketType;

const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

impl<L: Layout> FlowKey<L> {
    /// `flow_hash_symmetric_l4()`: link to transport layer, without UDP's ports.
    #[must_use]
    pub fn hash_symmetric_l4(&self, basis: u32) -> u32 {
        let mut fields = [0u8; 32];
        let (address, rest) = fields.split_at_mut(16);
        rest[0..2].copy_from_slice(&self.ethernet_type().to_be_bytes());
        rest[2..4].copy_from_slice(&self.folded_vlan());
        rest[6..12].copy_from_slice(&self.folded_mac());
        let ip = match self.ethernet_type() {
            TYPE_IPV4 => {
                address[..4].copy_from_slice(&self.folded_ipv4());
                true
            }
            TYPE_IPV6 => {
                address.copy_from_slice(&self.folded_ipv6());
                true
            }
            _ => false,
        };
        if ip {
            rest[12] = self.ip_protocol();
            if matches!(self.ip_protocol(), TCP | SCTP) {
                rest[4..6].copy_from_slice(&self.folded_ports());
            }
        }
        jenkins::hash(&fields, basis)
    }

    /// `flow_hash_symmetric_l3()`: addresses of the network layer only.
    #[must_use]
    pub fn hash_symmetric_l3(&self, basis: u32) -> u32 {
        let mut fields = [0u8; 20];
        let (address, rest) = fields.split_at_mut(16);
        rest[0..2].copy_from_slice(&self.ethernet_type().to_be_bytes());
        match self.ethernet_type() {
            TYPE_IPV4 => address[..4].copy_from_slice(&self.folded_ipv4()),
            TYPE_IPV6 => address.copy_from_slice(&self.folded_ipv6()),
            _ => {}
        }
        jenkins::hash(&fields, basis)
    }

    /// `flow_hash_symmetric_l2()`: link layer only; 0 for what isn't Ethernet.
    #[must_use]
    pub fn hash_symmetric_l2<H: HashKind>(&self, basis: u32) -> u32 {
        if self.packet_type() != PacketType::ETHERNET {
            return 0;
        }
        let [a, b] = self.ethernet_type().to_be_bytes();
        let [c, d] = self.folded_vlan();
        let [e, f, g, h, i, j] = self.folded_mac();
        let mut hash = H::add(basis, u32::from_ne_bytes([a, b, c, d]));
        hash = H::add(hash, u32::from_ne_bytes([e, f, g, h]));
        hash = H::add(hash, u32::from_ne_bytes([i, j, 0, 0]));
        H::finish(hash, basis)
    }

    /// `flow_hash_symmetric_l3l4()`: network and transport layer, with UDP's ports if wanted; the link layer
    /// for what isn't IP.
    #[must_use]
    pub fn hash_symmetric_l3l4<H: HashKind>(&self, basis: u32, udp_ports: bool) -> u32 {
        let mut hash = match self.ethernet_type() {
            TYPE_IPV4 => H::add(basis, u32::from_ne_bytes(self.folded_ipv4())),
            TYPE_IPV6 => {
                let folded = self.folded_ipv6();
                let (words, _) = folded.as_chunks::<8>();
                words.iter().fold(basis, |hash, &word| H::add_wide(hash, u64::from_ne_bytes(word)))
            }
            _ => return self.hash_symmetric_l2::<H>(basis),
        };
        hash = H::add(hash, u32::from(self.ip_protocol()));
        let ports = match self.ip_protocol() {
            TCP | SCTP => true,
            UDP => udp_ports,
            _ => false,
        };
        if ports && self.fragment_bits() == 0 {
            hash = H::add(hash, u32::from(u16::from_ne_bytes(self.folded_ports())));
        }
        H::finish(hash, basis)
    }

    /// The hash of the Ethernet source (`NX_HASH_FIELDS_ETH_SRC`).
    #[must_use]
    pub fn hash_ethernet_source(&self, basis: u32) -> u32 {
        jenkins::hash(&self.ethernet_source().octets(), basis)
    }

    /// The hash of the network source (`NX_HASH_FIELDS_NW_SRC`); `basis` for what isn't IP.
    #[must_use]
    pub fn hash_network_source(&self, basis: u32) -> u32 {
        match self.ethernet_type() {
            TYPE_IPV4 => jenkins::hash(&self.ipv4_source().octets(), basis),
            TYPE_IPV6 => jenkins::hash(&self.ipv6_source().octets(), basis),
            _ => basis,
        }
    }

    /// The hash of the network destination (`NX_HASH_FIELDS_NW_DST`); `basis` for what isn't IP.
    #[must_use]
    pub fn hash_network_destination(&self, basis: u32) -> u32 {
        match self.ethernet_type() {
            TYPE_IPV4 => jenkins::hash(&self.ipv4_destination().octets(), basis),
            TYPE_IPV6 => jenkins::hash(&self.ipv6_destination().octets(), basis),
            _ => basis,
        }
    }

    fn folded_mac(&self) -> [u8; 6] {
        fold(self.ethernet_source().octets(), self.ethernet_destination().octets())
    }

    fn folded_ipv4(&self) -> [u8; 4] {
        fold(self.ipv4_source().octets(), self.ipv4_destination().octets())
    }

    fn folded_ipv6(&self) -> [u8; 16] {
        fold(self.ipv6_source().octets(), self.ipv6_destination().octets())
    }

    fn folded_ports(&self) -> [u8; 2] {
        fold(self.source_port().to_be_bytes(), self.destination_port().to_be_bytes())
    }

    fn folded_vlan(&self) -> [u8; 2] {
        let [outer, inner] = self.vlan_fields().map(|(_, control)| control & 0x0fff);
        (outer ^ inner).to_be_bytes()
    }
}

/// Both addresses over one another.
fn fold<const N: usize>(mut a: [u8; N], b: [u8; N]) -> [u8; N] {
    for (byte, other) in a.iter_mut().zip(b) {
        *byte ^= other;
    }
    a
}
