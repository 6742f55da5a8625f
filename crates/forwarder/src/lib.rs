//! The program `ringway`: forwards packets between network cards, from user space.
#![forbid(unsafe_code)]

pub mod engine;
pub mod machine;
