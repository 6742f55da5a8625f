//! The device's clock (82599 datasheet, sections 7.9 and 8.2.3.26): nanoseconds, from a counter that wraps.
//!
//! The 82599's counter wraps after 2.4 hours, the X540's after 68 seconds; whoever looks at it before, as the port's
//! `check` does each second, makes 64 bits of nanoseconds of it. The X550 counts seconds and nanoseconds itself.

use crate::devices::Mac;
use crate::registers::{self as register, Registers};

/// What is added to the counter at each tick of 156.25 MHz: 6.4 nanoseconds, in units of a power of two.
const INCREMENT: u32 = 0x6666_6666;
const SHIFT: u32 = 28;
/// The 82599 has 24 bits for it, and above them the number of ticks; the X540 has 31.
const VALUE_82599: u32 = 24;
const VALUE_X540: u32 = 31;
const EACH_TICK: u32 = 1 << 24;
const SECOND: u64 = 1_000_000_000;

/// The clock, as it was looked at last.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How far a count is right of a nanosecond; `None`: nanoseconds and seconds.
    shift: Option<u32>,
    counted: u64,
    nanoseconds: u64,
    /// Bits of TIMINCA's value.
    bits: u32,
    /// Mbit/s of the link that its ticks are of.
    speed: u32,
}

impl Clock {
    /// Starts the clock, at zero. At a link of 10 Gbit/s it goes right; a slower link's ticks are slower
    /// ([`set_speed`](Self::set_speed)).
    pub(crate) fn start(registers: &Registers, mac: Mac) -> Self {
        let (shift, bits) = match mac {
            Mac::I82599 => (Some(SHIFT), VALUE_82599),
            Mac::X540 => (Some(SHIFT), VALUE_X540),
            Mac::X550 => (None, 0),
        };
        let mut clock = Self { shift, bits, counted: 0, nanoseconds: 0, speed: 0 };
        registers.write(register::SYSTIML, 0);
        registers.write(register::SYSTIMH, 0);
        if mac == Mac::X550 {
            registers.write(register::SYSTIMR, 0);
            registers.clear(register::TSAUXC, register::TSAUXC_STOPPED);
        }
        clock.set_speed(registers, 10_000);
        clock
    }

    /// The link runs at so many Mbit/s: a tick is 6.4 ns at 10 Gbit/s, and ten times as much for each step down (section
    /// 8.2.3.26.14).
    pub(crate) fn set_speed(&mut self, registers: &Registers, megabits: u32) {
        if self.shift.is_none() {
            return;
        }
        if std::mem::replace(&mut self.speed, megabits) == megabits {
            return;
        }
        self.read(registers);
        let slower = match megabits {
            100 => 100,
            1000 => 10,
            _ => 1,
        };
        // Where the value gets too long for its field the unit gets coarser.
        let fits = self.bits;
        let (mut value, mut shift) = (u64::from(INCREMENT) * slower, SHIFT);
        while value >> fits != 0 {
            (value, shift) = (value >> 1, shift - 1);
        }
        let each = if fits == VALUE_82599 { EACH_TICK } else { 0 };
        registers.write(register::TIMINCA, each | value as u32);
        self.shift = Some(shift);
        self.counted = count(registers);
    }

    /// The time, in nanoseconds.
    pub(crate) fn read(&mut self, registers: &Registers) -> u64 {
        let count = count(registers);
        let passed = match self.shift {
            Some(shift) => {
                let passed = count.wrapping_sub(self.counted) >> shift;
                // What is less than a nanosecond counts the next time.
                self.counted = self.counted.wrapping_add(passed << shift);
                passed
            }
            None => {
                let now = (count >> 32).wrapping_mul(SECOND).wrapping_add(count & 0xffff_ffff);
                let passed = now.wrapping_sub(self.counted);
                self.counted = now;
                passed
            }
        };
        self.nanoseconds = self.nanoseconds.wrapping_add(passed);
        self.nanoseconds
    }

    /// It is now so late.
    pub(crate) fn set(&mut self, registers: &Registers, nanoseconds: u64) {
        self.read(registers);
        self.nanoseconds = nanoseconds;
    }
}

/// The counter. Reading the remainder (X550) or the lower half keeps the rest (section 8.2.3.26.11).
fn count(registers: &Registers) -> u64 {
    registers.read(register::SYSTIMR);
    let low = registers.read(register::SYSTIML);
    u64::from(registers.read(register::SYSTIMH)) << 32 | u64::from(low)
}
