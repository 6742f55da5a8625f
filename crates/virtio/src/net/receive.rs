//! The receive queue: used buffers to the batch, free buffers to the ring.
//!
//! Every descriptor has a buffer of its own, so a chain is one descriptor and its id is the slot. Used buffers come
//! back in any order. A slot whose buffer was taken is empty until a free one is lent; the device can't name an empty
//! slot without being found out.

use super::header;
use crate::Error;
use crate::ring::{SplitRing, flag, word};
use crate::transport::Transport;
use ringway_dma::{Kept, Park, Quiesced};
use ringway_packet::{Batch, Pool, ReceiveBuffers, Receiving, Refused};
use ringway_port::{Failure, ReceiveCounters};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What the device shares and must outlive its use of it.
#[derive(Debug)]
struct State {
    ring: SplitRing,
    buffers: ReceiveBuffers,
    /// Slots without a buffer: below `empties`.
    empty: Box<[u16]>,
    empties: usize,
}

/// A receive queue.
#[derive(Debug)]
pub(crate) struct ReceiveQueue {
    state: Kept<State>,
    mergeable: bool,
    failure: Failure,
    counters: Arc<ReceiveCounters>,
    interrupt: Option<Arc<OwnedFd>>,
}

impl Park for State {
    fn release(self: Box<Self>, stopped: &Quiesced) {
        let Self { ring, buffers, .. } = *self;
        buffers.release(stopped);
        drop(ring);
    }
}

impl ReceiveQueue {
    /// A queue whose slots are all empty.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        ring: SplitRing,
        pool: &Pool,
        mergeable: bool,
        interrupt: Option<Arc<OwnedFd>>,
    ) -> Result<Self, Error> {
        let size = ring.descriptors.count();
        let name = transport.name().to_owned();
        let buffers = ReceiveBuffers::new(pool, size, header::LENGTH, transport.attachment())
            .map_err(Error::packet(&name))?;
        // The size of a queue has 16 bits (section 4.1.4.3), so its slots have.
        let empty: Box<[u16]> = (0..size).rev().map(|slot| slot as u16).collect();
        let state = State { ring, buffers, empties: empty.len(), empty };
        Ok(Self {
            state: Kept::new(state, transport),
            mergeable,
            failure: Failure::none(&name),
            counters: Arc::default(),
            interrupt,
        })
    }

    /// Lends a buffer to every slot. To be called once, before the device starts to receive.
    pub(super) fn fill(&mut self) -> Result<(), Error> {
        let State { ring, buffers, empty, empties } = &mut *self.state;
        let writable = buffers.writable();
        while let Some(slot) = empties.checked_sub(1).and_then(|top| empty.get(top)) {
            let descriptor = ring.descriptors.at((*slot).into());
            if !buffers.fill((*slot).into(), &descriptor.address) {
                return Err(Error::PoolTooSmall {
                    device: self.failure.port().to_owned(),
                    wanted: ring.descriptors.count(),
                    had: buffers.held() as u32,
                });
            }
            // The word never changes: every buffer of a pool is of the same size.
            descriptor.word.store(word(writable, flag::WRITE, 0), std::sync::atomic::Ordering::Relaxed);
            ring.offer(*slot);
            *empties -= 1;
        }
        Ok(())
    }

    /// Shows the device what [`fill`](Self::fill) lent. To be called when the device is live.
    pub(super) fn publish(&mut self) {
        self.state.ring.publish();
    }

    pub(super) fn counters(&self) -> &Arc<ReceiveCounters> {
        &self.counters
    }
}

impl ringway_port::ReceiveQueue for ReceiveQueue {
    fn receive(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        let State { ring, buffers, empty, empties } = &mut *self.state;
        let Some(ready) = ring.ready() else {
            return Err(self.failure.set("its used index jumped (virtio 1.2, section 2.7.8)"));
        };
        if ready == 0 && *empties == 0 {
            return Ok(0);
        }
        let before = batch.len();
        let mut round = buffers.receive(batch).map_err(|error| self.failure.packet(error))?;
        let mut outcome = Ok(());
        let (mut done, mut bytes) = (0u16, 0u64);
        while done < ready && round.has_room() {
            let (id, written) = ring.completed(done);
            // Less than a header wraps around, and is too long.
            let length = written.wrapping_sub(header::LENGTH);
            if id > ring.mask() {
                outcome = Err("it named a descriptor that the ring doesn't have (virtio 1.2, section 2.7.8)");
                break;
            }
            match round.take(id, length) {
                Ok(()) => {}
                Err(Refused::TooLong) => {
                    // The buffer stays with its slot, which is offered again.
                    round.relend(id, &ring.descriptors.at(id).address);
                    ring.offer(id as u16);
                    self.counters.erroneous(1);
                    done = done.wrapping_add(1);
                    continue;
                }
                Err(_) => {
                    outcome = Err("it gave a buffer back that it didn't have (virtio 1.2, section 2.7.8)");
                    break;
                }
            }
            done = done.wrapping_add(1);
            if let Some(place) = empty.get_mut(*empties) {
                *place = id as u16;
                *empties = empties.wrapping_add(1);
            }
            bytes = bytes.wrapping_add(length.into());
            if self.mergeable && header::num_buffers(round.last_prefix()) != 1 {
                let (empty, rest) = ((&mut **empty, &mut *empties), ready.wrapping_sub(done));
                match merge(ring, &mut round, empty, done, rest) {
                    Ok((buffers, more)) => {
                        done = done.wrapping_add(buffers);
                        bytes = bytes.wrapping_add(more);
                    }
                    Err(reason) => {
                        round.drop_last();
                        bytes = bytes.wrapping_sub(length.into());
                        outcome = Err(reason);
                        break;
                    }
                }
            }
        }
        ring.consume(done);
        // Free buffers for the slots that have none now.
        while let Some(top) = empties.checked_sub(1)
            && let Some(&slot) = empty.get(top)
            && round.give(slot.into(), &ring.descriptors.at(slot.into()).address)
        {
            ring.offer(slot);
            *empties = top;
        }
        drop(round);
        if *empties > 0 {
            self.counters.starved();
        }
        ring.publish();
        ring.stay_silent();
        let received = batch.len().wrapping_sub(before);
        self.counters.received(received as u64, bytes);
        match outcome {
            Ok(()) => Ok(received),
            Err(reason) => Err(self.failure.set(reason)),
        }
    }

    fn pool(&self) -> &Pool {
        self.state.buffers.pool()
    }

    fn interrupt(&self) -> Option<&Arc<OwnedFd>> {
        self.interrupt.as_ref()
    }

    fn enable_interrupt(&mut self) -> bool {
        self.state.ring.listen()
    }

    fn disable_interrupt(&mut self) {
        self.state.ring.silence();
    }
}

/// Takes the further buffers of a packet that is in several (section 5.1.6.4): how many, and their bytes.
#[cold]
fn merge(
    ring: &SplitRing,
    round: &mut Receiving<'_>,
    (empty, empties): (&mut [u16], &mut usize),
    done: u16,
    ready: u16,
) -> Result<(u16, u64), &'static str> {
    let more = header::num_buffers(round.last_prefix())
        .checked_sub(1)
        .ok_or("it said that a packet is in no buffer")?;
    // Section 5.1.6.4.1: the device gives all buffers of a packet at once.
    if more > ready {
        return Err("it said that a packet is in more buffers than it gave (virtio 1.2, section 5.1.6.4.1)");
    }
    let mut bytes = 0u64;
    for n in 0..more {
        let (id, written) = ring.completed(done.wrapping_add(n));
        if id > ring.mask() || round.take_segment(id, written).is_err() {
            return Err("it gave a wrong buffer as part of a packet (virtio 1.2, section 5.1.6.4)");
        }
        if let Some(place) = empty.get_mut(*empties) {
            *place = id as u16;
            *empties = empties.wrapping_add(1);
        }
        bytes = bytes.wrapping_add(written.into());
    }
    Ok((more, bytes))
}
