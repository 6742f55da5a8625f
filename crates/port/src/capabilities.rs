//! What a device can do, with its limits: known before anything is asked of it.

use crate::Offloads;

/// What an open port can do. A request for more is [`Error::Unsupported`](crate::Error::Unsupported), which names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The most receive queues.
    pub receive_queues: u16,
    /// The most transmit queues.
    pub transmit_queues: u16,
    /// What it can be asked to do to packets.
    pub offloads: Offloads,
    /// Receive side scaling; `None`: flows are not spread over queues by a hash that the program chooses.
    pub hash: Option<HashLimits>,
    /// Filters that the program can place.
    pub filters: FilterLimits,
    /// Further station addresses that it filters exactly, besides its own.
    pub addresses: u16,
    /// The longest frame that it can be opened for, without FCS, in bytes.
    pub longest_frame: u32,
    /// Whether a program can wait for packets instead of polling.
    pub interrupts: bool,
    /// Whether interrupts can be held back for a time.
    pub moderation: bool,
    /// Whether pause frames can be switched on and off.
    pub pause: bool,
    /// Whether it has a clock that can be read and set.
    pub clock: bool,
    /// Whether one queue can be reset while the others work.
    pub queue_reset: bool,
}

/// What a device's receive side scaling has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    /// Bytes of its key.
    pub key: u16,
    /// Entries of its table.
    pub table: u16,
    /// Queues that its table's entries can name.
    pub queues: u16,
    /// Which packets it can hash over what.
    pub types: HashTypes,
}

/// How many filters of each kind a device has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterLimits {
    /// By EtherType.
    pub ether_type: u32,
    /// By protocol, addresses and ports, each given or left open.
    pub five_tuple: u32,
    /// By exact fields under one common mask (82599: flow director's perfect match).
    pub exact: u32,
}

/// What a hash is taken over, by kind of packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashTypes {
    /// IPv4 addresses.
    pub ipv4: bool,
    /// IPv4 addresses and TCP ports.
    pub tcp_ipv4: bool,
    /// IPv4 addresses and UDP ports.
    pub udp_ipv4: bool,
    /// IPv6 addresses.
    pub ipv6: bool,
    /// IPv6 addresses and TCP ports.
    pub tcp_ipv6: bool,
    /// IPv6 addresses and UDP ports.
    pub udp_ipv6: bool,
}

impl HashTypes {
    /// All of them.
    pub const ALL: Self =
        Self { ipv4: true, tcp_ipv4: true, udp_ipv4: true, ipv6: true, tcp_ipv6: true, udp_ipv6: true };

    /// Whether nothing is in it that isn't in `other`.
    pub fn are_within(self, other: Self) -> bool {
        (!self.ipv4 || other.ipv4)
            && (!self.tcp_ipv4 || other.tcp_ipv4)
            && (!self.udp_ipv4 || other.udp_ipv4)
            && (!self.ipv6 || other.ipv6)
            && (!self.tcp_ipv6 || other.tcp_ipv6)
            && (!self.udp_ipv6 || other.udp_ipv6)
    }
}
