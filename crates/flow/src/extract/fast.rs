//! The fast path: guesses which of the usual shapes a frame has, and goes to the code for that.
//!
//! In a mix of packets, what costs most is not instructions but branches that can't be foreseen. So the guess has none:
//! the Ethernet type is hashed to one of eight classes, and that with the protocol number is an index into a table of
//! functions. Whatever is guessed, the function
//! checks that the frame has its shape, by tests that then hardly ever fail, and else goes to the general path. A tag
//! takes a second guess behind it.
//!
//! All the functions take the same arguments, so that going there is a jump.

use core::marker::PhantomData;

use super::{general, internet, shapes};
use crate::bytes::number;
use crate::layout::Layout;
use crate::metadata::{Metadata, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::Extraction;

/// The longest packet that is looked at here, so that 16 bits hold every length and offset.
pub(super) const LONGEST: usize = 0xffff;

/// Code for a shape; goes to the general path with what hasn't that shape.
type Shape<L> = fn(&Metadata, &mut Miniflow<L>, &[u8], VlanLimit) -> Extraction;

/// Multiplied by this, the Ethernet types of the classes below differ in their three highest bits.
const SPREAD: u32 = 0x5891_921b;
const IPV4: usize = class(0x0800);
const IPV6: usize = class(0x86dd);
const ARP: usize = class(0x0806);
const MPLS: usize = class(0x8847);
const TAG: usize = class(0x8100);
const SERVICE_TAG: usize = class(0x88a8);

/// The class of an Ethernet type.
#[inline(always)]
const fn class(ethernet_type: u16) -> usize {
    ((ethernet_type.swap_bytes() as u32).wrapping_mul(SPREAD) >> 29) as usize
}

/// Where the protocol's number lies. An enumeration, so that it is known to be within the bytes that are there.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Place {
    /// Next header of IPv6.
    NextHeader = 20,
    /// Protocol of IPv4. In other classes all protocols have the same function.
    Protocol = 23,
}

const PLACES: [Place; 8] = {
    let mut places = [Place::Protocol; 8];
    places[IPV6] = Place::NextHeader;
    places
};

/// The lower bits of a protocol's number: enough to tell those apart that there is code for.
const PROTOCOLS: usize = 32;

/// The functions for frames behind `TAGS` tags, by class and protocol.
struct Table<L, const TAGS: usize>(PhantomData<L>);

type Shapes<L> = [Shape<L>; 8 * PROTOCOLS];

/// The table with `shape` for `protocol` of `class`.
const fn with<L: Layout>(mut table: Shapes<L>, class: usize, protocol: u8, shape: Shape<L>) -> Shapes<L> {
    table[class * PROTOCOLS + protocol as usize % PROTOCOLS] = shape;
    table
}

/// The table with `shape` for the whole class.
const fn with_all<L: Layout>(mut table: Shapes<L>, class: usize, shape: Shape<L>) -> Shapes<L> {
    let mut protocol = 0;
    while protocol < PROTOCOLS {
        table[class * PROTOCOLS + protocol] = shape;
        protocol += 1;
    }
    table
}

/// The table with the Internet's protocols; the sizes are those of the headers of TCP and UDP over IPv4 and IPv6, and of
/// neighbour discovery.
macro_rules! internet {
    ($tags:literal, [$udp4:literal, $tcp4:literal, $udp6:literal, $tcp6:literal, $discovery:literal]) => {{
        let table = [general::frame::<L> as Shape<L>; 8 * PROTOCOLS];
        let table = with(table, IPV4, 17, shapes::udp_ipv4::<L, $tags, $udp4>);
        let table = with(table, IPV4, 6, shapes::tcp_ipv4::<L, $tags, $tcp4>);
        let table = with(table, IPV6, 17, shapes::udp_ipv6::<L, $tags, $udp6>);
        let table = with(table, IPV6, 6, shapes::tcp_ipv6::<L, $tags, $tcp6>);
        let table = with(table, IPV6, 58, internet::discovery::<L, $tags, $discovery>);
        let table = with(table, IPV6, 0, internet::extended::<L, $tags, $udp6>);
        let table = with(table, IPV6, 43, internet::extended::<L, $tags, $udp6>);
        let table = with(table, IPV6, 51, internet::extended::<L, $tags, $udp6>);
        with(table, IPV6, 60, internet::extended::<L, $tags, $udp6>)
    }};
}

impl<L: Layout> Table<L, 0> {
    const SHAPES: &'static Shapes<L> = &{
        let table = internet!(0, [42, 54, 62, 74, 86]);
        let table = with_all(table, ARP, shapes::arp::<L>);
        let table = with_all(table, MPLS, shapes::mpls::<L>);
        with_all(with_all(table, TAG, one_tag::<L>), SERVICE_TAG, one_tag::<L>)
    };
}

impl<L: Layout> Table<L, 1> {
    const SHAPES: &'static Shapes<L> = &{
        let table = internet!(1, [46, 58, 66, 78, 90]);
        with_all(with_all(table, TAG, two_tags::<L>), SERVICE_TAG, two_tags::<L>)
    };
}

impl<L: Layout> Table<L, 2> {
    const SHAPES: &'static Shapes<L> = &internet!(2, [50, 62, 70, 82, 94]);
}

/// The place in a table. `bytes` are the frame's first less four bytes a tag, so that the Ethernet type is at 12.
#[inline(always)]
fn guess(bytes: &[u8; 42]) -> usize {
    // As `class` does, without swapping the bytes twice.
    let kind = u32::from(u16::from_le_bytes([bytes[12], bytes[13]]));
    let class = (kind.wrapping_mul(SPREAD) >> 29) as usize;
    (class * PROTOCOLS) | (usize::from(bytes[PLACES[class] as usize]) % PROTOCOLS)
}

/// Extracts a frame that came with plain metadata.
#[inline(always)]
pub(super) fn extract<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
    vlan_limit: VlanLimit,
) -> Extraction {
    // The shortest packet of all shapes.
    match packet.first_chunk::<42>() {
        Some(bytes) if packet.len() <= LONGEST => {
            Table::<L, 0>::SHAPES[guess(bytes)](metadata, flow, packet, vlan_limit)
        }
        _ => general::frame(metadata, flow, packet, vlan_limit),
    }
}

/// Behind one tag.
#[inline(never)]
fn one_tag<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
    vlan_limit: VlanLimit,
) -> Extraction {
    if let Some(bytes) = packet.first_chunk::<46>()
        && let Some((_, inner)) = bytes.split_last_chunk::<42>()
        && is_tag(number(bytes, 12))
        && vlan_limit.tags() >= 1
    {
        return Table::<L, 1>::SHAPES[guess(inner)](metadata, flow, packet, vlan_limit);
    }
    general::frame(metadata, flow, packet, vlan_limit)
}

/// Behind one tag that has been seen to be one, and another.
#[inline(never)]
fn two_tags<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
    vlan_limit: VlanLimit,
) -> Extraction {
    if let Some(bytes) = packet.first_chunk::<50>()
        && let Some((_, inner)) = bytes.split_last_chunk::<42>()
        && is_tag(number(bytes, 16))
        && vlan_limit.tags() >= 2
    {
        return Table::<L, 2>::SHAPES[guess(inner)](metadata, flow, packet, vlan_limit);
    }
    general::frame(metadata, flow, packet, vlan_limit)
}

#[inline(always)]
fn is_tag(kind: usize) -> bool {
    kind == 0x8100 || kind == 0x88a8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_classes_share_a_number() {
        let mut classes = [IPV4, IPV6, ARP, MPLS, TAG, SERVICE_TAG];
        classes.sort_unstable();
        assert!(classes.windows(2).all(|pair| pair[0] != pair[1]), "{classes:?}");
    }

    #[test]
    fn no_two_protocols_of_ipv6_that_have_code_share_a_place() {
        let mut places = [17u8, 6, 58, 0, 43, 51, 60].map(|protocol| protocol as usize % PROTOCOLS);
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "{places:?}");
    }
}
