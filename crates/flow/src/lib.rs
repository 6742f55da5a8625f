//! Open vSwitch's flow extraction in safe Rust.
