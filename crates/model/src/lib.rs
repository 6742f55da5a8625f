//! The device's side in software.
