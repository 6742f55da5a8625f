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
//! `send_run` does what nearly every packet needs. What it doesn't know it leaves to `send_any`: packets in
//! several buffers, too long, too short, without room for the header, or with a request.

use super::segments::{self, Tables};
use super::{header, request};
use crate::ring::{Areas, SplitRing};
use crate::transport::{Transport, alive};
use crate::{Error, Features};
use ringway_dma::{Descriptor, Kept, Pair, Park, Quiesced};
use ringway_packet::{Batch, MAGAZINE, Pool, TransmitBuffers};
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

/// What one call has done.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    packets: usize,
    bytes: u64,
}

impl Sent {
    fn and(self, more: Self) -> Self {
        Self { packets: self.packets.wrapping_add(more.packets), bytes: self.bytes.wrapping_add(more.bytes) }
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
    /// Sends packets that are in one buffer, up to the first that is anything else or finds no room, and to the end of the
    /// ring at most: how many, and their bytes.
    #[inline(always)]
    fn send_run(&mut self, batch: &mut Batch) -> Sent {
        if self.header == header::PLAIN {
            // A packet that asks for nothing has a header of zeros (section 5.1.6.2).
            self.send_with(batch, &[0; header::PLAIN as usize])
        } else {
            self.send_long(batch)
        }
    }

    /// The same with the header in which a hash is reported.
    #[inline(never)]
    fn send_long(&mut self, batch: &mut Batch) -> Sent {
        self.send_with(batch, &[0; header::LONGEST])
    }

    #[inline(always)]
    fn send_with<const HEADER: usize>(&mut self, batch: &mut Batch, zeros: &[u8; HEADER]) -> Sent {
        let Self { buffers, ring, next, in_flight, longest, .. } = self;
        let header = (zeros, (SHORTEST, *longest));
        let mut bytes = 0;
        let packets = buffers.lend_prefixed(batch, ring.descriptors(), *next, header, |_, sum| bytes = sum);
        ring.offer_run(*next, packets as u32);
        *next = next.wrapping_add(packets as u32);
        *in_flight = in_flight.wrapping_add(packets as u32);
        Sent { packets, bytes }
    }

    /// Sends the packet at the front, whatever it is.
    #[cold]
    #[inline(never)]
    fn send_any(&mut self, batch: &mut Batch) -> Result<Fate, ringway_packet::Error> {
        let tagged = batch.frame(0).is_some_and(|frame| {
            frame.data().get(12..14).is_some_and(|kind| TAGGED.iter().any(|tag| kind == tag))
        });
        let longest = if tagged { self.longest.saturating_add(TAG) } else { self.longest };
        let Self { buffers, ring, tables, next, in_flight, several, segments, header, features, .. } = self;
        let mut round = buffers.send(batch, *header)?;
        let length = round.packet_length();
        let plan = segments::plan(&round, ring.mask(), tables.as_ref());
        let asked = round.front_frame().map(|mut frame| request::header(&mut frame, *features, longest));
        let (Some(plan), Some(Ok((said, most)))) = (plan, asked) else {
            round.drop_front();
            return Ok(Fate::Dropped);
        };
        if !(SHORTEST as usize..=most).contains(&length) || round.prefix_mut().is_none() {
            round.drop_front();
            return Ok(Fate::Dropped);
        }
        if !plan.has_room(&round, *next, ring.mask()) {
            return Ok(Fate::Stays);
        }
        if let Some(bytes) = round.prefix_mut() {
            said.write(bytes);
        }
        if !segments::send(ring, tables.as_ref(), &mut round, (*next, *header), plan) {
            return Ok(Fate::Stays);
        }
        drop(round);
        plan.note(segments, *next & ring.mask());
        *several = several.wrapping_add(u32::from(plan.buffers > 1));
        *next = next.wrapping_add(plan.descriptors);
        *in_flight = in_flight.wrapping_add(plan.descriptors);
        Ok(Fate::Sent(length as u64))
    }

    /// Takes back what the device has sent, at most `most` packets: how many buffers.
    #[inline]
    fn reclaim(&mut self, most: u16) -> Result<usize, &'static str> {
        let Some(ready) = self.ring.ready() else {
            return Err("its used index jumped (virtio 1.2, section 2.7.8)");
        };
        let (mut left, mut taken) = (ready.min(most), 0u32);
        let mask = self.ring.mask();
        while left > 0 {
            let first = self.ring.completed_id(0);
            if first > mask {
                return Err(NOT_ITS_OWN);
            }
            let (packets, buffers) = if self.several == 0 {
                let run = run_of(self.ring.completions(left), first, mask);
                let buffers = self.buffers.take_back(first, run.into());
                if buffers != u32::from(run) {
                    return Err(NOT_ITS_OWN);
                }
                self.in_flight = self.in_flight.wrapping_sub(buffers);
                (run, buffers)
            } else {
                (1, self.take_back(first)?)
            };
            self.ring.consume(packets);
            left = left.wrapping_sub(packets);
            taken = taken.wrapping_add(buffers);
        }
        if self.in_flight == 0 {
            // After chains of several descriptors the places were others than the descriptors.
            self.next = self.ring.next_offer().into();
        }
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

/// How many entries name one descriptor after the other, from `first` up to the end of the ring: behind it are the
/// records of tables.
#[inline]
fn run_of(entries: &[Pair], first: u32, mask: u32) -> u16 {
    let most = mask.wrapping_sub(first).wrapping_add(1) as usize;
    let entries = entries.get(..most).unwrap_or(entries);
    let (chunks, _) = entries.as_chunks::<8>();
    let (mut run, mut expected) = (0usize, first);
    for chunk in chunks {
        let mut others = 0;
        for entry in chunk {
            others |= entry.first.load(Ordering::Relaxed) ^ expected;
            expected = expected.wrapping_add(1);
        }
        if others != 0 {
            break;
        }
        run = run.wrapping_add(chunk.len());
    }
    for entry in entries.get(run..).unwrap_or_default() {
        // The first was looked at before, and is one whatever the device has made of it since.
        if run > 0 && entry.first.load(Ordering::Relaxed) != first.wrapping_add(run as u32) {
            break;
        }
        run = run.wrapping_add(1);
    }
    run as u16
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

impl TransmitQueue {
    /// Goes on where the plain packets, or the ring, end.
    #[cold]
    #[inline(never)]
    fn transmit_rest(&mut self, batch: &mut Batch, mut sent: Sent) -> Result<usize, ringway_port::Error> {
        let state = &mut *self.state;
        let mut may_reclaim = true;
        let mut outcome = Ok(());
        while outcome.is_ok() && !batch.is_empty() {
            // What lies behind the ring's end.
            let more = state.send_run(batch);
            sent = sent.and(more);
            if more.packets != 0 {
                continue;
            }
            match state.send_any(batch) {
                Err(error) => outcome = Err(self.failure.packet(error)),
                Ok(Fate::Sent(bytes)) => {
                    sent = sent.and(Sent { packets: 1, bytes });
                }
                Ok(Fate::Dropped) => self.counters.erroneous(1),
                Ok(Fate::Stays) if may_reclaim => {
                    may_reclaim = false;
                    match state.reclaim(u16::MAX) {
                        Ok(0) => break,
                        Ok(_) => {}
                        Err(reason) => outcome = Err(self.failure.set(reason)),
                    }
                }
                Ok(Fate::Stays) => break,
            }
        }
        let sent = self.finish(sent);
        outcome.map(|()| sent)
    }

    /// Shows the device its new packets, and counts.
    #[inline(always)]
    fn finish(&mut self, sent: Sent) -> usize {
        self.state.ring.publish();
        self.counters.sent(sent.packets as u64, sent.bytes);
        sent.packets
    }
}

impl ringway_port::TransmitQueue for TransmitQueue {
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        let state = &mut *self.state;
        if state.is_crowded(batch.len()) {
            // Once for many packets: the lines that the device writes are looked at seldom.
            let ready = state.ring.ready().unwrap_or(u16::MAX);
            state.reclaim(whole_magazines(ready)).map_err(|reason| self.failure.set(reason))?;
        }
        let sent = state.send_run(batch);
        if !batch.is_empty() {
            return self.transmit_rest(batch, sent);
        }
        Ok(self.finish(sent))
    }

    fn reclaim(&mut self) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        self.state.reclaim(u16::MAX).map_err(|reason| self.failure.set(reason))
    }

    fn pending(&self) -> usize {
        self.state.buffers.held()
    }

    fn restart(&mut self) -> Result<(), ringway_port::Error> {
        may_restart(&*self.transport, self.state.features)?;
        let _ = self.failure.set("it was not started anew");
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
