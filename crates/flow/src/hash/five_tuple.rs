//! The hash of addresses, protocol and ports: the same from a miniflow and from a whole flow.

use super::HashKind;
use crate::key::FlowKey;
use crate::layout::{At, Layout};
use crate::miniflow::{Miniflow, word_of};

const TYPE_IPV4: u16 = 0x0800;
const TYPE_ARP: u16 = 0x0806;
const TYPE_IPV6: u16 = 0x86dd;
/// Ends a five-tuple's hash.
pub(super) const END: u32 = 42;

impl<L: Layout> Miniflow<L> {
    /// `miniflow_hash_5tuple()`.
    #[must_use]
    pub fn hash_five_tuple<H: HashKind>(&self, basis: u32) -> u32 {
        hash::<H, L>(|index| self.word(index), basis)
    }
}

impl<L: Layout> FlowKey<L> {
    /// `flow_hash_5tuple()`.
    #[must_use]
    pub fn hash_five_tuple<H: HashKind>(&self, basis: u32) -> u32 {
        hash::<H, L>(|index| self.word(index), basis)
    }
}

/// `miniflow_hash_5tuple()` of a map and the words that it says are present.
#[inline]
#[must_use]
pub fn hash_five_tuple_of_words<H: HashKind, L: Layout>(map: [u64; 2], values: &[u64], basis: u32) -> u32 {
    hash::<H, L>(|index| word_of(map, values, index), basis)
}

/// `flow_hash_5tuple()` of a whole flow's words.
#[inline]
#[must_use]
pub fn hash_five_tuple_of_flow<H: HashKind, L: Layout>(words: &[u64], basis: u32) -> u32 {
    hash::<H, L>(|index| words.get(index).copied().unwrap_or(0), basis)
}

#[inline(always)]
fn hash<H: HashKind, L: Layout>(word: impl Fn(usize) -> u64, basis: u32) -> u32 {
    let [_, _, _, _, high, low, _, _] = word(At::<L>::ETHERNET_TYPE).to_ne_bytes();
    let mut hash = basis;
    match u16::from_be_bytes([high, low]) {
        TYPE_IPV6 => {
            for index in At::<L>::IPV6..At::<L>::IPV6 + 4 {
                hash = H::add_wide(hash, word(index));
            }
        }
        TYPE_IPV4 | TYPE_ARP => {
            let (source, destination) = halves(word(At::<L>::IPV4));
            hash = H::add(H::add(hash, source), destination);
        }
        _ => return H::finish(hash, END),
    }
    let [_, _, _, _, _, _, _, protocol] = word(At::<L>::NETWORK).to_ne_bytes();
    hash = H::add(hash, u32::from(protocol));
    // TCP, UDP, SCTP, ICMP, ICMPv6.
    if matches!(protocol, 6 | 17 | 132 | 1 | 58) {
        hash = H::add(hash, halves(word(At::<L>::TRANSPORT)).0);
    }
    H::finish(hash, END)
}

/// The two halves of a word, the one at the lower address first.
#[inline(always)]
fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}
