//! The receive unit: from a frame on the wire to descriptors written back (datasheet, section 7.1).
//!
//! A frame passes the filters, is recognised, hashed and checked, and goes into as many buffers as it takes. Each
//! descriptor is written back with one aligned 8-byte store of status, length and tag, last: who sees "done" sees all
//! of it. Headers are never split from data (SRRCTL.DESCTYPE 2 and 5 mean one buffer here), packets are never
//! coalesced, and a frame is moved only when the ring has room for all of it.

use super::checksum::{Verdict, check_ipv4, check_transport, frame_check};
use super::core::{Core, Faults};
use super::filters::Destination;
use super::headers::{Headers, UDP, recognise, word};
use super::registers::*;
use super::rss::Hash;
use super::steering::Choice;
use super::table::Table;
use crate::Memory;
use ringway_dma::{Fault, Iova};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The shortest frame on a wire, without FCS: the sender pads.
pub(crate) const SHORTEST: usize = 60;
/// Bytes of the frame check sequence.
pub(crate) const FCS: u32 = 4;

/// Status bits, extended error bits (already at their place in the second word), 7.1.6.2.
const DONE: u64 = 1;
const END_OF_PACKET: u64 = 1 << 1;
const VLAN_STRIPPED: u64 = 1 << 3;
const UDP_CHECKED: u64 = 1 << 4;
const L4_CHECKED: u64 = 1 << 5;
const IP_CHECKED: u64 = 1 << 6;
const PASSED_INEXACT: u64 = 1 << 7;
const UDP_VALID: u64 = 1 << 10;
const STAMPED: u64 = 1 << 16;
/// In the first word: an EtherType filter matched.
const TYPE_FILTER: u64 = 1 << 15;
const L4_ERROR: u64 = 1 << 30;
const IP_ERROR: u64 = 1 << 31;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is in the driver's buffers.
    Received,
    /// It was not wanted, or had to be dropped; a counter says so.
    Dropped,
    /// Its ring has no room now. Nothing was counted.
    NoRoom,
}

/// A receive queue.
#[derive(Debug)]
pub(crate) struct ReceiveQueue {
    pub(crate) enabled: bool,
    pub(crate) head: u32,
    pub(crate) tail: Arc<AtomicU32>,
    base: u64,
    size: u32,
    /// Bytes of each buffer.
    buffer: u32,
    advanced: bool,
    drop: bool,
    strip: bool,
    /// The tail at which fetching a descriptor faulted: nothing is fetched until it moves.
    stuck_at: Option<u32>,
}

impl ReceiveQueue {
    pub(crate) fn new() -> Self {
        Self {
            enabled: false,
            head: 0,
            tail: Arc::default(),
            base: 0,
            size: 0,
            buffer: 0,
            advanced: false,
            drop: false,
            strip: false,
            stuck_at: None,
        }
    }

    /// Takes the registers of the block at `block` over.
    pub(crate) fn refresh(&mut self, table: &Table, block: u32) {
        let word = |place: u32| table.get(block.wrapping_add(place));
        let control = word(RXDCTL);
        let was = std::mem::replace(&mut self.enabled, control & RXDCTL_ENABLE != 0);
        if self.enabled && !was {
            self.stuck_at = None;
        }
        self.strip = control & RXDCTL_VLAN_STRIP != 0;
        self.base = u64::from(word(RDBAH)) << 32 | u64::from(word(RDBAL) & !0x7f);
        self.size = (word(RDLEN) & 0xf_ff80) / 16;
        let split = word(SRRCTL);
        // 8.2.3.8.7: the size is in KiB, 2 by default.
        self.buffer = match split & 0x1f {
            0 => 2048,
            kilobytes => kilobytes.wrapping_mul(1024),
        };
        self.advanced = split >> 25 & 7 != 0;
        self.drop = split & SRRCTL_DROP != 0;
    }

    /// As after a reset.
    pub(crate) fn reset(&mut self) {
        let tail = Arc::clone(&self.tail);
        tail.store(0, Ordering::Release);
        *self = Self { tail, ..Self::new() };
    }

    /// Descriptors between head and tail. A tail outside the ring gives none.
    #[inline]
    fn available(&self) -> u32 {
        let tail = self.tail.load(Ordering::Acquire);
        if tail >= self.size || self.head >= self.size || self.stuck_at == Some(tail) {
            return 0;
        }
        if tail >= self.head {
            tail.wrapping_sub(self.head)
        } else {
            tail.wrapping_add(self.size).wrapping_sub(self.head)
        }
    }

    /// Writes `frame` and `check` into the next buffers, and their descriptors back. `false`: a descriptor can't be
    /// reached, and the queue stands until its tail moves.
    #[inline]
    fn fill(&mut self, memory: &mut Memory<'_>, faults: &mut Faults, packet: &Packet<'_>) -> bool {
        let size = self.buffer as usize;
        let total = packet.frame.len().saturating_add(packet.check.len());
        let mut done = 0usize;
        while done < total {
            let end = total.min(done.saturating_add(size));
            let descriptor = self.base.wrapping_add(u64::from(self.head).wrapping_mul(16));
            let written = memory.load_u64(Iova::new(descriptor)).and_then(|address| {
                // A write that the IOMMU refuses is lost and the device goes on: PCI Express writes are posted.
                if let Err(fault) = packet.write(memory, address, done, end) {
                    faults.note(fault);
                }
                let length = (end.wrapping_sub(done) as u64) << 32;
                let (first, second) =
                    if end == total { (packet.first, packet.second | END_OF_PACKET) } else { (0, 0) };
                let second = second | DONE | length;
                if self.advanced {
                    memory.store_u64(Iova::new(descriptor), first)?;
                    memory.store_u64(Iova::new(descriptor.wrapping_add(8)), second)
                } else {
                    memory.store_u64(Iova::new(descriptor.wrapping_add(8)), legacy(second))
                }
            });
            if let Err(fault) = written {
                faults.note(fault);
                self.stuck_at = Some(self.tail.load(Ordering::Acquire));
                return false;
            }
            self.head = self.head.wrapping_add(1);
            if self.head == self.size {
                self.head = 0;
            }
            done = end;
        }
        true
    }
}

/// A frame as it goes into buffers, and the words that go with it.
struct Packet<'a> {
    frame: &'a [u8],
    /// The FCS, if it is kept.
    check: &'a [u8],
    first: u64,
    second: u64,
}

impl Packet<'_> {
    /// Writes the bytes from `start` to `end`.
    #[inline]
    fn write(&self, memory: &mut Memory<'_>, address: u64, start: usize, end: usize) -> Result<(), Fault> {
        let length = self.frame.len();
        let part = self.frame.get(start.min(length)..end.min(length)).unwrap_or_default();
        memory.write(Iova::new(address), part)?;
        if end <= length {
            return Ok(());
        }
        let place = address.wrapping_add(part.len() as u64);
        let rest = self.check.get(start.saturating_sub(length)..end.wrapping_sub(length));
        memory.write(Iova::new(place), rest.unwrap_or_default())
    }
}

/// The second word as a legacy descriptor has it (7.1.5): length, status, errors, tag.
fn legacy(word: u64) -> u64 {
    let length = word >> 32 & 0xffff;
    let status = word & 0xff;
    let errors = (word >> 30 & 1) << 6 | (word >> 31 & 1) << 7;
    length | status << 32 | errors << 40 | word & 0xffff << 48
}

impl Core {
    /// Takes a frame from the wire. With `patient`, a frame for a ring without room is refused, not dropped.
    pub(crate) fn receive(&mut self, memory: &mut Memory<'_>, frame: &[u8], patient: bool) -> Delivery {
        let mut padded = [0; SHORTEST];
        let frame = if frame.len() < SHORTEST {
            for (to, &from) in padded.iter_mut().zip(frame) {
                *to = from;
            }
            &padded[..]
        } else {
            frame
        };
        if self.receiving && self.takes_pause(frame) {
            return Delivery::Dropped;
        }
        let headers = recognise(frame, self.filters.tag());
        let (destination, addressed) = self.filters.address(&self.table, frame);
        let on_wire = (frame.len() as u32).saturating_add(FCS);
        let fits = on_wire <= self.longest(&headers);
        let wanted = addressed && fits && self.filters.vlan(&self.table, &headers);
        if !wanted || !self.receiving {
            self.count_received(on_wire, fits);
            return Delivery::Dropped;
        }
        let hash =
            if self.scaling.is_enabled() { self.scaling.hash(frame, &headers) } else { Hash::default() };
        let choice = self.steering.choose(&mut self.table, frame, &headers);
        let number = match choice {
            Choice::Queue(number) | Choice::Type { queue: number, .. } => number,
            Choice::Hash => self.scaling.queue(hash),
            Choice::Drop => {
                self.count_received(on_wire, true);
                return Delivery::Dropped;
            }
        };
        let strips = self.receive.get(number).is_some_and(|queue| queue.strip) && headers.vlan.is_some();
        let check = if self.strips_check { [0; 4] } else { frame_check(frame) };
        let check = if self.strips_check { &check[..0] } else { &check[..] };
        let Some(queue) = self.receive.get_mut(number) else { return Delivery::Dropped };
        let stored = frame.len().saturating_add(check.len()).saturating_sub(if strips { 4 } else { 0 });
        let needed = (stored as u32).div_ceil(queue.buffer.max(1)).max(1);
        if !queue.enabled || queue.available() < needed {
            self.pausing.crowded |= queue.enabled && !queue.drop;
            // What needs more descriptors than the ring can ever offer would wait, and hold up the rest, for ever.
            if patient && !(queue.enabled && needed >= queue.size) {
                return Delivery::NoRoom;
            }
            // 7.9: the stamp is taken as the frame comes in, whatever becomes of it.
            if self.is_of_time(frame, &headers) {
                self.clock.stamp();
            }
            let Some(queue) = self.receive.get(number) else { return Delivery::Dropped };
            // Without DROP_EN the frame would wait in the packet buffer, which then overflows (7.1.3, 8.2.3.23.4).
            if queue.enabled && queue.drop {
                self.table.count_receive_queue_drop(number);
            } else {
                self.table.count(MPC);
            }
            self.count_received(on_wire, true);
            return Delivery::Dropped;
        }
        let (mut first, mut second) = words(frame, &headers, hash, destination, self.hash_reported);
        if let Choice::Type { filter, .. } = choice {
            // 7.1.6.2: the packet's type is then the filter's number.
            first = TYPE_FILTER | (filter as u64) << 4;
        }
        if self.is_of_time(frame, &headers) && self.clock.stamp() {
            second |= STAMPED;
        }
        let Some(queue) = self.receive.get_mut(number) else { return Delivery::Dropped };
        let frame = if strips {
            second |= VLAN_STRIPPED | u64::from(headers.vlan.unwrap_or(0)) << 48;
            self.untagged.clear();
            self.untagged.extend_from_slice(frame.get(..12).unwrap_or_default());
            self.untagged.extend_from_slice(frame.get(16..).unwrap_or_default());
            &self.untagged
        } else {
            frame
        };
        let filled = queue.fill(memory, &mut self.faults, &Packet { frame, check, first, second });
        self.count_received(on_wire, true);
        if !filled {
            return Delivery::Dropped;
        }
        self.count_good(on_wire, destination);
        self.table.count_receive_queue(number, on_wire);
        self.interrupts.received(number);
        Delivery::Received
    }

    /// 7.9: whether a packet is one of the time protocol's that are stamped: an event, over Ethernet or UDP.
    fn is_of_time(&self, frame: &[u8], headers: &Headers) -> bool {
        if self.table.get(TSYNCRXCTL) & TSYNCRXCTL_ENABLE == 0 {
            return false;
        }
        let marked = |filter| {
            let what = self.table.element(ETQF, filter);
            what & (ETQF_ENABLE | ETQF_TIME) == ETQF_ENABLE | ETQF_TIME && what as u16 == headers.ethertype
        };
        let message = if (0..8).any(marked) {
            headers.network
        } else if headers.types & UDP != 0 && word(frame, headers.transport.saturating_add(2)) == Some(319) {
            headers.transport.saturating_add(8)
        } else {
            return false;
        };
        // Messages 0 to 3 are events, of version 2.
        matches!(frame.get(message..message.saturating_add(2)), Some(&[kind, 2]) if kind & 0xf < 4)
    }

    /// The longest frame on the wire: MAXFRS counts while jumbo frames are on, and a tag may come on top (8.2.3.22.13).
    #[inline]
    fn longest(&self, headers: &Headers) -> u32 {
        if headers.vlan.is_some() { self.maximum_frame.saturating_add(4) } else { self.maximum_frame }
    }

    /// The counters of everything that came in, wanted or not.
    #[inline]
    fn count_received(&mut self, on_wire: u32, fits: bool) {
        self.table.count(TPR);
        self.table.add(TORL, on_wire);
        if fits {
            self.table.count_size(PRC64, on_wire);
        } else {
            self.table.count(ROC);
        }
    }

    /// The counters of good frames that passed the filters.
    #[inline]
    fn count_good(&mut self, on_wire: u32, destination: Destination) {
        self.table.count(GPRC);
        self.table.add(GORCL, on_wire);
        self.table.count(RXDGPC);
        self.table.add(RXDGBCL, on_wire);
        match destination {
            Destination::Unicast => {}
            Destination::Multicast => self.table.count(MPRC),
            Destination::Broadcast => self.table.count(BPRC),
        }
    }
}

/// The write-back words without length and tag (7.1.6.2).
#[inline]
fn words(
    frame: &[u8],
    headers: &Headers,
    hash: Hash,
    destination: Destination,
    hash_reported: bool,
) -> (u64, u64) {
    let mut second = 0;
    match check_ipv4(frame, headers) {
        Verdict::Unchecked => {}
        Verdict::Good => second |= IP_CHECKED,
        Verdict::Bad => second |= IP_CHECKED | IP_ERROR,
    }
    match check_transport(frame, headers) {
        Verdict::Unchecked => {}
        Verdict::Good => second |= L4_CHECKED,
        Verdict::Bad => second |= L4_CHECKED | L4_ERROR,
    }
    if headers.types & UDP != 0 {
        if second & L4_CHECKED != 0 {
            second |= UDP_CHECKED;
        } else if headers.fragment {
            second |= UDP_VALID;
        }
    }
    if destination == Destination::Multicast {
        second |= PASSED_INEXACT;
    }
    let mut first = u64::from(headers.types) << 4;
    if hash_reported {
        first |= u64::from(hash.kind) | u64::from(hash.value) << 32;
    }
    (first, second)
}
