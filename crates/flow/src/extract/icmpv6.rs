//! ICMPv6, and neighbour discovery with its options.

use super::general::Rest;
use super::store::Store;
use super::transport::type_and_code;
use crate::bytes::{half, pair, quarters, word};
use crate::layout::{At, Layout};
use crate::outcome::{Found, Reason};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
/// The six bytes of a hardware address in a word.
const ADDRESS: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

#[inline(always)]
pub(super) fn is_neighbour_discovery(kind: u8, code: u8) -> bool {
    code == 0 && (kind == SOLICITATION || kind == ADVERTISEMENT)
}

#[inline(always)]
pub(super) fn push<L: Layout>(
    store: &mut Store<'_>,
    mut rest: Rest<'_>,
    original: u32,
    found: Found,
) -> Found {
    let at = rest.offset;
    let Some(message) = rest.take::<8>() else { return found.stop(Reason::Icmpv6Truncated, at) };
    let kind = type_and_code(message);
    if !is_neighbour_discovery(message[0], message[1]) {
        store.push(At::<L>::TRANSPORT, [pair(kind, original)]);
        return found;
    }
    let Some(target) = rest.take::<16>() else {
        push_addresses::<L>(store, &Options::default());
        push_message::<L>(store, kind, half(message, 4));
        return found.stop(Reason::NdTargetTruncated, rest.offset);
    };
    let (options, found) = read_options(rest, found);
    if !options.invalid {
        store.push(At::<L>::ND_TARGET, [word(target, 0), word(target, 8)]);
    }
    push_addresses::<L>(store, &options);
    push_message::<L>(store, kind, half(message, 4));
    found
}

/// What the options say: hardware addresses as six bytes of a word, and which came first.
#[derive(Default)]
struct Options {
    source: u64,
    target: u64,
    first: u8,
    invalid: bool,
}

/// Reads options until they end, one makes no sense, or one comes twice.
#[inline(always)]
fn read_options(mut rest: Rest<'_>, found: Found) -> (Options, Found) {
    let mut options = Options::default();
    while let Some(option) = rest.peek::<8>() {
        let length = usize::from(option[1]).wrapping_mul(8);
        if length == 0 || rest.bytes.len() < length {
            return (options, found.stop(Reason::NdOptionLength, rest.offset));
        }
        let kind = option[0];
        if length == 8 && (kind == SOURCE_ADDRESS || kind == TARGET_ADDRESS) {
            let address = if kind == SOURCE_ADDRESS { &mut options.source } else { &mut options.target };
            // An address of zeros counts as none, so one more of the kind is let through.
            if *address != 0 {
                let options = Options { first: options.first, invalid: true, ..Options::default() };
                return (options, found.stop(Reason::NdOptionTwice, rest.offset));
            }
            let [_, _, a, b, c, d, e, f] = *option;
            *address = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]) & ADDRESS;
            if options.first == 0 {
                options.first = kind;
            }
        }
        if rest.skip(length).is_none() {
            break;
        }
    }
    (options, found)
}

/// The two hardware addresses side by side, then the kind of the first option.
#[inline(always)]
fn push_addresses<L: Layout>(store: &mut Store<'_>, options: &Options) {
    let [a, b, c, d, e, f, _, _] = options.source.to_ne_bytes();
    let [g, h, i, j, k, l, _, _] = options.target.to_ne_bytes();
    let first = u16::from(options.first).to_be();
    store.push(
        At::<L>::ARP,
        [
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            pair(u32::from_ne_bytes([i, j, k, l]), quarters(first, 0)),
        ],
    );
}

/// Type, code and the reserved word of the message.
#[inline(always)]
fn push_message<L: Layout>(store: &mut Store<'_>, kind: u32, reserved: u32) {
    store.push(At::<L>::TRANSPORT, [pair(kind, 0)]);
    store.push(At::<L>::IGMP, [pair(reserved, 0)]);
}
