//! Sending: the batch's packets go to the ring, sent buffers back to the pool (82599 datasheet, section 7.2).
//!
//! One advanced data descriptor (7.2.3.2.4) a buffer. The device is asked to report (RS) at every 32nd descriptor and
//! at the end of each batch, so a report is one cache line for up to 32 packets, and nothing waits for a packet to
//! come. Taking back tests one descriptor for each 32 and copies the numbers up to the last that is done, 32 at a time while
//! there is room.

use crate::Error;
use crate::capabilities::{FCS, LARGEST_FRAME};
use crate::offload::{Contexts, Request};
use crate::reports::Reports;
use crate::running::Running;
use ringway_dma::{Descriptor, Keeper, Kept, Park, Quiesced, Ring};
use ringway_packet::{Batch, MAXIMUM_BATCH, Plain, Pool, Sending, TransmitBuffers};
use ringway_pci::Doorbell;
use ringway_port::{Failure, Offloads, TransmitCounters};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The second word of an advanced data descriptor (section 7.2.3.2.4).
const TYPE_DATA: u64 = 3 << 20;
pub(crate) const END_OF_PACKET: u64 = 1 << 24;
const INSERT_FCS: u64 = 1 << 25;
pub(crate) const REPORT_STATUS: u64 = 1 << 27;
const EXTENDED: u64 = 1 << 29;
const PAYLOAD_LENGTH_SHIFT: u32 = 46;
/// Written by the device into the status field.
pub(crate) const DONE: u64 = 1 << 32;

const DATA: u64 = TYPE_DATA | INSERT_FCS | EXTENDED;

/// A frame in one buffer.
const PLAIN: Plain =
    Plain { flags: DATA | END_OF_PACKET, again: PAYLOAD_LENGTH_SHIFT, shortest: MINIMUM_LENGTH };

/// Buffers that go back to the pool at once, a power of two.
const MAGAZINE: u32 = ringway_packet::MAGAZINE as u32;
/// Descriptors in flight from which on buffers are taken back, if all goes well.
const CROWD: u32 = 2 * MAGAZINE;
/// Descriptors that one packet may take (section 7.2.1.1).
const MAXIMUM_SEGMENTS: usize = 40;
/// The shortest frame that the device pads and sends (section 7.2.1.2 asks for 17 bytes), and the longest that its MAC
/// sends, without FCS (section 8.2.3.22.13).
const MINIMUM_LENGTH: u32 = 17;
const MAXIMUM_LENGTH: usize = (LARGEST_FRAME - FCS) as usize;

/// What the device shares and must outlive its use of it.
#[derive(Debug)]
struct State {
    ring: Ring<Descriptor>,
    buffers: TransmitBuffers,
}

impl Park for State {
    fn release(self: Box<Self>, stopped: &Quiesced) {
        let Self { ring, buffers } = *self;
        buffers.release(stopped);
        drop(ring);
    }
}

/// A transmit queue. Its cache lines are its own: another thread has its neighbour.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct TransmitQueue {
    state: Kept<State>,
    /// The next descriptor to be written; what is from `clean` up to it is the device's.
    next: u32,
    clean: u32,
    /// With so many in flight buffers are taken back.
    crowd: u32,
    /// Up to here the device said that it is done; between `clean` and `next`.
    done: u32,
    /// Behind which descriptors a report was asked for.
    reports: Reports,
    /// What packets may ask of the device, and what it was told so far.
    possible: Offloads,
    contexts: Contexts,
    tail: Doorbell,
    failure: Failure,
    counters: Arc<TransmitCounters>,
}

impl TransmitQueue {
    /// A queue on `ring` that may send from `pools`.
    pub(crate) fn new(
        running: &Arc<Running>,
        ring: Ring<Descriptor>,
        tail: Doorbell,
        pools: &[Pool],
        possible: Offloads,
    ) -> Result<Self, Error> {
        let device = running.name().to_owned();
        let count = ring.count();
        let buffers = TransmitBuffers::new(pools, count, running.function.attachment())
            .map_err(|source| Error::Packet { device: device.clone(), source })?;
        let keeper = Arc::clone(running) as Arc<dyn Keeper>;
        Ok(Self {
            state: Kept::new(State { ring, buffers }, keeper),
            next: 0,
            clean: 0,
            crowd: CROWD.min(count.saturating_sub(MAXIMUM_BATCH as u32)),
            done: 0,
            reports: Reports::new(),
            possible,
            contexts: Contexts::default(),
            tail,
            failure: Failure::none(&device),
            counters: Arc::default(),
        })
    }

    pub(crate) fn counters(&self) -> &Arc<TransmitCounters> {
        &self.counters
    }

    /// Takes back what the device is done with: all of it, or only whole magazines, which costs the least.
    #[inline(never)]
    fn take_back(&mut self, all: bool) -> usize {
        let State { ring, buffers } = &mut *self.state;
        self.done = self.reports.done(ring, self.done, self.next, all);
        let end = if all { self.done } else { self.done & !(MAGAZINE - 1) };
        let count = end.wrapping_sub(self.clean);
        // Rounded down it may lie behind what was taken back before.
        if count == 0 || count > self.next.wrapping_sub(self.clean) {
            return 0;
        }
        buffers.take_back(self.clean, count);
        self.clean = end;
        count as usize
    }

    /// How many descriptors can be written. One always stays free: with head and tail equal the device would take the
    /// ring for empty.
    #[inline(always)]
    fn free(&self) -> u32 {
        self.state.ring.mask().wrapping_sub(self.next.wrapping_sub(self.clean))
    }

    /// Takes back what was sent, all of it if there is no room for `wanted` packets. Returns how many descriptors can be
    /// written.
    #[inline(never)]
    fn make_room(&mut self, wanted: usize) -> usize {
        let lacks = (self.free() as usize) < wanted;
        if lacks || self.next.wrapping_sub(self.clean) >= CROWD {
            self.take_back(lacks);
        }
        self.free() as usize
    }

    /// Lends plain packets to descriptors, up to the ring's end, asks for reports and counts. `room` is how
    /// many descriptors can be written. Returns how many went.
    #[inline(always)]
    fn send_run(&mut self, batch: &mut Batch, room: usize) -> usize {
        let Self { state, next, counters, reports, .. } = self;
        let State { ring, buffers } = &mut **state;
        let first = *next;
        buffers.lend_run(batch, ring, (first, room), PLAIN, |gone, bytes| {
            let end = first.wrapping_add(gone as u32);
            *next = end;
            reports.ask(ring, first, end);
            counters.sent(gone as u64, bytes);
        })
    }

    /// Sends what lies behind the ring's end, and what is no plain packet; `sent` went before.
    #[cold]
    #[inline(never)]
    fn transmit_rest(&mut self, batch: &mut Batch, mut sent: usize) -> Result<usize, ringway_port::Error> {
        let start = self.next;
        let outcome = self.send_rest(batch, &mut sent);
        if self.next != start {
            self.reports.ask(&self.state.ring, start, self.next);
        }
        if sent != 0 {
            self.tell();
        }
        outcome.map(|()| sent)
    }

    fn send_rest(&mut self, batch: &mut Batch, sent: &mut usize) -> Result<(), ringway_port::Error> {
        while !batch.is_empty() {
            let gone = self.send_run(batch, self.free() as usize);
            *sent = sent.wrapping_add(gone);
            if gone != 0 {
                continue;
            }
            match self.send_unusual(batch)? {
                Unusual::Packet { bytes, .. } => {
                    *sent = sent.wrapping_add(1);
                    self.counters.sent(1, bytes);
                }
                Unusual::Refused => {}
                Unusual::NoRoom => break,
            }
        }
        Ok(())
    }

    /// Tells the device of new descriptors.
    #[inline(always)]
    fn tell(&self) {
        self.tail.ring(self.next & self.state.ring.mask());
    }

    /// Sends the packet at the front, which is no plain one.
    #[cold]
    #[inline(never)]
    fn send_unusual(&mut self, batch: &mut Batch) -> Result<Unusual, ringway_port::Error> {
        self.take_back(true); // It may need more than one descriptor.
        let free = self.free();
        let State { ring, buffers } = &mut *self.state;
        let mut round = buffers.send(batch, 0).map_err(|error| self.failure.packet(error))?;
        let outcome = unusual(ring, &mut round, (self.next, free), &mut self.contexts, self.possible);
        drop(round);
        match outcome {
            Unusual::Packet { descriptors, .. } => self.next = self.next.wrapping_add(descriptors),
            Unusual::Refused => self.counters.erroneous(1),
            Unusual::NoRoom => {}
        }
        Ok(outcome)
    }
}

impl ringway_port::TransmitQueue for TransmitQueue {
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        // With fewer than these in flight there is room for any batch.
        let room = if self.next.wrapping_sub(self.clean) < self.crowd {
            batch.len()
        } else {
            self.make_room(batch.len())
        };
        let sent = self.send_run(batch, room);
        if !batch.is_empty() {
            return self.transmit_rest(batch, sent);
        }
        if sent != 0 {
            self.tell();
        }
        Ok(sent)
    }

    fn reclaim(&mut self) -> Result<usize, ringway_port::Error> {
        Ok(self.take_back(true))
    }

    fn pending(&self) -> usize {
        self.next.wrapping_sub(self.clean) as usize
    }
}

/// What became of a packet that is no plain one.
enum Unusual {
    Packet { descriptors: u32, bytes: u64 },
    Refused,
    NoRoom,
}

fn unusual(
    ring: &Ring<Descriptor>,
    round: &mut Sending<'_>,
    (next, free): (u32, u32),
    contexts: &mut Contexts,
    possible: Offloads,
) -> Unusual {
    let count = round.segments();
    let total = round.packet_length();
    let refuse =
        |round: &mut Sending<'_>| if round.drop_front() { Unusual::Refused } else { Unusual::NoRoom };
    let request = match round.front_frame().map(|frame| Request::of(&frame, total, possible)) {
        None => return Unusual::NoRoom,
        Some(Err(_)) => return refuse(round),
        Some(Ok(request)) => request,
    };
    let is_cut = request.is_some_and(|request| request.headers != 0);
    let is_possible = count <= MAXIMUM_SEGMENTS.min(ring.mask().saturating_sub(1) as usize)
        && total >= MINIMUM_LENGTH as usize
        && (total <= MAXIMUM_LENGTH || is_cut)
        && !round.has_empty_segment();
    if !is_possible {
        return refuse(round);
    }
    let (index, missing) = request.map_or((0, None), |request| contexts.find(&request));
    if count.saturating_add(missing.is_some().into()) > free as usize {
        return Unusual::NoRoom;
    }
    let mut descriptors = 0u32;
    if let Some(context) = missing {
        if !ring.say(next, context.number, context.word) {
            return refuse(round);
        }
        descriptors = 1;
    }
    // With segmentation the headers don't count (section 7.2.3.2.4). The whole length goes into the first descriptor, and
    // no other.
    let mut payload = (total as u64) << PAYLOAD_LENGTH_SHIFT;
    let mut command = DATA;
    if let Some(request) = &request {
        contexts.used(index, request);
        if let Some(mut frame) = round.front_frame() {
            request.prepare(&mut frame, total);
        }
        payload = (total.saturating_sub(request.headers) as u64) << PAYLOAD_LENGTH_SHIFT;
        command |= request.options(index);
    }
    while let Some(front) = round.front() {
        let descriptor = ring.at(next.wrapping_add(descriptors));
        if !round.lend(next.wrapping_add(descriptors), &descriptor.address) {
            break;
        }
        let end = if front.last { END_OF_PACKET } else { 0 };
        descriptor.word.store(command | end | u64::from(front.length) | payload, Ordering::Relaxed);
        payload = 0;
        descriptors = descriptors.wrapping_add(1);
        if front.last {
            break;
        }
    }
    Unusual::Packet { descriptors, bytes: total as u64 }
}
