//! Binding, status and doctor on a machine in a folder, without root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of a test may fail it")]

mod bind;
mod doctor;
mod fake;
mod refusals;
mod status;
mod unbind;
