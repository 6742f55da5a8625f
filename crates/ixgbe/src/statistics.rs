//! What the device counts (82599 datasheet, section 8.2.3.23).
//!
//! Its counters clear when they are read, so one owner reads them and adds up. Each reading is a way to the device and back,
//! so nobody reads them more often than it takes: all of them when somebody asks, and otherwise ([`Totals::keep`]) each
//! kind before it can wrap. The counters of filters, of 16 and 8 bits, are read with each filter that is placed or removed.

use crate::registers::{self as register, Registers};
use std::time::{Duration, Instant};

/// At 10 Gbit/s a byte comes each 0.8 ns, and the shortest packet with its framing takes 67.2 ns.
#[cfg(test)]
const BYTES_A_SECOND: u64 = 1_250_000_000;
#[cfg(test)]
const PACKETS_A_SECOND: u64 = 14_880_953;
/// How often counters of bytes are read: 36 bits last for 55 s.
const BYTES_EVERY: Duration = Duration::from_secs(25);
/// How often counters of packets and events are read: 32 bits last for 288 s.
const PACKETS_EVERY: Duration = Duration::from_secs(125);

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
    counter("MSPDC", 0x04010),
    counter("LXONTXC", 0x03f60),
    counter("LXOFFTXC", 0x03f68),
    counter("LXONRXCNT", 0x041a4),
    counter("LXOFFRXCNT", 0x041a8),
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
    counter("RXNFGPC", 0x041b0),
    wide("RXNFGBC", 0x041b4),
    counter("RXDGPC", 0x02f50),
    wide("RXDGBC", 0x02f54),
    counter("RXDDPC", 0x02f5c),
    wide("RXDDBC", 0x02f60),
    counter("RXLPBKPC", 0x02f68),
    wide("RXLPBKBC", 0x02f6c),
    counter("RXDLPBKPC", 0x02f74),
    wide("RXDLPBKBC", 0x02f78),
    counter("TXDGPC", 0x087a0),
    wide("TXDGBC", 0x087a4),
    counter("MNGPRC", 0x040b4),
    counter("MNGPDC", 0x040b8),
    counter("MNGPTC", 0x0cf90),
    counter("FDIRMATCH", 0x0ee58),
    counter("FDIRMISS", 0x0ee5c),
];
/// Queues that have counters of their own; those beyond share them, sixteen by sixteen (RQSMR, TQSM).
const COUNTED_QUEUES: u64 = 16;

/// Sixteen counters of queues, under the datasheet's name with the set's number.
macro_rules! per_queue {
    ($kind:ident, $name:literal, $first:expr, $step:expr) => {
        per_queue!($kind, $name, $first, $step, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($kind:ident, $name:literal, $first:expr, $step:expr, $($queue:literal)*) => {
        [$($kind(concat!($name, "[", $queue, "]"), $first + $queue * $step)),*]
    };
}

/// Each queue's packets, bytes, and packets dropped for want of descriptors (8.2.3.23.71 to 8.2.3.23.79).
const QUEUES: [[Counter; COUNTED_QUEUES as usize]; 5] = [
    per_queue!(counter, "QPRC", 0x01030, 0x40),
    per_queue!(wide, "QBRC", 0x01034, 0x40),
    per_queue!(counter, "QPRDC", 0x01430, 0x40),
    per_queue!(counter, "QPTC", 0x08680, 4),
    per_queue!(wide, "QBTC", 0x08700, 8),
];

/// Counters of which a register holds two: the name of each half, and the bits of the lower one.
struct Pair {
    names: [&'static str; 2],
    register: u64,
    bits: u32,
}

const PAIRS: [Pair; 2] = [
    Pair { names: ["FDIRUSTAT.Add", "FDIRUSTAT.Remove"], register: 0x0ee50, bits: 16 },
    Pair { names: ["FDIRFSTAT.Add", "FDIRFSTAT.Remove"], register: 0x0ee54, bits: 8 },
];

/// All single counters: the port's, then the queues'.
fn counters() -> impl Iterator<Item = &'static Counter> {
    COUNTERS.iter().chain(QUEUES.iter().flatten())
}

/// Gives each queue its own counters, as far as there are (8.2.3.23.71, 8.2.3.23.73): a byte a queue.
pub(crate) fn map_queues(registers: &Registers) {
    for word in 0..register::QUEUE_MAP_WORDS {
        let sets: [u8; 4] = std::array::from_fn(|queue| ((word * 4 + queue as u64) % COUNTED_QUEUES) as u8);
        registers.write(register::rqsmr(word), u32::from_le_bytes(sets));
        registers.write(register::tqsm(word), u32::from_le_bytes(sets));
    }
}

/// Sums since the port was opened.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    sums: Vec<u64>,
    pairs: [[u64; 2]; PAIRS.len()],
    /// When counters of bytes were read last, and when all were.
    bytes_at: Instant,
    all_at: Instant,
}

impl Default for Totals {
    fn default() -> Self {
        let now = Instant::now();
        Self { sums: vec![0; counters().count()], pairs: [[0; 2]; PAIRS.len()], bytes_at: now, all_at: now }
    }
}

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Bytes,
    All,
}

impl Totals {
    /// Clears the device's counters (section 4.6.5): what was counted before is not ours.
    pub(crate) fn clear(registers: &Registers) {
        Self::default().update(registers);
    }

    /// What can't wait any longer.
    fn due(&self, now: Instant) -> Due {
        let since = |then| now.saturating_duration_since(then);
        if since(self.all_at) >= PACKETS_EVERY {
            Due::All
        } else if since(self.bytes_at) >= BYTES_EVERY {
            Due::Bytes
        } else {
            Due::Nothing
        }
    }

    /// To be called about once a second: reads what would wrap soon. Whether that was anything.
    pub(crate) fn keep(&mut self, registers: &Registers) -> bool {
        match self.due(Instant::now()) {
            Due::Nothing => return false,
            Due::Bytes => self.add(registers, |counter| counter.wide),
            Due::All => self.update(registers),
        }
        true
    }

    /// Adds what all counters have counted since the last time.
    pub(crate) fn update(&mut self, registers: &Registers) {
        self.add(registers, |_| true);
        self.filters(registers);
        self.all_at = self.bytes_at;
    }

    /// Adds what was counted of filters: to be called after each 255 of them at the latest.
    pub(crate) fn filters(&mut self, registers: &Registers) {
        if registers.is_gone() {
            return;
        }
        let mut now = self.pairs;
        for ([low, high], pair) in now.iter_mut().zip(&PAIRS) {
            let value = registers.read(pair.register);
            let mask = (1 << pair.bits) - 1;
            *low = low.wrapping_add((value & mask).into());
            *high = high.wrapping_add((value >> pair.bits & mask).into());
        }
        if !registers.is_gone() {
            self.pairs = now;
        }
    }

    /// Adds what such counters have counted since the last time.
    fn add(&mut self, registers: &Registers, is_read: impl Fn(&Counter) -> bool) {
        self.bytes_at = Instant::now();
        if registers.is_gone() {
            return; // All ones are no counts.
        }
        let mut now = self.sums.clone();
        for (sum, counter) in now.iter_mut().zip(counters()).filter(|(_, counter)| is_read(counter)) {
            // The low half first: reading the high one clears both (8.2.3.23.22).
            let low = u64::from(registers.read(counter.register));
            let high = if counter.wide { u64::from(registers.read(counter.register + 4) & 0xf) } else { 0 };
            *sum = sum.wrapping_add(low | (high << 32));
        }
        // Nor are they when the device went on the way.
        if !registers.is_gone() {
            self.sums = now;
        }
    }

    /// Frames without a place to go: missed for want of room in the packet buffer, or dropped by their queue.
    pub(crate) fn missed(&self) -> u64 {
        let is_missed = |counter: &Counter| counter.name == "MPC" || counter.name.starts_with("QPRDC");
        let missed = counters().zip(&self.sums).filter(|(counter, _)| is_missed(counter));
        missed.fold(0, |all, (_, sum)| all.wrapping_add(*sum))
    }

    /// The sums under the datasheet's names.
    pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
        let pairs = PAIRS.iter().zip(self.pairs).flat_map(|(pair, sums)| pair.names.into_iter().zip(sums));
        counters().map(|counter| counter.name).zip(self.sums.iter().copied()).chain(pairs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_more_often_than_it_takes_and_everything_before_it_wraps() {
        let mut totals = Totals::default();
        let start = totals.all_at;
        let second = Duration::from_secs(1);
        let (mut bytes, mut all) = (0, 0);
        for passed in 1..=3600 {
            let now = start + second * passed;
            let due = totals.due(now);
            match due {
                Due::Nothing => {}
                Due::Bytes => (totals.bytes_at, bytes) = (now, bytes + 1),
                Due::All => (totals.bytes_at, totals.all_at, all) = (now, now, all + 1),
            }
            // A check that comes three times as late as it should is no harm either.
            let (since_bytes, since_all) = (now - totals.bytes_at, now - totals.all_at);
            assert!((since_bytes + 3 * second).as_secs() * BYTES_A_SECOND < 1 << 36, "{since_bytes:?}");
            assert!((since_all + 3 * second).as_secs() * PACKETS_A_SECOND < 1 << 32, "{since_all:?}");
        }
        assert_eq!((bytes, all), (3600 / 25 - 3600 / 125, 3600 / 125));
    }
}
