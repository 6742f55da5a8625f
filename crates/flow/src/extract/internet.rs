//! Two more usual shapes over IPv6, behind `TAGS` VLAN tags: neighbour discovery with one address, and TCP or UDP behind
//! extension headers.
//!
//! In the manner of `shapes`: what doesn't fit goes to the general path, which starts over.

use super::fast::Place;
use super::general;
use super::shapes::{
    TCP_FLAGS, TYPE_IPV6, addresses_ipv6, common, done, ends_in_ports, ends_in_tcp, last, network_ipv6,
    padding, shape, start,
};
use crate::bytes::{half, number, pair, quarter, quarters, word};
use crate::layout::{At, Layout, bits, union};
use crate::metadata::{Metadata, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::{Extraction, Protocols};

const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION: u8 = 60;

/// Bytes of a solicitation or advertisement with one option of eight bytes.
const MESSAGE: usize = 32;

shape! {
    /// Neighbour solicitation or advertisement with one hardware address.
    discovery, whole_discovery
}
shape! {
    /// TCP or UDP behind extension headers, not a fragment. `SIZE` is that of the headers without those, and with UDP.
    extended, whole_extended
}

#[inline(always)]
fn whole_discovery<L: Layout, const TAGS: usize, const SIZE: usize>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
) -> Option<Extraction> {
    let bytes = packet.first_chunk::<SIZE>()?;
    let ip = 14 + 4 * TAGS;
    let message = ip + 40;
    let padding = padding(packet, ip + 40, MESSAGE, MESSAGE)?;
    let (&[kind, code], &[option, length, a, b, c, d, e, f]) =
        (bytes.get(message..)?.first_chunk::<2>()?, bytes.get(message + 24..)?.first_chunk::<8>()?);
    if quarter(bytes, ip - 2) != TYPE_IPV6
        || bytes.get(ip + 6) != Some(&ICMPV6)
        || number(bytes, ip + 4) != MESSAGE
        // Solicitation 135, advertisement 136.
        || kind.wrapping_sub(135) > 1
        || code != 0
        // The source's address 1, the target's 2.
        || option.wrapping_sub(1) > 1
        || length != 1
    {
        return None;
    }
    start::<L, TAGS, SIZE>(bytes, TYPE_IPV6, metadata, flow);
    let [s, t, u, v, network, target_first, target_last, first, second, transport, reserved] =
        last::<L, TAGS, 11>(flow)?;
    [*s, *t, *u, *v] = addresses_ipv6(bytes, ip);
    *network = network_ipv6(bytes, ip);
    (*target_first, *target_last) = (word(bytes, message + 8), word(bytes, message + 16));
    // The two addresses stand side by side in the flow: six bytes of the source's, six of the target's.
    let kind_of_first = u16::from(option).to_be();
    (*first, *second) = if option == 1 {
        (u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]), pair(0, quarters(kind_of_first, 0)))
    } else {
        (
            u64::from_ne_bytes([0, 0, 0, 0, 0, 0, a, b]),
            pair(u32::from_ne_bytes([c, d, e, f]), quarters(kind_of_first, 0)),
        )
    };
    *transport = pair(u32::from_ne_bytes([0, kind, 0, 0]), 0);
    *reserved = pair(half(bytes, message + 4), 0);
    let discovery = union(bits(At::<L>::ND_TARGET, 2), bits(At::<L>::ARP, 2));
    let network = union(bits(At::<L>::IPV6, 4), union(ends_in_ports::<L>(), bits(At::<L>::IGMP, 1)));
    flow.map = union(common::<L, TAGS>(), union(discovery, network));
    Some(done(padding, ip, message, Protocols::IPV6))
}

#[inline(always)]
fn whole_extended<L: Layout, const TAGS: usize, const SIZE: usize>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
) -> Option<Extraction> {
    let bytes = packet.first_chunk::<SIZE>()?;
    let ip = 14 + 4 * TAGS;
    if quarter(bytes, ip - 2) != TYPE_IPV6 {
        return None;
    }
    let payload = number(bytes, ip + 4);
    let padding = padding(packet, ip + 40, payload, 0)?;
    let payload = packet.get(ip + 40..)?.get(..payload)?;
    let (protocol, rest) = skip_extensions(*bytes.get(ip + 6)?, payload)?;
    let transport = packet.len().wrapping_sub(padding).wrapping_sub(rest.len());
    let ports = rest.first_chunk::<8>()?;
    let network = network_ipv6(bytes, ip) & !LAST_BYTE | u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, protocol]);
    let addresses = addresses_ipv6(bytes, ip);
    let map = union(common::<L, TAGS>(), bits(At::<L>::IPV6, 4));
    if protocol == UDP {
        start::<L, TAGS, SIZE>(bytes, TYPE_IPV6, metadata, flow);
        let [a, b, c, d, e, f] = last::<L, TAGS, 6>(flow)?;
        [*a, *b, *c, *d] = addresses;
        (*e, *f) = (network, pair(half(ports, 0), 0));
        flow.map = union(map, ends_in_ports::<L>());
        return Some(done(padding, ip, transport, Protocols::IPV6.with(Protocols::UDP)));
    }
    let tcp = rest.first_chunk::<20>()?;
    let header = usize::from(tcp[12] >> 4).wrapping_mul(4);
    if protocol != TCP || header < 20 || header > rest.len() {
        return None;
    }
    start::<L, TAGS, SIZE>(bytes, TYPE_IPV6, metadata, flow);
    let [a, b, c, d, e, f, g] = last::<L, TAGS, 7>(flow)?;
    [*a, *b, *c, *d] = addresses;
    (*e, *f) = (network, pair(0, quarters(quarter(tcp, 12) & TCP_FLAGS, 0)));
    *g = pair(half(ports, 0), 0);
    flow.map = union(map, ends_in_tcp::<L>());
    Some(done(padding, ip, transport, Protocols::IPV6.with(Protocols::TCP)))
}

/// The protocol's place in the network layer's word.
const LAST_BYTE: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 0xff]);

/// Takes extension headers off; gives what comes then, and the rest from there. `None` for what doesn't fit.
///
/// Each is at least eight bytes long, so that it ends.
#[inline(always)]
fn skip_extensions(mut protocol: u8, mut rest: &[u8]) -> Option<(u8, &[u8])> {
    while matches!(protocol, HOP_BY_HOP | ROUTING | AUTHENTICATION | DESTINATION) {
        let &[next, units, ..] = rest.first_chunk::<8>()?;
        let eighths = usize::from(units).wrapping_add(1).wrapping_mul(8);
        let quarters = usize::from(units).wrapping_add(2).wrapping_mul(4);
        rest = rest.get(if protocol == AUTHENTICATION { quarters } else { eighths }..)?;
        protocol = next;
    }
    Some((protocol, rest))
}
