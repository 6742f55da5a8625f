//! The transmit queue: the batch's packets to the ring, sent buffers back to the pool.
//!
//! A packet in one buffer is one descriptor; its header of zeros lies in the headroom. A packet in several buffers is
//! one descriptor that points at a table, where the device takes indirect descriptors, and a chain otherwise. What
//! belongs to which descriptor is in private records; ids that come back are looked up there, in any order.

use super::header;
use crate::Error;
use crate::ring::{SplitRing, flag, word};
use crate::transport::Transport;
use ringway_dma::{Descriptor, Kept, Park, Quiesced, Ring};
use ringway_packet::{Batch, Pool, Sending, TransmitBuffers};
use ringway_port::{Failure, TransmitCounters};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Descriptors of one indirect table: a frame of 9.5 KiB in buffers of 2 KiB, and some.
pub(super) const TABLE: u32 = 8;

/// What the device shares and must outlive its use of it.
#[derive(Debug)]
struct State {
    ring: SplitRing,
    buffers: TransmitBuffers,
    /// For each descriptor a table of `TABLE`, if indirect descriptors were agreed on.
    tables: Option<Ring<Descriptor>>,
    /// Descriptors that are free: below `free`.
    stack: Box<[u16]>,
    free: usize,
    /// For each descriptor that heads a packet of several buffers: how many. 1 for all others.
    segments: Box<[u8]>,
    /// For each descriptor in a chain: the next one.
    next: Box<[u16]>,
}

/// A transmit queue.
#[derive(Debug)]
pub(crate) struct TransmitQueue {
    state: Kept<State>,
    failure: Failure,
    counters: Arc<TransmitCounters>,
}

impl Park for State {
    fn release(self: Box<Self>, stopped: &Quiesced) {
        let Self { ring, buffers, tables, .. } = *self;
        buffers.release(stopped);
        drop((ring, tables));
    }
}

impl TransmitQueue {
    /// A queue that may send from `pools`.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        ring: SplitRing,
        tables: Option<Ring<Descriptor>>,
        pools: &[Pool],
    ) -> Result<Self, Error> {
        let size = ring.descriptors.count();
        let name = transport.name().to_owned();
        // One record a descriptor; behind them, where there are tables, one for each further entry of each table.
        let slots = if tables.is_some() { size.saturating_mul(TABLE) } else { size };
        let buffers =
            TransmitBuffers::new(pools, slots, transport.attachment()).map_err(Error::packet(&name))?;
        let count = size as usize;
        let state = State {
            buffers,
            tables,
            // Descriptor 0 is on top, so a fresh ring is used in order.
            stack: (0..size).rev().map(|id| id as u16).collect(),
            free: count,
            segments: vec![1; count].into_boxed_slice(),
            next: vec![0; count].into_boxed_slice(),
            ring,
        };
        Ok(Self {
            state: Kept::new(state, transport),
            failure: Failure::none(&name),
            counters: Arc::default(),
        })
    }

    pub(super) fn counters(&self) -> &Arc<TransmitCounters> {
        &self.counters
    }
}

impl State {
    /// The slot of a table's n-th entry, where entry 0 is the descriptor's own.
    #[inline(always)]
    fn slot(&self, id: u16, n: u32) -> u32 {
        n.wrapping_mul(self.ring.descriptors.count()).wrapping_add(id.into())
    }

    #[inline(always)]
    fn put(&mut self, id: u16) {
        if let Some(place) = self.stack.get_mut(self.free) {
            *place = id;
            self.free = self.free.wrapping_add(1);
        }
    }

    /// Takes back what the device has sent.
    #[inline]
    fn reclaim(&mut self) -> Result<usize, &'static str> {
        let Some(ready) = self.ring.ready() else {
            return Err("its used index jumped (virtio 1.2, section 2.7.8)");
        };
        for n in 0..ready {
            let (id, _) = self.ring.completed(n);
            if id > self.ring.mask() || !self.buffers.take_back_one(id) {
                self.ring.consume(n);
                return Err("it gave a packet back that it didn't have (virtio 1.2, section 2.7.8)");
            }
            let id = id as u16;
            if self.segments.get(usize::from(id)).is_some_and(|&segments| segments != 1) {
                self.take_back_segments(id);
            }
            self.put(id);
        }
        self.ring.consume(ready);
        self.ring.stay_silent();
        Ok(ready.into())
    }

    /// Takes back all but the first buffer of a packet.
    #[cold]
    fn take_back_segments(&mut self, id: u16) {
        let segments =
            self.segments.get_mut(usize::from(id)).map_or(1, |segments| std::mem::replace(segments, 1));
        let mut at = id;
        for n in 1..u32::from(segments) {
            if self.tables.is_some() {
                self.buffers.take_back_one(self.slot(id, n));
            } else {
                at = self.next.get(usize::from(at)).copied().unwrap_or(at);
                self.buffers.take_back_one(at.into());
                self.put(at);
            }
        }
    }
}

/// A packet in several buffers. `None`: it doesn't fit now; `Some(false)`: it never will.
#[cold]
fn send_segments(
    ring: &mut SplitRing,
    tables: Option<&Ring<Descriptor>>,
    (stack, free): (&[u16], &mut usize),
    (segments, next): (&mut [u8], &mut [u16]),
    round: &mut Sending<'_>,
) -> Option<bool> {
    let count = round.segments();
    let size = ring.descriptors.count();
    let most = if tables.is_some() { TABLE as usize } else { (size as usize).min(usize::from(u8::MAX)) };
    if count > most || round.prefix_mut().is_none() {
        return Some(false);
    }
    let wanted = if tables.is_some() { 1 } else { count };
    let rest = free.checked_sub(wanted)?;
    let head = stack.get(*free - 1).copied()?;
    clear_header(round);
    for n in 0..count {
        let front = round.front()?;
        let length = if n == 0 { front.length.wrapping_add(header::LENGTH) } else { front.length };
        let more = if front.last { 0 } else { flag::NEXT };
        if let Some(tables) = tables {
            let entry = tables.at(u32::from(head).wrapping_mul(TABLE).wrapping_add(n as u32));
            let slot = (n as u32).wrapping_mul(size).wrapping_add(head.into());
            round.lend(slot, &entry.address);
            entry.word.store(word(length, more, (n as u16).wrapping_add(1)), Ordering::Relaxed);
        } else {
            let at = stack.get(free.wrapping_sub(1).wrapping_sub(n)).copied()?;
            let following =
                free.checked_sub(2)?.checked_sub(n).and_then(|top| stack.get(top)).copied().unwrap_or(0);
            let descriptor = ring.descriptors.at(at.into());
            round.lend(at.into(), &descriptor.address);
            descriptor.word.store(word(length, more, following), Ordering::Relaxed);
            if let Some(place) = next.get_mut(usize::from(at)) {
                *place = following;
            }
        }
    }
    if let Some(tables) = tables {
        let descriptor = ring.descriptors.at(head.into());
        descriptor.address.point_at(tables, u32::from(head).wrapping_mul(TABLE));
        let bytes = (count as u32).wrapping_mul(size_of::<Descriptor>() as u32);
        descriptor.word.store(word(bytes, flag::INDIRECT, 0), Ordering::Relaxed);
    }
    if let Some(place) = segments.get_mut(usize::from(head)) {
        *place = count as u8;
    }
    *free = rest;
    ring.offer(head);
    Some(true)
}

/// No offload is agreed on, so the header is all zeros (section 5.1.6.2).
#[inline(always)]
fn clear_header(round: &mut Sending<'_>) -> bool {
    match round.prefix_mut().and_then(|prefix| prefix.first_chunk_mut::<{ header::LENGTH as usize }>()) {
        Some(header) => {
            *header = [0; header::LENGTH as usize];
            true
        }
        None => false,
    }
}

impl ringway_port::TransmitQueue for TransmitQueue {
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        let state = &mut *self.state;
        // The used ring is read when what is free might not do: a write-back is looked for once a batch at most.
        if state.free <= batch.len().wrapping_mul(2) {
            state.reclaim().map_err(|reason| self.failure.set(reason))?;
        }
        let State { ring, buffers, tables, stack, free, segments, next } = state;
        let mut round = buffers.send(batch, header::LENGTH).map_err(|error| self.failure.packet(error))?;
        let (mut bytes, mut refused) = (0u64, 0u64);
        while let Some(front) = round.front() {
            if !front.last {
                match send_segments(ring, tables.as_ref(), (stack, free), (segments, next), &mut round) {
                    Some(true) => bytes = bytes.wrapping_add(front.length.into()),
                    Some(false) => refused = refused.wrapping_add(u64::from(round.drop_front())),
                    None => break,
                }
                continue;
            }
            let Some(&id) = free.checked_sub(1).and_then(|top| stack.get(top)) else { break };
            let descriptor = ring.descriptors.at(id.into());
            if !clear_header(&mut round) || !round.lend(id.into(), &descriptor.address) {
                // Without room for the header it can't be sent.
                if !round.drop_front() {
                    break;
                }
                refused = refused.wrapping_add(1);
                continue;
            }
            descriptor.word.store(word(front.length.wrapping_add(header::LENGTH), 0, 0), Ordering::Relaxed);
            *free = free.wrapping_sub(1);
            ring.offer(id);
            bytes = bytes.wrapping_add(front.length.into());
        }
        let sent = round.sent();
        drop(round);
        ring.publish();
        self.counters.sent(sent as u64, bytes);
        if refused > 0 {
            self.counters.erroneous(refused);
        }
        Ok(sent)
    }

    fn reclaim(&mut self) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        self.state.reclaim().map_err(|reason| self.failure.set(reason))
    }

    fn pending(&self) -> usize {
        self.state.stack.len().saturating_sub(self.state.free)
    }
}
