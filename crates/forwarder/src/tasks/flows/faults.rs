//! Malformed packets, by what the parser says is wrong with them.

use ringway_flow::{Malformed, Reason};

/// Room for every number that a reason can have.
const REASONS: usize = 1 << 8;

/// Packets with one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong with the first of them, and where.
    pub first: Malformed,
    /// The number of the first of them, from 1.
    pub first_packet: u64,
    /// How many there are.
    pub packets: u64,
}

/// The counts.
#[derive(Debug)]
pub struct Faults(Box<[Option<Fault>]>);

impl Faults {
    pub(super) fn new() -> Self {
        Self(vec![None; REASONS].into_boxed_slice())
    }

    /// Counts packet `number`.
    #[cold]
    pub(super) fn count(&mut self, malformed: Malformed, number: u64) {
        let Some(place) = self.0.get_mut(usize::from(malformed.reason as u8)) else { return };
        let fault = place.get_or_insert(Fault { first: malformed, first_packet: number, packets: 0 });
        fault.packets = fault.packets.wrapping_add(1);
    }

    /// What was seen, the most frequent first.
    pub fn entries(&self) -> Vec<Fault> {
        let mut entries: Vec<Fault> = self.0.iter().flatten().copied().collect();
        entries.sort_by_key(|fault| std::cmp::Reverse(fault.packets));
        entries
    }

    /// How many packets with this fault there are.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(usize::from(reason as u8)).copied().flatten().map_or(0, |fault| fault.packets)
    }
}
