//! Sending: the batch's packets go to the ring, sent buffers back to the pool (82599 datasheet, section 7.2).
//!
//! One advanced data descriptor (7.2.3.2.4) a buffer. The device is asked to report (RS) at every 32nd descriptor and
//! at the end of each batch, so a report is one cache line for up to 32 packets, and nothing waits for a packet to
//! come. Taking back tests one descriptor and copies the numbers up to it.

use crate::Error;
use ringway_dma::{Descriptor, Keeper, Kept, Park, Quiesced, Ring};
use ringway_packet::{Batch, Pool, Sending, TransmitBuffers};
use ringway_pci::{Doorbell, Function};
use ringway_port::{Failure, TransmitCounters};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The second word of an advanced data descriptor (section 7.2.3.2.4).
const TYPE_DATA: u64 = 3 << 20;
const END_OF_PACKET: u64 = 1 << 24;
const INSERT_FCS: u64 = 1 << 25;
const REPORT_STATUS: u64 = 1 << 27;
const EXTENDED: u64 = 1 << 29;
const PAYLOAD_LENGTH_SHIFT: u32 = 46;
/// Written by the device into the status field.
const DONE: u64 = 1 << 32;

const DATA: u64 = TYPE_DATA | INSERT_FCS | EXTENDED;

/// Descriptors between two reports, a power of two.
const REPORT_INTERVAL: u32 = 32;
/// Descriptors that one packet may take: 40 by the datasheet (section 7.2.1.1), fewer here.
const MAXIMUM_SEGMENTS: usize = 16;
/// The shortest frame that the device pads and sends (section 7.2.1.2 asks for 17 bytes).
const MINIMUM_LENGTH: u32 = 17;

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

/// A transmit queue.
#[derive(Debug)]
pub(crate) struct TransmitQueue {
    state: Kept<State>,
    /// The next descriptor to be written; what is from `clean` up to it is the device's.
    next: u32,
    clean: u32,
    /// Behind which descriptors a report was asked for, oldest first.
    reports: Reports,
    tail: Doorbell,
    failure: Failure,
    counters: Arc<TransmitCounters>,
}

impl TransmitQueue {
    /// A queue on `ring` that may send from `pools`.
    pub(crate) fn new(
        function: Arc<Function>,
        ring: Ring<Descriptor>,
        tail: Doorbell,
        pools: &[Pool],
    ) -> Result<Self, Error> {
        let device = function.name().to_owned();
        let count = ring.count();
        let buffers = TransmitBuffers::new(pools, count, function.attachment())
            .map_err(|source| Error::Packet { device: device.clone(), source })?;
        let keeper: Arc<dyn Keeper> = function;
        Ok(Self {
            state: Kept::new(State { ring, buffers }, keeper),
            next: 0,
            clean: 0,
            reports: Reports::new(count),
            tail,
            failure: Failure::none(&device),
            counters: Arc::default(),
        })
    }

    pub(crate) fn counters(&self) -> &Arc<TransmitCounters> {
        &self.counters
    }

    /// Takes back everything up to the last report that has come.
    #[inline]
    fn take_back(&mut self) -> usize {
        let State { ring, buffers } = &mut *self.state;
        let start = self.clean;
        while let Some(end) = self.reports.oldest()
            && ring.at(end.wrapping_sub(1)).word.load(Ordering::Acquire) & DONE != 0
        {
            buffers.take_back(self.clean, end.wrapping_sub(self.clean));
            self.clean = end;
            self.reports.forget_oldest();
        }
        self.clean.wrapping_sub(start) as usize
    }

    /// One descriptor always stays free: with head and tail equal the device would take the ring for empty.
    #[inline(always)]
    fn free(&self) -> u32 {
        self.state.ring.mask().wrapping_sub(self.next.wrapping_sub(self.clean))
    }
}

impl ringway_port::TransmitQueue for TransmitQueue {
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        self.take_back();
        let mut free = self.free();
        let State { ring, buffers } = &mut *self.state;
        let mut round = buffers.send(batch, 0).map_err(|error| self.failure.packet(error))?;
        let start = self.next;
        let (mut next, mut bytes, mut refused) = (start, 0u64, 0u64);
        while let Some(front) = round.front() {
            if !front.last || front.length < MINIMUM_LENGTH {
                match send_segments(ring, &mut round, next, free) {
                    Sent::Packet { descriptors, bytes: more } => {
                        next = next.wrapping_add(descriptors);
                        free = free.wrapping_sub(descriptors);
                        bytes = bytes.wrapping_add(more);
                        continue;
                    }
                    Sent::Refused => {
                        refused = refused.wrapping_add(1);
                        continue;
                    }
                    Sent::NoRoom => break,
                }
            }
            let descriptor = ring.at(next);
            if free == 0 || !round.lend(next, &descriptor.address) {
                break;
            }
            let length = u64::from(front.length);
            let word = DATA | END_OF_PACKET | length | (length << PAYLOAD_LENGTH_SHIFT);
            descriptor.word.store(word, Ordering::Relaxed);
            next = next.wrapping_add(1);
            free = free.wrapping_sub(1);
            bytes = bytes.wrapping_add(length);
        }
        let sent = round.sent();
        drop(round);
        if next != start {
            self.next = next;
            self.reports.ask(ring, start, next);
            self.tail.ring(next & ring.mask());
        }
        self.counters.sent(sent as u64, bytes);
        if refused > 0 {
            self.counters.erroneous(refused);
        }
        Ok(sent)
    }

    fn reclaim(&mut self) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        Ok(self.take_back())
    }

    fn pending(&self) -> usize {
        self.next.wrapping_sub(self.clean) as usize
    }
}

/// What became of a packet that is not in one buffer, or too short.
enum Sent {
    Packet { descriptors: u32, bytes: u64 },
    Refused,
    NoRoom,
}

#[cold]
fn send_segments(ring: &Ring<Descriptor>, round: &mut Sending<'_>, next: u32, free: u32) -> Sent {
    let count = round.segments();
    let short = round.front().is_some_and(|front| front.last && front.length < MINIMUM_LENGTH);
    if short || count > MAXIMUM_SEGMENTS.min(ring.mask() as usize) {
        return if round.drop_front() { Sent::Refused } else { Sent::NoRoom };
    }
    if count > free as usize {
        return Sent::NoRoom;
    }
    // The whole length goes into the first descriptor, and no other (section 7.2.3.2.4).
    let total = round.packet_length() as u64;
    let mut descriptors = 0u32;
    while let Some(front) = round.front() {
        let descriptor = ring.at(next.wrapping_add(descriptors));
        if !round.lend(next.wrapping_add(descriptors), &descriptor.address) {
            break;
        }
        let end = if front.last { END_OF_PACKET } else { 0 };
        let payload = if descriptors == 0 { total << PAYLOAD_LENGTH_SHIFT } else { 0 };
        descriptor.word.store(DATA | end | u64::from(front.length) | payload, Ordering::Relaxed);
        descriptors = descriptors.wrapping_add(1);
        if front.last {
            break;
        }
    }
    Sent::Packet { descriptors, bytes: total }
}

/// Where reports were asked for: a queue of ring positions, one behind the descriptor that reports.
#[derive(Debug)]
struct Reports {
    ends: Box<[u32]>,
    mask: u32,
    first: u32,
    after: u32,
}

impl Reports {
    /// Each report covers a descriptor at least, so a ring never has more of them than descriptors.
    fn new(count: u32) -> Self {
        Self {
            ends: vec![0; count as usize].into_boxed_slice(),
            mask: count.wrapping_sub(1),
            first: 0,
            after: 0,
        }
    }

    #[inline(always)]
    fn oldest(&self) -> Option<u32> {
        if self.first == self.after {
            return None;
        }
        self.ends.get((self.first & self.mask) as usize).copied()
    }

    #[inline(always)]
    fn forget_oldest(&mut self) {
        self.first = self.first.wrapping_add(1);
    }

    /// Asks for reports on the descriptors from `start` up to `end`, which the device doesn't know of yet: at the end, and
    /// wherever the interval ends. Only the last descriptor of a packet may report (section 7.2.3.2.4).
    #[inline]
    fn ask(&mut self, ring: &Ring<Descriptor>, start: u32, end: u32) {
        let mut boundary = (start | (REPORT_INTERVAL - 1)).wrapping_add(1);
        while boundary.wrapping_sub(start) < end.wrapping_sub(start) {
            if ring.at(boundary.wrapping_sub(1)).word.load(Ordering::Relaxed) & END_OF_PACKET != 0 {
                self.ask_one(ring, boundary);
            }
            boundary = boundary.wrapping_add(REPORT_INTERVAL);
        }
        self.ask_one(ring, end);
    }

    #[inline]
    fn ask_one(&mut self, ring: &Ring<Descriptor>, end: u32) {
        let word = &ring.at(end.wrapping_sub(1)).word;
        word.store(word.load(Ordering::Relaxed) | REPORT_STATUS, Ordering::Relaxed);
        if let Some(place) = self.ends.get_mut((self.after & self.mask) as usize) {
            *place = end;
            self.after = self.after.wrapping_add(1);
        }
    }
}
