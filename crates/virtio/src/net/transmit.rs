//! The transmit queue: the batch's packets to the ring, sent buffers back to the pool.
//!
//! A packet in one buffer is one descriptor; its header of zeros lies in the headroom. A packet in several buffers is
//! one descriptor that points at a table, where the device takes indirect descriptors, and a chain otherwise (see
//! `segments`). What a packet asks of the device stands in its header (see `request`).
//!
//! Descriptors are used in the ring's order. So what a device gives back in order, as nearly all do, goes back to the pool
//! in runs; it may give back in any order: what it names is looked up in private records. A slot that it keeps makes the
//! ring full when it is its turn.
//!
//! The loop in `send_plain` does what nearly every packet needs. What it doesn't know it leaves to `send_any`: packets in
//! several buffers, too long, too short, without room for the header, or with a request.

use super::segments::{self, Tables};
use super::{header, request};
use crate::ring::{Areas, SplitRing, word};
use crate::transport::{Transport, alive};
use crate::{Error, Features};
use ringway_dma::{Descriptor, Kept, Park, Quiesced};
use ringway_packet::{Batch, MAGAZINE, Pool, Sending, TransmitBuffers};
use ringway_port::{Failure, TransmitCounters};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A frame has an Ethernet header at least: devices refuse what is shorter, and some break down.
const SHORTEST: u32 = 14;
/// A VLAN tag lets a frame be longer than the MTU and the Ethernet header.
const TAG: u32 = 4;
const TAGGED: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// With these, packets are up to 64 KiB long.
const LONG: Features = Features::HOST_TSO4
    .and(Features::HOST_TSO6)
    .and(Features::HOST_USO)
    .and(Features::GUEST_TSO4)
    .and(Features::GUEST_TSO6);

/// Said of a device that gives back what it doesn't have.
const NOT_ITS_OWN: &str = "it gave a packet back that it didn't have (virtio 1.2, section 2.7.8)";

/// How a transmit queue is started.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) index: u16,
    pub(super) size: u16,
    pub(super) pool: &'a Pool,
    pub(super) features: Features,
    /// The longest frame without VLAN tag, in bytes (section 5.1.4.2).
    pub(super) longest: u32,
}

/// What the device shares and must outlive its use of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) buffers: TransmitBuffers,
    pub(super) ring: SplitRing,
    /// For each descriptor a table, if indirect descriptors were agreed on.
    pub(super) tables: Option<Tables>,
    /// The descriptor to be used next, modulo the ring's size.
    pub(super) next: u32,
    /// Descriptors that the device has.
    pub(super) in_flight: u32,
    /// Packets of several buffers that it has.
    pub(super) several: u32,
    /// For each descriptor that heads a packet of several buffers: how many. 1 for other heads, 0 for the rest of chains.
    pub(super) segments: Box<[u8]>,
    longest: u32,
    /// The length of the header before each packet.
    header: u32,
    features: Features,
}

/// A transmit queue. Its cache lines are its own: another thread has its neighbour.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct TransmitQueue {
    state: Kept<State>,
    transport: Arc<dyn Transport>,
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
    /// Sets a queue up and enables it.
    pub(super) fn start(transport: &Arc<dyn Transport>, start: Start<'_>) -> Result<Self, Error> {
        let device = transport.name();
        let size = u32::from(start.size);
        // One record a descriptor; behind them, where there are tables, one for each further entry of each table.
        let has = |feature| start.features.contains(feature);
        let long = start.features.intersects(LONG);
        let table = has(Features::INDIRECT_DESCRIPTORS).then(|| segments::entries(size, long)).flatten();
        let entries = table.map(|table| table.wrapping_mul(size));
        let buffers = TransmitBuffers::new(
            std::slice::from_ref(start.pool),
            entries.unwrap_or(size),
            transport.attachment(),
        )
        .map_err(Error::packet(device))?;
        let bytes = entries.map(|entries| entries as usize * size_of::<Descriptor>());
        let (areas, mut memory) =
            Areas::allocate(&**transport, start.size, bytes.as_slice()).map_err(Error::dma(device))?;
        let tables = entries
            .zip(bytes)
            .map(|(entries, bytes)| memory.block(bytes)?.ring(0, entries))
            .transpose()
            .map_err(Error::dma(device))?
            .zip(table)
            .map(|(ring, entries)| Tables { ring, entries });
        let ring = SplitRing::start(&**transport, start.index, areas, has(Features::EVENT_INDEX), None)?;
        let state = State {
            buffers,
            ring,
            tables,
            next: 0,
            in_flight: 0,
            several: 0,
            segments: vec![1; size as usize].into_boxed_slice(),
            longest: start.longest,
            header: header::length(start.features),
            features: start.features,
        };
        Ok(Self {
            state: Kept::new(state, Arc::<dyn Transport>::clone(transport)),
            transport: Arc::clone(transport),
            failure: Failure::none(device),
            counters: Arc::default(),
        })
    }

    pub(super) fn counters(&self) -> &Arc<TransmitCounters> {
        &self.counters
    }
}

/// What became of the packet at a batch's front.
enum Fate {
    /// The device gets it: its bytes.
    Sent(u64),
    /// This device can't send it.
    Dropped,
    /// The ring has no room for it now.
    Stays,
}

impl State {
    /// Sends packets that are in one buffer, up to the first that is anything else or finds no room: how many, and
    /// their bytes.
    #[inline(always)]
    fn send_plain(&mut self, batch: &mut Batch) -> Result<(usize, u64), ringway_packet::Error> {
        let Self { buffers, ring, next, longest, header, .. } = self;
        let (span, header) = (longest.wrapping_sub(SHORTEST), *header);
        let (mut slot, mut offer, mut bytes) = (*next, ring.next_offer(), 0u64);
        let mask = ring.mask();
        let mut round = buffers.send(batch, header)?;
        while let Some(front) = round.front() {
            if !front.plain || front.length.wrapping_sub(SHORTEST) > span || !clear_header(&mut round) {
                break;
            }
            let id = slot & mask;
            let descriptor = ring.descriptors().at(id);
            if !round.lend(id, &descriptor.address) {
                break;
            }
            descriptor.word.store(word(front.length.wrapping_add(header), 0, 0), Ordering::Relaxed);
            ring.offer_at(offer, id as u16);
            offer = offer.wrapping_add(1);
            slot = slot.wrapping_add(1);
            bytes = bytes.wrapping_add(front.length.into());
        }
        let sent = round.sent();
        drop(round);
        ring.offered(offer);
        self.in_flight = self.in_flight.wrapping_add(slot.wrapping_sub(self.next));
        self.next = slot;
        Ok((sent, bytes))
    }

    /// Sends the packet at the front, whatever it is.
    #[cold]
    #[inline(never)]
    fn send_any(&mut self, batch: &mut Batch) -> Fate {
        let tagged = batch.frame(0).is_some_and(|frame| {
            frame.data().get(12..14).is_some_and(|kind| TAGGED.iter().any(|tag| kind == tag))
        });
        let longest = if tagged { self.longest.saturating_add(TAG) } else { self.longest };
        let Self { buffers, ring, tables, next, in_flight, several, segments, header, features, .. } = self;
        let Ok(mut round) = buffers.send(batch, *header) else { return Fate::Stays };
        let length = round.packet_length();
        let plan = segments::plan(&round, ring.mask(), tables.as_ref());
        let asked = round.front_frame().map(|mut frame| request::header(&mut frame, *features, longest));
        let (Some(plan), Some(Ok((said, most)))) = (plan, asked) else {
            round.drop_front();
            return Fate::Dropped;
        };
        if !(SHORTEST as usize..=most).contains(&length) || round.prefix_mut().is_none() {
            round.drop_front();
            return Fate::Dropped;
        }
        if !plan.has_room(&round, *next, ring.mask()) {
            return Fate::Stays;
        }
        if let Some(bytes) = round.prefix_mut() {
            said.write(bytes);
        }
        if !segments::send(ring, tables.as_ref(), &mut round, (*next, *header), plan) {
            return Fate::Stays;
        }
        drop(round);
        plan.note(segments, *next & ring.mask());
        *several = several.wrapping_add(u32::from(plan.buffers > 1));
        *next = next.wrapping_add(plan.descriptors);
        *in_flight = in_flight.wrapping_add(plan.descriptors);
        Fate::Sent(length as u64)
    }

    /// Takes back what the device has sent, at most `most` packets: how many buffers.
    #[inline]
    fn reclaim(&mut self, most: u16) -> Result<usize, &'static str> {
        let Some(ready) = self.ring.ready() else {
            return Err("its used index jumped (virtio 1.2, section 2.7.8)");
        };
        let (ready, mask) = (ready.min(most), self.ring.mask());
        let (mut done, mut taken) = (0u16, 0u32);
        while done < ready {
            let first = self.ring.completed_id(done);
            if first > mask {
                return Err(NOT_ITS_OWN);
            }
            if self.several != 0 {
                taken = taken.wrapping_add(self.take_back(first)?);
                done = done.wrapping_add(1);
                continue;
            }
            // Up to the end of the ring: behind it are the records of tables.
            let mut run = 1u16;
            while done.wrapping_add(run) < ready
                && self.ring.completed_id(done.wrapping_add(run)) == first.wrapping_add(run.into())
                && first.wrapping_add(run.into()) <= mask
            {
                run = run.wrapping_add(1);
            }
            if self.buffers.take_back(first, run.into()) != u32::from(run) {
                return Err(NOT_ITS_OWN);
            }
            self.in_flight = self.in_flight.wrapping_sub(run.into());
            taken = taken.wrapping_add(run.into());
            done = done.wrapping_add(run);
        }
        self.ring.consume(done);
        Ok(taken as usize)
    }

    /// Takes one packet back while some are in several buffers: how many buffers it was in.
    #[cold]
    #[inline(never)]
    fn take_back(&mut self, head: u32) -> Result<u32, &'static str> {
        // 0: the device names the middle of a chain.
        let segments = self.segments.get(head as usize).copied().filter(|&count| count > 0);
        let count = u32::from(segments.ok_or(NOT_ITS_OWN)?);
        if !self.buffers.take_back_one(head) {
            return Err(NOT_ITS_OWN);
        }
        if count == 1 {
            self.in_flight = self.in_flight.wrapping_sub(1);
            return Ok(1);
        }
        let (mask, indirect) = (self.ring.mask(), self.tables.is_some());
        for n in 1..count {
            self.buffers.take_back_one(segments::slot(head, n, mask, indirect));
        }
        let plan = segments::Plan { buffers: count, descriptors: if indirect { 1 } else { count } };
        plan.forget(&mut self.segments, head);
        self.several = self.several.wrapping_sub(1);
        self.in_flight = self.in_flight.wrapping_sub(plan.descriptors);
        Ok(count)
    }

    /// Whether the ring might be too full for so many packets.
    #[inline(always)]
    fn is_crowded(&self, packets: usize) -> bool {
        self.in_flight as usize > (self.ring.mask() as usize).saturating_sub(packets.wrapping_mul(2))
    }
}

/// A packet that asks for nothing has a header of zeros (section 5.1.6.2).
#[inline(always)]
fn clear_header(round: &mut Sending<'_>) -> bool {
    round.prefix_mut().map(header::clear).is_some()
}

/// Whether one queue can be started anew: the device is well and can do it.
pub(super) fn may_restart(transport: &dyn Transport, features: Features) -> Result<(), Error> {
    alive(transport)?;
    if features.contains(Features::RING_RESET) {
        return Ok(());
    }
    Err(Error::NotOffered {
        device: transport.name().to_owned(),
        what: "starting one queue anew",
        feature: "VIRTIO_F_RING_RESET",
        instead: "; close the port and open it again",
    })
}

/// Whole magazines, as long as there is one: they go back to the pool as they are.
#[inline(always)]
const fn whole_magazines(packets: u16) -> u16 {
    if packets < MAGAZINE as u16 { packets } else { packets & !(MAGAZINE as u16 - 1) }
}

impl ringway_port::TransmitQueue for TransmitQueue {
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        let state = &mut *self.state;
        let mut may_reclaim = true;
        if state.is_crowded(batch.len()) {
            // Once for many packets: the lines that the device writes are looked at seldom.
            let ready = state.ring.ready().unwrap_or(u16::MAX);
            state.reclaim(whole_magazines(ready)).map_err(|reason| self.failure.set(reason))?;
        }
        let (mut sent, mut bytes) = state.send_plain(batch).map_err(|error| self.failure.packet(error))?;
        while !batch.is_empty() {
            match state.send_any(batch) {
                Fate::Sent(more) => {
                    sent = sent.wrapping_add(1);
                    bytes = bytes.wrapping_add(more);
                }
                Fate::Dropped => self.counters.erroneous(1),
                Fate::Stays => {
                    let room = may_reclaim
                        && state.reclaim(u16::MAX).map_err(|reason| self.failure.set(reason))? > 0;
                    may_reclaim = false;
                    if !room {
                        break;
                    }
                }
            }
            if !batch.is_empty() {
                let (packets, more) = state.send_plain(batch).map_err(|error| self.failure.packet(error))?;
                sent = sent.wrapping_add(packets);
                bytes = bytes.wrapping_add(more);
            }
        }
        state.ring.publish();
        self.counters.sent(sent as u64, bytes);
        Ok(sent)
    }

    fn reclaim(&mut self) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        self.state.reclaim(u16::MAX).map_err(|reason| self.failure.set(reason))
    }

    fn pending(&self) -> usize {
        self.state.buffers.held()
    }

    fn restart(&mut self) -> Result<(), ringway_port::Error> {
        let _ = self.failure.set("it was not started anew");
        may_restart(&*self.transport, self.state.features)?;
        let state = &mut *self.state;
        state.ring.restart(&*self.transport)?;
        // The queue is no longer the device's, and so is what was in it.
        state.buffers.take_back_all();
        (state.next, state.in_flight, state.several) = (0, 0, 0);
        state.segments.fill(1);
        self.failure = Failure::none(self.transport.name());
        Ok(())
    }
}
