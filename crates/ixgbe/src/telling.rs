//! A receive queue whose packets come with what the device says of them: tag, hash, checksums.
//!
//! It is another queue, and not a branch in the plain one, so that ports that ask for nothing pay nothing. Whole frames in
//! one buffer go in runs here too; everything else is the plain queue's.

use crate::receive::{ReceiveQueue, Unusual};
use crate::told::Wanted;
use ringway_packet::{Batch, Pool};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A receive queue, and what is wanted of its descriptors.
#[derive(Debug)]
pub(crate) struct TellingQueue {
    queue: ReceiveQueue,
    wanted: Wanted,
}

impl TellingQueue {
    pub(crate) fn new(queue: ReceiveQueue, wanted: Wanted) -> Self {
        Self { queue, wanted }
    }

    fn receive_all(&mut self, batch: &mut Batch, bytes: &mut u64) -> Result<(), ringway_port::Error> {
        let Self { queue, wanted } = self;
        while queue.has_more(batch) {
            let (taken, more) = queue.take_told(batch, wanted)?;
            *bytes = bytes.wrapping_add(more);
            if taken != 0 {
                continue;
            }
            match queue.take_unusual(batch, Some(wanted))? {
                Unusual::Nothing => break,
                Unusual::Packet { bytes: more, .. } => *bytes = bytes.wrapping_add(more),
                Unusual::Dropped { .. } | Unusual::Starved { .. } => {}
                Unusual::Broken(reason) => return Err(queue.fail(reason)),
            }
        }
        Ok(())
    }
}

impl ringway_port::ReceiveQueue for TellingQueue {
    fn receive(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.queue.check()?;
        self.queue.accept(batch)?;
        let (before, first) = (batch.len(), self.queue.position());
        let mut bytes = 0;
        let outcome = self.receive_all(batch, &mut bytes);
        let received = batch.len().wrapping_sub(before);
        if self.queue.position() != first {
            self.queue.give_back();
            self.queue.count(received as u64, bytes);
        }
        outcome.map(|()| received)
    }

    fn pool(&self) -> &Pool {
        self.queue.pool()
    }

    fn interrupt(&self) -> Option<&Arc<OwnedFd>> {
        self.queue.interrupt()
    }

    fn enable_interrupt(&mut self) -> bool {
        self.queue.enable_interrupt()
    }

    fn disable_interrupt(&mut self) {
        self.queue.disable_interrupt();
    }
}
