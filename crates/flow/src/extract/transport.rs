//! TCP, UDP, SCTP, ICMP, IGMP; ICMPv6 goes on in its own module.

use super::general::{Rest, Tracked};
use super::icmpv6;
use super::network::{FRAGMENT_LATER, Network};
use super::store::Store;
use crate::bytes::{half, pair, quarter, quarters};
use crate::layout::{At, Layout};
use crate::outcome::{Found, Protocols, Reason};

pub(super) const ICMP: u8 = 1;
const IGMP: u8 = 2;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;

/// Pushes the network layer's last word and then the transport layer.
#[inline(always)]
pub(super) fn push<L: Layout>(
    store: &mut Store<'_>,
    rest: Rest<'_>,
    network: Network,
    mut found: Found,
    tracked: Option<Tracked<'_>>,
) -> Found {
    found.layers.transport = rest.offset as u16;
    let Network { label, fragment, service, time_to_live, protocol } = network;
    store.push(
        At::<L>::NETWORK,
        [pair(
            label,
            quarters(u16::from_ne_bytes([fragment, service]), u16::from_ne_bytes([time_to_live, protocol])),
        )],
    );
    // The original ports, and with them the second half of the ports' word.
    let original = tracked.as_ref().map_or(0, |tracked| tracked.ports);
    let at = rest.offset;
    if fragment & FRAGMENT_LATER != 0 {
        if L::CONNECTION_PORTS_ON_LATER_FRAGMENTS
            && let Some(tracked) = tracked
        {
            push_original_ports::<L>(store, &tracked, &rest);
        }
        return found;
    }
    match protocol {
        TCP => {
            let Some(tcp) = rest.peek::<20>() else { return found.stop(Reason::TcpTruncated, at) };
            let offset = usize::from(tcp[12] >> 4).wrapping_mul(4);
            if offset < 20 || offset > rest.bytes.len() {
                return found.stop(Reason::TcpDataOffset, at);
            }
            let flags = quarter(tcp, 12) & u16::from_ne_bytes([0x0f, 0xff]);
            store.push(At::<L>::TCP_FLAGS, [pair(0, quarters(flags, 0))]);
            store.push(At::<L>::TRANSPORT, [pair(half(tcp, 0), original)]);
            found.protocols = found.protocols.with(Protocols::TCP);
        }
        UDP => {
            let Some(udp) = rest.peek::<8>() else { return found.stop(Reason::UdpTruncated, at) };
            store.push(At::<L>::TRANSPORT, [pair(half(udp, 0), original)]);
            found.protocols = found.protocols.with(Protocols::UDP);
        }
        SCTP => {
            let Some(sctp) = rest.peek::<12>() else { return found.stop(Reason::SctpTruncated, at) };
            store.push(At::<L>::TRANSPORT, [pair(half(sctp, 0), original)]);
            found.protocols = found.protocols.with(Protocols::SCTP);
        }
        ICMP => {
            let Some(icmp) = rest.peek::<8>() else { return found.stop(Reason::IcmpTruncated, at) };
            store.push(At::<L>::TRANSPORT, [pair(type_and_code(icmp), original)]);
        }
        IGMP => {
            let Some(igmp) = rest.peek::<8>() else { return found.stop(Reason::IgmpTruncated, at) };
            let original = if L::CONNECTION_PORTS_ON_IGMP { original } else { 0 };
            store.push(At::<L>::TRANSPORT, [pair(type_and_code(igmp), original)]);
            store.push(At::<L>::IGMP, [pair(half(igmp, 4), 0)]);
        }
        ICMPV6 => return icmpv6::push::<L>(store, rest, original, found),
        _ => {}
    }
    found
}

/// Type and code in the places of the ports, as 16-bit numbers.
#[inline(always)]
pub(super) fn type_and_code(message: &[u8; 8]) -> u32 {
    u32::from_ne_bytes([0, message[0], 0, message[1]])
}

/// A later fragment of a tracked connection has no ports of its own, only the original ones.
///
/// For ICMPv6 it depends on the first two payload bytes, which are compared as type and code though they are
/// neither. Open vSwitch reads them even where the packet ends before; here what isn't there is no neighbour
/// discovery.
fn push_original_ports<L: Layout>(store: &mut Store<'_>, tracked: &Tracked<'_>, rest: &Rest<'_>) {
    let carries = match tracked.protocol {
        TCP | UDP | SCTP | ICMP => true,
        ICMPV6 => !rest.peek::<2>().is_some_and(|&[kind, code]| icmpv6::is_neighbour_discovery(kind, code)),
        _ => false,
    };
    if carries {
        store.push(At::<L>::TRANSPORT, [pair(0, tracked.ports)]);
    }
}
