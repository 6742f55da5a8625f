//! The two wires to an SFP+ module, moved bit by bit: the device has no engine for them (82599 datasheet, sections 3.5.5
//! and 8.2.3.1.5; SFF-8472, chapter 4).
//!
//! They are shared with the firmware: use them under the PHY's semaphore.

use crate::registers::{self as register, Registers};
use std::time::{Duration, Instant};

/// The module's identity answers at this address (SFF-8472, chapter 4).
pub(crate) const EEPROM: u8 = 0xa0;
/// And its diagnostics at this one, where it has any.
pub(crate) const DIAGNOSTICS: u8 = 0xa2;
/// Bytes of its base page.
pub(crate) const PAGE: usize = 64;
/// Half a clock period: 100 kHz and a margin.
const HALF_PERIOD: Duration = Duration::from_micros(6);

/// Far shorter than the system would sleep.
fn pause() {
    let start = Instant::now();
    while start.elapsed() < HALF_PERIOD {
        std::hint::spin_loop();
    }
}

/// The two wires. Both are open-drain: 1 lets go, and something else may hold the wire low.
pub(crate) struct I2c<'a> {
    pub(crate) registers: &'a Registers,
}

impl I2c<'_> {
    /// The base page.
    pub(crate) fn read_page(&self) -> Option<[u8; PAGE]> {
        let mut page = [0; PAGE];
        self.read(EEPROM, &mut page).then_some(page)
    }

    /// Fills `bytes` from a memory's first byte on: a dummy write sets the place to 0, then everything is read in one go
    /// (SFF-8472, chapter 4). Whether it answered.
    pub(crate) fn read(&self, memory: u8, bytes: &mut [u8]) -> bool {
        self.start();
        let answered = self.send(memory) && self.send(0) && {
            self.start();
            self.send(memory | 1)
        };
        if answered {
            let last = bytes.len().wrapping_sub(1);
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = self.receive(index != last);
            }
        }
        self.stop();
        answered
    }

    fn clock(&self, high: bool) {
        self.wire(register::I2CCTL_CLOCK_OUT, high);
        // A module may hold the clock low while it thinks; none may do so for long.
        for _ in 0..100 {
            if !high || self.registers.read(register::I2CCTL) & register::I2CCTL_CLOCK_IN != 0 {
                break;
            }
            pause();
        }
    }

    fn data(&self, high: bool) {
        self.wire(register::I2CCTL_DATA_OUT, high);
    }

    fn wire(&self, bit: u32, high: bool) {
        if high {
            self.registers.set(register::I2CCTL, bit)
        } else {
            self.registers.clear(register::I2CCTL, bit)
        }
        pause();
    }

    fn start(&self) {
        self.data(true);
        self.clock(true);
        self.data(false);
        self.clock(false);
    }

    fn stop(&self) {
        self.data(false);
        self.clock(true);
        self.data(true);
    }

    /// Sends a byte; whether it was acknowledged.
    fn send(&self, byte: u8) -> bool {
        for bit in (0..8).rev() {
            self.data(byte >> bit & 1 != 0);
            self.clock(true);
            self.clock(false);
        }
        !self.receive_bit()
    }

    /// Receives a byte and acknowledges it, if more is wanted.
    fn receive(&self, more: bool) -> u8 {
        let byte = (0..8).fold(0u8, |byte, _| (byte << 1) | u8::from(self.receive_bit()));
        self.data(!more);
        self.clock(true);
        self.clock(false);
        byte
    }

    fn receive_bit(&self) -> bool {
        self.data(true);
        self.clock(true);
        let bit = self.registers.read(register::I2CCTL) & register::I2CCTL_DATA_IN != 0;
        self.clock(false);
        bit
    }
}
