//! Ringway's benchmarks. One file a subject: criterion benchmarks in `benches/`, programs to be run under an
//! instruction counter in `examples/`. `cargo xtask bench` runs them all.

pub mod bare;
pub mod callgrind;
pub mod forwarding;
pub mod stepped;
