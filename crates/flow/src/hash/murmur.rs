//! Murmur hash, version 3, 32 bits.

use super::HashKind;

/// Open vSwitch's hash where it isn't compiled for a processor with CRC32C instructions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Murmur;

impl HashKind for Murmur {
    #[inline(always)]
    fn add(hash: u32, word: u32) -> u32 {
        let mixed = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
        (hash ^ mixed).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    }

    #[inline(always)]
    fn add_wide(hash: u32, word: u64) -> u32 {
        Self::add(Self::add(hash, word as u32), (word >> 32) as u32)
    }

    #[inline(always)]
    fn finish(hash: u32, last: u32) -> u32 {
        let mut hash = hash ^ last;
        hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        hash ^ hash >> 16
    }
}
