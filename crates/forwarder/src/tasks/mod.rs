//! What workers run beside forwarding: the [`Task`](crate::engine::Task)s of the other commands.
//!
//! Contract: a task owns its queues and allocates nothing for a packet. What it counts is read by other threads while
//! it runs.
//!
//! Not here: how ports are opened, what is printed ([`commands`](crate::commands)).

pub mod capturing;
pub mod echo;
pub mod flows;
pub mod generating;
pub mod receiving;
pub mod replaying;

#[cfg(test)]
mod hang_tests;
