//! The clock of the time protocol (datasheet, sections 7.9 and 8.2.3.26): SYSTIM, which goes on by TIMINCA's value at each tick
//! of the MAC. The X550's counts seconds and nanoseconds. Packets of
//! the time protocol that come are stamped, one at a time: the stamp waits in registers until it is read.

use super::options::{LinkSpeed, Options, Personality};
use std::time::Instant;

/// A second.
const SECOND: u128 = 1_000_000_000;

/// SYSTIM.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Tenths of nanoseconds of a tick.
    tick: u128,
    /// Nanoseconds, and not what TIMINCA adds.
    plain: bool,
    x540: bool,
    /// What the clock said at `since`.
    base: u64,
    since: Instant,
    /// Added each `period` ticks.
    increment: u64,
    period: u64,
    /// The time at which a packet came, until it is read.
    stamp: Option<u64>,
    /// Half of a value: the upper one as it was when the lower one was read.
    upper: u32,
}

impl Clock {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            // 8.2.3.26.14: 156.25 MHz at 10 Gbit/s, a tenth of it at 1 Gbit/s.
            tick: if options.speed == LinkSpeed::TenGigabit { 64 } else { 640 },
            plain: options.personality == Personality::X550,
            x540: options.personality == Personality::X540,
            base: 0,
            since: Instant::now(),
            increment: 0,
            period: 1,
            stamp: None,
            upper: 0,
        }
    }

    /// What it says `now`.
    fn at(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since).as_nanos();
        if self.plain {
            // Stopped while TSAUXC says so, which is where a reset leaves it.
            return self.base.wrapping_add(if self.increment == 0 { 0 } else { passed as u64 });
        }
        let ticks = passed.saturating_mul(10) / self.tick;
        let steps = ticks / u128::from(self.period.max(1));
        self.base.wrapping_add(steps.wrapping_mul(self.increment.into()) as u64)
    }

    fn settle(&mut self) {
        let now = Instant::now();
        (self.base, self.since) = (self.at(now), now);
    }

    /// TIMINCA is written (8.2.3.26.14): the value in bits 23:0 and the ticks above; the X540 has a value of 31 bits.
    pub(crate) fn set_increment(&mut self, value: u32) {
        if self.plain {
            return;
        }
        self.settle();
        (self.increment, self.period) = if self.x540 {
            ((value & 0x7fff_ffff).into(), 1)
        } else {
            ((value & 0xff_ffff).into(), (value >> 24).into())
        };
    }

    /// The X550's TSAUXC is written: whether the clock stands.
    pub(crate) fn set_stopped(&mut self, stopped: bool) {
        if self.plain {
            self.settle();
            self.increment = u64::from(!stopped);
        }
    }

    /// A value's lower and upper half.
    fn halves(&self, value: u64) -> [u32; 2] {
        let nanoseconds = u128::from(value);
        if self.plain {
            [(nanoseconds % SECOND) as u32, (nanoseconds / SECOND) as u32]
        } else {
            [value as u32, (value >> 32) as u32]
        }
    }

    /// SYSTIML is read, which keeps SYSTIMH for the next reading.
    pub(crate) fn read_low(&mut self) -> u32 {
        let [low, high] = self.halves(self.at(Instant::now()));
        self.upper = high;
        low
    }

    /// A packet is to be stamped. `false`: the last stamp has not been read.
    pub(crate) fn stamp(&mut self) -> bool {
        let free = self.stamp.is_none();
        if free {
            self.stamp = Some(self.at(Instant::now()));
        }
        free
    }

    /// Whether a stamp waits.
    pub(crate) fn has_stamp(&self) -> bool {
        self.stamp.is_some()
    }

    /// RXSTMPL.
    pub(crate) fn stamp_low(&self) -> u32 {
        self.stamp.map_or(0, |stamp| self.halves(stamp)[0])
    }

    /// RXSTMPH, which makes room for the next (8.2.3.26.5).
    pub(crate) fn stamp_high(&mut self) -> u32 {
        self.stamp.take().map_or(0, |stamp| self.halves(stamp)[1])
    }

    /// SYSTIMH is read.
    pub(crate) fn read_high(&self) -> u32 {
        self.upper
    }

    /// A half is written.
    pub(crate) fn write(&mut self, upper: bool, value: u32) {
        self.settle();
        if self.plain {
            let (seconds, rest) = (u128::from(self.base) / SECOND, u128::from(self.base) % SECOND);
            let (seconds, rest) = if upper { (value.into(), rest) } else { (seconds, value.into()) };
            self.base = seconds.saturating_mul(SECOND).saturating_add(rest) as u64;
        } else if upper {
            self.base = self.base & 0xffff_ffff | u64::from(value) << 32;
        } else {
            self.base = self.base & !0xffff_ffff | u64::from(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_goes_on_as_it_was_told() {
        let mut clock = Clock::new(&Options::default());
        let passed = |clock: &Clock, time| clock.at(clock.since + time) - clock.at(clock.since);
        assert_eq!(passed(&clock, Duration::from_secs(1)), 0, "it stands at first");
        clock.set_increment(1 << 24 | 0xcc_cccc);
        // 6.4 ns a tick, in units of 2^-21 ns.
        assert_eq!(passed(&clock, Duration::from_nanos(64)), 10 * 0xcc_cccc);
        assert_eq!(passed(&clock, Duration::from_secs(1)) >> 21, 999_999_940);
        clock.set_increment(2 << 24 | 1);
        assert_eq!(passed(&clock, Duration::from_nanos(64)), 5);
    }

    #[test]
    fn both_halves_can_be_set_and_are_of_one_moment() {
        for personality in [Personality::Fibre82599, Personality::X540, Personality::X550] {
            let mut clock = Clock::new(&Options { personality, ..Options::default() });
            clock.write(true, 7);
            clock.write(false, 999_999_990);
            assert_eq!((clock.read_low(), clock.read_high()), (999_999_990, 7), "{personality:?}");
        }
    }
}
