//! Copies between private memory and memory that others may be changing.
//!
//! Rings are used by driver and device at once, and two devices of one address space may be in the same buffer if
//! one of them is faulty. Plain copies would be data races there, so these go by relaxed atomics: eight bytes at a
//! time where the place is aligned, single bytes at the ends. An aligned word is never seen half-written.
//!
//! The language leaves open what happens when accesses of different sizes meet in one place; every processor
//! defines it (each byte is one that someone wrote), and a real device is no different.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

/// How many of `length` bytes at `place` come before the first aligned word.
fn before_words(place: *const u8, length: usize) -> usize {
    place.addr().wrapping_neg().wrapping_rem(WORD).min(length)
}

/// Reads `bytes.len()` bytes at `place`.
///
/// # Safety
/// They are mapped, and nobody accesses them other than by atomics meanwhile.
pub(crate) unsafe fn load(place: *mut u8, bytes: &mut [u8]) {
    let (head, rest) = bytes.split_at_mut(before_words(place, bytes.len()));
    let mut place = place;
    let byte = |byte: &mut u8, place: &mut *mut u8| {
        // SAFETY: inside the range of the caller's word; each byte moves `place` on by one.
        unsafe {
            *byte = AtomicU8::from_ptr(*place).load(Ordering::Relaxed);
            *place = place.add(1);
        }
    };
    head.iter_mut().for_each(|to| byte(to, &mut place));
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    for word in words {
        // SAFETY: as above, and aligned: the bytes before the first multiple of eight are passed.
        unsafe {
            *word = AtomicU64::from_ptr(place.cast()).load(Ordering::Relaxed).to_ne_bytes();
            place = place.add(WORD);
        }
    }
    tail.iter_mut().for_each(|to| byte(to, &mut place));
}

/// Writes `bytes` at `place`.
///
/// # Safety
/// As for [`load`].
pub(crate) unsafe fn store(place: *mut u8, bytes: &[u8]) {
    let (head, rest) = bytes.split_at(before_words(place, bytes.len()));
    let mut place = place;
    let byte = |byte: &u8, place: &mut *mut u8| {
        // SAFETY: inside the range of the caller's word; each byte moves `place` on by one.
        unsafe {
            AtomicU8::from_ptr(*place).store(*byte, Ordering::Relaxed);
            *place = place.add(1);
        }
    };
    head.iter().for_each(|from| byte(from, &mut place));
    let (words, tail) = rest.as_chunks::<WORD>();
    for word in words {
        // SAFETY: as above, and aligned: the bytes before the first multiple of eight are passed.
        unsafe {
            AtomicU64::from_ptr(place.cast()).store(u64::from_ne_bytes(*word), Ordering::Relaxed);
            place = place.add(WORD);
        }
    }
    tail.iter().for_each(|from| byte(from, &mut place));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_and_length_moves_its_bytes_and_no_others() {
        for start in 0..17 {
            for length in 0..40 {
                let mut memory = [0xaau8; 64];
                let bytes: Vec<u8> = (1..=length as u8).collect();
                let place = memory.as_mut_ptr().wrapping_add(start);
                // SAFETY: 17 + 40 is below 64; the array is this thread's own.
                unsafe { store(place, &bytes) };
                let mut back = vec![0; length];
                // SAFETY: as above.
                unsafe { load(place, &mut back) };
                assert_eq!(back, bytes);
                assert_eq!(memory[start..start + length], bytes);
                assert!(memory[..start].iter().chain(&memory[start + length..]).all(|&byte| byte == 0xaa));
            }
        }
    }
}
