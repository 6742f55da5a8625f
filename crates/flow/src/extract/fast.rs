//! The fast path: guesses which of the usual shapes a frame has, and goes to the code for that.
//!
//! In a mix of packets, what costs most is not instructions but branches that can't be foreseen. So the guess has none:
//! the Ethernet type is hashed to one of sixteen classes, and that with the protocol's number, or with the Ethernet type
//! behind a tag, is an index into a table of functions. Whatever is guessed, the function checks that the frame has its
//! shape, by tests that then hardly ever fail, and else goes to the general path. A second tag, or behind a tag something
//! else than TCP and UDP, takes a second guess.
//!
//! All the functions take the same arguments, so that going there is a jump.

use core::marker::PhantomData;

use super::{general, internet, shapes, tagged};
use crate::bytes::{quarter, word};
use crate::layout::Layout;
use crate::metadata::{Metadata, VlanLimit};
use crate::miniflow::Miniflow;
use crate::outcome::Extraction;

/// The longest packet that is looked at here, so that 16 bits hold every length and offset.
pub(super) const LONGEST: usize = 0xffff;

/// Code for a shape; goes to the general path with what hasn't that shape.
type Shape<L> = fn(&Metadata, &mut Miniflow<L>, VlanLimit, Place, &[u8]) -> Extraction;

/// Where the byte was found that the guess was made from. Nobody has use of it: it only keeps the register taken that the
/// processor shifts by, so that nothing else has to be moved out of that and back.
#[derive(Clone, Copy)]
pub(super) struct Place(#[allow(dead_code, reason = "see above")] u32);

impl Place {
    pub(super) const NONE: Place = Place(0);
}

const CLASSES: usize = 16;
const IPV4: usize = class(0x0800);
const IPV6: usize = class(0x86dd);
const ARP: usize = class(0x0806);
const MPLS: usize = class(0x8847);
const TAG: usize = class(0x8100);
const SERVICE_TAG: usize = class(0x88a8);

/// A hash of an Ethernet type, given by its two bytes, that is quickly had: its lower bits are the class.
#[inline(always)]
const fn hash([first, second]: [u8; 2]) -> u32 {
    (first as u32).wrapping_add(second as u32)
}

/// The class of an Ethernet type.
#[inline(always)]
const fn class(ethernet_type: u16) -> usize {
    hash(ethernet_type.to_be_bytes()) as usize % CLASSES
}

/// Where the bits lie that tell what comes next: how far behind the frame's 16th byte, less the four that `KEY` shifts
/// them. Behind a tag they are four bits of the Ethernet type's first byte there, and one of its second.
const PLACES: [(u16, u64); 4] = [
    (0x0800, (23 - 16) * 8 - 4), // Protocol of IPv4.
    (0x86dd, (20 - 16) * 8 - 4), // Next header of IPv6.
    (0x8100, 0),
    (0x88a8, 0),
];

/// `PLACES` in one word: shifted by the hash of the Ethernet type, its six lower bits are the place. A table in memory
/// would have to be waited for.
const SHIFTS: u64 = {
    let mut shifts = 0;
    let mut at = 0;
    while at < PLACES.len() {
        let (ethernet_type, place) = PLACES[at];
        shifts |= place << (hash(ethernet_type.to_be_bytes()) % 64);
        at += 1;
    }
    shifts
};

/// The five bits that are looked at, and 16 classes below: an index into a table.
const KEY: usize = 0x1f0;
const INDICES: usize = 512;

/// The key of a protocol's number, of which the lower bits are enough to tell those apart that there is code for.
const fn protocol(number: u8) -> usize {
    (number as usize) << 4 & KEY
}

/// The key of the Ethernet type behind a tag.
const fn behind(ethernet_type: u16) -> usize {
    ethernet_type.swap_bytes() as usize & KEY
}

/// The functions for frames behind `TAGS` tags, by class and protocol.
struct Table<L, const TAGS: usize>(PhantomData<L>);

type Shapes<L> = [Shape<L>; INDICES];

/// The table with `shape` for what has that key in the class.
const fn with<T: Copy>(mut table: [T; INDICES], class: usize, key: usize, shape: T) -> [T; INDICES] {
    table[key | class] = shape;
    table
}

/// The table with `shape` for the whole class.
const fn with_all<T: Copy>(mut table: [T; INDICES], class: usize, shape: T) -> [T; INDICES] {
    let mut at = class;
    while at < INDICES {
        table[at] = shape;
        at += CLASSES;
    }
    table
}

/// The table with TCP and UDP; the sizes are those of the headers, over IPv4 and IPv6.
macro_rules! ports {
    ($table:ident, $tags:literal, [$udp4:literal, $tcp4:literal, $udp6:literal, $tcp6:literal]) => {{
        let table = with($table, IPV4, protocol(17), shapes::udp_ipv4::<L, $tags, $udp4>);
        let table = with(table, IPV4, protocol(6), shapes::tcp_ipv4::<L, $tags, $tcp4>);
        let table = with(table, IPV6, protocol(17), shapes::udp_ipv6::<L, $tags, $udp6>);
        with(table, IPV6, protocol(6), shapes::tcp_ipv6::<L, $tags, $tcp6>)
    }};
}

/// The table with what is longer over IPv6: neighbour discovery, with the size of its headers, and extension headers.
macro_rules! internet {
    ($table:ident, $tags:literal, [$udp6:literal, $discovery:literal]) => {{
        let table = with($table, IPV6, protocol(58), internet::discovery::<L, $tags, $discovery>);
        let table = with(table, IPV6, protocol(0), internet::extended::<L, $tags, $udp6>);
        let table = with(table, IPV6, protocol(43), internet::extended::<L, $tags, $udp6>);
        let table = with(table, IPV6, protocol(51), internet::extended::<L, $tags, $udp6>);
        with(table, IPV6, protocol(60), internet::extended::<L, $tags, $udp6>)
    }};
}

/// The table with the frames of one tag, by the Ethernet type behind it.
const fn with_tagged<L: Layout>(table: Shapes<L>, class: usize) -> Shapes<L> {
    let table = with_all(table, class, one_tag::<L>);
    let table = with(table, class, behind(0x0800), tagged::ports_ipv4::<L>);
    let table = with(table, class, behind(0x86dd), tagged::ports_ipv6::<L>);
    with(table, class, behind(0x8100), before_two_tags::<L>)
}

/// There are not more kinds than that.
pub(super) const KIND_COUNT: usize = 16;
/// The kind of what goes the general way.
const GENERAL: u8 = 0;

/// The kind of each frame that isn't alone (see `batch`): a number for each function of `Table<L, 0>`, by the same index.
const KINDS: &[u8; INDICES] = &{
    let mut table = [GENERAL; INDICES];
    let own = [
        (IPV4, protocol(17), 1),
        (IPV4, protocol(6), 2),
        (IPV6, protocol(17), 3),
        (IPV6, protocol(6), 4),
        (IPV6, protocol(58), 5),
        (IPV6, protocol(0), 6),
        (IPV6, protocol(43), 6),
        (IPV6, protocol(51), 6),
        (IPV6, protocol(60), 6),
    ];
    let mut at = 0;
    while at < own.len() {
        let (class, key, kind) = own[at];
        table = with(table, class, key, kind);
        at += 1;
    }
    table = with_all(with_all(table, ARP, 7), MPLS, 8);
    let tags = [TAG, SERVICE_TAG];
    at = 0;
    while at < tags.len() {
        table = with_all(table, tags[at], 9);
        table = with(table, tags[at], behind(0x0800), 10);
        table = with(table, tags[at], behind(0x86dd), 11);
        table = with(table, tags[at], behind(0x8100), 12);
        at += 1;
    }
    table
};

impl<L: Layout> Table<L, 0> {
    const SHAPES: &'static Shapes<L> = &{
        let table = [general::frame::<L> as Shape<L>; INDICES];
        let table = ports!(table, 0, [42, 54, 62, 74]);
        let table = internet!(table, 0, [62, 86]);
        let table = with_all(table, ARP, shapes::arp::<L>);
        let table = with_all(table, MPLS, shapes::mpls::<L>);
        with_tagged(with_tagged(table, TAG), SERVICE_TAG)
    };

    /// The same functions by their kinds.
    const BY_KIND: &'static [Shape<L>; KIND_COUNT] = &{
        let mut table = [general::frame::<L> as Shape<L>; KIND_COUNT];
        let mut at = 0;
        while at < INDICES {
            table[KINDS[at] as usize] = Self::SHAPES[at];
            at += 1;
        }
        table
    };
}

// TCP and UDP don't come here.
impl<L: Layout> Table<L, 1> {
    const SHAPES: &'static Shapes<L> = &{
        let table = [general::frame::<L> as Shape<L>; INDICES];
        let table = internet!(table, 1, [66, 90]);
        with_all(with_all(table, TAG, two_tags::<L>), SERVICE_TAG, two_tags::<L>)
    };
}

impl<L: Layout> Table<L, 2> {
    const SHAPES: &'static Shapes<L> = &{
        let table = [general::frame::<L> as Shape<L>; INDICES];
        let table = ports!(table, 2, [50, 62, 70, 82]);
        internet!(table, 2, [70, 94])
    };
}

/// The place in a table. `bytes` are the frame's first less four bytes a tag, so that the Ethernet type is at 12.
///
/// The jump waits for this, and where it was foreseen wrongly everything behind it does. So it is made of two loads at
/// fixed places and as little as can be behind them.
#[inline(always)]
fn guess(bytes: &[u8; 42]) -> (usize, Place) {
    let hash = hash([bytes[12], bytes[13]]);
    let place = SHIFTS.wrapping_shr(hash) as u32;
    let key = u64::from_le(word(bytes, 16)).wrapping_shr(place);
    ((key as usize & KEY) | (hash as usize % CLASSES), Place(place))
}

/// Which of the kinds a frame probably is of; found without a branch that can't be foreseen.
#[inline(always)]
pub(super) fn kind_of(packet: &[u8]) -> u8 {
    match packet.first_chunk::<42>() {
        Some(bytes) if packet.len() <= LONGEST => KINDS[guess(bytes).0 % INDICES],
        _ => GENERAL,
    }
}

/// Extracts a frame that came with plain metadata, as one of that kind ([`kind_of`]).
#[inline(always)]
pub(super) fn extract_as<L: Layout>(
    kind: u8,
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    packet: &[u8],
    vlan_limit: VlanLimit,
) -> Extraction {
    Table::<L, 0>::BY_KIND[usize::from(kind) % KIND_COUNT](metadata, flow, vlan_limit, Place::NONE, packet)
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
            let (at, place) = guess(bytes);
            Table::<L, 0>::SHAPES[at](metadata, flow, vlan_limit, place, packet)
        }
        _ => general::frame(metadata, flow, vlan_limit, Place::NONE, packet),
    }
}

/// Behind one tag, what isn't TCP or UDP.
#[inline(never)]
pub(super) fn one_tag<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    if let Some(bytes) = packet.first_chunk::<46>()
        && let Some((_, inner)) = bytes.split_last_chunk::<42>()
        && is_tag(quarter(bytes, 12))
        && vlan_limit.tags() >= 1
    {
        let (at, place) = guess(inner);
        return Table::<L, 1>::SHAPES[at](metadata, flow, vlan_limit, place, packet);
    }
    general::frame(metadata, flow, vlan_limit, Place::NONE, packet)
}

/// What is probably two tags.
#[inline(never)]
fn before_two_tags<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    match packet.first_chunk::<14>() {
        Some(bytes) if is_tag(quarter(bytes, 12)) => {
            two_tags(metadata, flow, vlan_limit, Place::NONE, packet)
        }
        _ => general::frame(metadata, flow, vlan_limit, Place::NONE, packet),
    }
}

/// Behind one tag that has been seen to be one, and another.
#[inline(never)]
fn two_tags<L: Layout>(
    metadata: &Metadata,
    flow: &mut Miniflow<L>,
    vlan_limit: VlanLimit,
    _: Place,
    packet: &[u8],
) -> Extraction {
    if let Some(bytes) = packet.first_chunk::<50>()
        && let Some((_, inner)) = bytes.split_last_chunk::<42>()
        && is_tag(quarter(bytes, 16))
        && vlan_limit.tags() >= 2
    {
        let (at, place) = guess(inner);
        return Table::<L, 2>::SHAPES[at](metadata, flow, vlan_limit, place, packet);
    }
    general::frame(metadata, flow, vlan_limit, Place::NONE, packet)
}

/// Whether an Ethernet type, as it lies in memory, is a tag's.
#[inline(always)]
pub(super) fn is_tag(kind: u16) -> bool {
    kind == u16::from_ne_bytes([0x81, 0x00]) || kind == u16::from_ne_bytes([0x88, 0xa8])
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
    #[cfg_attr(miri, ignore = "a function has many addresses there")]
    fn what_goes_to_one_function_is_of_one_kind() {
        let shapes = Table::<crate::V3_7, 0>::SHAPES.map(|shape| shape as *const () as usize);
        for (one, &shape) in shapes.iter().enumerate() {
            assert_eq!(
                Table::<crate::V3_7, 0>::BY_KIND[usize::from(KINDS[one])] as *const () as usize,
                shape
            );
            for (other, &of_other) in shapes.iter().enumerate() {
                assert_eq!(shape == of_other, KINDS[one] == KINDS[other], "{one:#x} and {other:#x}");
            }
        }
        assert_eq!(
            Table::<crate::V3_7, 0>::BY_KIND[usize::from(GENERAL)] as *const () as usize,
            general::frame::<crate::V3_7> as *const () as usize
        );
    }

    #[test]
    fn the_places_of_protocols_come_out_of_one_word() {
        for (ethernet_type, place) in PLACES {
            assert_eq!(SHIFTS >> (hash(ethernet_type.to_be_bytes()) % 64) & 63, place, "{ethernet_type:04x}");
        }
    }

    #[test]
    fn no_two_keys_of_a_class_that_have_code_are_the_same() {
        let mut keys = [17u8, 6, 58, 0, 43, 51, 60].map(protocol);
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
        let mut keys = [0x0800, 0x86dd, 0x8100].map(behind);
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    }
}
