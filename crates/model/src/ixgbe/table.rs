//! The register table: plain memory, and the counters in it.
//!
//! It knows nothing of side effects (`access.rs` has them) but one: what counts, clears when it is read.

use super::registers::{
    FDIRMISS, FDIRUSTAT, MRFC, PRC64, PTC64, QBRC, QBTC, QPRC, QPRDC, QPTC, RQSMR, RXDGPC, TQSM, TXDGBCL,
    TXDGPC, WORDS,
};

/// The registers of BAR 0 as 32-bit words.
#[derive(Debug)]
pub(crate) struct Table(Box<[u32; WORDS]>);

impl Table {
    pub(crate) fn new() -> Self {
        let words: Result<Box<[u32; WORDS]>, _> = vec![0; WORDS].into_boxed_slice().try_into();
        Self(words.unwrap_or_else(|_| Box::new([0; WORDS])))
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// The word at `offset`; all ones outside the table.
    #[inline]
    pub(crate) fn get(&self, offset: u32) -> u32 {
        self.0.get(offset as usize / 4).copied().unwrap_or(u32::MAX)
    }

    /// Sets the word at `offset`; nothing outside the table.
    #[inline]
    pub(crate) fn set(&mut self, offset: u32, value: u32) {
        if let Some(word) = self.0.get_mut(offset as usize / 4) {
            *word = value;
        }
    }

    /// Whether all of `bits` are set in the word at `offset`.
    #[inline]
    pub(crate) fn has(&self, offset: u32, bits: u32) -> bool {
        self.get(offset) & bits == bits
    }

    /// Sets or clears `bits` in the word at `offset`.
    pub(crate) fn put(&mut self, offset: u32, bits: u32, on: bool) {
        let word = self.get(offset);
        self.set(offset, if on { word | bits } else { word & !bits });
    }

    /// Word `index` of an array of words.
    #[inline]
    pub(crate) fn element(&self, array: u32, index: usize) -> u32 {
        self.get(array.wrapping_add((index as u32).wrapping_mul(4)))
    }

    /// Counts one more.
    #[inline]
    pub(crate) fn count(&mut self, offset: u32) {
        self.set(offset, self.get(offset).wrapping_add(1));
    }

    /// Adds to a counter of 36 bits, low word first (8.2.3.23: GORC, QBRC and their like).
    #[inline]
    pub(crate) fn add(&mut self, low: u32, bytes: u32) {
        let (sum, carry) = self.get(low).overflowing_add(bytes);
        self.set(low, sum);
        if carry {
            let high = low.wrapping_add(4);
            self.set(high, self.get(high).wrapping_add(1) & 0xf);
        }
    }

    /// Reads a counter, which clears it.
    pub(crate) fn take(&mut self, offset: u32) -> u32 {
        let value = self.get(offset);
        self.set(offset, 0);
        value
    }

    /// Counts a frame of `bytes` (FCS included) into the six size classes that begin at `first`.
    #[inline]
    pub(crate) fn count_size(&mut self, first: u32, bytes: u32) {
        let class = match bytes {
            0..=64 => 0,
            65..=127 => 1,
            128..=255 => 2,
            256..=511 => 3,
            512..=1023 => 4,
            1024.. => 5,
        };
        self.count(first.wrapping_add(4 * class));
    }

    /// Counts a frame that went to receive queue `queue`, into the counters that RQSMR names for it.
    #[inline]
    pub(crate) fn count_receive_queue(&mut self, queue: usize, bytes: u32) {
        let block = self.mapped(RQSMR, queue).wrapping_mul(0x40);
        self.count(block.wrapping_add(QPRC));
        self.add(block.wrapping_add(QBRC), bytes);
    }

    /// Counts a frame that receive queue `queue` had no descriptor for.
    pub(crate) fn count_receive_queue_drop(&mut self, queue: usize) {
        let block = self.mapped(RQSMR, queue).wrapping_mul(0x40);
        self.count(block.wrapping_add(QPRDC));
    }

    /// Counts a frame that transmit queue `queue` sent, into the counters that TQSM names for it.
    #[inline]
    pub(crate) fn count_transmit_queue(&mut self, queue: usize, bytes: u32) {
        let counter = self.mapped(TQSM, queue);
        self.count(counter.wrapping_mul(4).wrapping_add(QPTC));
        self.add(counter.wrapping_mul(8).wrapping_add(QBTC), bytes);
    }

    /// Which of the 16 sets of counters a queue has (8.2.3.23.71, 8.2.3.23.73): a byte each, four bits used.
    #[inline]
    fn mapped(&self, map: u32, queue: usize) -> u32 {
        self.element(map, queue / 4) >> ((queue % 4).wrapping_mul(8)) & 0xf
    }
}

/// Whether the register counts: then a read clears it, and a write does nothing.
pub(crate) fn is_counter(offset: u32) -> bool {
    const RECEIVE_SET: u32 = QPRC & 0x3f;
    match offset {
        0x1000..0x1400 => matches!(offset & 0x3f, RECEIVE_SET | 0x34 | 0x38),
        0x1400..0x1800 => offset & 0x3f == QPRDC & 0x3f,
        0x3f00..0x3fe0 | 0x4000..=MRFC | 0x4040 | PRC64..=0x40b8 | 0x40c0..0x4130 | 0x4140..0x4200 => true,
        FDIRUSTAT..=FDIRMISS => true,
        RXDGPC..0x2f80 | QPTC..0x8780 | TXDGPC..=0x87b0 | 0xcf00..0xcfa0 => true,
        _ => false,
    }
}

const _: () = assert!(PTC64 > PRC64 && TXDGBCL > TXDGPC);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::registers::{GORCL, GPRC, HLREG0, MAXFRS, RXDCTL, receive_block};

    #[test]
    fn a_wide_counter_carries_and_wraps_at_36_bits() {
        let mut table = Table::new();
        table.set(GORCL, u32::MAX);
        table.set(GORCL + 4, 0xf);
        table.add(GORCL, 2);
        assert_eq!((table.get(GORCL), table.get(GORCL + 4)), (1, 0));
    }

    #[test]
    fn a_queue_counts_where_its_map_says() {
        let mut table = Table::new();
        table.set(RQSMR + 4, 0x0000_0300); // queue 5: set 3
        table.count_receive_queue(5, 64);
        assert_eq!(table.get(QPRC + 3 * 0x40), 1);
        assert_eq!(table.get(QBRC + 3 * 0x40), 64);
        table.set(TQSM, 0x0f00_0000);
        table.count_transmit_queue(3, 100);
        assert_eq!(table.get(QPTC + 15 * 4), 1);
        assert_eq!(table.get(QBTC + 15 * 8), 100);
    }

    #[test]
    fn counters_are_told_from_other_registers() {
        assert!(is_counter(GPRC) && is_counter(GORCL + 4) && is_counter(QBTC + 15 * 8 + 4));
        assert!(is_counter(QPRC + 15 * 0x40) && is_counter(QPRDC + 15 * 0x40));
        assert!(!is_counter(HLREG0) && !is_counter(MAXFRS) && !is_counter(receive_block(3) + RXDCTL));
    }

    #[test]
    fn nothing_lies_outside_the_table() {
        let mut table = Table::new();
        table.set(0x2_0000, 1);
        assert_eq!(table.get(0x2_0000), u32::MAX);
    }
}
