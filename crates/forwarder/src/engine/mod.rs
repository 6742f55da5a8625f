//! The forwarding engine: workers that move packets from receive queues to transmit queues.
//!
//! ```text
//!   port A ── ReceiveQueue ──▶ Direction ──▶ TransmitQueue ── port B      one batch, one pool
//!   port B ── ReceiveQueue ──▶ Direction ──▶ TransmitQueue ── port A
//!                                 │
//!                       Worker: a thread with one or more tasks
//!                                 │ counters (one writer each), events
//!                                 ▼
//!                       Session: the main thread; rates, checks, limits, the end
//! ```
//!
//! Contract: a packet leaves in the order in which it came; one that doesn't fit is dropped and counted, or waits,
//! as the options say. Nothing on the packet path locks, allocates or writes what another thread writes, except
//! with a limit on packets, which all workers share. A worker that fails or panics stops the others; its queues
//! are dropped by its own thread, the others' come back.
//!
//! Not here: how ports are opened, what is printed, signals.

mod budget;
mod counters;
mod direction;
mod hang;
mod moderation;
mod outlet;
mod session;
mod shared;
mod sleep;
mod task;
mod worker;
mod workers;

#[cfg(test)]
pub(crate) mod memory_port;
#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use counters::{TaskCounters, TaskCounts};
pub use direction::{Direction, Rewrite, Touch, WhenFull};
pub use moderation::Moderation;
pub use outlet::{Outlet, Sent};
pub use session::{
    Active, Limits, Outcome, PortTotals, Promiscuity, Reception, Sample, Session, StoppedBy, Watch,
};
pub use shared::Event;
pub use task::{Round, Task};
pub use worker::Failure;
pub use workers::{Ended, Interrupts, Options, Workers, shares};
