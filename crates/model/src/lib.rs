//! The device's side in software.
#![forbid(unsafe_code)]

pub mod ixgbe;
