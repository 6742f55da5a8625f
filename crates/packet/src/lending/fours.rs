//! Four slots at a time: what `exchange_run` and `lend_run` do one by one, in vectors of 128 bits.
//!
//! A packet costs 15 instructions this way instead of 26. x86-64 always has these vectors (SSE2); elsewhere there are no
//! fours, and everything goes one by one. Both ways read and write descriptors with the same atomic words.
//!
//! Only arithmetic is here. Which slots, packets and buffers are meant, and that they are there, is the callers'
//! business; what doesn't fit the common case is left to them as a whole four.

use super::NONE;
use crate::pool::HEADROOM;
use crate::word::{POSITION_SHIFT, UNPLAIN, Word};

/// How a device says, in the second word of a receive descriptor, that its buffer holds a whole packet: `mask` of the
/// lower half is `value`. The packet's length is in bits 47:32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The bits that count.
    pub mask: u32,
    /// What they are.
    pub value: u32,
}

/// What a device is told in the second word of a transmit descriptor: `flags`, the packet's length in the lowest bits,
/// and again from bit `again` on. Packets shorter than `shortest` are not for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What is the same for every packet.
    pub flags: u64,
    /// Where the length stands a second time.
    pub again: u32,
    /// The shortest packet.
    pub shortest: u32,
}

/// What four received slots come to.
pub(super) struct Received {
    /// The packets.
    pub(super) words: [Word; 4],
    /// Where the buffers are that replace theirs.
    pub(super) addresses: [u64; 4],
}

/// What four packets that are sent come to.
pub(super) struct Sent {
    /// Which buffers the slots hold.
    pub(super) owners: [u32; 4],
    pub(super) addresses: [u64; 4],
    pub(super) commands: [u64; 4],
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::*;
    use std::arch::x86_64::*;

    /// Bytes of four packets at a time.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Bytes(__m128i);

    impl Bytes {
        #[inline]
        #[target_feature(enable = "sse2")]
        fn zero() -> Self {
            Self(splat(0))
        }

        #[inline(always)]
        pub(in super::super) fn none() -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self::zero() }
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        fn total(self) -> u64 {
            lanes(self.0).iter().fold(0, |sum: u64, lane| sum.wrapping_add(u64::from(*lane)))
        }

        #[inline(always)]
        pub(in super::super) fn sum(self) -> u64 {
            // SAFETY: as in `none`.
            unsafe { self.total() }
        }
    }

    /// What stays the same over a run of received slots.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Receiver {
        mask: __m128i,
        value: __m128i,
        capacity: __m128i,
        base: __m128i,
        shift: __m128i,
        position: __m128i,
    }

    impl Receiver {
        #[inline]
        #[target_feature(enable = "sse2")]
        fn prepare(whole: Whole, capacity: u32, base: u64, shift: u32) -> Self {
            Self {
                mask: splat(whole.mask),
                value: splat(whole.value),
                capacity: splat(capacity),
                base: pair(base, base),
                shift: pair(shift.into(), 0),
                position: pair(u64::from(shift.wrapping_add(POSITION_SHIFT)), 0),
            }
        }

        #[inline(always)]
        pub(in super::super) fn new(whole: Whole, capacity: u32, base: u64, shift: u32) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self::prepare(whole, capacity, base, shift) }
        }

        /// From the second words of four descriptors, the buffers that the slots hold and those that replace them.
        /// `None`: not four whole packets that fit.
        #[inline(always)]
        pub(in super::super) fn take(
            &self,
            said: [u64; 4],
            owners: &[u32; 4],
            numbers: &[u32; 4],
            bytes: &mut Bytes,
        ) -> Option<Received> {
            // SAFETY: as in `new`.
            unsafe { self.compute(said, owners, numbers, bytes) }
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        fn compute(
            &self,
            said: [u64; 4],
            owners: &[u32; 4],
            numbers: &[u32; 4],
            bytes: &mut Bytes,
        ) -> Option<Received> {
            let [a, b, c, d] = said;
            let (low, high) = (pair(a, b), pair(c, d));
            let status = even(low, high);
            let lengths = _mm_and_si128(odd(low, high), splat(0xffff));
            let owners = four(owners);
            let whole = _mm_cmpeq_epi32(_mm_and_si128(status, self.mask), self.value);
            let refused =
                _mm_or_si128(_mm_cmpgt_epi32(lengths, self.capacity), _mm_cmpeq_epi32(owners, splat(NONE)));
            if !all(_mm_andnot_si128(refused, whole)) {
                return None;
            }
            bytes.0 = _mm_add_epi32(bytes.0, lengths);
            // The upper half of each: the headroom, at the position's place.
            const START: u32 = HEADROOM >> (32 - POSITION_SHIFT);
            let (first, second) = widen(owners, splat(0));
            let (first_length, second_length) = widen(lengths, splat(START));
            let words = quads(
                _mm_add_epi64(_mm_sll_epi64(first, self.position), first_length),
                _mm_add_epi64(_mm_sll_epi64(second, self.position), second_length),
            );
            let (first, second) = widen(four(numbers), splat(0));
            let addresses = quads(
                _mm_add_epi64(_mm_sll_epi64(first, self.shift), self.base),
                _mm_add_epi64(_mm_sll_epi64(second, self.shift), self.base),
            );
            Some(Received { words: words.map(Word), addresses })
        }
    }

    /// What stays the same over a run of packets that are sent.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Sender {
        flags: __m128i,
        again: __m128i,
        below: __m128i,
        base: __m128i,
        number: __m128i,
        tag: __m128i,
    }

    impl Sender {
        #[inline]
        #[target_feature(enable = "sse2")]
        fn prepare(plain: Plain, base: u64, shift: u32, tag: u32) -> Self {
            Self {
                flags: pair(plain.flags, plain.flags),
                again: pair(plain.again.into(), 0),
                below: splat(plain.shortest.saturating_sub(1)),
                base: pair(base, base),
                number: pair(u64::from(shift.wrapping_add(POSITION_SHIFT)), 0),
                tag: splat(tag),
            }
        }

        #[inline(always)]
        pub(in super::super) fn new(plain: Plain, base: u64, shift: u32, tag: u32) -> Self {
            // SAFETY: every x86-64 has SSE2.
            unsafe { Self::prepare(plain, base, shift, tag) }
        }

        /// From four packets, and what their slots hold. `None`: not four plain packets for four empty slots.
        #[inline(always)]
        pub(in super::super) fn give(
            &self,
            words: &[Word; 4],
            owners: &[u32; 4],
            bytes: &mut Bytes,
        ) -> Option<Sent> {
            // SAFETY: as in `new`.
            unsafe { self.compute(words, owners, bytes) }
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        fn compute(&self, words: &[Word; 4], owners: &[u32; 4], bytes: &mut Bytes) -> Option<Sent> {
            let [a, b, c, d] = *words;
            let (low, high) = (pair(a.0, b.0), pair(c.0, d.0));
            // The length, and above it the flags of what is not plain: zero, or the whole is too large.
            let lengths = _mm_and_si128(even(low, high), splat(UNPLAIN as u32 | 0xffff));
            let plain = _mm_and_si128(
                _mm_cmpgt_epi32(lengths, self.below),
                _mm_cmplt_epi32(lengths, splat(0x1_0000)),
            );
            if !all(_mm_and_si128(plain, _mm_cmpeq_epi32(four(owners), splat(NONE)))) {
                return None;
            }
            bytes.0 = _mm_add_epi32(bytes.0, lengths);
            let numbers = even(_mm_srl_epi64(low, self.number), _mm_srl_epi64(high, self.number));
            const POSITION: i32 = POSITION_SHIFT as i32;
            let addresses = quads(
                _mm_add_epi64(_mm_srli_epi64::<POSITION>(low), self.base),
                _mm_add_epi64(_mm_srli_epi64::<POSITION>(high), self.base),
            );
            let command =
                |length| _mm_or_si128(_mm_or_si128(length, _mm_sll_epi64(length, self.again)), self.flags);
            let (first, second) = widen(lengths, splat(0));
            Some(Sent {
                owners: lanes(_mm_or_si128(numbers, self.tag)),
                addresses,
                commands: quads(command(first), command(second)),
            })
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn splat(value: u32) -> __m128i {
        _mm_set1_epi32(value as i32)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn pair(low: u64, high: u64) -> __m128i {
        _mm_set_epi64x(high as i64, low as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn four(values: &[u32; 4]) -> __m128i {
        let [a, b, c, d] = *values;
        _mm_set_epi32(d as i32, c as i32, b as i32, a as i32)
    }

    /// The lower halves of four words.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn even(low: __m128i, high: __m128i) -> __m128i {
        _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(_mm_castsi128_ps(low), _mm_castsi128_ps(high)))
    }

    /// The upper halves.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn odd(low: __m128i, high: __m128i) -> __m128i {
        _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(_mm_castsi128_ps(low), _mm_castsi128_ps(high)))
    }

    /// Lower halves and upper halves to four words.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn widen(low: __m128i, high: __m128i) -> (__m128i, __m128i) {
        (_mm_unpacklo_epi32(low, high), _mm_unpackhi_epi32(low, high))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn all(truths: __m128i) -> bool {
        _mm_movemask_ps(_mm_castsi128_ps(truths)) == 0xf
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn lanes(vector: __m128i) -> [u32; 4] {
        // SAFETY: both are 16 bytes, for which any bits are valid.
        unsafe { std::mem::transmute(vector) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn quads(low: __m128i, high: __m128i) -> [u64; 4] {
        // SAFETY: as in `lanes`.
        unsafe { std::mem::transmute([low, high]) }
    }
}

/// Without vectors: no four ever fits.
#[cfg(not(target_arch = "x86_64"))]
mod vectors {
    use super::*;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Bytes;

    impl Bytes {
        pub(in super::super) fn none() -> Self {
            Self
        }

        pub(in super::super) fn sum(self) -> u64 {
            0
        }
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Receiver;

    impl Receiver {
        pub(in super::super) fn new(_whole: Whole, _capacity: u32, _base: u64, _shift: u32) -> Self {
            Self
        }

        pub(in super::super) fn take(
            &self,
            _said: [u64; 4],
            _owners: &[u32; 4],
            _numbers: &[u32; 4],
            _bytes: &mut Bytes,
        ) -> Option<Received> {
            None
        }
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Sender;

    impl Sender {
        pub(in super::super) fn new(_plain: Plain, _base: u64, _shift: u32, _tag: u32) -> Self {
            Self
        }

        pub(in super::super) fn give(
            &self,
            _words: &[Word; 4],
            _owners: &[u32; 4],
            _bytes: &mut Bytes,
        ) -> Option<Sent> {
            None
        }
    }
}

pub(super) use vectors::{Bytes, Receiver, Sender};
