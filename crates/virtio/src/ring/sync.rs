//! The atomics and barriers that `telling.rs` stands on, in one place, so that `tests/loom.rs` can compile the same file
//! against loom's and try every interleaving.

pub(super) use ringway_dma::barrier;
pub(super) use std::sync::atomic::{AtomicU16, Ordering};
