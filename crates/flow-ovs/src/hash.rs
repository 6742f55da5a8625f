//! CRC32C by the processor's instruction, where the library is compiled for it (`-C target-feature=+sse4.2`),
//! as the Open vSwitch that wants this kind of hash is; by tables otherwise.

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
pub(crate) use ringway_flow::Crc32c as Crc;

#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
pub(crate) use instruction::Crc;

#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
mod instruction {
    use core::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};

    use ringway_flow::HashKind;

    pub(crate) struct Crc;

    impl HashKind for Crc {
        #[inline(always)]
        fn add(hash: u32, word: u32) -> u32 {
            // SAFETY: the whole library is compiled for processors that have the instruction.
            unsafe { _mm_crc32_u32(hash, word) }
        }

        #[inline(always)]
        fn add_wide(hash: u32, word: u64) -> u32 {
            // SAFETY: the whole library is compiled for processors that have the instruction.
            unsafe { _mm_crc32_u64(u64::from(hash), word) as u32 }
        }

        #[inline(always)]
        fn finish(hash: u32, last: u32) -> u32 {
            let hash = Self::add_wide(hash, u64::from(last)).wrapping_mul(0x8052_04f3);
            hash ^ hash >> 16
        }
    }
}
