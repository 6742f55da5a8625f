//! Interrupts: which vectors are connected to which event counters, and what was sent.
//!
//! The operating system's part (it programs the MSI-X table and connects a vector to an event counter) is behind
//! [`Backend::set_msix`](ringway_pci::Backend::set_msix). What is left here is the function mask with its pending
//! bits (PCI Local Bus 3.0, section 6.8.2) and the signal itself: a write to an event counter, the only system call
//! that a device makes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Section 6.8.2.9: an entry of the MSI-X table: address, data, vector control.
const ENTRY_WORDS: usize = 4;

#[derive(Debug)]
pub(crate) struct Interrupts {
    counters: Vec<Arc<OwnedFd>>,
    /// The table as plain storage; an operating system writes it, the event counters stand for what it says.
    table: Vec<u32>,
    pending: Vec<bool>,
    sent: u64,
}

impl Interrupts {
    pub(crate) fn new(vectors: u16) -> Self {
        let mut interrupts = Self {
            counters: Vec::new(),
            table: vec![0; usize::from(vectors).saturating_mul(ENTRY_WORDS)],
            pending: vec![false; vectors.into()],
            sent: 0,
        };
        interrupts.reset();
        interrupts
    }

    pub(crate) fn vectors(&self) -> u16 {
        self.pending.len() as u16
    }

    /// Connects vectors to counters, in order; those beyond are disconnected.
    pub(crate) fn connect(&mut self, counters: &[Arc<OwnedFd>]) {
        self.counters = counters.to_vec();
        self.pending.fill(false);
    }

    /// Back to how it came up: nothing pending, every entry masked. The counters stay: they are not the device's.
    pub(crate) fn reset(&mut self) {
        self.pending.fill(false);
        self.table.fill(0);
        for control in self.table.iter_mut().skip(ENTRY_WORDS - 1).step_by(ENTRY_WORDS) {
            *control = 1;
        }
    }

    /// Sends the message of `vector`, or remembers it while the function is masked.
    pub(crate) fn send(&mut self, vector: u16, masked: bool) {
        if masked {
            if let Some(pending) = self.pending.get_mut(usize::from(vector)) {
                *pending = true;
            }
            return;
        }
        if let Some(counter) = self.counters.get(usize::from(vector)) {
            // The only failure is a counter that is full, and a full counter wakes its reader too.
            let _ = rustix::io::write(counter, &1u64.to_ne_bytes());
            self.sent = self.sent.wrapping_add(1);
        }
    }

    /// Sends what was held back while the function was masked.
    pub(crate) fn unmask(&mut self) {
        for vector in 0..self.vectors() {
            if self.pending.get_mut(usize::from(vector)).is_some_and(std::mem::take) {
                self.send(vector, false);
            }
        }
    }

    /// How many messages were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Four bytes of the table.
    pub(crate) fn read_table(&self, offset: u64) -> u32 {
        self.table.get((offset / 4) as usize).copied().unwrap_or(0)
    }

    pub(crate) fn write_table(&mut self, offset: u64, value: u32) {
        if let Some(word) = self.table.get_mut((offset / 4) as usize) {
            *word = value;
        }
    }

    /// 32 pending bits, from vector `offset` × 8.
    pub(crate) fn read_pending(&self, offset: u64) -> u32 {
        let from = (offset as usize).saturating_mul(8);
        let bits = self.pending.iter().skip(from).take(32).enumerate();
        bits.fold(0, |word, (bit, &pending)| word | u32::from(pending) << bit)
    }
}
