//! IPv4, IPv6, ARP and the network service header.

use super::general::{Rest, TYPE_ARP, TYPE_IPV4, TYPE_IPV6, TYPE_NSH, TYPE_RARP, Tracked};
use super::store::Store;
use super::{ipv6, transport};
use crate::bytes::{half, number, pair, quarters, word};
use crate::layout::{At, Layout};
use crate::outcome::{Found, Protocols, Reason};

/// The packet is a fragment.
pub(super) const FRAGMENT_ANY: u8 = 1;
/// The packet is a fragment other than the first.
pub(super) const FRAGMENT_LATER: u8 = 2;

/// What the network layer tells the transport layer.
#[derive(Clone, Copy)]
pub(super) struct Network {
    pub(super) label: u32,
    pub(super) fragment: u8,
    pub(super) service: u8,
    pub(super) time_to_live: u8,
    pub(super) protocol: u8,
}

/// Pushes what follows the link layer, whatever it is.
#[inline(always)]
pub(super) fn push<L: Layout>(
    store: &mut Store<'_>,
    ethernet_type: u16,
    rest: Rest<'_>,
    found: Found,
    tracked: Option<Tracked<'_>>,
) -> Found {
    match ethernet_type {
        TYPE_IPV4 => push_ipv4::<L>(store, rest, found, tracked),
        TYPE_IPV6 => ipv6::push::<L>(store, rest, found, tracked),
        TYPE_ARP | TYPE_RARP => push_arp::<L>(store, rest, found),
        TYPE_NSH => push_nsh::<L>(store, rest, found),
        _ => found,
    }
}

#[inline(always)]
fn push_ipv4<L: Layout>(
    store: &mut Store<'_>,
    mut rest: Rest<'_>,
    mut found: Found,
    mut tracked: Option<Tracked<'_>>,
) -> Found {
    let start = rest.offset;
    let Some(header) = rest.peek::<20>() else { return found.stop(Reason::Ipv4Truncated, start) };
    let header_length = usize::from(header[0] & 0x0f).wrapping_mul(4);
    if header_length < 20 || header_length > rest.bytes.len() {
        return found.stop(Reason::Ipv4HeaderLength, start);
    }
    let total = number(header, 2);
    let padding = rest.bytes.len().wrapping_sub(total);
    if total > rest.bytes.len() || header_length > total {
        return found.stop(Reason::Ipv4TotalLength, start);
    }
    if padding > 0xffff {
        return found.stop(Reason::PaddingTooLong, start);
    }
    found.layers.padding = padding as u16;
    rest.limit(total);

    store.push(At::<L>::IPV4, [word(header, 12)]);
    if let Some(tracked) = tracked.as_mut().filter(|tracked| !tracked.is_ipv6) {
        let protocol = tracked.tuple[12];
        tracked.set_protocol(protocol);
        if protocol != 0 {
            store.push(At::<L>::CT_IPV4, [word(tracked.tuple, 0)]);
            tracked.ports = half(tracked.tuple, 8);
        }
    }
    found.protocols = Protocols::IPV4;

    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let fragment = match fragment & 0x3fff {
        0 => 0,
        _ if fragment & 0x1fff == 0 => FRAGMENT_ANY,
        _ => FRAGMENT_ANY | FRAGMENT_LATER,
    };
    let network =
        Network { label: 0, fragment, service: header[1], time_to_live: header[8], protocol: header[9] };
    if rest.skip(header_length).is_none() {
        return found.stop(Reason::Ipv4HeaderLength, start);
    }
    transport::push::<L>(store, rest, network, found, tracked)
}

#[inline(always)]
fn push_arp<L: Layout>(store: &mut Store<'_>, rest: Rest<'_>, found: Found) -> Found {
    let Some(arp) = rest.peek::<28>() else { return found.stop(Reason::ArpTruncated, rest.offset) };
    // Hardware Ethernet, protocol IPv4, lengths 6 and 4.
    const ETHERNET_IPV4: u64 = u64::from_ne_bytes([0, 1, 8, 0, 6, 4, 0, 0]);
    const WITHOUT_OPERATION: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    if word(arp, 0) & WITHOUT_OPERATION != ETHERNET_IPV4 {
        return found.stop(Reason::ArpNotEthernetIpv4, rest.offset);
    }
    store.push(At::<L>::IPV4, [pair(half(arp, 14), half(arp, 24))]);
    let known = arp[6] == 0;
    if known {
        store.push(At::<L>::NETWORK, [u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, arp[7]])]);
    }
    // The sender's and the target's hardware address lie apart here and side by side in the flow.
    let mut addresses = [0u8; 16];
    let (sender, target) = addresses.split_at_mut(6);
    sender.copy_from_slice(&arp[8..14]);
    target[..6].copy_from_slice(&arp[18..24]);
    store.push(At::<L>::ARP, [word(&addresses, 0), word(&addresses, 8)]);
    if known { found } else { found.stop(Reason::ArpOperation, rest.offset) }
}

#[inline(always)]
fn push_nsh<L: Layout>(store: &mut Store<'_>, rest: Rest<'_>, found: Found) -> Found {
    let Some(header) = rest.peek::<8>() else { return found.stop(Reason::NshTruncated, rest.offset) };
    let bits = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(bits & 0x3f).wrapping_mul(4);
    if length > rest.bytes.len() {
        return found.stop(Reason::NshTruncated, rest.offset);
    }
    if bits >> 14 != 0 {
        return found.stop(Reason::NshVersion, rest.offset);
    }
    let (flags, time_to_live) = ((bits >> 12 & 3) as u8, (bits >> 6 & 0x3f) as u8);
    let kind = header[2];
    let mut context = [0u64; 2];
    match kind {
        1 => match rest.peek::<24>() {
            Some(whole) if length == 24 => context = [word(whole, 8), word(whole, 16)],
            _ => return found.stop(Reason::NshLength, rest.offset),
        },
        2 if length < 8 => return found.stop(Reason::NshLength, rest.offset),
        _ => {}
    }
    let first = pair(
        quarters(u16::from_ne_bytes([flags, time_to_live]), u16::from_ne_bytes([kind, header[3]])),
        half(header, 4),
    );
    store.push(At::<L>::NSH, [first, context[0], context[1]]);
    found
}
