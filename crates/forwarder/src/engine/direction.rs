//! One direction: packets of one receive queue go to one transmit queue.

use super::budget::Budget;
use super::counters::TaskCounters;
use super::outlet::{Outlet, Sent};
use super::task::{Round, Task};
use super::workers::Options;
use ringway_packet::Batch;
use ringway_port::{Error, MacAddress, ReceiveQueue, TransmitQueue};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// What the program does with a packet's bytes on the way, so that it passes through the processor's cache as it
/// would with any real work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Nothing: only descriptors move.
    No,
    /// Reads the first byte. Packets stay as they are.
    #[default]
    Read,
    /// Adds one to byte 48, as ixy's forwarder does: packets are changed.
    Write,
}

/// Which byte [`Touch::Write`] changes: that of ixy's forwarder, in the payload of a UDP packet over IPv4.
const TOUCHED: usize = 48;

/// What happens to packets that the transmit ring has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// They are dropped and counted, as a switch does; a slow port never holds up another.
    #[default]
    Drop,
    /// They wait, and nothing more is received in this direction until they are gone. A source that waits too then
    /// loses nothing.
    Wait,
}

/// Ethernet addresses that are written into each packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The source address.
    pub source: Option<MacAddress>,
    /// The destination address.
    pub destination: Option<MacAddress>,
}

/// One direction of forwarding, from a receive queue to a transmit queue. It owns both, and its cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct Direction {
    receive: Box<dyn ReceiveQueue>,
    transmit: Outlet,
    rewrite: Rewrite,
    batch: Batch,
    size: usize,
    touch: Touch,
    when_full: WhenFull,
    /// Of the limit, what the packets in the batch may use.
    claimed: u64,
}

impl Direction {
    /// From `receive` to `transmit`, with addresses rewritten on the way as asked.
    pub fn new(
        receive: Box<dyn ReceiveQueue>,
        transmit: Box<dyn TransmitQueue>,
        rewrite: Rewrite,
        options: &Options,
    ) -> Self {
        let Options { batch: size, touch, when_full, .. } = *options;
        let batch = Batch::new(receive.pool(), size);
        Self {
            receive,
            transmit: Outlet::new(transmit, Sent::Forwarded),
            rewrite,
            batch,
            size,
            touch,
            when_full,
            claimed: 0,
        }
    }

    /// Receives a batch and sends it.
    #[inline]
    fn forward(&mut self) -> Result<Round, Error> {
        let mut round = Round::default();
        // Only packets that wait for room are in it; no more are received before they are gone.
        if self.batch.is_empty() {
            round.received = self.receive.receive(&mut self.batch)?;
            if round.received == 0 {
                self.transmit.idle()?;
                return Ok(round);
            }
            self.touch();
        }
        round.sent = self.transmit.send(&mut self.batch)?;
        if !self.batch.is_empty() && self.when_full == WhenFull::Drop {
            self.transmit.counters().dropped(self.batch.clear() as u64);
        }
        Ok(round)
    }

    /// The same within a limit.
    fn forward_within(&mut self, budget: &Budget) -> Result<Round, Error> {
        // Packets that wait for room keep their claim.
        if self.batch.is_empty() {
            self.claimed = budget.claim(self.size as u64);
            if self.claimed == 0 {
                self.transmit.idle()?;
                return Ok(Round { finished: budget.settle(0, 0), ..Round::default() });
            }
            // Only near the limit is a claim smaller than a batch.
            if self.batch.room() as u64 != self.claimed {
                self.batch = Batch::new(self.receive.pool(), self.claimed as usize);
            }
        }
        let round = self.forward()?;
        let forwarded = round.sent as u64;
        self.claimed = self.claimed.saturating_sub(forwarded);
        let unused = if self.batch.is_empty() { std::mem::take(&mut self.claimed) } else { 0 };
        Ok(Round { finished: budget.settle(unused, forwarded), ..round })
    }

    #[inline]
    fn touch(&mut self) {
        match self.touch {
            Touch::No => {}
            Touch::Read => {
                let read = self
                    .batch
                    .frames()
                    .fold(0, |sum, frame| sum ^ frame.data().first().copied().unwrap_or_default());
                black_box(read);
            }
            Touch::Write => {
                for mut frame in self.batch.frames() {
                    if let Some(byte) = frame.data_mut().get_mut(TOUCHED) {
                        *byte = byte.wrapping_add(1);
                    }
                }
            }
        }
        if self.rewrite != Rewrite::default() {
            self.rewrite();
        }
    }

    /// IEEE 802.3, section 3.1.1: destination, then source.
    fn rewrite(&mut self) {
        let Rewrite { source, destination } = self.rewrite;
        for mut frame in self.batch.frames() {
            let Some(addresses) = frame.data_mut().first_chunk_mut::<12>() else { continue };
            let (to, from) = addresses.split_at_mut(6);
            if let Some(MacAddress(address)) = destination {
                to.copy_from_slice(&address);
            }
            if let Some(MacAddress(address)) = source {
                from.copy_from_slice(&address);
            }
        }
    }
}

impl Task for Direction {
    #[inline]
    fn round(&mut self, budget: Option<&Budget>) -> Result<Round, Error> {
        match budget {
            None => self.forward(),
            Some(budget) => self.forward_within(budget),
        }
    }

    /// What waits for room still gets its chance; then it is dropped and counted.
    fn drain(&mut self, deadline: Instant) -> Result<(), Error> {
        self.transmit.drain(&mut self.batch, deadline)
    }

    /// Packets that wait for room are tried again, so it doesn't sleep then.
    fn waits_for(&mut self) -> Option<&mut dyn ReceiveQueue> {
        self.batch.is_empty().then_some(&mut *self.receive)
    }

    fn pending(&self) -> usize {
        self.transmit.pending()
    }

    fn counters(&self) -> &Arc<TaskCounters> {
        self.transmit.counters()
    }
}
