//! Packets by protocol: IP packets by IP protocol, all others by Ethernet type.

use super::Count;

/// How many protocols IP has room for.
const PROTOCOLS: usize = 1 << 8;
/// How many types Ethernet has room for.
const TYPES: usize = 1 << 16;

/// What a packet is by its outermost network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4, with the IP protocol.
    V4(u8),
    /// IPv6, with the protocol behind its extension headers.
    V6(u8),
    /// No IP header that makes sense: the Ethernet type behind the VLAN tags, 0 where there is none.
    Other(u16),
}

/// One line of the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixEntry {
    /// What they are.
    pub network: Network,
    /// How many.
    pub count: Count,
}

/// The counts. A megabyte, so that no packet has to look anything up.
#[derive(Debug)]
pub struct Mix {
    v4: Box<[Count]>,
    v6: Box<[Count]>,
    other: Box<[Count]>,
}

impl Mix {
    pub(super) fn new() -> Self {
        let counts = |length| vec![Count::default(); length].into_boxed_slice();
        Self { v4: counts(PROTOCOLS), v6: counts(PROTOCOLS), other: counts(TYPES) }
    }

    #[inline]
    pub(super) fn count(&mut self, network: Network, bytes: u64) {
        let place = match network {
            Network::V4(protocol) => self.v4.get_mut(usize::from(protocol)),
            Network::V6(protocol) => self.v6.get_mut(usize::from(protocol)),
            Network::Other(kind) => self.other.get_mut(usize::from(kind)),
        };
        if let Some(count) = place {
            count.add(bytes);
        }
    }

    /// What was seen, the most frequent first.
    pub fn entries(&self) -> Vec<MixEntry> {
        let v4 = (0..=u8::MAX).map(Network::V4).zip(&self.v4);
        let v6 = (0..=u8::MAX).map(Network::V6).zip(&self.v6);
        let other = (0..=u16::MAX).map(Network::Other).zip(&self.other);
        let seen = v4.chain(v6).chain(other).filter(|(_, count)| count.packets > 0);
        let mut entries: Vec<MixEntry> = seen.map(|(network, &count)| MixEntry { network, count }).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.count.packets));
        entries
    }
}
