//! Who answers: one Ethernet address and the Internet addresses on it.

use ringway_port::MacAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All nodes on the link (RFC 4291, section 2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The addresses of a port.
#[derive(Clone, Debug)]
pub struct Station {
    pub(super) mac: [u8; 6],
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

impl Station {
    /// A station with these addresses.
    pub fn new(mac: MacAddress, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let MacAddress(mac) = mac;
        let mut station = Self { mac, v4: Vec::new(), v6: Vec::new() };
        for address in addresses {
            match address {
                IpAddr::V4(address) => station.v4.push(address),
                IpAddr::V6(address) => station.v6.push(address),
            }
        }
        station
    }

    /// Whether it has the address.
    pub(super) fn has_v4(&self, address: Ipv4Addr) -> bool {
        self.v4.contains(&address)
    }

    /// Whether it has the address.
    pub(super) fn has_v6(&self, address: Ipv6Addr) -> bool {
        self.v6.contains(&address)
    }

    /// The address to answer from when the question went to a group.
    pub(super) fn first_v6(&self) -> Option<Ipv6Addr> {
        self.v6.first().copied()
    }

    /// Whether it is in the group: all nodes, and the solicited-node groups of its addresses.
    pub(super) fn is_in_group(&self, group: Ipv6Addr) -> bool {
        !self.v6.is_empty() && group == ALL_NODES || self.v6.iter().any(|&own| solicited_node(own) == group)
    }
}

/// The group that the owner of an address is asked through (RFC 4291, section 2.7.1).
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of a group (RFC 2464, section 7).
pub(super) fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}
