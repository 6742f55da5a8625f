//! Receive side scaling and hashes, in the words of the control queue (virtio 1.2, sections 5.1.6.4.3, 5.1.6.5.6.4 and
//! 5.1.6.5.7).

use crate::Error;
use ringway_port::{HashLimits, HashTypes, Scaling, VERIFICATION_KEY};

/// What a device's hash can (section 5.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashConfiguration {
    /// `rss_max_key_size`, in bytes.
    pub(super) key: u8,
    /// `rss_max_indirection_table_length`.
    pub(super) table: u16,
    /// `supported_hash_types`.
    pub(super) types: u32,
}

/// Section 5.1.4.1: a device that hashes takes keys of 40 bytes at least, and tables of 128 entries.
pub(super) const LEAST_KEY: u8 = 40;
pub(super) const LEAST_TABLE: u16 = 128;
/// A table as large as a command has room for; every device has it.
const TABLE: u16 = LEAST_TABLE;

/// One kind of packet among all.
type Field = fn(&mut HashTypes) -> &mut bool;

/// Section 5.1.6.4.3.1: bits of what is hashed.
const BITS: [(u32, Field); 6] = [
    (1 << 0, |types| &mut types.ipv4),
    (1 << 1, |types| &mut types.tcp_ipv4),
    (1 << 2, |types| &mut types.udp_ipv4),
    (1 << 3, |types| &mut types.ipv6),
    (1 << 4, |types| &mut types.tcp_ipv6),
    (1 << 5, |types| &mut types.udp_ipv6),
];

fn types_of(bits: u32) -> HashTypes {
    let mut types = HashTypes::default();
    for (bit, field) in BITS {
        *field(&mut types) = bits & bit != 0;
    }
    types
}

fn bits_of(mut types: HashTypes) -> u32 {
    BITS.iter().filter(|(_, field)| *field(&mut types)).fold(0, |bits, (bit, _)| bits | bit)
}

/// The key is of 40 bytes, whatever more the device takes: that is as long as its longest input needs.
pub(super) fn limits(hash: HashConfiguration, pairs: u16) -> HashLimits {
    HashLimits { key: LEAST_KEY.into(), table: TABLE, queues: pairs, types: types_of(hash.types) }
}

/// What is used when the program doesn't say: everything that the device can, evenly.
pub(super) fn default(hash: HashConfiguration, pairs: u16) -> Scaling {
    Scaling {
        key: VERIFICATION_KEY.to_vec(),
        table: Scaling::even_table(TABLE, pairs),
        types: types_of(hash.types),
    }
}

/// Whether the device can have it.
pub(super) fn check(device: &str, scaling: &Scaling, limits: HashLimits) -> Result<(), Error> {
    let refused = |what| Err(Error::Value { device: device.to_owned(), what });
    if scaling.key.len() != usize::from(limits.key) {
        return refused(format!(
            "a hash key of {} bytes is not possible, it has {}",
            scaling.key.len(),
            limits.key
        ));
    }
    if scaling.table.len() != usize::from(limits.table) {
        return refused(format!(
            "a table of {} entries is not possible, it has {}",
            scaling.table.len(),
            limits.table
        ));
    }
    if let Some(queue) = scaling.table.iter().find(|queue| **queue >= limits.queues) {
        return refused(format!(
            "the table names receive queue {queue}, the port was opened with {}",
            limits.queues
        ));
    }
    if !scaling.types.are_within(limits.types) {
        return refused(format!("it can't hash all of {:?}; it has {:?}", scaling.types, limits.types));
    }
    Ok(())
}

/// `virtio_net_rss_config` (section 5.1.6.5.7.1): the table names receive queues; transmit queues are as many.
pub(super) fn rss_command(scaling: &Scaling, pairs: u16) -> Vec<u8> {
    let mut data = bits_of(scaling.types).to_le_bytes().to_vec();
    let mask = (scaling.table.len() as u16).wrapping_sub(1);
    // What isn't hashed goes to queue 0.
    for value in [mask, 0].iter().chain(&scaling.table).chain(&[pairs]) {
        data.extend(value.to_le_bytes());
    }
    data.push(scaling.key.len() as u8);
    data.extend(&scaling.key);
    data
}

/// `virtio_net_hash_config` (section 5.1.6.5.6.4), for a device that reports hashes and doesn't steer by them.
pub(super) fn hash_command(scaling: &Scaling) -> Vec<u8> {
    let mut data = bits_of(scaling.types).to_le_bytes().to_vec();
    data.extend([0; 8]);
    data.push(scaling.key.len() as u8);
    data.extend(&scaling.key);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_the_same_after_they_were_bits() {
        for bits in 0..64 {
            assert_eq!(bits_of(types_of(bits)), bits);
        }
        assert_eq!(types_of(0x1ff), HashTypes::ALL);
    }
}
