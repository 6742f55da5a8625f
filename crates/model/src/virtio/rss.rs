//! Receive side scaling and hash reports (virtio 1.2, sections 5.1.6.4.3, 5.1.6.4.4, 5.1.6.5.6.4 and 5.1.6.5.7).

use crate::ixgbe::headers::{IPV4, IPV6, TCP, UDP, recognise};

/// Section 5.1.4: what the configuration says.
pub(crate) const KEY_BYTES: u8 = 40;
pub(crate) const TABLE_ENTRIES: u16 = 128;
/// Section 5.1.6.4.3.1: IPv4, TCPv4, UDPv4, IPv6, TCPv6, UDPv6.
pub(crate) const TYPES: u32 = 0x3f;

/// What was set by the last command.
#[derive(Debug, Default)]
pub(crate) struct Scaling {
    types: u32,
    key: Vec<u8>,
    /// `None`: hashes are reported, and packets steered otherwise.
    steering: Option<Table>,
}

#[derive(Debug)]
struct Table {
    unclassified: u16,
    queues: Vec<u16>,
    pairs: u16,
}

/// A packet's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) value: u32,
    /// Section 5.1.6.4.4: 0 for none, then in the order of the types.
    pub(crate) report: u16,
}

impl Scaling {
    /// `virtio_net_rss_config`, for a device of so many pairs. `None`: it makes no sense. Gives the pairs to be used.
    pub(crate) fn set_rss(&mut self, data: &[u8], available: u16) -> Option<u16> {
        let (types, data) = types(data)?;
        let (mask, data) = half(data)?;
        let (unclassified, data) = half(data)?;
        let entries = usize::from(mask).checked_add(1).filter(|entries| entries.is_power_of_two())?;
        if entries > TABLE_ENTRIES.into() {
            return None;
        }
        let (table, data) = data.split_at_checked(entries.checked_mul(2)?)?;
        let queues: Vec<u16> =
            table.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let (pairs, data) = half(data)?;
        if pairs == 0
            || pairs > available
            || queues.iter().chain([&unclassified]).any(|queue| *queue >= pairs)
        {
            return None;
        }
        *self = Self { types, key: key(data)?, steering: Some(Table { unclassified, queues, pairs }) };
        Some(pairs)
    }

    /// `virtio_net_hash_config`.
    pub(crate) fn set_hash(&mut self, data: &[u8]) -> Option<()> {
        let (types, data) = types(data)?;
        let (reserved, data) = data.split_first_chunk::<8>()?;
        if *reserved != [0; 8] {
            return None;
        }
        *self = Self { types, key: key(data)?, steering: None };
        Some(())
    }

    /// Whether anything is hashed.
    pub(crate) fn is_set(&self) -> bool {
        !self.key.is_empty()
    }

    /// The hash of a frame, of the most that may be hashed of it.
    pub(crate) fn hash(&self, frame: &[u8]) -> Hash {
        let headers = recognise(frame, 0x8100);
        let first = match headers.types {
            types if types & IPV4 != 0 => 0,
            types if types & IPV6 != 0 => 3,
            _ => return Hash::default(),
        };
        let ports = match headers.types {
            _ if headers.fragment => 0,
            types if types & TCP != 0 => 1,
            types if types & UDP != 0 => 2,
            _ => 0,
        };
        let allowed = |kind: u16| self.types >> kind & 1 != 0;
        let kind = [first + ports, first].into_iter().find(|kind| allowed(*kind));
        let Some(kind) = kind else { return Hash::default() };
        let (from, bytes) = if first == 0 { (12, 8) } else { (8, 32) };
        let slice =
            |at: usize, length| frame.get(at..).and_then(|rest| rest.get(..length)).unwrap_or_default();
        let ports = slice(headers.transport, if kind == first { 0 } else { 4 });
        let input = slice(headers.network.saturating_add(from), bytes).iter().chain(ports);
        Hash { value: toeplitz(&self.key, input), report: kind + 1 }
    }

    /// The queue that a hash leads to. `None`: packets are not steered by it.
    pub(crate) fn queue(&self, hash: Hash) -> Option<u16> {
        let table = self.steering.as_ref()?;
        if hash.report == 0 {
            return Some(table.unclassified);
        }
        let entry = hash.value as usize % table.queues.len().max(1);
        table.queues.get(entry).copied().filter(|queue| *queue < table.pairs)
    }
}

/// For each bit of the input that is set, the 32 bits of the key from there on.
fn toeplitz<'a>(key: &[u8], input: impl Iterator<Item = &'a u8>) -> u32 {
    let bit = |index: usize| {
        let byte = key.get(index / 8).copied().unwrap_or(0);
        u32::from(byte >> (7 - index % 8) & 1)
    };
    let mut hash = 0;
    for (place, byte) in input.enumerate() {
        for position in (0..8usize).filter(|position| byte >> (7 - position) & 1 != 0) {
            let start = place.saturating_mul(8).saturating_add(position);
            hash ^= (0..32).fold(0, |window, index| window << 1 | bit(start.saturating_add(index)));
        }
    }
    hash
}

fn types(data: &[u8]) -> Option<(u32, &[u8])> {
    let (types, data) = data.split_first_chunk::<4>()?;
    let types = u32::from_le_bytes(*types);
    (types & !TYPES == 0).then_some((types, data))
}

fn half(data: &[u8]) -> Option<(u16, &[u8])> {
    let (half, data) = data.split_first_chunk::<2>()?;
    Some((u16::from_le_bytes(*half), data))
}

/// The key's length, the key, and nothing else.
fn key(data: &[u8]) -> Option<Vec<u8>> {
    let (&length, key) = data.split_first()?;
    (length <= KEY_BYTES && key.len() == usize::from(length)).then(|| key.to_vec())
}
