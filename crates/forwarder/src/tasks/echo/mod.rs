//! A station that answers: ARP requests, neighbour solicitations, and ICMP and ICMPv6 echo requests for its addresses.
//!
//! ```text
//!   ReceiveQueue ──▶ request: what is asked, or why it isn't answered ──▶ reply: the frame becomes its answer ──▶ TransmitQueue
//! ```
//!
//! Contract: an answer is made in the buffer of its request, VLAN tags as they came. Nothing is answered whose lengths
//! or checksums are wrong. Each frame is counted once: as answered, or as ignored for one reason.
//!
//! Not here: a protocol stack. There is no neighbour table, as each answer goes to the station that asked; there are no
//! fragments put together, and no other messages.

mod counts;
mod reply;
mod request;
mod station;

#[cfg(test)]
mod port_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use counts::{Answered, EchoCounters, EchoCounts, Ignored};
pub use station::Station;

use crate::engine::{Budget, Outlet, Round, Sent, Task, TaskCounters};
use ringway_packet::{Batch, Frame};
use ringway_port::{Error, ReceiveQueue, TransmitQueue};
use std::sync::Arc;
use std::time::Instant;

/// Answers on one port.
#[derive(Debug)]
pub struct Echo {
    receive: Box<dyn ReceiveQueue>,
    transmit: Outlet,
    station: Station,
    batch: Batch,
    counts: Arc<EchoCounters>,
}

impl Echo {
    /// Answers for `station` what comes from `receive`, on `transmit` of the same port, in batches of `size`.
    pub fn new(
        receive: Box<dyn ReceiveQueue>,
        transmit: Box<dyn TransmitQueue>,
        station: Station,
        size: usize,
    ) -> Self {
        let batch = Batch::new(receive.pool(), size);
        let transmit = Outlet::new(transmit, Sent::Forwarded);
        Self { receive, transmit, station, batch, counts: Arc::default() }
    }

    /// What it answers and ignores.
    pub fn counts(&self) -> &Arc<EchoCounters> {
        &self.counts
    }
}

/// Makes the frame its answer and counts it. `false`: there is none.
fn answer(station: &Station, counts: &EchoCounters, frame: &mut Frame<'_>) -> bool {
    let answered = if frame.total_len() == frame.len() {
        request::examine(station, frame.data()).and_then(|request| reply::write(station, request, frame))
    } else {
        Err(Ignored::TooLong)
    };
    match answered {
        Ok(answered) => counts.answered(answered),
        Err(reason) => counts.ignored(reason),
    }
    answered.is_ok()
}

impl Task for Echo {
    fn round(&mut self, _budget: Option<&Budget>) -> Result<Round, Error> {
        let received = self.receive.receive(&mut self.batch)?;
        let Self { station, batch, counts, .. } = self;
        if received > 0 {
            batch.retain(|frame| answer(station, counts, frame));
        }
        if self.batch.is_empty() {
            self.transmit.idle()?;
            return Ok(Round { received, ..Round::default() });
        }
        let sent = self.transmit.send(&mut self.batch)?;
        if !self.batch.is_empty() {
            // Who asked asks again.
            self.transmit.counters().dropped(self.batch.clear() as u64);
        }
        Ok(Round { received, sent, finished: false })
    }

    fn drain(&mut self, deadline: Instant) -> Result<(), Error> {
        self.transmit.drain(&mut self.batch, deadline)
    }

    fn counters(&self) -> &Arc<TaskCounters> {
        self.transmit.counters()
    }
}
