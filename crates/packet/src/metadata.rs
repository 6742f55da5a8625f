//! What is known of a packet beyond its bytes.
//!
//! An array beside the buffers, indexed by the buffer's number, in memory that no device reaches. It is touched
//! only when a flag in the packet's word says so, and costs nothing otherwise.

use crate::word::Word;

/// What a device found out about a received packet's checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing was checked.
    #[default]
    Unknown,
    /// The IPv4 header's checksum is right; nothing was said of the payload's.
    NetworkGood,
    /// The TCP, UDP or SCTP checksum, and that of an IPv4 header, are right.
    Good,
    /// A checksum is wrong.
    Bad,
    /// The packet never left the host: its transport checksum is still to be filled in, and needs no check.
    Partial,
}

/// What a device is asked to do to a packet as it sends it. Offsets count from the packet's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Where the network header starts.
    pub network: u16,
    /// Where the transport header starts.
    pub transport: u16,
    /// Where the payload starts.
    pub payload: u16,
    /// The payload of each segment in bytes, for segmentation; 0 for none.
    pub segment: u16,
    /// Which protocols the headers are of.
    pub protocol: Protocol,
    /// Fill in the IPv4 header's checksum.
    pub network_checksum: bool,
    /// Fill in the transport checksum; the field holds that of the pseudo-header.
    pub transport_checksum: bool,
}

/// The protocols that a device must know to compute checksums or to segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TCP in IPv4.
    #[default]
    TcpIpv4,
    /// TCP in IPv6.
    TcpIpv6,
    /// UDP in IPv4.
    UdpIpv4,
    /// UDP in IPv6.
    UdpIpv6,
    /// SCTP in IPv4.
    SctpIpv4,
    /// SCTP in IPv6.
    SctpIpv6,
}

/// One buffer's metadata: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Metadata {
    /// The next segment's word.
    pub(crate) next: Word,
    /// Nanoseconds of the device's clock.
    pub(crate) timestamp: u64,
    /// The device's hash.
    pub(crate) hash: u32,
    /// The tag control information: priority, DEI and VLAN id.
    pub(crate) vlan: u16,
    /// The result of receive checksumming.
    pub(crate) checksum: Checksum,
    /// What the sending device shall do.
    pub(crate) offload: Offload,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            next: Word(0),
            timestamp: 0,
            hash: 0,
            vlan: 0,
            checksum: Checksum::Unknown,
            offload: Offload::default(),
        }
    }
}
