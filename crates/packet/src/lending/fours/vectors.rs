//! Fours in vectors of 128 bits (SSE2).

use super::{Four, Plain, Received, Sent, Whole};
use crate::lending::NONE;
use crate::pool::HEADROOM;
use crate::word::{POSITION_SHIFT, UNPLAIN, Word};
use std::arch::x86_64::*;

/// Bytes of four packets at a time. A batch has 256, of less than 64 KiB each: a lane never overflows, nor do all.
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
        u64::from(lanes(self.0).iter().fold(0, |sum: u32, lane| sum.wrapping_add(*lane)))
    }

    #[inline(always)]
    pub(in super::super) fn sum(self) -> u64 {
        // SAFETY: as in `none`.
        unsafe { self.total() }
    }
}

/// What stays the same for all received slots of a ring, made once.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(in super::super) struct Receiver {
    capacity: [u32; 4],
    base: [u64; 2],
    shift: [u64; 2],
    position: [u64; 2],
}

impl Receiver {
    pub(in super::super) fn new(capacity: u32, base: u64, shift: u32) -> Self {
        Self {
            capacity: [capacity; 4],
            base: [base; 2],
            shift: [shift.into(), 0],
            position: [u64::from(shift.wrapping_add(POSITION_SHIFT)), 0],
        }
    }

    /// From the second words of four descriptors, the buffers that the slots hold (each has one) and those that
    /// replace them. `None`: not four whole packets that fit.
    #[inline(always)]
    pub(in super::super) fn take(
        &self,
        whole: Whole,
        said: Four,
        owners: &[u32; 4],
        numbers: &[u32; 4],
        bytes: &mut Bytes,
    ) -> Option<Received> {
        // SAFETY: every x86-64 has SSE2.
        unsafe { self.compute(whole, said, owners, numbers, bytes) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn compute(
        &self,
        whole: Whole,
        said: Four,
        owners: &[u32; 4],
        numbers: &[u32; 4],
        bytes: &mut Bytes,
    ) -> Option<Received> {
        let Four { low, high } = said;
        let status = even(low, high);
        let lengths = _mm_and_si128(odd(low, high), splat(0xffff));
        let owners = four(owners);
        let other = _mm_xor_si128(_mm_and_si128(status, splat(whole.mask)), splat(whole.value));
        let long = _mm_cmpgt_epi32(lengths, four(&self.capacity));
        if any(_mm_or_si128(other, long)) {
            return None;
        }
        Some(self.exchange(lengths, owners, numbers, bytes))
    }

    /// The same for a device that says it in a ring of its own: the slot in the lower half, which must be `slot` and
    /// those behind it, and in the upper half the bytes that it wrote, `prefix` and at most `longest`.
    #[inline(always)]
    pub(in super::super) fn take_named(
        &self,
        said: Four,
        slot: u32,
        (prefix, longest): (u32, u32),
        owners: &[u32; 4],
        numbers: &[u32; 4],
        bytes: &mut Bytes,
    ) -> Option<Received> {
        // SAFETY: every x86-64 has SSE2.
        unsafe { self.compute_named(said, slot, (prefix, longest), owners, numbers, bytes) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn compute_named(
        &self,
        said: Four,
        slot: u32,
        (prefix, longest): (u32, u32),
        owners: &[u32; 4],
        numbers: &[u32; 4],
        bytes: &mut Bytes,
    ) -> Option<Received> {
        let Four { low, high } = said;
        // Less than the prefix wraps around, and is too long: the comparison is of signed numbers.
        const SIGN: u32 = 1 << 31;
        let lengths = _mm_sub_epi32(odd(low, high), splat(prefix));
        let refused = _mm_cmpgt_epi32(_mm_xor_si128(lengths, splat(SIGN)), splat(longest ^ SIGN));
        let slots = _mm_add_epi32(splat(slot), _mm_set_epi32(3, 2, 1, 0));
        if any(_mm_or_si128(refused, _mm_xor_si128(even(low, high), slots))) {
            return None;
        }
        Some(self.exchange(lengths, four(owners), numbers, bytes))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn exchange(&self, lengths: __m128i, owners: __m128i, numbers: &[u32; 4], bytes: &mut Bytes) -> Received {
        let (position, shift, base) = (two(&self.position), two(&self.shift), two(&self.base));
        bytes.0 = _mm_add_epi32(bytes.0, lengths);
        // The upper half of each: the headroom, at the position's place.
        const START: u32 = HEADROOM >> (32 - POSITION_SHIFT);
        let (first, second) = widen(owners, splat(0));
        let (first_length, second_length) = widen(lengths, splat(START));
        let words = quads(
            _mm_add_epi64(_mm_sll_epi64(first, position), first_length),
            _mm_add_epi64(_mm_sll_epi64(second, position), second_length),
        );
        let (first, second) = widen(four(numbers), splat(0));
        let addresses = Four {
            low: _mm_add_epi64(_mm_sll_epi64(first, shift), base),
            high: _mm_add_epi64(_mm_sll_epi64(second, shift), base),
        };
        Received { words: words.map(Word), addresses }
    }
}

/// What stays the same for all packets that a queue sends from one of its pools, made once for each.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(in super::super) struct Senders {
    base: [u64; 2],
    number: [u64; 2],
    inside: [u32; 4],
    tag: [u32; 4],
}

impl Senders {
    /// `tag` is added to the numbers of buffers in a ring's records.
    pub(in super::super) fn new(base: u64, shift: u32, tag: u32) -> Self {
        Self {
            base: [base; 2],
            tag: [tag; 4],
            number: [u64::from(shift.wrapping_add(POSITION_SHIFT)), 0],
            inside: [1u32.wrapping_shl(shift).wrapping_sub(1); 4],
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn prepare(&self, plain: Plain, longest: Option<u32>) -> Sender {
        Sender {
            flags: (splat(plain.flags as u32), splat((plain.flags >> 32) as u32)),
            again: pair(plain.again.wrapping_sub(32).into(), 0),
            shortest: splat(plain.shortest.min(0xffff)),
            longest: longest.map(|longest| splat(longest.min(0xffff))),
            inside: four(&self.inside),
            tag: four(&self.tag),
            base: two(&self.base),
            number: two(&self.number),
        }
    }

    /// For packets up to `longest` bytes, or as long as there are. `plain` is one for fours (`Plain::is_for_fours`).
    #[inline(always)]
    pub(in super::super) fn sender(&self, plain: Plain, longest: Option<u32>) -> Sender {
        // SAFETY: every x86-64 has SSE2.
        unsafe { self.prepare(plain, longest) }
    }
}

/// What stays the same over a run of packets that are sent.
#[derive(Clone, Copy)]
pub(in super::super) struct Sender {
    flags: (__m128i, __m128i),
    again: __m128i,
    shortest: __m128i,
    /// Packets that are no longer than a length can say need no comparison.
    longest: Option<__m128i>,
    inside: __m128i,
    tag: __m128i,
    base: __m128i,
    number: __m128i,
}

impl Sender {
    /// From four packets, and what their slots hold. `None`: not four plain packets, with `PREFIX` bytes before each,
    /// for four empty slots.
    #[inline(always)]
    pub(in super::super) fn give<const PREFIX: usize>(
        &self,
        words: &[Word; 4],
        owners: &[u32; 4],
        bytes: &mut Bytes,
    ) -> Option<Sent> {
        // SAFETY: as in `sender`.
        unsafe { self.compute::<PREFIX>(words, owners, bytes) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn compute<const PREFIX: usize>(
        &self,
        words: &[Word; 4],
        owners: &[u32; 4],
        bytes: &mut Bytes,
    ) -> Option<Sent> {
        let [a, b, c, d] = *words;
        let (low, high) = (pair(a.0, b.0), pair(c.0, d.0));
        // The length, and above it the flags of what is not plain. A length that is too short or too long takes one from
        // the upper half, so that is zero only with neither.
        let lengths = _mm_and_si128(even(low, high), splat(UNPLAIN as u32 | 0xffff));
        let mut outside = _mm_sub_epi32(lengths, self.shortest);
        if let Some(longest) = self.longest {
            outside = _mm_or_si128(outside, _mm_sub_epi32(longest, lengths));
        }
        let upper = _mm_srli_epi32::<16>(outside);
        let mut refused = _mm_or_si128(upper, _mm_xor_si128(four(owners), splat(NONE)));
        const POSITION: i32 = POSITION_SHIFT as i32;
        let positions = (_mm_srli_epi64::<POSITION>(low), _mm_srli_epi64::<POSITION>(high));
        if PREFIX != 0 {
            let offsets = _mm_and_si128(even(positions.0, positions.1), self.inside);
            refused = _mm_or_si128(refused, _mm_cmplt_epi32(offsets, splat(PREFIX as u32)));
        }
        if any(refused) {
            return None;
        }
        bytes.0 = _mm_add_epi32(bytes.0, lengths);
        let numbers = even(_mm_srl_epi64(low, self.number), _mm_srl_epi64(high, self.number));
        // The prefix goes with the packet.
        let base = _mm_sub_epi64(self.base, pair(PREFIX as u64, PREFIX as u64));
        // Halves by themselves: the lower ones don't carry, and the length stands again in the upper ones only, if at all.
        let (low, high) = widen(
            _mm_add_epi32(lengths, self.flags.0),
            _mm_add_epi32(_mm_sll_epi32(lengths, self.again), self.flags.1),
        );
        Some(Sent {
            owners: lanes(_mm_or_si128(numbers, self.tag)),
            addresses: Four { low: _mm_add_epi64(positions.0, base), high: _mm_add_epi64(positions.1, base) },
            commands: Four { low, high },
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
fn two(values: &[u64; 2]) -> __m128i {
    let [a, b] = *values;
    pair(a, b)
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

/// Whether any bit is set.
#[inline]
#[target_feature(enable = "sse2")]
fn any(bits: __m128i) -> bool {
    #[cfg(target_feature = "sse4.1")]
    // SAFETY: the program is compiled for processors that have it.
    unsafe {
        is_set(bits)
    }
    #[cfg(not(target_feature = "sse4.1"))]
    {
        _mm_movemask_epi8(_mm_cmpeq_epi32(bits, splat(0))) != 0xffff
    }
}

#[cfg(target_feature = "sse4.1")]
#[inline]
#[target_feature(enable = "sse4.1")]
fn is_set(bits: __m128i) -> bool {
    _mm_testz_si128(bits, bits) == 0
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
