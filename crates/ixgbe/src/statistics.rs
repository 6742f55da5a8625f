//! What the device counts (82599 datasheet, section 8.2.3.23).
//!
//! Its counters clear when they are read, so one owner reads them and adds up. A 32-bit packet counter wraps after
//! 288 s at line rate: [`Totals::update`] is called about once a second.

use crate::registers::Registers;

/// A counter: its name, its register, and whether a second register holds four more bits.
struct Counter {
    name: &'static str,
    register: u64,
    wide: bool,
}

const fn counter(name: &'static str, register: u64) -> Counter {
    Counter { name, register, wide: false }
}

const fn wide(name: &'static str, register: u64) -> Counter {
    Counter { name, register, wide: true }
}

const COUNTERS: &[Counter] = &[
    counter("CRCERRS", 0x04000),
    counter("ILLERRC", 0x04004),
    counter("ERRBC", 0x04008),
    counter("MLFC", 0x04034),
    counter("MRFC", 0x04038),
    counter("RLEC", 0x04040),
    counter("MPC", 0x03fa0),
    counter("PRC64", 0x0405c),
    counter("PRC127", 0x04060),
    counter("PRC255", 0x04064),
    counter("PRC511", 0x04068),
    counter("PRC1023", 0x0406c),
    counter("PRC1522", 0x04070),
    counter("GPRC", 0x04074),
    counter("BPRC", 0x04078),
    counter("MPRC", 0x0407c),
    wide("GORC", 0x04088),
    counter("GPTC", 0x04080),
    wide("GOTC", 0x04090),
    counter("RUC", 0x040a4),
    counter("RFC", 0x040a8),
    counter("ROC", 0x040ac),
    counter("RJC", 0x040b0),
    wide("TOR", 0x040c0),
    counter("TPR", 0x040d0),
    counter("TPT", 0x040d4),
    counter("PTC64", 0x040d8),
    counter("PTC127", 0x040dc),
    counter("PTC255", 0x040e0),
    counter("PTC511", 0x040e4),
    counter("PTC1023", 0x040e8),
    counter("PTC1522", 0x040ec),
    counter("MPTC", 0x040f0),
    counter("BPTC", 0x040f4),
    counter("XEC", 0x04120),
];
/// Packets that a queue dropped because its ring was full (8.2.3.23.75).
const fn qprdc(queue: u64) -> u64 {
    0x01430 + queue * 0x40
}
/// Queues that have such a counter.
const COUNTED_QUEUES: u64 = 16;

/// Sums since the port was opened.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    sums: [u64; COUNTERS.len()],
    queue_drops: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self { sums: [0; COUNTERS.len()], queue_drops: 0 }
    }
}

impl Totals {
    /// Clears the device's counters (section 4.6.5): what was counted before is not ours.
    pub(crate) fn clear(registers: &Registers) {
        Self::default().update(registers);
    }

    /// Adds what was counted since the last time.
    pub(crate) fn update(&mut self, registers: &Registers) {
        if registers.is_gone() {
            return; // All ones are no counts.
        }
        let mut now = self.clone();
        for (sum, counter) in now.sums.iter_mut().zip(COUNTERS) {
            // The low half first: reading the high one clears both (8.2.3.23.22).
            let low = u64::from(registers.read(counter.register));
            let high = if counter.wide { u64::from(registers.read(counter.register + 4) & 0xf) } else { 0 };
            *sum = sum.wrapping_add(low | (high << 32));
        }
        for queue in 0..COUNTED_QUEUES {
            now.queue_drops = now.queue_drops.wrapping_add(registers.read(qprdc(queue)).into());
        }
        // Nor are they when the device went on the way.
        if !registers.is_gone() {
            *self = now;
        }
    }

    /// Frames without a place to go: missed for want of room in the packet buffer, or dropped by their queue.
    pub(crate) fn missed(&self) -> u64 {
        let missed = COUNTERS.iter().zip(self.sums).find(|(counter, _)| counter.name == "MPC");
        missed.map_or(0, |(_, sum)| sum).wrapping_add(self.queue_drops)
    }

    /// The sums under the datasheet's names.
    pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
        let named = COUNTERS.iter().zip(self.sums).map(|(counter, sum)| (counter.name, sum));
        named.chain([("QPRDC", self.queue_drops)]).collect()
    }
}
