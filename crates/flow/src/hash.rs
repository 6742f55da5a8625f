//! Hashes of flows: Open vSwitch's own in both of its kinds, its symmetric ones, and Toeplitz.
//!
//! Open vSwitch mixes words in one of two ways, chosen when it is compiled: [`Murmur`] in general,
//! [`Crc32c`] on x86-64 with SSE 4.2. The two give different numbers, so hashes are to be compared with those
//! of a build of the same kind only. None of these is meant to withstand an adversary.

mod crc32c;
mod five_tuple;
mod jenkins;
mod murmur;
mod rss;
mod symmetric;
mod toeplitz;

pub use crc32c::Crc32c;
pub use five_tuple::{hash_five_tuple_of_flow, hash_five_tuple_of_words};
pub use murmur::Murmur;
pub use toeplitz::{MICROSOFT_KEY, Toeplitz};

/// A way to mix words into a hash.
///
/// Implement it for a kind that the processor computes faster; [`Crc32c`] works by tables.
pub trait HashKind {
    /// Mixes in 32 bits.
    fn add(hash: u32, word: u32) -> u32;
    /// Mixes in 64 bits.
    fn add_wide(hash: u32, word: u64) -> u32;
    /// The end, with a number that tells uses apart.
    fn finish(hash: u32, last: u32) -> u32;
}
