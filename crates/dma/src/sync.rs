//! The atomics and locks that lending stands on, in one place.
//!
//! `lent.rs` names nothing but this module, so that `tests/loom.rs` can compile the same file against loom's
//! atomics and try every interleaving.

pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Arc, PoisonError, RwLock};

/// One turn of a wait for another thread's few instructions.
pub(crate) fn pause(turn: u32) {
    if turn.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
}
