//! CRC32C (Castagnoli), by tables: four look-ups for 32 bits.

use super::HashKind;

/// Open vSwitch's hash where it is compiled for x86-64 with SSE 4.2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crc32c;

/// The Castagnoli polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][b]` is the remainder of byte `b` followed by `n` zero bytes.
static TABLES: [[u32; 256]; 4] = tables();

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0u32; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

impl HashKind for Crc32c {
    #[inline]
    fn add(hash: u32, word: u32) -> u32 {
        let [a, b, c, d] = (hash ^ word).to_le_bytes();
        TABLES[3][usize::from(a)]
            ^ TABLES[2][usize::from(b)]
            ^ TABLES[1][usize::from(c)]
            ^ TABLES[0][usize::from(d)]
    }

    #[inline]
    fn add_wide(hash: u32, word: u64) -> u32 {
        Self::add(Self::add(hash, word as u32), (word >> 32) as u32)
    }

    #[inline]
    fn finish(hash: u32, last: u32) -> u32 {
        let hash = Self::add_wide(hash, u64::from(last)).wrapping_mul(0x8052_04f3);
        hash ^ hash >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4, with the first and last inversion that iSCSI adds taken off.
    #[test]
    fn thirty_two_zeros_give_the_value_of_the_iscsi_standard() {
        let crc = (0..8).fold(u32::MAX, |hash, _| Crc32c::add(hash, 0));
        assert_eq!(!crc, 0x8a91_36aa);
    }

    #[test]
    fn sixty_four_bits_are_the_lower_half_and_then_the_upper() {
        let word = 0x0123_4567_89ab_cdef_u64;
        assert_eq!(Crc32c::add_wide(7, word), Crc32c::add(Crc32c::add(7, 0x89ab_cdef), 0x0123_4567));
    }
}
