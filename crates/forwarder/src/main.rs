//! The program `ringway`.
fn main() {}
