//! Ringway's own chores.
fn main() {}
