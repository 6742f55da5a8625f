//! Cases with a name: where the C is known to be wrong, and its neighbours where it is right.

use ringway_flow::{Layout, METADATA_OFFSETS};

use super::case::Case;
use super::compare::Comparison;
use crate::Target;

const CT_STATE: usize = METADATA_OFFSETS[4];
const CT_TUPLE_IS_IPV6: usize = METADATA_OFFSETS[5];
const CT_TUPLE: usize = METADATA_OFFSETS[10];
const ICMPV6: u8 = 58;

/// A case, and what comparing it has to give.
#[derive(Clone, Debug)]
pub struct Named {
    /// The case; its origin is its name.
    pub case: Case,
    /// What is expected.
    pub expected: Comparison,
}

impl Named {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Named> {
        [false, true].into_iter().flat_map(|ipv6| {
            [&[][..], &[135], &[255], &[135, 0], &[136, 0], &[135, 1], &[128, 0], &[135, 0, 0]]
                .into_iter()
                .flat_map(move |payload| {
                    [true, false].map(|tracked| Named::later_fragment(ipv6, payload, tracked))
                })
        })
    }

    /// A later fragment of a connection whose original protocol is ICMPv6, or of none.
    fn later_fragment(ipv6: bool, payload: &[u8], tracked: bool) -> Named {
        let mut case = Case::of_bytes(if ipv6 { fragment_ipv6(payload) } else { fragment_ipv4(payload) });
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        let connection = if tracked { "a tracked ICMPv6 connection" } else { "no connection" };
        case.origin = format!("{family} later fragment with payload {payload:02x?} of {connection}");
        case.metadata[CT_STATE] = if tracked { 0x22 } else { 0 };
        case.metadata[CT_TUPLE_IS_IPV6] = u8::from(ipv6);
        let (ports, protocol) = if ipv6 { (32, 36) } else { (8, 12) };
        case.metadata[CT_TUPLE + ports..CT_TUPLE + ports + 4].copy_from_slice(&[0, 128, 0, 0]);
        case.metadata[CT_TUPLE + protocol] = ICMPV6;
        case.junk = 0x5a5a_5a5a_5a5a_5a5a;
        let over_read = tracked && payload.len() < 2 && Target::CONNECTION_PORTS_ON_LATER_FRAGMENTS;
        Named { case, expected: if over_read { Comparison::SameAfterOverRead } else { Comparison::Same } }
    }
}

fn fragment_ipv6(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0];
    packet.extend([0, 8 + payload.len() as u8, 44, 64]);
    packet.extend([0xfe; 32]);
    packet.extend([ICMPV6, 0, 0, 8, 0, 0, 0, 1]);
    packet.extend_from_slice(payload);
    packet
}

fn fragment_ipv4(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45, 0];
    packet.extend([0, 20 + payload.len() as u8, 0, 1, 0, 8, 64, ICMPV6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend_from_slice(payload);
    packet
}
