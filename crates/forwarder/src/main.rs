//! The program `ringway`.
#![forbid(unsafe_code)]
fn main() {}
