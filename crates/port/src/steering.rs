//! Which packet goes to which queue: by a hash over a table, or by filters.

use crate::HashTypes;
use std::net::IpAddr;

/// The key that Microsoft's specification of receive side scaling verifies implementations with. Not secret: a sender that
/// knows it can aim flows at one queue.
pub const VERIFICATION_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Receive side scaling: a Toeplitz hash over addresses and ports; its lowest bits choose the table's entry, which names
/// the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// The hash's key, as long as the device wants it ([`HashLimits::key`](crate::HashLimits::key)).
    pub key: Vec<u8>,
    /// A queue for each value of the hash's lowest bits, as many as the device has
    /// ([`HashLimits::table`](crate::HashLimits::table)).
    pub table: Vec<u16>,
    /// What is hashed. What isn't goes to queue 0.
    pub types: HashTypes,
}

impl Scaling {
    /// A table of `entries` that names `queues` queues in turn.
    pub fn even_table(entries: u16, queues: u16) -> Vec<u16> {
        (0..entries).map(|entry| entry % queues.max(1)).collect()
    }
}

/// Where a filter sends what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this receive queue.
    Queue(u16),
    /// Nowhere: the device drops it, and counts it where it can.
    Drop,
}

/// Packets that a filter matches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matching {
    /// Frames of this EtherType.
    EtherType(u16),
    /// By protocol, addresses and ports; what is `None` is not looked at.
    FiveTuple(FiveTuple),
    /// All fields exactly, by flow director's perfect match: the program's mask is common to all such filters.
    Exact(FiveTuple),
}

/// Protocol, addresses and ports of a packet; what is `None` is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FiveTuple {
    /// The IP protocol's number: 6 for TCP, 17 for UDP, 132 for SCTP.
    pub protocol: Option<u8>,
    /// The sender.
    pub source: Option<IpAddr>,
    /// The receiver.
    pub destination: Option<IpAddr>,
    /// The sender's port.
    pub source_port: Option<u16>,
    /// The receiver's port.
    pub destination_port: Option<u16>,
}

/// A filter: what it matches and where that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What it matches.
    pub matching: Matching,
    /// Where that goes.
    pub target: Target,
}

/// A placed filter's number, by which it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId(pub u32);
