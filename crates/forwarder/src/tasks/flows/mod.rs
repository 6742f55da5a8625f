//! Looking at packets: who talks to whom, in which protocols, and what is malformed.
//!
//! ```text
//!   ReceiveQueue… ─┐
//!                  ├─▶ Observer: flow parser ──▶ FlowTable (5-tuples), Mix (protocols), Faults (malformed, by reason)
//!   capture file ──┘
//! ```
//!
//! Contract: each packet is counted once in the mix, and once as of a flow in the table, of a flow that the table has no
//! room for, or of none; so both add up to the packets seen. The table's memory is taken once, at the start; a packet
//! allocates nothing. Packets that are received are dropped after they were looked at.
//!
//! Not here: what is printed.

mod faults;
mod mix;
mod observer;
mod table;
mod tuple;
mod watching;

#[cfg(test)]
mod tests;

pub use faults::{Fault, Faults};
pub use mix::{Mix, MixEntry, Network};
pub use observer::{Observer, Seen};
pub use table::{Flow, FlowTable, NoMemory};
pub use watching::{Progress, Watching};

use serde::Serialize;

/// Packets, and their bytes without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    /// One packet more.
    #[inline]
    pub fn add(&mut self, bytes: u64) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}
