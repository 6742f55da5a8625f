//! The device's clock (82599 datasheet, sections 7.9 and 8.2.3.26): nanoseconds, from a counter that wraps.
//!
//! The 82599's counter wraps after 2.4 hours, the X540's after 68 seconds; whoever looks at it before, as the port's
//! `check` does often enough, makes 64 bits of nanoseconds of it. The X550 counts seconds and nanoseconds itself.
//!
//! A packet's stamp waits in registers until somebody reads it. Where its packet is lost on the way nobody does, so whoever
//! looks after the port frees them ([`SharedClock::free_stamp`]).

use crate::devices::Mac;
use crate::registers::{self as register, Registers, steering};
use crate::running::Running;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is added to the counter at each tick of 156.25 MHz: 6.4 nanoseconds, in units of a power of two.
const INCREMENT: u32 = 0x6666_6666;
const SHIFT: u32 = 28;
/// The 82599 has 24 bits for it, and above them the number of ticks; the X540 has 31.
const VALUE_82599: u32 = 24;
const VALUE_X540: u32 = 31;
const EACH_TICK: u32 = 1 << 24;
const SECOND: u64 = 1_000_000_000;

/// The time protocol's EtherType (IEEE 1588, annex F), and the filter that is kept for it.
const TIME_TYPE: u32 = 0x88f7;
const TIME_FILTER: u64 = 7;

/// The clock, as the control handle and the queues share it. Queues touch it for packets of the time protocol only.
#[derive(Clone, Debug)]
pub(crate) struct SharedClock {
    running: Arc<Running>,
    clock: Arc<Mutex<Clock>>,
}

impl SharedClock {
    pub(crate) fn start(running: &Arc<Running>, mac: Mac) -> Self {
        let clock = Clock::start(&running.registers, mac);
        Self { running: Arc::clone(running), clock: Arc::new(Mutex::new(clock)) }
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        // It is consistent after each step.
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self) -> u64 {
        self.lock().read(&self.running.registers)
    }

    pub(crate) fn set(&self, nanoseconds: u64) {
        self.lock().set(&self.running.registers, nanoseconds);
    }

    pub(crate) fn set_speed(&self, megabits: u32) {
        self.lock().set_speed(&self.running.registers, megabits);
    }

    /// Stamps packets of the time protocol from now on: events of version 2, over Ethernet and UDP (section 7.9).
    pub(crate) fn stamp_packets(&self) {
        let registers = &self.running.registers;
        let filter = steering::ETQF_ENABLE | steering::ETQF_TIME | TIME_TYPE;
        registers.write(steering::etqf(TIME_FILTER), filter);
        registers.write(register::RXMTRL, register::RXMTRL_UDP_EVENTS);
        registers.write(register::TSYNCRXCTL, register::TSYNCRXCTL_EVENTS | register::TSYNCRXCTL_ENABLE);
        // A stamp from before would keep the place.
        take_stamp(registers);
    }

    /// When the packet came whose descriptor says that it was stamped. There is one stamp, and reading makes room for the
    /// next. `None`: it has been given up for lost.
    ///
    /// The one lock that a queue ever takes, for packets of the time protocol alone: a function of its own, so that a test can
    /// tell it from the rest of the packet path.
    #[cold]
    #[inline(never)]
    pub(crate) fn stamp(&self) -> Option<u64> {
        let registers = &self.running.registers;
        let mut clock = self.lock();
        if registers.read(register::TSYNCRXCTL) & register::TSYNCRXCTL_VALID == 0 {
            return None;
        }
        let stamp = take_stamp(registers);
        clock.left = false;
        clock.read(registers);
        Some(clock.at(stamp))
    }

    /// To be called about once a second while packets are stamped. A stamp that nobody has collected from one call to the
    /// next is that of a packet which was lost; it is thrown away, or no other packet would ever get one.
    pub(crate) fn free_stamp(&self) {
        let registers = &self.running.registers;
        let mut clock = self.lock();
        let waits = registers.read(register::TSYNCRXCTL) & register::TSYNCRXCTL_VALID != 0;
        if waits && clock.left {
            take_stamp(registers);
        }
        clock.left = waits && !clock.left;
    }
}

/// The clock, as it was looked at last.
#[derive(Debug)]
struct Clock {
    /// How far a count is right of a nanosecond; `None`: nanoseconds and seconds.
    shift: Option<u32>,
    counted: u64,
    nanoseconds: u64,
    /// Bits of TIMINCA's value.
    bits: u32,
    /// Mbit/s of the link that its ticks are of.
    speed: u32,
    /// A stamp was waiting at the last look, and nobody has collected it since.
    left: bool,
}

impl Clock {
    /// Starts the clock, at zero. At a link of 10 Gbit/s it goes right; a slower link's ticks are slower.
    fn start(registers: &Registers, mac: Mac) -> Self {
        let (shift, bits) = match mac {
            Mac::I82599 => (Some(SHIFT), VALUE_82599),
            Mac::X540 => (Some(SHIFT), VALUE_X540),
            Mac::X550 => (None, 0),
        };
        let mut clock = Self { shift, bits, counted: 0, nanoseconds: 0, speed: 0, left: false };
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
    fn set_speed(&mut self, registers: &Registers, megabits: u32) {
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
        self.counted = self.count(registers);
    }

    /// The time, in nanoseconds.
    fn read(&mut self, registers: &Registers) -> u64 {
        let count = self.count(registers);
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

    /// The counter. Reading the lower half keeps the upper (section 8.2.3.26.11); on the X550 both are kept when the
    /// remainder below them is read, a register that the others don't have.
    fn count(&self, registers: &Registers) -> u64 {
        if self.shift.is_none() {
            registers.read(register::SYSTIMR);
        }
        let low = registers.read(register::SYSTIML);
        u64::from(registers.read(register::SYSTIMH)) << 32 | u64::from(low)
    }

    /// What the clock said when the counter was at `stamp`, not long before or after it was looked at.
    fn at(&self, stamp: u64) -> u64 {
        let distance = match self.shift {
            Some(shift) => stamp.wrapping_sub(self.counted).cast_signed() >> shift,
            None => {
                let stamp = (stamp >> 32).wrapping_mul(SECOND).wrapping_add(stamp & 0xffff_ffff);
                stamp.wrapping_sub(self.counted).cast_signed()
            }
        };
        self.nanoseconds.wrapping_add_signed(distance)
    }

    /// It is now so late.
    fn set(&mut self, registers: &Registers, nanoseconds: u64) {
        self.read(registers);
        self.nanoseconds = nanoseconds;
    }
}

/// The stamp that waits, which makes room for the next (section 8.2.3.26.5).
fn take_stamp(registers: &Registers) -> u64 {
    let low = registers.read(register::RXSTMPL);
    u64::from(registers.read(register::RXSTMPH)) << 32 | u64::from(low)
}
