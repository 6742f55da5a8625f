//! Sending: the batch's packets go to the ring, sent buffers back to the pool (82599 datasheet, section 7.2).
//!
//! One advanced data descriptor (7.2.3.2.4) a buffer. The device is asked to report (RS) at every 32nd descriptor and
//! at the end of each batch, so a report is one cache line for up to 32 packets, and nothing waits for a packet to
//! come. Taking back tests one descriptor and copies the numbers up to it.

use crate::Error;
use crate::running::Running;
use ringway_dma::{Descriptor, Keeper, Kept, Park, Quiesced, Ring};
use ringway_packet::{Batch, Pool, Sending, TransmitBuffers};
use ringway_pci::Doorbell;
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
/// The shortest frame that the device pads and sends (section 7.2.1.2 asks for 17 bytes), and the longest that its MAC
/// sends, without FCS (section 8.2.3.22.13).
const MINIMUM_LENGTH: u32 = 17;
const MAXIMUM_LENGTH: usize = 9724;

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
        running: &Arc<Running>,
        ring: Ring<Descriptor>,
        tail: Doorbell,
        pools: &[Pool],
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
}

impl ringway_port::TransmitQueue for TransmitQueue {
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        self.take_back();
        let State { ring, buffers } = &mut *self.state;
        let mut round = buffers.send(batch, 0).map_err(|error| self.failure.packet(error))?;
        let start = self.next;
        // One descriptor always stays free: with head and tail equal the device would take the ring for empty.
        let end = self.clean.wrapping_add(ring.mask());
        let (mut next, mut bytes, mut refused) = (start, 0u64, 0u64);
        loop {
            let plain = round.lend_run(ring, next, end.wrapping_sub(next), |_, length| {
                if length < MINIMUM_LENGTH {
                    return None;
                }
                let length = u64::from(length);
                bytes = bytes.wrapping_add(length);
                Some(DATA | END_OF_PACKET | length | (length << PAYLOAD_LENGTH_SHIFT))
            });
            next = next.wrapping_add(plain);
            if next == end || round.front().is_none() {
                break;
            }
            if plain != 0 {
                continue; // A run ends with the ring.
            }
            match unusual(ring, &mut round, next, end.wrapping_sub(next)) {
                Unusual::Packet { descriptors, bytes: more } => {
                    next = next.wrapping_add(descriptors);
                    bytes = bytes.wrapping_add(more);
                }
                Unusual::Refused => refused = refused.wrapping_add(1),
                Unusual::NoRoom => break,
            }
        }
        let sent = round.sent();
        drop(round);
        if next != start {
            self.next = next;
            self.reports.ask(ring, start, next);
            self.tail.ring(next & ring.mask());
            self.counters.sent(sent as u64, bytes);
        }
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

/// What became of a packet that is no plain one.
enum Unusual {
    Packet { descriptors: u32, bytes: u64 },
    Refused,
    NoRoom,
}

#[cold]
#[inline(never)]
fn unusual(ring: &Ring<Descriptor>, round: &mut Sending<'_>, next: u32, free: u32) -> Unusual {
    let count = round.segments();
    let total = round.packet_length();
    let is_possible = count <= MAXIMUM_SEGMENTS.min(ring.mask() as usize)
        && (MINIMUM_LENGTH as usize..=MAXIMUM_LENGTH).contains(&total);
    // What the device is to add would be left out: not sent is better than sent wrong.
    let wants_more =
        round.front_frame().is_some_and(|frame| frame.vlan().is_some() || frame.offload().is_some());
    if !is_possible || wants_more {
        return if round.drop_front() { Unusual::Refused } else { Unusual::NoRoom };
    }
    if count > free as usize {
        return Unusual::NoRoom;
    }
    let mut descriptors = 0u32;
    while let Some(front) = round.front() {
        let descriptor = ring.at(next.wrapping_add(descriptors));
        if !round.lend(next.wrapping_add(descriptors), &descriptor.address) {
            break;
        }
        let end = if front.last { END_OF_PACKET } else { 0 };
        // The whole length goes into the first descriptor, and no other (section 7.2.3.2.4).
        let payload = if descriptors == 0 { (total as u64) << PAYLOAD_LENGTH_SHIFT } else { 0 };
        descriptor.word.store(DATA | end | u64::from(front.length) | payload, Ordering::Relaxed);
        descriptors = descriptors.wrapping_add(1);
        if front.last {
            break;
        }
    }
    Unusual::Packet { descriptors, bytes: total as u64 }
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
