//! Ringway's flow parser behind Open vSwitch's C interface: `miniflow_extract()`, `miniflow_hash_5tuple()` and
//! `flow_hash_5tuple()` for `ovs-vswitchd`.
//!
//! Two halves. The C half (`c/boundary.c`) is compiled against the headers of the Open vSwitch that the library
//! goes into; it takes `struct dp_packet` apart, calls the Rust half with pointers and lengths, and puts the
//! results back. The Rust half makes references of the pointers and calls [`ringway_flow`]. Nothing unwinds
//! from one to the other: the parser has no panic in it, and `extern "C"` would end the process if it had.
//!
//! Without headers (see `build.rs`) only the Rust half is built: the crate compiles and its tests run, but it
//! has no entry point.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod boundary;
#[cfg(all(ringway_ovs, feature = "differential"))]
pub mod differential;
mod hash;

/// The layout of the Open vSwitch that this was built for.
#[cfg(ringway_layout = "V3_1")]
pub type Target = ringway_flow::V3_1;
/// The layout of the Open vSwitch that this was built for.
#[cfg(ringway_layout = "V3_5")]
pub type Target = ringway_flow::V3_5;
/// The layout of the Open vSwitch that this was built for.
#[cfg(ringway_layout = "V3_6")]
pub type Target = ringway_flow::V3_6;
/// The layout of the Open vSwitch that this was built for.
#[cfg(ringway_layout = "V3_7")]
pub type Target = ringway_flow::V3_7;
