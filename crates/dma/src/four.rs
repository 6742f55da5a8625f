//! Four descriptors at a time: their words in two vectors of 128 bits, without a way through the general registers.
//!
//! What is here does to each word what its own atomic does: an aligned access of eight bytes, which the processor makes at
//! once (Intel's manual, volume 3A, section 9.1.1; AMD's, volume 2, section 7.3.2). A pair is two aligned words of 32 bits,
//! which are read together or one after the other. The language has no vectors of atomics,
//! so these few instructions are written out. Loads and stores of x86-64 have acquire and release order; the compiler moves
//! no other access across them. Elsewhere, and under Miri, each word goes by its atomic.

use crate::{Descriptor, Pair};

pub use words::Four;

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod words {
    use super::{Descriptor, Pair};
    use std::arch::asm;
    use std::arch::x86_64::__m128i;

    /// Four words of 64 bits.
    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    pub struct Four {
        /// The first two.
        pub low: __m128i,
        /// The other two.
        pub high: __m128i,
    }

    impl From<[u64; 4]> for Four {
        #[inline(always)]
        fn from(words: [u64; 4]) -> Self {
            // SAFETY: both are 32 bytes, for which any bits are valid.
            unsafe { std::mem::transmute(words) }
        }
    }

    impl From<Four> for [u64; 4] {
        #[inline(always)]
        fn from(four: Four) -> Self {
            // SAFETY: as above.
            unsafe { std::mem::transmute(four) }
        }
    }

    impl Descriptor {
        /// The second words of four, read with acquire order.
        #[inline(always)]
        pub fn words(four: &[Self; 4]) -> Four {
            let (low, high): (__m128i, __m128i);
            // SAFETY: reads the four second words, as their atomics would.
            unsafe {
                asm!(
                    "movq {low}, qword ptr [{place} + 8]",
                    "movhps {low}, qword ptr [{place} + 24]",
                    "movq {high}, qword ptr [{place} + 40]",
                    "movhps {high}, qword ptr [{place} + 56]",
                    place = in(reg) four.as_ptr(),
                    low = out(xmm_reg) low,
                    high = out(xmm_reg) high,
                    options(nostack, preserves_flags),
                );
            }
            Four { low, high }
        }

        /// Lends memory to the device by four descriptors, and writes their second words.
        ///
        /// # Safety
        /// As of [`AddressWord::lend`](crate::AddressWord::lend), for each of the addresses.
        #[inline(always)]
        pub unsafe fn lend(four: &[Self; 4], addresses: Four, words: Four) {
            // SAFETY: writes the eight words, as their atomics would; what the addresses mean is the caller's promise.
            unsafe {
                asm!(
                    "movlps qword ptr [{place}], {a}",
                    "movlps qword ptr [{place} + 8], {b}",
                    "movhps qword ptr [{place} + 16], {a}",
                    "movhps qword ptr [{place} + 24], {b}",
                    "movlps qword ptr [{place} + 32], {c}",
                    "movlps qword ptr [{place} + 40], {d}",
                    "movhps qword ptr [{place} + 48], {c}",
                    "movhps qword ptr [{place} + 56], {d}",
                    place = in(reg) four.as_ptr(),
                    a = in(xmm_reg) addresses.low,
                    b = in(xmm_reg) words.low,
                    c = in(xmm_reg) addresses.high,
                    d = in(xmm_reg) words.high,
                    options(nostack, preserves_flags),
                );
            }
        }

        /// Lends memory to the device by four descriptors whose second words stay.
        ///
        /// # Safety
        /// As of [`AddressWord::lend`](crate::AddressWord::lend), for each of the addresses.
        #[inline(always)]
        pub unsafe fn lend_addresses(four: &[Self; 4], addresses: Four) {
            // SAFETY: as in `lend`.
            unsafe {
                asm!(
                    "movlps qword ptr [{place}], {a}",
                    "movhps qword ptr [{place} + 16], {a}",
                    "movlps qword ptr [{place} + 32], {c}",
                    "movhps qword ptr [{place} + 48], {c}",
                    place = in(reg) four.as_ptr(),
                    a = in(xmm_reg) addresses.low,
                    c = in(xmm_reg) addresses.high,
                    options(nostack, preserves_flags),
                );
            }
        }
    }

    impl Pair {
        /// What four pairs say, the first word of each in the lower half.
        #[inline(always)]
        pub fn words(four: &[Self; 4]) -> Four {
            let (low, high): (__m128i, __m128i);
            // SAFETY: reads the eight words of 32 bits, each of which is aligned, once.
            unsafe {
                asm!(
                    "movq {low}, qword ptr [{place}]",
                    "movhps {low}, qword ptr [{place} + 8]",
                    "movq {high}, qword ptr [{place} + 16]",
                    "movhps {high}, qword ptr [{place} + 24]",
                    place = in(reg) four.as_ptr(),
                    low = out(xmm_reg) low,
                    high = out(xmm_reg) high,
                    options(nostack, preserves_flags),
                );
            }
            Four { low, high }
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod words {
    use super::{Descriptor, Pair};
    use std::sync::atomic::Ordering;

    /// Four words of 64 bits.
    #[derive(Clone, Copy, Debug)]
    pub struct Four([u64; 4]);

    impl From<[u64; 4]> for Four {
        fn from(words: [u64; 4]) -> Self {
            Self(words)
        }
    }

    impl From<Four> for [u64; 4] {
        fn from(four: Four) -> Self {
            four.0
        }
    }

    impl Descriptor {
        /// The second words of four, read with acquire order.
        pub fn words(four: &[Self; 4]) -> Four {
            let [a, b, c, d] = four;
            Four([a, b, c, d].map(|descriptor| descriptor.word.load(Ordering::Acquire)))
        }

        /// Lends memory to the device by four descriptors, and writes their second words.
        ///
        /// # Safety
        /// As of [`AddressWord::lend`](crate::AddressWord::lend), for each of the addresses.
        pub unsafe fn lend(four: &[Self; 4], addresses: Four, words: Four) {
            // SAFETY: the caller's promise.
            unsafe { Self::lend_addresses(four, addresses) };
            for (descriptor, word) in four.iter().zip(words.0) {
                descriptor.word.store(word, Ordering::Relaxed);
            }
        }

        /// Lends memory to the device by four descriptors whose second words stay.
        ///
        /// # Safety
        /// As of [`AddressWord::lend`](crate::AddressWord::lend), for each of the addresses.
        pub unsafe fn lend_addresses(four: &[Self; 4], addresses: Four) {
            for (descriptor, address) in four.iter().zip(addresses.0) {
                // SAFETY: the caller's promise.
                unsafe { descriptor.address.lend(address) };
            }
        }
    }

    impl Pair {
        /// What four pairs say, the first word of each in the lower half.
        pub fn words(four: &[Self; 4]) -> Four {
            let [a, b, c, d] = four;
            Four([a, b, c, d].map(|pair| {
                let second = u64::from(pair.second.load(Ordering::Relaxed));
                u64::from(pair.first.load(Ordering::Relaxed)) | second << 32
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AddressSpace, Placement, Ring, RingMemory};
    use std::sync::atomic::Ordering;

    fn block() -> crate::Block {
        let space = AddressSpace::emulated();
        let mut memory = RingMemory::allocate(&space, Placement::default(), &[256])
            .unwrap_or_else(|error| panic!("{error}"));
        memory.block(256).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn four_descriptors_are_written_and_read_as_each_would_be() {
        let block = block();
        let ring: Ring<Descriptor> = block.ring(0, 8).unwrap_or_else(|error| panic!("{error}"));
        let Some(four) = ring.run(2).first_chunk::<4>() else { panic!("the ring has eight") };
        // SAFETY: nothing is done with these addresses.
        unsafe { Descriptor::lend(four, [1, 2, 3, u64::MAX].into(), [5, 6, u64::MAX - 1, 8].into()) };
        let words =
            |n: u32| (ring.at(n).address.load(Ordering::Relaxed), ring.at(n).word.load(Ordering::Relaxed));
        let expected = [(0, 0), (0, 0), (1, 5), (2, 6), (3, u64::MAX - 1), (u64::MAX, 8), (0, 0), (0, 0)];
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(words), expected);
        assert_eq!(<[u64; 4]>::from(Descriptor::words(four)), [5, 6, u64::MAX - 1, 8]);
        // SAFETY: as above.
        unsafe { Descriptor::lend_addresses(four, [11, 12, 13, 14].into()) };
        assert_eq!([1, 2, 5, 6].map(words), [(0, 0), (11, 5), (14, 8), (0, 0)]);
    }

    #[test]
    fn four_pairs_are_read_wherever_they_lie() {
        let block = block();
        let ring: Ring<Pair> = block.ring(4, 8).unwrap_or_else(|error| panic!("{error}"));
        for n in 0..8 {
            ring.at(n).first.store(n, Ordering::Relaxed);
            ring.at(n).second.store(0x100 + n, Ordering::Relaxed);
        }
        let Some(four) = ring.run(3).first_chunk::<4>() else { panic!("the ring has eight") };
        let expected: [u64; 4] = [3, 4, 5, 6].map(|n| n | (0x100 + n) << 32);
        assert_eq!(<[u64; 4]>::from(Pair::words(four)), expected);
    }
}
