//! Packets between queues and wire (virtio 1.2, sections 5.1.6.2 to 5.1.6.4).
//!
//! A round on a queue is one burst of memory accesses: frames are copied between buffers and private memory, and the
//! wire is asked before or after, never within.

use super::chain::Chain;
use super::device::Device;
use super::features::Features;
use super::frames::Frames;
use super::header::{self, Header};
use super::offload;
use super::rss::Hash;
use super::slot::Slot;
use super::violation::{Breach, Rule, breach};
use crate::Memory;
use crate::wire::{MAXIMUM_FRAME, Wire};

/// Frames of one round on one queue. A driver that takes buffers back waits for a round at most.
pub(crate) const ROUND: usize = 32;
const ETHERNET_HEADER: usize = 14;
const VLAN_TAG: usize = 4;
/// Section 5.1.6.3.1: what a receive buffer should hold.
const RECEIVE_BUFFER: u64 = 1526;

/// What became of a received frame.
enum Delivery {
    /// In the driver's hands, in so many buffers.
    Done,
    /// No buffer was there.
    NoRoom,
    /// Longer than any buffer of this queue takes.
    TooLong(u64),
}

impl Device {
    /// Everything that is due: the control queue, packets out, packets in. The number of frames moved.
    pub(crate) fn step(&mut self, wire: &mut dyn Wire) -> usize {
        if !self.is_running() {
            return 0;
        }
        self.serve_control();
        self.send_held_interrupts();
        let mut moved = 0usize;
        while wire.room() > 0
            && let Some(frame) = self.backlog.pop_front()
        {
            wire.send(&frame);
            moved = moved.wrapping_add(1);
        }
        for pair in 0..self.port.active_pairs {
            moved = moved.wrapping_add(self.transmit(pair, wire));
        }
        if self.port.active_pairs < self.queue_pairs {
            self.look_at_idle_pairs();
        }
        moved.wrapping_add(self.receive(wire))
    }

    /// Section 5.1.6.2: takes packets from a transmit queue and sends them.
    fn transmit(&mut self, pair: u16, wire: &mut dyn Wire) -> usize {
        let index = pair.wrapping_mul(2).wrapping_add(1);
        let Self { memory: Some(view), queues, outgoing, chain, faults, .. } = self else { return 0 };
        let Some(slot) = queues.get_mut(usize::from(index)) else { return 0 };
        if !slot.may_have_work() || !self.backlog.is_empty() {
            return 0;
        }
        let limit = ROUND.min(wire.room());
        outgoing.clear();
        let mut memory = view.burst();
        let collected = collect(slot, &mut memory, chain, outgoing, limit, faults);
        drop(memory);
        let moved = self.send(pair, wire);
        self.finish(index, collected);
        moved
    }

    /// Checks what was collected and hands it to the wire.
    fn send(&mut self, pair: u16, wire: &mut dyn Wire) -> usize {
        let Self { outgoing, statistics, port, steering, negotiated, violations, backlog, .. } = self;
        let length = header::length(*negotiated);
        let limit = if negotiated.has(Features::MTU) { usize::from(port.mtu) } else { usize::MAX };
        let learns = port.active_pairs > 1;
        let mut note = |rule, seen| {
            let queue = Some(pair.wrapping_mul(2).wrapping_add(1));
            violations.push(super::Violation { rule, queue, seen });
        };
        while let Some(packet) = outgoing.peek() {
            if let Some((header, frame)) = packet.split_at_checked(length) {
                let asked = if is_plain(header) { None } else { Some(Header::read(header)) };
                if let Some(asked) = asked.filter(Header::asks) {
                    if learns {
                        steering.learn(frame, pair);
                    }
                    let up = port.link_up;
                    let emit = |frame| backlog.extend(Some(frame).filter(|_| up));
                    if let Err((rule, seen)) =
                        send_asking(&asked, frame, limit, *negotiated, statistics, emit)
                    {
                        statistics.refused = statistics.refused.wrapping_add(1);
                        note(rule, seen);
                    }
                    outgoing.advance();
                    continue;
                }
                if asked.is_some() {
                    note(Rule::TransmitHeader, format!("{header:02x?}"));
                }
                let fate = inspect(frame, limit);
                if let Some((rule, seen)) = fate.broken {
                    note(rule, seen);
                }
                if !fate.goes {
                    statistics.refused = statistics.refused.wrapping_add(1);
                } else if !port.link_up {
                    statistics.link_down = statistics.link_down.wrapping_add(1);
                } else {
                    if learns {
                        steering.learn(frame, pair);
                    }
                    statistics.sent_frames = statistics.sent_frames.wrapping_add(1);
                    statistics.sent_bytes = statistics.sent_bytes.wrapping_add(frame.len() as u64);
                    if backlog.is_empty() {
                        wire.send(frame);
                    } else {
                        backlog.push_back(frame.to_vec());
                    }
                }
            }
            outgoing.advance();
        }
        outgoing.count()
    }

    /// Section 5.1.6.5.6.1: nothing may be sent on pairs that are not in use.
    fn look_at_idle_pairs(&mut self) {
        for pair in self.port.active_pairs..self.queue_pairs {
            let index = pair.wrapping_mul(2).wrapping_add(1);
            if Some(index) == self.control_index() {
                continue;
            }
            if let Some(slot) = self.queues.get(usize::from(index))
                && slot.is_rung()
            {
                slot.silence();
                self.note_queue(Rule::TransmitQueueBeyondPairs, index, || "a doorbell was rung".to_owned());
            }
        }
    }

    /// Section 5.1.6.4: takes frames from the wire and puts them into receive buffers.
    fn receive(&mut self, wire: &mut dyn Wire) -> usize {
        if !self.port.link_up {
            return 0;
        }
        let waits = wire.waits();
        if self.incoming.is_empty() {
            self.incoming.clear();
            if waits && !self.may_receive() {
                return 0;
            }
            let Self { incoming, filter, statistics, .. } = self;
            let mut looked_at = 0;
            while looked_at < ROUND && incoming.has_room() {
                match incoming.fetch(wire, |frame| filter.passes(frame)) {
                    None => break,
                    Some(true) => {}
                    Some(false) => statistics.filtered = statistics.filtered.wrapping_add(1),
                }
                looked_at = looked_at.wrapping_add(1);
            }
            if incoming.is_empty() {
                return 0;
            }
        }
        let mut frames = std::mem::take(&mut self.incoming);
        let moved = self.deliver(&mut frames, waits, None);
        self.incoming = frames;
        moved
    }

    /// Whether any receive queue in use may have a buffer.
    fn may_receive(&self) -> bool {
        let active = usize::from(self.port.active_pairs);
        self.queues.iter().step_by(2).take(active).any(Slot::may_have_work)
    }

    /// A frame from outside a step. Whether it was taken.
    pub(crate) fn inject(&mut self, frame: &[u8], header: Option<Header>) -> bool {
        if !self.is_running() || !self.port.link_up || frame.len() > MAXIMUM_FRAME {
            return false;
        }
        if !self.filter.passes(frame) {
            self.statistics.filtered = self.statistics.filtered.wrapping_add(1);
            return true;
        }
        let mut frames = std::mem::take(&mut self.injected);
        frames.clear();
        let taken = frames.put(frame) && {
            self.deliver(&mut frames, true, header);
            frames.is_empty()
        };
        self.injected = frames;
        taken
    }

    /// Puts frames into receive buffers, as far as there are some. Without `waits`, frames that find none are lost.
    ///
    /// `said`: what their header says; else it is what the device finds out.
    fn deliver(&mut self, frames: &mut Frames, waits: bool, said: Option<Header>) -> usize {
        let merges = self.negotiated.has(Features::MRG_RXBUF);
        let negotiated = self.negotiated;
        let length = header::length(negotiated);
        let is_long = said.is_some_and(|header| header.gso_type != header::GSO_NONE);
        let limit = if is_long { usize::MAX } else { self.longest().saturating_add(length) };
        let active = self.port.active_pairs;
        let Self {
            memory: Some(view),
            queues,
            chain,
            more,
            faults,
            statistics,
            steering,
            scaling,
            violations,
            outcomes,
            ..
        } = self
        else {
            return 0;
        };
        let mut memory = view.burst();
        let mut moved = 0usize;
        let mut failed = None;
        while let Some(packet) = frames.peek() {
            let frame = packet.get(length..).unwrap_or_default();
            let hash = if scaling.is_set() { scaling.hash(frame) } else { Hash::default() };
            let pair = match scaling.queue(hash) {
                Some(queue) => queue,
                None if active > 1 => steering.pair(frame, active),
                None => 0,
            };
            let header = said.unwrap_or_else(|| {
                let valid = negotiated.has(Features::GUEST_CSUM) && offload::is_valid(frame);
                Header {
                    flags: if valid { header::DATA_VALID } else { 0 },
                    hash: hash.value,
                    hash_report: hash.report,
                    ..Header::default()
                }
            });
            let index = pair.wrapping_mul(2);
            let Some(slot) = queues.get_mut(usize::from(index)) else { break };
            let bytes = packet.len().wrapping_sub(length) as u64;
            let delivery = if packet.len() > limit {
                Ok(Delivery::TooLong(0))
            } else {
                let say = Say { header, length, merges };
                put(slot, &mut memory, (&mut *chain, &mut *more), packet, say, faults)
            };
            match delivery {
                Ok(Delivery::Done) => {
                    statistics.received_frames = statistics.received_frames.wrapping_add(1);
                    statistics.received_bytes = statistics.received_bytes.wrapping_add(bytes);
                    moved = moved.wrapping_add(1);
                }
                Ok(Delivery::NoRoom) if waits => break,
                Ok(Delivery::NoRoom) => statistics.missed = statistics.missed.wrapping_add(1),
                Ok(Delivery::TooLong(room)) => {
                    statistics.too_long = statistics.too_long.wrapping_add(1);
                    if room > 0 && room < RECEIVE_BUFFER {
                        let seen = format!("{room} bytes");
                        let rule = Rule::ReceiveTooSmall;
                        violations.push(super::Violation { rule, queue: Some(index), seen });
                    }
                }
                Err(broken) => {
                    failed = Some((index, broken));
                    break;
                }
            }
            frames.advance();
        }
        for index in (0..active).map(|pair| pair.wrapping_mul(2)) {
            if let Some(slot) = queues.get_mut(usize::from(index))
                && slot.has_news()
            {
                outcomes.push((index, slot.publish(&mut memory, faults)));
            }
        }
        drop(memory);
        outcomes.extend(failed.map(|(index, broken)| (index, Err(broken))));
        let mut outcomes = std::mem::take(outcomes);
        for (index, published) in outcomes.drain(..) {
            self.finish(index, published);
        }
        self.outcomes = outcomes;
        moved
    }

    /// Section 5.1.4.1: the longest frame that may be passed on.
    fn longest(&self) -> usize {
        if self.negotiated.has(Features::MTU) {
            usize::from(self.port.mtu).saturating_add(ETHERNET_HEADER + VLAN_TAG)
        } else {
            MAXIMUM_FRAME
        }
    }
}

/// Copies up to `limit` packets out of a transmit queue, gives their buffers back and shows it.
fn collect(
    slot: &mut Slot,
    memory: &mut Memory<'_>,
    chain: &mut Chain,
    outgoing: &mut Frames,
    limit: usize,
    faults: &mut Option<Box<super::faults::Plan>>,
) -> Result<Option<bool>, Breach> {
    while outgoing.count() < limit && outgoing.has_room() && slot.take(memory, chain)? {
        outgoing.gather(memory, chain)?;
        slot.complete(chain.head, 0, faults)?;
    }
    slot.publish(memory, faults)
}

/// Whether a packet goes out, and what is wrong with it.
struct Fate {
    goes: bool,
    broken: Option<(Rule, String)>,
}

/// Whether a header asks for nothing; `num_buffers` is 0 on the way out (section 5.1.6.2.1).
#[inline]
fn is_plain(header: &[u8]) -> bool {
    matches!(header, [0, 0, _, _, _, _, _, _, _, _, 0, 0, ..])
}

/// Section 5.1.6.2: a packet whose header asks for something. `emit` gets what becomes of it.
#[cold]
fn send_asking(
    header: &Header,
    frame: &[u8],
    mtu: usize,
    negotiated: Features,
    statistics: &mut super::Statistics,
    mut emit: impl FnMut(Vec<u8>),
) -> Result<(), (Rule, String)> {
    let mut frames = Vec::new();
    offload::carry_out(header, frame, negotiated, |frame| frames.push(frame))?;
    // Section 5.1.4.2: what goes out is what counts.
    if let Some(broken) = frames.iter().find_map(|frame| inspect(frame, mtu).broken) {
        return Err(broken);
    }
    statistics.checksums = statistics.checksums.wrapping_add((header.flags != 0).into());
    if header.gso_type != header::GSO_NONE {
        statistics.segmented = statistics.segmented.wrapping_add(1);
        statistics.segments = statistics.segments.wrapping_add(frames.len() as u64);
    }
    for frame in frames {
        statistics.sent_frames = statistics.sent_frames.wrapping_add(1);
        statistics.sent_bytes = statistics.sent_bytes.wrapping_add(frame.len() as u64);
        emit(frame);
    }
    Ok(())
}

/// Section 5.1.4.2: the MTU, and what a frame is.
#[inline]
fn inspect(frame: &[u8], mtu: usize) -> Fate {
    let short = frame.len() <= mtu.saturating_add(ETHERNET_HEADER);
    if short && frame.len() >= ETHERNET_HEADER {
        return Fate { goes: true, broken: None };
    }
    inspect_further(frame, mtu)
}

#[cold]
fn inspect_further(frame: &[u8], mtu: usize) -> Fate {
    let seen = format!("{} bytes", frame.len());
    if frame.len() < ETHERNET_HEADER {
        return Fate { goes: false, broken: Some((Rule::TransmitNoFrame, seen)) };
    }
    let tagged = matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
    let allowed = mtu.saturating_add(if tagged { ETHERNET_HEADER + VLAN_TAG } else { ETHERNET_HEADER });
    let broken = (frame.len() > allowed).then_some((Rule::TransmitBeyondMtu, seen));
    Fate { goes: true, broken }
}

/// What is said of a packet, and how it may be laid down.
#[derive(Clone, Copy, Debug)]
struct Say {
    header: Header,
    /// The header's length.
    length: usize,
    merges: bool,
}

/// Section 5.1.6.4: one packet, behind room for its header, into a receive queue.
#[inline]
fn put(
    slot: &mut Slot,
    memory: &mut Memory<'_>,
    (chain, more): (&mut Chain, &mut Chain),
    packet: &mut [u8],
    say: Say,
    faults: &mut Option<Box<super::faults::Plan>>,
) -> Result<Delivery, Breach> {
    if !slot.take(memory, chain)? {
        return Ok(Delivery::NoRoom);
    }
    writable_only(chain)?;
    if chain.writable_bytes < packet.len() as u64 {
        return spread(slot, memory, (chain, more), packet, say, faults);
    }
    let buffers = faults.as_mut().and_then(|plan| plan.buffers.take()).unwrap_or(1);
    say.header.write(packet, say.length, buffers);
    chain.write(memory, packet)?;
    slot.complete(chain.head, packet.len() as u32, faults)?;
    Ok(Delivery::Done)
}

/// A packet that is longer than the first buffer: with mergeable buffers, into as many as it takes.
#[cold]
fn spread(
    slot: &mut Slot,
    memory: &mut Memory<'_>,
    (first, more): (&mut Chain, &mut Chain),
    packet: &mut [u8],
    say: Say,
    faults: &mut Option<Box<super::faults::Plan>>,
) -> Result<Delivery, Breach> {
    let room = first.writable_bytes;
    if !say.merges || room < say.length as u64 {
        slot.put_back(first.head);
        return Ok(Delivery::TooLong(room.max(1)));
    }
    let mut used = vec![(first.head, room as u32)];
    let mut written = room as usize;
    while let Some(rest) = packet.get(written..).filter(|rest| !rest.is_empty()) {
        let most = slot.queue.as_ref().map_or(0, |queue| queue.size());
        let found = used.len() < most.into() && slot.take(memory, more)?;
        if !found {
            let hopeless = used.len() >= most.into();
            used.iter().rev().for_each(|&(head, _)| slot.put_back(head));
            return Ok(if hopeless { Delivery::TooLong(0) } else { Delivery::NoRoom });
        }
        writable_only(more)?;
        let length = more.write(memory, rest)?;
        used.push((more.head, length as u32));
        written = written.wrapping_add(length);
    }
    let buffers = faults.as_mut().and_then(|plan| plan.buffers.take()).unwrap_or(used.len() as u16);
    say.header.write(packet, say.length, buffers);
    first.write(memory, packet)?;
    for (head, length) in used {
        slot.complete(head, length, faults)?;
    }
    Ok(Delivery::Done)
}

fn writable_only(chain: &Chain) -> Result<(), Breach> {
    if chain.readable_bytes > 0 {
        return Err(breach(Rule::ReceiveReadable, format!("{} bytes", chain.readable_bytes)));
    }
    Ok(())
}
