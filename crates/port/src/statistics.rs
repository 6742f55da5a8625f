//! Counters: kept by the one who counts, read by anyone, never cleared.
//!
//! A queue owns its counters and writes them once a batch with plain stores; nobody else writes them, so nothing is
//! locked. Each queue's counters have cache lines of their own.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one receive queue counted.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ReceiveCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    starved: AtomicU64,
}

/// What one transmit queue counted.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TransmitCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

/// For counters with one writer: no atomic read-modify-write.
#[inline(always)]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl ReceiveCounters {
    /// Counts packets and their bytes (no framing, no FCS). For the queue that owns the counters.
    #[inline(always)]
    pub fn received(&self, packets: u64, bytes: u64) {
        add(&self.packets, packets);
        add(&self.bytes, bytes);
    }

    /// Counts packets that the device gave in a form that could not be used.
    #[cold]
    pub fn erroneous(&self, packets: u64) {
        add(&self.errors, packets);
    }

    /// Counts rounds in which a packet waited but the pool had no buffer to replace it.
    #[cold]
    pub fn starved(&self) {
        add(&self.starved, 1);
    }

    /// What was counted.
    pub fn read(&self) -> ReceiveStatistics {
        ReceiveStatistics {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            starved: self.starved.load(Ordering::Relaxed),
        }
    }
}

impl TransmitCounters {
    /// Counts packets handed to the device, and their bytes. For the queue that owns the counters.
    #[inline(always)]
    pub fn sent(&self, packets: u64, bytes: u64) {
        add(&self.packets, packets);
        add(&self.bytes, bytes);
    }

    /// Counts packets that can't be sent by this device and were dropped.
    #[cold]
    pub fn erroneous(&self, packets: u64) {
        add(&self.errors, packets);
    }

    /// What was counted.
    pub fn read(&self) -> TransmitStatistics {
        TransmitStatistics {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}

/// A reading of one receive queue's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveStatistics {
    /// Packets given to the program.
    pub packets: u64,
    /// Their bytes, without framing and FCS.
    pub bytes: u64,
    /// Packets dropped because what the device said of them was wrong.
    pub errors: u64,
    /// Rounds in which packets waited for a free buffer.
    pub starved: u64,
}

/// A reading of one transmit queue's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransmitStatistics {
    /// Packets handed to the device.
    pub packets: u64,
    /// Their bytes, without framing and FCS.
    pub bytes: u64,
    /// Packets dropped because the device can't send them.
    pub errors: u64,
}

/// A reading of all that a port counts, since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// A reading a receive queue.
    pub receive: Vec<ReceiveStatistics>,
    /// A reading a transmit queue.
    pub transmit: Vec<TransmitStatistics>,
    /// Frames that the device had no receive buffer for, and dropped. `None`: it doesn't count them.
    pub missed: Option<u64>,
    /// What the device itself counts, under the names of its datasheet or specification.
    pub device: Vec<(&'static str, u64)>,
}

impl Statistics {
    /// All receive queues together.
    pub fn received(&self) -> ReceiveStatistics {
        self.receive.iter().fold(ReceiveStatistics::default(), |sum, queue| ReceiveStatistics {
            packets: sum.packets.saturating_add(queue.packets),
            bytes: sum.bytes.saturating_add(queue.bytes),
            errors: sum.errors.saturating_add(queue.errors),
            starved: sum.starved.saturating_add(queue.starved),
        })
    }

    /// All transmit queues together.
    pub fn sent(&self) -> TransmitStatistics {
        self.transmit.iter().fold(TransmitStatistics::default(), |sum, queue| TransmitStatistics {
            packets: sum.packets.saturating_add(queue.packets),
            bytes: sum.bytes.saturating_add(queue.bytes),
            errors: sum.errors.saturating_add(queue.errors),
        })
    }
}
