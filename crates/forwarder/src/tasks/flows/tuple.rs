//! The key of the table: a packet's 5-tuple, its other direction, and a hash of it.

use ringway_flow::{At, FiveTuple, HashKind, Layout, Miniflow, Murmur, Protocols};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
/// The bit of fragments that are not the first.
const LATER_FRAGMENT: u8 = 2;

/// The IP protocol of a miniflow.
#[inline]
pub(super) fn protocol_of<L: Layout>(flow: &Miniflow<L>) -> u8 {
    let [.., protocol] = flow.word(At::<L>::NETWORK).to_ne_bytes();
    protocol
}

/// The 5-tuple of a miniflow whose IP header was recognised: the same as that of the whole key, without making one.
#[inline]
pub(super) fn five_tuple<L: Layout>(flow: &Miniflow<L>, recognised: Protocols) -> Option<FiveTuple> {
    let (source, destination) = if recognised.contains(Protocols::IPV4) {
        let [a, b, c, d, e, f, g, h] = flow.word(At::<L>::IPV4).to_ne_bytes();
        (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), IpAddr::V4(Ipv4Addr::new(e, f, g, h)))
    } else if recognised.contains(Protocols::IPV6) {
        let address = |index| IpAddr::V6(wide_address([flow.word(index), flow.word(index + 1)]));
        (address(At::<L>::IPV6), address(At::<L>::IPV6 + 2))
    } else {
        return None;
    };
    let [_, _, _, _, fragment, _, _, protocol] = flow.word(At::<L>::NETWORK).to_ne_bytes();
    let [low, high] = flow.map();
    let present = (u128::from(low) | u128::from(high) << 64) >> At::<L>::TRANSPORT & 1 != 0;
    let has_ports = present && matches!(protocol, TCP | UDP | SCTP) && fragment & LATER_FRAGMENT == 0;
    let ports = has_ports.then(|| {
        let [a, b, c, d, ..] = flow.word(At::<L>::TRANSPORT).to_ne_bytes();
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    });
    Some(FiveTuple { source, destination, protocol, ports })
}

fn wide_address(words: [u64; 2]) -> Ipv6Addr {
    let [first, second] = words.map(u64::to_ne_bytes);
    let mut octets = [0; 16];
    for (place, byte) in octets.iter_mut().zip(first.into_iter().chain(second)) {
        *place = byte;
    }
    Ipv6Addr::from(octets)
}

/// The same conversation, the other way.
pub(super) fn reversed(tuple: FiveTuple) -> FiveTuple {
    FiveTuple {
        source: tuple.destination,
        destination: tuple.source,
        protocol: tuple.protocol,
        ports: tuple.ports.map(|(source, destination)| (destination, source)),
    }
}

/// The direction that stands for both: the one whose source is the smaller.
pub(super) fn normalised(tuple: FiveTuple) -> FiveTuple {
    let (source, destination) = (tuple.source, tuple.destination);
    let (from, to) = tuple.ports.unwrap_or_default();
    if (source, from) <= (destination, to) { tuple } else { reversed(tuple) }
}

/// The parser's own hash of a 5-tuple, but for ICMP, whose type and code are not part of a tuple here.
#[inline]
pub(super) fn hash(tuple: &FiveTuple, basis: u32) -> u32 {
    /// Ends a hash of this kind (`flow_hash_5tuple()`).
    const END: u32 = 42;
    let address = |hash, address: IpAddr| match address {
        IpAddr::V4(address) => Murmur::add(hash, u32::from_ne_bytes(address.octets())),
        IpAddr::V6(address) => {
            let bytes = address.octets();
            bytes.chunks_exact(4).fold(hash, |hash, word| {
                let word = word.first_chunk().copied().unwrap_or_default();
                Murmur::add(hash, u32::from_ne_bytes(word))
            })
        }
    };
    let hash = address(address(basis, tuple.source), tuple.destination);
    let hash = Murmur::add(hash, u32::from(tuple.protocol));
    let hash = match (tuple.protocol, tuple.ports) {
        (TCP | UDP | SCTP, ports) => {
            let (source, destination) = ports.unwrap_or_default();
            let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
            Murmur::add(hash, u32::from_ne_bytes([a, b, c, d]))
        }
        _ => hash,
    };
    Murmur::finish(hash, END)
}
