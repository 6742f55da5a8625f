//! Fields of headers as they lie in memory, and words put together from them.
//!
//! Nothing here swaps bytes but [`number`]: fields move from packet to flow unchanged, so the code is right on
//! machines of either byte order. With a constant offset each of these is one load.

/// The eight bytes of a packet that start at `at`, as they lie in memory.
#[inline(always)]
pub(crate) fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    match bytes.split_at_checked(at).and_then(|(_, rest)| rest.first_chunk::<8>()) {
        Some(&eight) => u64::from_ne_bytes(eight),
        None => 0,
    }
}

/// The four bytes of a packet that start at `at`, as they lie in memory.
#[inline(always)]
pub(crate) fn half<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    match bytes.split_at_checked(at).and_then(|(_, rest)| rest.first_chunk::<4>()) {
        Some(&four) => u32::from_ne_bytes(four),
        None => 0,
    }
}

/// The two bytes of a packet that start at `at`, as they lie in memory.
#[inline(always)]
pub(crate) fn quarter<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    match bytes.split_at_checked(at).and_then(|(_, rest)| rest.first_chunk::<2>()) {
        Some(&two) => u16::from_ne_bytes(two),
        None => 0,
    }
}

/// The number in network byte order at `at`.
#[inline(always)]
pub(crate) fn number<const N: usize>(bytes: &[u8; N], at: usize) -> usize {
    usize::from(u16::from_be(quarter(bytes, at)))
}

/// A word of two halves, the first at the lower address.
#[inline(always)]
pub(crate) const fn pair(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        first as u64 | (second as u64) << 32
    } else {
        (first as u64) << 32 | second as u64
    }
}

/// Half a word of two quarters, the first at the lower address.
#[inline(always)]
pub(crate) const fn quarters(first: u16, second: u16) -> u32 {
    if cfg!(target_endian = "little") {
        first as u32 | (second as u32) << 16
    } else {
        (first as u32) << 16 | second as u32
    }
}
