//! Packets between queues and wire (virtio 1.2, sections 5.1.6.2 to 5.1.6.4), and the network device's own
//! configuration (section 5.1.4).
//!
//! A round on a queue is one burst of memory accesses: frames are copied between buffers and private memory, and the
//! wire is asked before or after, never within.

use super::chain::Chain;
use super::device::Device;
use super::features::Features;
use super::frames::{Frames, HEADER};
use super::slot::Slot;
use super::violation::{Breach, Rule, breach};
use crate::Memory;
use crate::wire::{MAXIMUM_FRAME, Wire};
use ringway_pci::Width;

/// Frames of one round on one queue. A driver that takes buffers back waits for a round at most.
pub(crate) const ROUND: usize = 32;
/// What a header asks for (section 5.1.6): flags and segmentation type, its first bytes.
const ASKS: usize = 2;
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
        let mut moved = 0usize;
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
        if !slot.may_have_work() {
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
        let Self { outgoing, statistics, port, steering, negotiated, violations, .. } = self;
        let limit = if negotiated.has(Features::MTU) { usize::from(port.mtu) } else { usize::MAX };
        let learns = port.active_pairs > 1;
        let mut note = |rule, seen| {
            let queue = Some(pair.wrapping_mul(2).wrapping_add(1));
            violations.push(super::Violation { rule, queue, seen });
        };
        while let Some(packet) = outgoing.peek() {
            if let Some((header, frame)) = packet.split_at_checked(HEADER) {
                let fate = inspect(header, frame, limit);
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
                    wire.send(frame);
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
        let moved = self.deliver(&mut frames, waits);
        self.incoming = frames;
        moved
    }

    /// Whether any receive queue in use may have a buffer.
    fn may_receive(&self) -> bool {
        let active = usize::from(self.port.active_pairs);
        self.queues.iter().step_by(2).take(active).any(Slot::may_have_work)
    }

    /// A frame from outside a step. Whether it was taken.
    pub(crate) fn inject(&mut self, frame: &[u8]) -> bool {
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
            self.deliver(&mut frames, true);
            frames.is_empty()
        };
        self.injected = frames;
        taken
    }

    /// Puts frames into receive buffers, as far as there are some. Without `waits`, frames that find none are lost.
    fn deliver(&mut self, frames: &mut Frames, waits: bool) -> usize {
        let merges = self.negotiated.has(Features::MRG_RXBUF);
        let limit = self.longest();
        let active = self.port.active_pairs;
        let Self {
            memory: Some(view),
            queues,
            chain,
            more,
            faults,
            statistics,
            steering,
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
            let pair = match packet.get(HEADER..) {
                Some(frame) if active > 1 => steering.pair(frame, active),
                _ => 0,
            };
            let index = pair.wrapping_mul(2);
            let Some(slot) = queues.get_mut(usize::from(index)) else { break };
            let bytes = packet.len().wrapping_sub(HEADER) as u64;
            let delivery = if packet.len() > limit {
                Ok(Delivery::TooLong(0))
            } else {
                put(slot, &mut memory, (&mut *chain, &mut *more), packet, merges, faults)
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

    /// Section 5.1.4.1: the longest packet that may be passed on, its header included.
    fn longest(&self) -> usize {
        let frame = if self.negotiated.has(Features::MTU) {
            usize::from(self.port.mtu).saturating_add(ETHERNET_HEADER + VLAN_TAG)
        } else {
            MAXIMUM_FRAME
        };
        frame.saturating_add(HEADER)
    }

    /// Section 5.1.4: the configuration's bytes.
    pub(crate) fn network_read(&mut self, offset: u64, width: Width) -> u32 {
        self.serve_control();
        if self.common.changed {
            self.common.changed = false;
            self.common.generation = self.common.generation.wrapping_add(1);
        }
        // Sections 4.1.3.1 and 5.1.4: the address is six bytes, speed is four, duplex one, the rest are two.
        let natural = match offset {
            0..6 | 16 | 17 => Width::Byte,
            12 | 20 => Width::Double,
            _ => Width::Word,
        };
        if natural != width {
            self.note(Rule::AccessWidth, || {
                format!("{} bytes read at {offset} of the network configuration", width.bytes())
            });
        }
        let mut bytes = [0u8; super::pci::NETWORK_BYTES as usize];
        let [mac @ .., s0, s1, p0, p1, m0, m1, v0, v1, v2, v3, duplex, _, _, _, _, _, _, _] = &mut bytes;
        *mac = self.filter.mac;
        let status = u16::from(self.port.link_up) | u16::from(self.port.announce) << 1;
        [*s0, *s1] = status.to_le_bytes();
        [*p0, *p1] = self.queue_pairs.to_le_bytes();
        [*m0, *m1] = self.port.mtu.to_le_bytes();
        let speed = if self.port.link_up { self.port.speed } else { u32::MAX };
        [*v0, *v1, *v2, *v3] = speed.to_le_bytes();
        // Full duplex: 0x01 in the description and in every driver, 0x00 in section 5.1.4.1 by mistake.
        *duplex = if self.port.link_up { 0x01 } else { 0xff };
        let mut value = [0u8; 4];
        let from = bytes.iter().skip(offset as usize);
        value.iter_mut().zip(from).take(width.bytes().into()).for_each(|(to, &from)| *to = from);
        u32::from_le_bytes(value)
    }

    /// Section 5.1.4: the link's state has changed.
    pub(crate) fn set_link(&mut self, up: bool) {
        if self.port.link_up != up {
            self.port.link_up = up;
            self.configuration_changed();
        }
    }

    /// Section 5.1.6.5.4: asks the driver to announce itself.
    pub(crate) fn announce(&mut self) -> bool {
        if !self.negotiated.has(Features::GUEST_ANNOUNCE) {
            return false;
        }
        self.port.announce = true;
        self.configuration_changed();
        true
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

/// Sections 5.1.6.2.1 and 5.1.4.2: no offload is offered, so a header asks for none.
#[inline]
fn inspect(header: &[u8], frame: &[u8], mtu: usize) -> Fate {
    let plain = matches!(header, [0, 0, _, _, _, _, _, _, _, _, 0, 0]);
    let short = frame.len() <= mtu.saturating_add(ETHERNET_HEADER);
    if plain && short && frame.len() >= ETHERNET_HEADER {
        return Fate { goes: true, broken: None };
    }
    inspect_further(header, frame, mtu, plain)
}

#[cold]
fn inspect_further(header: &[u8], frame: &[u8], mtu: usize, plain: bool) -> Fate {
    if !plain {
        let asked = header.iter().take(ASKS).any(|&byte| byte != 0);
        return Fate { goes: !asked, broken: Some((Rule::TransmitHeader, format!("{header:02x?}"))) };
    }
    let seen = format!("{} bytes", frame.len());
    if frame.len() < ETHERNET_HEADER {
        return Fate { goes: false, broken: Some((Rule::TransmitNoFrame, seen)) };
    }
    let tagged = matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
    let allowed = mtu.saturating_add(if tagged { ETHERNET_HEADER + VLAN_TAG } else { ETHERNET_HEADER });
    let broken = (frame.len() > allowed).then_some((Rule::TransmitBeyondMtu, seen));
    Fate { goes: true, broken }
}

/// Section 5.1.6.4: one packet, behind room for its header, into a receive queue.
#[inline]
fn put(
    slot: &mut Slot,
    memory: &mut Memory<'_>,
    (chain, more): (&mut Chain, &mut Chain),
    packet: &mut [u8],
    merges: bool,
    faults: &mut Option<Box<super::faults::Plan>>,
) -> Result<Delivery, Breach> {
    if !slot.take(memory, chain)? {
        return Ok(Delivery::NoRoom);
    }
    writable_only(chain)?;
    if chain.writable_bytes < packet.len() as u64 {
        return spread(slot, memory, (chain, more), packet, merges, faults);
    }
    set_header(packet, faults.as_mut().and_then(|plan| plan.buffers.take()).unwrap_or(1));
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
    merges: bool,
    faults: &mut Option<Box<super::faults::Plan>>,
) -> Result<Delivery, Breach> {
    let room = first.writable_bytes;
    if !merges || room < HEADER as u64 {
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
    set_header(packet, faults.as_mut().and_then(|plan| plan.buffers.take()).unwrap_or(used.len() as u16));
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

/// Section 5.1.6.4.1: no offload was negotiated, so all but the number of buffers is zero.
#[inline]
fn set_header(packet: &mut [u8], buffers: u16) {
    if let Some(header) = packet.first_chunk_mut::<HEADER>() {
        let [low, high] = buffers.to_le_bytes();
        *header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, low, high];
    }
}
