//! Ringway's benchmarks. One file a subject: criterion benchmarks in `benches/`, programs to be run under an
//! instruction counter in `examples/`.

pub mod callgrind;
