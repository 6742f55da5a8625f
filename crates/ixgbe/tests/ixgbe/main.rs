//! The 82599 driver on the 82599 model, by subject. Driver and model know nothing of one another's constants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on has failed"
)]

mod clock;
mod dumps;
mod filters;
mod hostile;
mod interrupts;
mod jumbo;
mod link;
mod moving;
mod offloads;
mod packets;
mod pause;
mod queues;
mod starting;
mod statistics;
mod steering;
mod stopping;
mod support;
mod telling;
