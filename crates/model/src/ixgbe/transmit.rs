//! The transmit unit: from descriptors to frames on the wire (datasheet, section 7.2).
//!
//! Descriptors between head and tail are taken in order. A packet may lie in any number of them and is sent when its
//! last one has been read. Status is written back for descriptors that ask for it (RS), with one aligned 8-byte
//! store, or as a new head (head write-back, 7.2.3.5.2). WTHRESH is ignored: a write-back is made at once. Queues are
//! served in turn; rate limits and traffic classes are not modelled.

use super::context::{Context, Data, Decoded, Request, decode};
use super::core::{Core, Faults};
use super::receive::{FCS, SHORTEST};
use super::registers::*;
use super::segment::{KeptFlags, insert_tag, ipv4_checksum, l4_checksum, legacy_checksum, segment};
use super::table::Table;
use crate::Memory;
use crate::wire::Wire;
use ringway_dma::Iova;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Packets sent from one queue before the next has its turn.
const TURN: usize = 64;
/// The largest packet for segmentation (7.2.4.2): 256 KiB, PAYLEN's 18 bits, and headers.
const LARGEST: usize = (256 << 10) + 512;
/// The largest packet that is sent as it is (7.2.1.1.1): 15.5 KiB.
const LARGEST_PLAIN: usize = 15872;
/// "Done" in a descriptor's status, bits 35:32.
const DONE: u64 = 1 << 32;

/// A transmit queue.
#[derive(Debug)]
pub(crate) struct TransmitQueue {
    pub(crate) enabled: bool,
    pub(crate) head: u32,
    pub(crate) tail: Arc<AtomicU32>,
    base: u64,
    size: u32,
    head_write_back: Option<u64>,
    contexts: [Context; 2],
    /// The packet whose last descriptor hasn't come.
    packet: Vec<u8>,
    request: Option<Request>,
    /// Why the packet will not be sent: memory out of reach, or too much of it.
    spoilt: bool,
    stuck_at: Option<u32>,
}

impl TransmitQueue {
    pub(crate) fn new() -> Self {
        Self {
            enabled: false,
            head: 0,
            tail: Arc::default(),
            base: 0,
            size: 0,
            head_write_back: None,
            contexts: [Context::default(); 2],
            packet: Vec::new(),
            request: None,
            spoilt: false,
            stuck_at: None,
        }
    }

    /// Takes the registers of the block at `block` over.
    pub(crate) fn refresh(&mut self, table: &Table, block: u32) {
        let word = |place: u32| table.get(block.wrapping_add(place));
        let was = std::mem::replace(&mut self.enabled, word(TXDCTL) & TXDCTL_ENABLE != 0);
        if self.enabled && !was {
            self.stuck_at = None;
            self.forget_packet();
        }
        self.base = u64::from(word(TDBAH)) << 32 | u64::from(word(TDBAL) & !0x7f);
        self.size = (word(TDLEN) & 0xf_ff80) / 16;
        let low = word(TDWBAL);
        self.head_write_back =
            (low & TDWBAL_ENABLE != 0).then_some(u64::from(word(TDWBAH)) << 32 | u64::from(low & !3));
    }

    /// As after a reset.
    pub(crate) fn reset(&mut self) {
        let tail = Arc::clone(&self.tail);
        tail.store(0, Ordering::Release);
        *self = Self { tail, packet: std::mem::take(&mut self.packet), ..Self::new() };
        self.forget_packet();
    }

    fn forget_packet(&mut self) {
        self.packet.clear();
        self.request = None;
        self.spoilt = false;
    }

    /// Whether there is anything to take.
    #[inline]
    fn has_next(&self, tail: u32) -> bool {
        tail < self.size && self.head < self.size && tail != self.head && self.stuck_at != Some(tail)
    }

    /// Appends a descriptor's data to the packet.
    #[inline]
    fn gather(&mut self, memory: &mut Memory<'_>, faults: &mut Faults, data: &Data) {
        let request = *self.request.get_or_insert(data.request);
        let start = self.packet.len();
        let end = start.saturating_add(data.length);
        let largest = if request.segment { LARGEST } else { LARGEST_PLAIN };
        if self.spoilt || end > largest {
            self.spoilt = true;
            return;
        }
        self.packet.resize(end, 0);
        let place = self.packet.get_mut(start..).unwrap_or_default();
        if let Err(fault) = memory.read(Iova::new(data.address), place) {
            faults.note(fault);
            self.spoilt = true;
        }
    }
}

/// Where frames go, and what is counted of them.
struct Outlet<'a> {
    table: &'a mut Table,
    number: usize,
    pads: bool,
    wire: &'a mut dyn Wire,
    room: usize,
    /// Where frames go that come back in.
    looped: Option<&'a mut Vec<Vec<u8>>>,
}

impl Outlet<'_> {
    #[inline]
    fn send(&mut self, frame: &mut Vec<u8>) {
        if frame.len() < SHORTEST && self.pads {
            frame.resize(SHORTEST, 0);
        }
        let on_wire = (frame.len() as u32).saturating_add(FCS);
        self.table.count(TPT);
        self.table.count(GPTC);
        self.table.add(GOTCL, on_wire);
        self.table.count(TXDGPC);
        self.table.add(TXDGBCL, on_wire);
        self.table.count_size(PTC64, on_wire);
        self.table.count_transmit_queue(self.number, on_wire);
        match frame.first_chunk::<6>() {
            Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => self.table.count(BPTC),
            Some([first, ..]) if first & 1 != 0 => self.table.count(MPTC),
            _ => {}
        }
        match &mut self.looped {
            Some(looped) => looped.push(frame.clone()),
            None => {
                self.room = self.room.saturating_sub(1);
                self.wire.send(frame);
            }
        }
    }
}

impl Core {
    /// Sends what the enabled queues hold, as long as the line takes it. Returns how many packets went.
    pub(crate) fn transmit(&mut self, memory: &mut Memory<'_>, wire: &mut dyn Wire) -> usize {
        if !self.transmitting {
            return 0;
        }
        let mut sent = 0usize;
        let mut left = self.transmit_enabled;
        while left != 0 {
            let number = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            sent = sent.saturating_add(self.transmit_queue(number, memory, wire));
        }
        for frame in std::mem::take(&mut self.looped) {
            self.receive(memory, &frame, false);
        }
        sent
    }

    fn transmit_queue(&mut self, number: usize, memory: &mut Memory<'_>, wire: &mut dyn Wire) -> usize {
        let Self { table, transmit, faults, interrupts, segment: scratch, pads, loops_back, looped, .. } =
            self;
        let Some(queue) = transmit.get_mut(number) else { return 0 };
        let tail = queue.tail.load(Ordering::Acquire);
        let room = if *loops_back { usize::MAX } else { wire.room() };
        let looped = loops_back.then_some(looped);
        let mut outlet = Outlet { table, number, pads: *pads, wire, room, looped };
        let (mut packets, mut reported, mut taken) = (0usize, false, 0u32);
        while packets < TURN && taken < queue.size && queue.has_next(tail) && outlet.room > 0 {
            taken = taken.wrapping_add(1);
            let place = queue.base.wrapping_add(u64::from(queue.head).wrapping_mul(16));
            let status = Iova::new(place.wrapping_add(8));
            let words =
                memory.load_u64(status).and_then(|second| Ok((memory.load_u64(Iova::new(place))?, second)));
            let (first, second) = match words {
                Ok(words) => words,
                Err(fault) => {
                    faults.note(fault);
                    queue.stuck_at = Some(tail);
                    break;
                }
            };
            let report = match decode(first, second) {
                Decoded::Context { slot, context, report } => {
                    if let Some(place) = queue.contexts.get_mut(slot) {
                        *place = context;
                    }
                    report
                }
                Decoded::Data(data) => {
                    queue.gather(memory, faults, &data);
                    if data.last {
                        packets = packets.wrapping_add(1);
                        finish(queue, &mut outlet, scratch);
                    }
                    data.report
                }
                Decoded::Unknown => false,
            };
            queue.head = queue.head.wrapping_add(1);
            if queue.head == queue.size {
                queue.head = 0;
            }
            if report {
                reported = true;
                if queue.head_write_back.is_none()
                    && let Err(fault) = memory.store_u64(status, DONE)
                {
                    faults.note(fault);
                }
            }
        }
        if reported {
            if let Some(place) = queue.head_write_back
                && let Err(fault) = memory.store_u32(Iova::new(place), queue.head)
            {
                faults.note(fault);
            }
            interrupts.transmitted(number);
        }
        packets
    }
}

/// A packet is whole: its offloads, and out.
#[inline]
fn finish(queue: &mut TransmitQueue, outlet: &mut Outlet<'_>, scratch: &mut Vec<u8>) {
    let request = queue.request.take().unwrap_or_default();
    let spoilt = std::mem::take(&mut queue.spoilt);
    if !spoilt && !queue.packet.is_empty() {
        let offloads = request.segment
            || request.ip_checksum
            || request.l4_checksum
            || request.insert_vlan
            || request.legacy_checksum.is_some()
            || request.legacy_vlan.is_some();
        if offloads {
            let context = queue.contexts.get(request.context).copied().unwrap_or_default();
            offload(&mut queue.packet, &request, &context, outlet, scratch);
        } else {
            outlet.send(&mut queue.packet);
        }
    }
    queue.packet.clear();
}

fn offload(
    packet: &mut Vec<u8>,
    request: &Request,
    context: &Context,
    outlet: &mut Outlet<'_>,
    scratch: &mut Vec<u8>,
) {
    // 8.2.3.9.2: the tag's EtherType is the upper half of DMATXCTL.
    let tag = (outlet.table.get(DMATXCTL) >> 16) as u16;
    if request.segment {
        let low = outlet.table.get(DTXTCPFLGL);
        let kept = KeptFlags {
            first: (low & 0xfff) as u16,
            middle: (low >> 16 & 0xfff) as u16,
            last: (outlet.table.get(DTXTCPFLGH) & 0xfff) as u16,
        };
        segment(packet, context, kept, scratch, |frame| {
            if request.insert_vlan {
                insert_tag(frame, tag, context.vlan);
            }
            outlet.send(frame);
        });
        return;
    }
    if request.ip_checksum {
        ipv4_checksum(packet, context);
    }
    if request.l4_checksum {
        l4_checksum(packet, context);
    }
    if let Some((start, field)) = request.legacy_checksum {
        legacy_checksum(packet, start, field);
    }
    if request.insert_vlan {
        insert_tag(packet, tag, context.vlan);
    } else if let Some(control) = request.legacy_vlan {
        insert_tag(packet, tag, control);
    }
    outlet.send(packet);
}
