//! Interrupts: causes, masks, vectors, auto-clear, auto-mask and moderation (datasheet, sections 7.3 and 8.2.3.5).
//!
//! A queue's cause is a bit of a vector (IVAR); everything else is one of EICR's upper bits and shares the vector
//! that IVAR_MISC names. A message goes out once for each new cause that isn't masked, and once more when a cause
//! that is still there is unmasked.
//!
//! Simplifications: moderation (EITR) is a minimum distance in time on a vector, without credits (7.3.2.1.1);
//! stepped by hand it is a message a vector and step at most. The TCP timer and low-latency interrupts don't exist.

use super::config::VECTORS;
use super::registers::{CAUSES_OTHER, GPIE_AUTO_MASK, GPIE_MULTIPLE_MSIX, GPIE_OTHER_CLEAR_DISABLE};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Queues of a direction.
const QUEUES: usize = 128;
/// "No vector": IVAR's entry isn't valid.
const NONE: u8 = u8::MAX;
/// The queues' bits of EICR.
const QUEUE_BITS: u64 = 0xffff;

/// The interrupt logic of one function.
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// Causes by vector: EICR's bits 15:0, and what lies beyond them.
    queues: u64,
    other: u32,
    mask: u64,
    mask_other: u32,
    auto_mask: u64,
    auto_mask_other: u32,
    auto_clear: u32,
    gpie: u32,
    /// Causes for which a message is still to be sent.
    fresh: u64,
    fresh_other: u32,
    receive_vector: [u8; QUEUES],
    transmit_vector: [u8; QUEUES],
    other_vector: u8,
    /// EITR, and when a vector may send again.
    interval: [u32; VECTORS as usize],
    ready_at: [Option<Instant>; VECTORS as usize],
    wires: Vec<Option<Arc<OwnedFd>>>,
    sent: u64,
}

impl Interrupts {
    pub(crate) fn new() -> Self {
        Self {
            queues: 0,
            other: 0,
            mask: 0,
            mask_other: 0,
            auto_mask: 0,
            auto_mask_other: 0,
            auto_clear: 0,
            gpie: 0,
            fresh: 0,
            fresh_other: 0,
            receive_vector: [NONE; QUEUES],
            transmit_vector: [NONE; QUEUES],
            other_vector: NONE,
            interval: [0; VECTORS as usize],
            ready_at: [None; VECTORS as usize],
            wires: Vec::new(),
            sent: 0,
        }
    }

    /// As after a device reset. What the operating system connected stays connected.
    pub(crate) fn reset(&mut self) {
        let wires = std::mem::take(&mut self.wires);
        *self = Self { wires, sent: self.sent, ..Self::new() };
    }

    /// Connects vectors to counters.
    pub(crate) fn connect(&mut self, first: usize, counters: impl Iterator<Item = Option<Arc<OwnedFd>>>) {
        for (vector, counter) in counters.enumerate() {
            let vector = vector.saturating_add(first);
            if vector < usize::from(VECTORS) {
                if self.wires.len() <= vector {
                    self.wires.resize(vector.saturating_add(1), None);
                }
                if let Some(wire) = self.wires.get_mut(vector) {
                    *wire = counter;
                }
            }
        }
    }

    pub(crate) fn disconnect(&mut self) {
        self.wires.clear();
    }

    /// Messages sent so far, for tests and statistics.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// A packet was received on a queue.
    #[inline]
    pub(crate) fn received(&mut self, queue: usize) {
        if let Some(&vector) = self.receive_vector.get(queue)
            && vector != NONE
        {
            self.raise_queue(1 << vector);
        }
    }

    /// Descriptors of a queue were written back.
    #[inline]
    pub(crate) fn transmitted(&mut self, queue: usize) {
        if let Some(&vector) = self.transmit_vector.get(queue)
            && vector != NONE
        {
            self.raise_queue(1 << vector);
        }
    }

    #[inline]
    fn raise_queue(&mut self, bit: u64) {
        self.queues |= bit;
        self.fresh |= bit;
    }

    /// One of EICR's other causes.
    pub(crate) fn raise(&mut self, cause: u32) {
        self.other |= cause & CAUSES_OTHER;
        self.fresh_other |= cause & CAUSES_OTHER;
    }

    /// EICR, or EICS, which reads as EICR.
    pub(crate) fn causes(&self) -> u32 {
        (self.queues & QUEUE_BITS) as u32 | self.other
    }

    /// EICR is read: it clears (all of it, or only the other causes, as GPIE.OCD says), and masks (EIAM).
    pub(crate) fn read_causes(&mut self) -> u32 {
        let causes = self.causes();
        let kept = if self.gpie & GPIE_OTHER_CLEAR_DISABLE != 0 { QUEUE_BITS as u32 } else { 0 };
        self.clear_causes(!kept);
        if self.gpie & GPIE_AUTO_MASK == 0 && causes != 0 {
            self.mask &= !(self.auto_mask & QUEUE_BITS);
            self.mask_other &= !self.auto_mask_other;
        }
        causes
    }

    /// EICR is written: ones clear.
    pub(crate) fn clear_causes(&mut self, value: u32) {
        let queues = u64::from(value) & QUEUE_BITS;
        self.queues &= !queues;
        self.fresh &= !queues;
        self.other &= !value;
        self.fresh_other &= !value;
    }

    /// EICS: ones are causes.
    pub(crate) fn set_causes(&mut self, value: u32) {
        self.raise_queue(u64::from(value) & QUEUE_BITS);
        self.raise(value);
    }

    /// EICS_EX.
    pub(crate) fn set_queue_causes(&mut self, word: u32, value: u32) {
        self.raise_queue(wide(word, value));
    }

    /// EIMS.
    pub(crate) fn mask(&self) -> u32 {
        (self.mask & QUEUE_BITS) as u32 | self.mask_other
    }

    /// EIMS_EX.
    pub(crate) fn queue_mask(&self, word: u32) -> u32 {
        narrow(word, self.mask)
    }

    /// EIMS: ones enable. What is pending goes out now.
    pub(crate) fn enable(&mut self, value: u32) {
        self.enable_bits(u64::from(value) & QUEUE_BITS);
        self.mask_other |= value & CAUSES_OTHER;
        self.fresh_other |= self.other & value;
    }

    /// EIMS_EX.
    pub(crate) fn enable_queues(&mut self, word: u32, value: u32) {
        self.enable_bits(wide(word, value));
    }

    fn enable_bits(&mut self, bits: u64) {
        self.mask |= bits;
        self.fresh |= self.queues & bits;
    }

    /// EIMC: ones disable.
    pub(crate) fn disable(&mut self, value: u32) {
        self.mask &= !(u64::from(value) & QUEUE_BITS);
        self.mask_other &= !value;
    }

    /// EIMC_EX.
    pub(crate) fn disable_queues(&mut self, word: u32, value: u32) {
        self.mask &= !wide(word, value);
    }

    /// EIAM.
    pub(crate) fn set_auto_mask(&mut self, value: u32) {
        self.auto_mask = self.auto_mask & !QUEUE_BITS | u64::from(value) & QUEUE_BITS;
        self.auto_mask_other = value & CAUSES_OTHER;
    }

    /// EIAM, read.
    pub(crate) fn auto_mask(&self) -> u32 {
        (self.auto_mask & QUEUE_BITS) as u32 | self.auto_mask_other
    }

    /// EIAM_EX.
    pub(crate) fn set_queue_auto_mask(&mut self, word: u32, value: u32) {
        self.auto_mask = self.auto_mask & !wide(word, u32::MAX) | wide(word, value);
    }

    /// EIAM_EX, read.
    pub(crate) fn queue_auto_mask(&self, word: u32) -> u32 {
        narrow(word, self.auto_mask)
    }

    /// EIAC.
    pub(crate) fn set_auto_clear(&mut self, value: u32) {
        self.auto_clear = value;
    }

    /// GPIE.
    pub(crate) fn set_mode(&mut self, gpie: u32) {
        self.gpie = gpie;
    }

    /// IVAR `index`: two queues, receive and transmit of each, a byte each.
    pub(crate) fn set_vectors(&mut self, index: usize, value: u32) {
        let [first_receive, first_transmit, second_receive, second_transmit] = value.to_le_bytes();
        let queue = index.saturating_mul(2);
        for (queue, receive, transmit) in [
            (queue, first_receive, first_transmit),
            (queue.saturating_add(1), second_receive, second_transmit),
        ] {
            if let Some(vector) = self.receive_vector.get_mut(queue) {
                *vector = decode(receive);
            }
            if let Some(vector) = self.transmit_vector.get_mut(queue) {
                *vector = decode(transmit);
            }
        }
    }

    /// IVAR_MISC: byte 1 names the vector of the other causes.
    pub(crate) fn set_other_vector(&mut self, value: u32) {
        self.other_vector = decode((value >> 8) as u8);
    }

    /// EITR: the interval is bits 11:3, in units of 2 µs (8.2.3.5.12).
    pub(crate) fn set_interval(&mut self, vector: usize, value: u32) {
        if let Some(interval) = self.interval.get_mut(vector) {
            *interval = value >> 3 & 0x1ff;
        }
    }

    /// Whether messages wait for their moment.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.fresh & self.mask != 0 || self.fresh_other & self.mask_other != 0
    }

    /// Sends the messages that are due. Without a clock nothing is moderated. They are writes to memory, so nothing
    /// is sent while `bus_master` is off.
    pub(crate) fn flush(&mut self, bus_master: bool, now: Option<Instant>) {
        if !bus_master || !self.is_pending() {
            return;
        }
        if self.gpie & GPIE_MULTIPLE_MSIX == 0 {
            if self.send(0, now) {
                self.fresh &= !self.mask;
                self.fresh_other &= !self.mask_other;
            }
            return;
        }
        let mut due = self.fresh & self.mask;
        while due != 0 {
            let vector = due.trailing_zeros();
            let bit = 1u64 << vector;
            due &= !bit;
            if self.send(vector as usize, now) {
                self.fresh &= !bit;
                self.after_message(bit);
            }
        }
        if self.fresh_other & self.mask_other != 0
            && self.other_vector != NONE
            && self.send(self.other_vector.into(), now)
        {
            let causes = self.fresh_other & self.mask_other;
            self.fresh_other &= !causes;
            if self.gpie & GPIE_AUTO_MASK != 0 {
                self.mask_other &= !(causes & self.auto_mask_other);
            }
        }
    }

    /// Auto-clear (EIAC; vectors that EICR doesn't show clear always) and auto-mask (EIAM).
    fn after_message(&mut self, bit: u64) {
        if bit & QUEUE_BITS == 0 || u64::from(self.auto_clear) & bit != 0 {
            self.queues &= !bit;
        }
        if self.gpie & GPIE_AUTO_MASK != 0 {
            self.mask &= !(self.auto_mask & bit);
        }
    }

    /// Sends a message, unless it is too early for its vector.
    fn send(&mut self, vector: usize, now: Option<Instant>) -> bool {
        let interval = self.interval.get(vector).copied().unwrap_or(0);
        if let (Some(now), Some(ready_at), true) = (now, self.ready_at.get_mut(vector), interval != 0) {
            if ready_at.is_some_and(|ready_at| now < ready_at) {
                return false;
            }
            *ready_at = now.checked_add(Duration::from_micros(u64::from(interval).saturating_mul(2)));
        }
        self.sent = self.sent.wrapping_add(1);
        if let Some(Some(wire)) = self.wires.get(vector) {
            // The only failure is a counter that is full, and a full counter wakes its reader too.
            let _ = rustix::io::write(wire, &1u64.to_ne_bytes());
        }
        true
    }
}

/// IVAR's entry: bit 7 "valid", bits 5:0 the vector.
fn decode(entry: u8) -> u8 {
    if entry & 0x80 != 0 { entry & 0x3f } else { NONE }
}

fn wide(word: u32, value: u32) -> u64 {
    if word == 0 { u64::from(value) } else { u64::from(value) << 32 }
}

fn narrow(word: u32, value: u64) -> u32 {
    if word == 0 { value as u32 } else { (value >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::registers::CAUSE_LINK;

    /// Receive queue 0 and transmit queue 0 on vector 0, the rest on vector 1.
    fn interrupts() -> Interrupts {
        let mut interrupts = Interrupts::new();
        interrupts.set_mode(GPIE_MULTIPLE_MSIX | GPIE_AUTO_MASK);
        interrupts.set_vectors(0, 0x0000_8080);
        interrupts.set_other_vector(0x8100);
        interrupts
    }

    #[test]
    fn a_masked_cause_waits_until_it_is_unmasked() {
        let mut interrupts = interrupts();
        interrupts.received(0);
        interrupts.flush(true, None);
        assert_eq!((interrupts.sent(), interrupts.causes()), (0, 1));
        interrupts.enable(1);
        interrupts.flush(true, None);
        assert_eq!(interrupts.sent(), 1);
        interrupts.flush(true, None);
        assert_eq!(interrupts.sent(), 1, "one message a cause");
    }

    #[test]
    fn auto_clear_and_auto_mask_follow_a_message() {
        let mut interrupts = interrupts();
        interrupts.set_auto_clear(1);
        interrupts.set_queue_auto_mask(0, u32::MAX);
        interrupts.enable_queues(0, 1);
        interrupts.transmitted(0);
        interrupts.flush(true, None);
        assert_eq!((interrupts.sent(), interrupts.causes(), interrupts.mask()), (1, 0, 0));
        interrupts.received(0);
        interrupts.flush(true, None);
        assert_eq!(interrupts.sent(), 1);
        interrupts.enable_queues(0, 1);
        interrupts.flush(true, None);
        assert_eq!(interrupts.sent(), 2);
    }

    #[test]
    fn other_causes_share_their_vector_and_stay_until_cleared() {
        let mut interrupts = interrupts();
        interrupts.enable(CAUSE_LINK);
        interrupts.raise(CAUSE_LINK);
        interrupts.flush(true, None);
        interrupts.flush(true, None);
        assert_eq!((interrupts.sent(), interrupts.causes()), (1, CAUSE_LINK));
        interrupts.clear_causes(CAUSE_LINK);
        assert_eq!(interrupts.causes(), 0);
        interrupts.raise(CAUSE_LINK);
        assert_eq!(interrupts.read_causes(), CAUSE_LINK);
        assert_eq!(interrupts.read_causes(), 0);
    }

    #[test]
    fn a_vector_keeps_its_distance_when_there_is_a_clock() {
        let mut interrupts = interrupts();
        interrupts.set_interval(0, 50 << 3); // 100 µs
        interrupts.enable(1);
        let start = Instant::now();
        for (microseconds, sent) in [(0, 1), (50, 1), (99, 1), (100, 2), (150, 2)] {
            interrupts.received(0);
            interrupts.flush(true, Some(start + Duration::from_micros(microseconds)));
            assert_eq!(interrupts.sent(), sent, "after {microseconds} µs");
        }
        assert!(interrupts.is_pending());
    }

    #[test]
    fn no_message_leaves_without_bus_mastering() {
        let mut interrupts = interrupts();
        interrupts.enable(1);
        interrupts.received(0);
        interrupts.flush(false, None);
        assert_eq!(interrupts.sent(), 0);
        interrupts.flush(true, None);
        assert_eq!(interrupts.sent(), 1);
    }
}
