//! Where a packet's network and transport headers are: enough of them to check what a device says, and to tell it.
//!
//! It is no flow parser: tags, IPv4 with options, IPv6 with the extension headers that stand before TCP and UDP, and
//! whether it is TCP or UDP. Everything else is `None`. Every place that it gives lies in the bytes that it was given.

use ringway_packet::Protocol;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Places of a packet's headers, from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layers {
    pub(super) network: usize,
    pub(super) transport: usize,
    /// Where the transport header ends.
    pub(super) payload: usize,
    pub(super) protocol: Protocol,
}

/// Where the checksum stands in a transport header. SCTP's is none that virtio knows.
pub(super) fn checksum_offset(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::TcpIpv4 | Protocol::TcpIpv6 => Some(16),
        Protocol::UdpIpv4 | Protocol::UdpIpv6 => Some(6),
        Protocol::SctpIpv4 | Protocol::SctpIpv6 => None,
    }
}

pub(super) fn is_ipv4(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TcpIpv4 | Protocol::UdpIpv4 | Protocol::SctpIpv4)
}

pub(super) fn is_tcp(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TcpIpv4 | Protocol::TcpIpv6)
}

/// Finds the headers in a packet's first bytes.
pub(super) fn find(frame: &[u8]) -> Option<Layers> {
    let mut network = 14usize;
    let mut kind = half(frame, 12)?;
    // At most two tags.
    for _ in 0..2 {
        if kind != 0x8100 && kind != 0x88a8 {
            break;
        }
        kind = half(frame, network.saturating_add(2))?;
        network = network.saturating_add(4);
    }
    let (transport, number) = match kind {
        0x0800 => ipv4(frame, network)?,
        0x86dd => ipv6(frame, network)?,
        _ => return None,
    };
    let protocol = match (kind, number) {
        (0x0800, TCP) => Protocol::TcpIpv4,
        (0x0800, UDP) => Protocol::UdpIpv4,
        (_, TCP) => Protocol::TcpIpv6,
        (_, UDP) => Protocol::UdpIpv6,
        _ => return None,
    };
    let payload = transport.saturating_add(header_length(frame, transport, protocol)?);
    (payload <= frame.len()).then_some(Layers { network, transport, payload, protocol })
}

/// Where the IP packet ends, as its header says.
pub(super) fn end(frame: &[u8], layers: &Layers) -> Option<usize> {
    let (at, more) = if is_ipv4(layers.protocol) { (2, 0) } else { (4, 40) };
    let length = usize::from(half(frame, layers.network.saturating_add(at))?);
    Some(layers.network.saturating_add(more).saturating_add(length))
}

/// How long the transport header at `transport` says it is.
pub(super) fn header_length(frame: &[u8], transport: usize, protocol: Protocol) -> Option<usize> {
    if !is_tcp(protocol) {
        return Some(8);
    }
    let length = usize::from(*frame.get(transport.saturating_add(12))? >> 4).saturating_mul(4);
    (length >= 20).then_some(length)
}

/// How long the IPv4 header at `network` is, if it is one.
pub(super) fn ipv4_length(frame: &[u8], network: usize) -> Option<usize> {
    let first = *frame.get(network)?;
    let length = usize::from(first & 0xf).saturating_mul(4);
    let fits = network.saturating_add(length) <= frame.len();
    (first >> 4 == 4 && length >= 20 && fits).then_some(length)
}

fn ipv4(frame: &[u8], network: usize) -> Option<(usize, u8)> {
    let length = ipv4_length(frame, network)?;
    let fragment = half(frame, network.saturating_add(6))? & 0x3fff != 0;
    let number = *frame.get(network.saturating_add(9))?;
    (!fragment).then_some((network.saturating_add(length), number))
}

fn ipv6(frame: &[u8], network: usize) -> Option<(usize, u8)> {
    if *frame.get(network)? >> 4 != 6 {
        return None;
    }
    let mut number = *frame.get(network.saturating_add(6))?;
    let mut place = network.saturating_add(40);
    // Hop-by-hop, routing and destination options; each is 8 bytes at least, so a frame's end comes soon.
    while matches!(number, 0 | 43 | 60) {
        let &[next, length] = frame.get(place..)?.first_chunk::<2>()?;
        number = next;
        place = place.saturating_add(usize::from(length).saturating_add(1).saturating_mul(8));
    }
    Some((place, number))
}

/// The sum of a pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1), folded and not inverted, for `length` bytes
/// from the transport header on.
pub(super) fn pseudo_header(frame: &[u8], network: usize, protocol: Protocol, length: usize) -> Option<u16> {
    let (from, bytes) = if is_ipv4(protocol) { (12, 8) } else { (8, 32) };
    let start = network.saturating_add(from);
    let addresses = frame.get(start..start.saturating_add(bytes))?;
    let number = if is_tcp(protocol) { TCP } else { UDP };
    let length = length as u32;
    let sum = Sum::default().add(addresses).add(&length.to_be_bytes()).add(&[0, number]);
    Some(sum.folded())
}

/// The ones' complement sum of RFC 1071, over pieces of any length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    total: u64,
    odd: bool,
}

impl Sum {
    #[must_use]
    pub(super) fn add(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            let value = if self.odd { u64::from(byte) } else { u64::from(byte) << 8 };
            self.total = self.total.wrapping_add(value);
            self.odd = !self.odd;
        }
        self
    }

    pub(super) fn folded(self) -> u16 {
        let mut total = self.total;
        while total > 0xffff {
            total = (total & 0xffff).wrapping_add(total >> 16);
        }
        total as u16
    }
}

/// Writes two bytes in network order, if they are there.
pub(super) fn put(frame: &mut [u8], at: usize, value: u16) -> Option<()> {
    *frame.get_mut(at..)?.first_chunk_mut::<2>()? = value.to_be_bytes();
    Some(())
}

fn half(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk::<2>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp6(extension: bool) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 5, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, if extension { 60 } else { 6 }, 64]);
        frame.extend([1; 32]);
        if extension {
            frame.extend([6, 0, 0, 0, 0, 0, 0, 0]);
        }
        frame.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 0x10, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
        frame
    }

    #[test]
    fn headers_are_found_behind_tags_and_extension_headers() {
        let found = find(&tcp6(true)).unwrap();
        assert_eq!((found.network, found.transport, found.payload), (18, 66, 90));
        assert_eq!(find(&tcp6(false)).unwrap().transport, 58);
    }

    #[test]
    fn no_cut_of_a_frame_leads_out_of_it() {
        let frame = tcp6(true);
        for length in 0..frame.len() {
            assert_eq!(find(&frame[..length]), None, "{length}");
        }
        for first in 0..=255 {
            let mut frame = frame.clone();
            frame[59] = first;
            assert!(find(&frame).is_none_or(|found| found.payload <= frame.len()));
        }
    }

    #[test]
    fn sums_go_on_over_odd_pieces() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        for cut in 0..bytes.len() {
            // RFC 1071, section 3.
            assert_eq!(Sum::default().add(&bytes[..cut]).add(&bytes[cut..]).folded(), 0xddf2);
        }
    }
}
