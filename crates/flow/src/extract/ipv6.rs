//! IPv6 and its extension headers.

use super::general::{Rest, Tracked};
use super::network::{FRAGMENT_ANY, FRAGMENT_LATER, Network};
use super::store::Store;
use super::transport;
use crate::bytes::{half, number, word};
use crate::layout::{At, Layout};
use crate::outcome::{Found, Protocols, Reason};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

#[inline(always)]
pub(super) fn push<L: Layout>(
    store: &mut Store<'_>,
    mut rest: Rest<'_>,
    mut found: Found,
    mut tracked: Option<Tracked<'_>>,
) -> Found {
    let start = rest.offset;
    let Some(header) = rest.take::<40>() else { return found.stop(Reason::Ipv6Truncated, start) };
    let payload = number(header, 4);
    let padding = rest.bytes.len().wrapping_sub(payload);
    if payload > rest.bytes.len() {
        return found.stop(Reason::Ipv6PayloadLength, start);
    }
    if padding > 0xffff {
        return found.stop(Reason::PaddingTooLong, start);
    }
    found.layers.padding = padding as u16;
    rest.limit(payload);

    store.push(At::<L>::IPV6, [word(header, 8), word(header, 16), word(header, 24), word(header, 32)]);
    if let Some(tracked) = tracked.as_mut().filter(|tracked| tracked.is_ipv6) {
        let (tuple, protocol) = (tracked.tuple, tracked.tuple[36]);
        tracked.set_protocol(protocol);
        if protocol != 0 {
            store.push(At::<L>::CT_IPV6, [word(tuple, 0), word(tuple, 8), word(tuple, 16), word(tuple, 24)]);
            tracked.ports = half(tuple, 32);
        }
    }
    found.protocols = Protocols::IPV6;

    let label = half(header, 0);
    let mut network = Network {
        label: label & u32::from_ne_bytes([0, 0x0f, 0xff, 0xff]),
        fragment: 0,
        service: (u32::from_be(label) >> 20) as u8,
        time_to_live: header[7],
        protocol: header[6],
    };
    if skip_extensions(&mut rest, &mut network).is_none() {
        return found.stop(Reason::Ipv6ExtensionTruncated, rest.offset);
    }
    transport::push::<L>(store, rest, network, found, tracked)
}

/// Takes extension headers off until something else comes, in any order and number.
///
/// Each is at least eight bytes long, and what is looked at lies within those; so the loop ends after as many
/// steps as there are eighths of the packet. A later fragment ends it: what follows isn't a header.
#[inline(always)]
fn skip_extensions(rest: &mut Rest<'_>, network: &mut Network) -> Option<()> {
    loop {
        let protocol = network.protocol;
        if !matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return Some(());
        }
        let header = rest.peek::<8>()?;
        network.protocol = header[0];
        let length = usize::from(header[1]);
        match protocol {
            FRAGMENT => {
                rest.skip(8)?;
                if header[2..4] != [0, 0] {
                    network.fragment = FRAGMENT_ANY;
                    if u16::from_be_bytes([header[2], header[3]]) & 0xfff8 != 0 {
                        network.fragment |= FRAGMENT_LATER;
                        network.protocol = FRAGMENT;
                        return Some(());
                    }
                }
            }
            AUTHENTICATION => rest.skip(length.wrapping_add(2).wrapping_mul(4))?,
            _ => rest.skip(length.wrapping_add(1).wrapping_mul(8))?,
        }
    }
}
