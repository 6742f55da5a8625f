//! The receive queue: used buffers to the batch, free buffers to the ring.
//!
//! Every descriptor has a buffer of its own, so a chain is one descriptor and its id is the slot. Used buffers come
//! back in any order. A buffer that is taken is replaced in its slot at once, and the slot offered again. Only when the
//! pool has none it stays empty, until there is one; the device can't name an empty slot without being found out.
//!
//! `take_run` does what nearly every packet needs. Buffers that come back in another order it leaves to `take_plain`, and what
//! that doesn't know to `take_any`: packets in several buffers, lengths that are no packet's, an exhausted pool, a device
//! that lies. Slots are offered in the order in which they came back; a ring that was in another order once is brought back into
//! its own (`ring/restoring.rs`).

use super::header;
use super::received::Meaning;
use super::transmit::may_restart;
use crate::ring::{Areas, Restoring, SplitRing, flag, word};
use crate::transport::Transport;
use crate::{Error, Features};
use ringway_dma::{Kept, Park, Quiesced};
use ringway_packet::{Batch, Pool, ReceiveBuffers, Receiving, Refused};
use ringway_port::{Failure, ReceiveCounters};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How a receive queue is started.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) index: u16,
    pub(super) size: u16,
    pub(super) pool: &'a Pool,
    pub(super) features: Features,
    /// The vector and its counter.
    pub(super) interrupt: Option<(u16, Arc<OwnedFd>)>,
}

/// What the device shares and must outlive its use of it.
#[derive(Debug)]
struct State {
    buffers: ReceiveBuffers,
    ring: SplitRing,
    /// What the device has written when the packet may go on in another buffer; without mergeable buffers more than it
    /// can write. All buffers of a packet but the last are full (section 5.1.6.4.1), so the others' headers, and the cache
    /// lines that they are in, need not be looked at.
    full: u32,
    /// Slots without a buffer, in the order in which they came back.
    empty: VecDeque<u16>,
    /// Slots with a buffer that wait for their turn.
    restoring: Restoring,
    /// The longest packet that is in one buffer for certain.
    longest: u32,
    /// The length of the header before each packet.
    header: u32,
}

/// A receive queue. Its cache lines are its own: another thread has its neighbour.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ReceiveQueue {
    state: Kept<State>,
    transport: Arc<dyn Transport>,
    features: Features,
    /// What headers say, if any of it counts.
    meaning: Option<Meaning>,
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
    /// Sets a queue up, with a buffer in every slot, and enables it.
    pub(super) fn start(transport: &Arc<dyn Transport>, start: Start<'_>) -> Result<Self, Error> {
        let (device, header) = (transport.name(), header::length(start.features));
        let has = |feature| start.features.contains(feature);
        let buffers = ReceiveBuffers::new(start.pool, start.size.into(), header, transport.attachment())
            .map_err(Error::packet(device))?;
        let (areas, _memory) = Areas::allocate(&**transport, start.size, &[]).map_err(Error::dma(device))?;
        let (vector, interrupt) = start.interrupt.unzip();
        let ring = SplitRing::start(&**transport, start.index, areas, has(Features::EVENT_INDEX), vector)?;
        let full = if has(Features::MERGEABLE_BUFFERS) { buffers.writable() } else { u32::MAX };
        let longest = full.min(buffers.writable().wrapping_add(1)).wrapping_sub(header).wrapping_sub(1);
        let empty = VecDeque::with_capacity(start.size.into());
        let restoring = Restoring::new(start.size);
        let state = State { buffers, ring, full, longest, empty, restoring, header };
        let mut queue = Self {
            state: Kept::new(state, Arc::<dyn Transport>::clone(transport)),
            transport: Arc::clone(transport),
            features: start.features,
            meaning: Meaning::of(start.features),
            failure: Failure::none(device),
            counters: Arc::default(),
            interrupt,
        };
        queue.fill()?;
        Ok(queue)
    }

    /// Lends a buffer to every slot.
    fn fill(&mut self) -> Result<(), Error> {
        let State { ring, buffers, .. } = &mut *self.state;
        let (size, writable) = (ring.mask().wrapping_add(1), buffers.writable());
        for slot in 0..size {
            let descriptor = ring.descriptors().at(slot);
            if !buffers.fill(slot, &descriptor.address) {
                return Err(Error::PoolTooSmall {
                    device: self.failure.port().to_owned(),
                    wanted: size,
                    had: slot,
                });
            }
            // The word never changes: every buffer of a pool is of the same size.
            descriptor.word.store(word(writable, flag::WRITE, 0), Ordering::Relaxed);
            ring.offer(slot as u16);
        }
        Ok(())
    }

    /// Shows the device its buffers. To be called when the device is live.
    pub(super) fn publish(&mut self) {
        self.state.ring.publish();
    }

    pub(super) fn counters(&self) -> &Arc<ReceiveCounters> {
        &self.counters
    }
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Used entries.
    entries: u16,
    /// Bytes of packets.
    bytes: u64,
}

impl Taken {
    fn and(self, more: Self) -> Self {
        Self { entries: self.entries.wrapping_add(more.entries), bytes: self.bytes.wrapping_add(more.bytes) }
    }
}

impl State {
    /// Takes packets that are in one buffer and come in the ring's order, up to the first that is anything else, and to the
    /// end of the ring at most.
    #[inline(always)]
    fn take_run(&mut self, batch: &mut Batch, ready: u16) -> Taken {
        let Self { buffers, ring, longest, .. } = self;
        let Some(first) = ring.in_step() else { return Taken::default() };
        let mut bytes = 0;
        let (rings, slots) = ((ring.descriptors(), ring.said()), (first, ready.into()));
        let run = buffers.exchange_named(batch, rings, slots, *longest, |_, sum| bytes = sum);
        ring.turn(run as u32);
        Taken { entries: run as u16, bytes }
    }

    /// Takes packets that are in one buffer, in any order, up to the first entry that is anything else.
    #[inline(always)]
    fn take_plain(&mut self, batch: &mut Batch, ready: u16) -> Result<Taken, ringway_packet::Error> {
        let Self { buffers, ring, full, restoring, header, .. } = self;
        let (mask, full, header) = (ring.mask(), *full, *header);
        let mut round = buffers.receive(batch)?;
        let (mut done, mut bytes, mut offer) = (0u16, 0u64, ring.next_offer());
        while done < ready {
            let (id, written) = ring.completed(done);
            // Less than a header wraps around, and is too long.
            let length = written.wrapping_sub(header);
            if id > mask || written == full {
                break;
            }
            if round.exchange(id, &ring.descriptors().at(id).address, length).is_err() {
                break;
            }
            restoring.note(ring, done, id);
            ring.offer_at(offer, id as u16);
            offer = offer.wrapping_add(1);
            done = done.wrapping_add(1);
            bytes = bytes.wrapping_add(length.into());
        }
        drop(round);
        ring.offered(offer);
        ring.consume(done);
        Ok(Taken { entries: done, bytes })
    }

    /// Takes whatever comes, and fills slots that are empty. The second number is that of entries that were no packet.
    #[cold]
    #[inline(never)]
    fn take_any(&mut self, batch: &mut Batch, ready: u16) -> (Taken, u64, Result<(), &'static str>) {
        let Self { buffers, ring, full, empty, restoring, header, .. } = self;
        let Ok(mut round) = buffers.receive(batch) else { return (Taken::default(), 0, Ok(())) };
        let mut slots = Slots { empty, restoring };
        let (mut taken, mut erroneous) = (Taken::default(), 0u64);
        let mut outcome = Ok(());
        while taken.entries < ready && round.has_room() {
            match take_one(ring, &mut round, (*full, *header), &mut slots, (taken.entries, ready)) {
                Ok(Some((entries, bytes))) => {
                    taken.entries = taken.entries.wrapping_add(entries);
                    taken.bytes = taken.bytes.wrapping_add(bytes);
                }
                Ok(None) => {
                    taken.entries = taken.entries.wrapping_add(1);
                    erroneous = erroneous.wrapping_add(1);
                }
                Err(reason) => {
                    outcome = Err(reason);
                    break;
                }
            }
        }
        slots.refill(ring, &mut round);
        drop(round);
        ring.consume(taken.entries);
        (taken, erroneous, outcome)
    }
}

/// The slots that are not with the device.
#[derive(Debug)]
struct Slots<'a> {
    empty: &'a mut VecDeque<u16>,
    restoring: &'a mut Restoring,
}

impl Slots<'_> {
    /// A slot's buffer was taken: it gets a free one when it is its turn, at once if there are enough.
    fn replace(&mut self, ring: &mut SplitRing, round: &mut Receiving<'_>, id: u32) {
        self.empty.push_back(id as u16);
        self.refill(ring, round);
    }

    /// Lends free buffers to empty slots, and offers these.
    fn refill(&mut self, ring: &mut SplitRing, round: &mut Receiving<'_>) {
        while let Some(&slot) = self.empty.front()
            && round.give(slot.into(), &ring.descriptors().at(slot.into()).address)
        {
            self.restoring.offer(ring, slot);
            self.empty.pop_front();
        }
        if !self.restoring.holds() {
            return;
        }
        if self.empty.is_empty() {
            self.restoring.go_on(ring);
        } else {
            // The device has few enough.
            self.restoring.give_up(ring);
        }
    }
}

/// Takes the packet of the entry `at`: how many entries it has, and its bytes. `None`: it is no packet.
fn take_one(
    ring: &mut SplitRing,
    round: &mut Receiving<'_>,
    (full, header): (u32, u32),
    slots: &mut Slots<'_>,
    (at, ready): (u16, u16),
) -> Result<Option<(u16, u64)>, &'static str> {
    let (id, written) = ring.completed(at);
    slots.restoring.note(ring, at, id);
    let length = written.wrapping_sub(header);
    if id > ring.mask() {
        return Err("it named a descriptor that the ring doesn't have (virtio 1.2, section 2.7.8)");
    }
    match round.take(id, length) {
        Ok(()) => slots.replace(ring, round, id),
        Err(Refused::TooLong) => {
            // The buffer stays with its slot, which is offered again.
            round.relend(id, &ring.descriptors().at(id).address);
            slots.restoring.offer(ring, id as u16);
            return Ok(None);
        }
        Err(_) => return Err("it gave a buffer back that it didn't have (virtio 1.2, section 2.7.8)"),
    }
    if written != full {
        return Ok(Some((1, length.into())));
    }
    let buffers = header::num_buffers(round.last_prefix());
    let more = merge(ring, round, slots, (at, ready), buffers).inspect_err(|_| round.drop_last())?;
    Ok(Some((buffers, more.wrapping_add(length.into()))))
}

/// Takes the further buffers of a packet that is in several (section 5.1.6.4): their bytes.
fn merge(
    ring: &mut SplitRing,
    round: &mut Receiving<'_>,
    slots: &mut Slots<'_>,
    (at, ready): (u16, u16),
    buffers: u16,
) -> Result<u64, &'static str> {
    if buffers == 0 {
        return Err("it said that a packet is in no buffer (virtio 1.2, section 5.1.6.4.1)");
    }
    if buffers > ready.wrapping_sub(at) {
        return Err("it said that a packet is in more buffers than it gave (virtio 1.2, section 5.1.6.4.1)");
    }
    let mut bytes = 0u64;
    for n in 1..buffers {
        let (id, written) = ring.completed(at.wrapping_add(n));
        if id > ring.mask() || written == 0 || round.take_segment(id, written).is_err() {
            return Err("it gave a wrong buffer as part of a packet (virtio 1.2, section 5.1.6.4.1)");
        }
        slots.restoring.note(ring, at.wrapping_add(n), id);
        slots.replace(ring, round, id);
        bytes = bytes.wrapping_add(written.into());
    }
    Ok(bytes)
}

impl ReceiveQueue {
    /// Goes on where the run, or the ring, ends.
    #[cold]
    #[inline(never)]
    fn receive_rest(
        &mut self,
        batch: &mut Batch,
        ready: u16,
        mut taken: Taken,
    ) -> Result<usize, ringway_port::Error> {
        let state = &mut *self.state;
        if !batch.pool().is_same(state.buffers.pool()) {
            return Err(self.failure.packet(ringway_packet::Error::WrongPool));
        }
        // Each entry was one packet so far.
        let before = batch.len().wrapping_sub(taken.entries.into());
        // What lies behind the ring's end; then in whatever order they come.
        for turn in 0..2 {
            let left = ready.wrapping_sub(taken.entries);
            if left == 0 || batch.room() == 0 {
                break;
            }
            let more = match turn {
                0 => state.take_run(batch, left),
                _ if state.restoring.is_on(&state.ring) => break,
                _ => state.take_plain(batch, left).map_err(|error| self.failure.packet(error))?,
            };
            taken = taken.and(more);
        }
        let mut outcome = Ok(());
        if (taken.entries < ready && batch.room() > 0) || !state.empty.is_empty() {
            let (more, erroneous, ended) = state.take_any(batch, ready.wrapping_sub(taken.entries));
            taken = taken.and(more);
            outcome = ended;
            if erroneous > 0 {
                self.counters.erroneous(erroneous);
            }
            // Without a single buffer in the ring, packets may wait that nobody sees.
            let dry = state.empty.len() as u32 > state.ring.mask();
            if dry || (taken.entries > 0 && !state.empty.is_empty()) {
                self.counters.starved();
            }
        }
        let received = self.finish(batch, batch.len().wrapping_sub(before), taken.bytes);
        match outcome {
            Ok(()) => Ok(received),
            Err(reason) => Err(self.failure.set(reason)),
        }
    }

    /// Shows the device its new buffers, looks at what it says of the packets, the last `count` of the batch, and counts.
    #[inline(always)]
    fn finish(&mut self, batch: &mut Batch, mut count: usize, mut bytes: u64) -> usize {
        let ring = &mut self.state.ring;
        ring.publish();
        ring.keep_listening();
        if let Some(meaning) = self.meaning
            && count != 0
        {
            let refused = meaning.annotate(batch, batch.len().wrapping_sub(count));
            bytes = bytes.wrapping_sub(refused.bytes);
            count = count.wrapping_sub(refused.packets as usize);
            if refused.packets > 0 {
                self.counters.erroneous(refused.packets);
            }
        }
        self.counters.received(count as u64, bytes);
        count
    }
}

impl ringway_port::ReceiveQueue for ReceiveQueue {
    fn receive(&mut self, batch: &mut Batch) -> Result<usize, ringway_port::Error> {
        self.failure.check()?;
        let state = &mut *self.state;
        let Some(ready) = state.ring.ready() else {
            return Err(self.failure.set("its used index jumped (virtio 1.2, section 2.7.8)"));
        };
        if ready == 0 && state.empty.is_empty() {
            if state.restoring.holds() && state.restoring.idle(&mut state.ring) {
                state.ring.publish();
            }
            return Ok(0);
        }
        let taken = state.take_run(batch, ready);
        let is_full = batch.room() == 0 && taken.entries != 0;
        if (taken.entries == ready || is_full) && state.empty.is_empty() {
            return Ok(self.finish(batch, taken.entries.into(), taken.bytes));
        }
        self.receive_rest(batch, ready, taken)
    }

    fn pool(&self) -> &Pool {
        self.state.buffers.pool()
    }

    fn interrupt(&self) -> Option<&Arc<OwnedFd>> {
        self.interrupt.as_ref()
    }

    fn enable_interrupt(&mut self) -> bool {
        // Without a single buffer in the ring no packet can come: only another round can change that.
        let State { ring, empty, restoring, .. } = &mut *self.state;
        if restoring.holds() {
            restoring.give_up(ring);
            ring.publish();
        }
        let dry = empty.len() as u32 > ring.mask();
        ring.listen() && !dry
    }

    fn disable_interrupt(&mut self) {
        self.state.ring.silence();
    }

    fn restart(&mut self) -> Result<(), ringway_port::Error> {
        may_restart(&*self.transport, self.features)?;
        let _ = self.failure.set("it was not started anew");
        let State { ring, empty, restoring, .. } = &mut *self.state;
        ring.restart(&*self.transport)?;
        restoring.forget();
        // Buffers stay in their slots: the device gets the same ones again.
        for slot in (0..=ring.mask()).map(|slot| slot as u16).filter(|slot| !empty.contains(slot)) {
            ring.offer(slot);
        }
        ring.publish();
        self.failure = Failure::none(self.transport.name());
        Ok(())
    }
}
