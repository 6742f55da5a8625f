//! The SFP+ cage: a module whose memories are read by two wires that the driver moves one by one (I2CCTL, 8.2.3.1.5;
//! SFF-8472 for what the memories hold).
//!
//! The bus is open-drain: a wire is high when nobody pulls it low. The module listens at 0x50 (identity) and 0x51
//! (diagnostics), reads and writes with an address that counts up.

use super::options::{Options, Personality};

/// I2CCTL: the wires as they are, and as the driver drives them.
const CLOCK_IN: u32 = 1;
const CLOCK_OUT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;

/// Bus addresses, without the direction bit.
const IDENTITY: u8 = 0x50;
const DIAGNOSTICS: u8 = 0x51;

/// What the module does with the next bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody speaks, or somebody else is spoken to.
    Idle,
    /// Taking the bus address, the memory address or data.
    Taking(Part),
    /// Acknowledging what was taken; the wire is held low until the clock falls again.
    Acknowledging(Part),
    /// Giving bits of a byte.
    Giving,
    /// Waiting for the driver to acknowledge, so that the next byte follows.
    Listening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    BusAddress,
    MemoryAddress,
    Data,
}

/// The cage and what is in it.
#[derive(Debug)]
pub(crate) struct Cage {
    present: bool,
    memories: [[u8; 256]; 2],
    state: State,
    clock: bool,
    data: bool,
    /// The module pulls the data wire low.
    pulls: bool,
    bits: u8,
    shift: u8,
    memory: usize,
    place: u8,
    reading: bool,
}

impl Cage {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            present: options.personality == Personality::Fibre82599 && options.module,
            memories: [identity(), diagnostics()],
            state: State::Idle,
            clock: true,
            data: true,
            pulls: false,
            bits: 0,
            shift: 0,
            memory: 0,
            place: 0,
            reading: false,
        }
    }

    /// Whether there is a module, as its "absent" pin tells (ESDP.SDP2 on boards with a cage).
    pub(crate) fn is_present(&self) -> bool {
        self.present
    }

    /// Plugs a module in or pulls it out.
    pub(crate) fn set_present(&mut self, present: bool) {
        self.present = present;
        self.reset();
    }

    /// Both wires are let go.
    pub(crate) fn reset(&mut self) {
        self.state = State::Idle;
        (self.clock, self.data, self.pulls) = (true, true, false);
    }

    /// I2CCTL as it reads.
    pub(crate) fn read(&self) -> u32 {
        let mut value = if self.clock { CLOCK_IN | CLOCK_OUT } else { 0 };
        if self.data {
            value |= DATA_OUT;
        }
        if self.data && !self.pulls {
            value |= DATA_IN;
        }
        value
    }

    /// The driver moves the wires.
    pub(crate) fn write(&mut self, value: u32) {
        let (clock, data) = (value & CLOCK_OUT != 0, value & DATA_OUT != 0);
        let (was_clock, was_data) = (self.clock, self.data);
        (self.clock, self.data) = (clock, data);
        if !self.present {
            return;
        }
        match (was_clock, clock) {
            // Data moves while the clock is high: start or stop.
            (true, true) if was_data && !data => {
                self.state = State::Taking(Part::BusAddress);
                (self.bits, self.shift, self.pulls) = (0, 0, false);
            }
            (true, true) if !was_data && data => {
                self.state = State::Idle;
                self.pulls = false;
            }
            (false, true) => self.rise(),
            (true, false) => self.fall(),
            _ => {}
        }
    }

    /// The clock rises: a bit counts.
    fn rise(&mut self) {
        match self.state {
            State::Taking(_) => {
                self.shift = self.shift << 1 | u8::from(self.data);
                self.bits = self.bits.saturating_add(1);
            }
            State::Listening if self.data => self.state = State::Idle, // "no more"
            _ => {}
        }
    }

    /// The clock falls: the module changes what it holds.
    fn fall(&mut self) {
        match self.state {
            State::Taking(part) if self.bits == 8 => {
                let known = match part {
                    Part::BusAddress => self.take_bus_address(),
                    Part::MemoryAddress => {
                        self.place = self.shift;
                        true
                    }
                    Part::Data => {
                        self.store();
                        true
                    }
                };
                self.pulls = known;
                self.state = if known { State::Acknowledging(part) } else { State::Idle };
            }
            State::Acknowledging(part) => {
                (self.pulls, self.bits, self.shift) = (false, 0, 0);
                match part {
                    Part::BusAddress if self.reading => self.give(),
                    Part::BusAddress => self.state = State::Taking(Part::MemoryAddress),
                    Part::MemoryAddress | Part::Data => self.state = State::Taking(Part::Data),
                }
            }
            State::Giving => {
                self.bits = self.bits.saturating_add(1);
                if self.bits == 8 {
                    self.pulls = false;
                    self.state = State::Listening;
                } else {
                    self.shift <<= 1;
                    self.pulls = self.shift & 0x80 == 0;
                }
            }
            State::Listening => self.give(),
            _ => {}
        }
    }

    fn take_bus_address(&mut self) -> bool {
        self.reading = self.shift & 1 != 0;
        self.memory = match self.shift >> 1 {
            IDENTITY => 0,
            DIAGNOSTICS => 1,
            _ => return false,
        };
        true
    }

    /// Starts to give the byte at the address, which counts up.
    fn give(&mut self) {
        let byte = self.memories.get(self.memory).and_then(|memory| memory.get(usize::from(self.place)));
        self.shift = byte.copied().unwrap_or(0xff);
        self.place = self.place.wrapping_add(1);
        self.bits = 0;
        self.pulls = self.shift & 0x80 == 0;
        self.state = State::Giving;
    }

    fn store(&mut self) {
        // Only the user's memory can be written (SFF-8472, 9.6): upper half of the diagnostics.
        if self.memory == 1
            && self.place >= 128
            && let Some(byte) =
                self.memories.get_mut(1).and_then(|memory| memory.get_mut(usize::from(self.place)))
        {
            *byte = self.shift;
        }
        self.place = self.place.wrapping_add(1);
    }
}

/// The identity: an optical module for short reach at 10 and 1 Gbit/s (SFF-8472, chapters 5 to 8).
fn identity() -> [u8; 256] {
    let mut memory = [0u8; 256];
    let mut put = |at: usize, bytes: &[u8]| {
        for (to, &from) in memory.iter_mut().skip(at).zip(bytes) {
            *to = from;
        }
    };
    put(0, &[0x03, 0x04, 0x07, 0x10, 0, 0, 0x01]); // SFP, LC, 10GBASE-SR, 1000BASE-SX
    put(11, &[0x06, 103]); // 64B/66B, 10.3 Gbit/s
    put(16, &[8, 3, 0, 30]); // 80 m, 30 m, none, 300 m of multimode fibre
    put(20, b"RINGWAY         ");
    put(37, &[0x00, 0x1b, 0x21]); // the vendor whose modules the controller takes
    put(40, b"EMULATED-SR     ");
    put(56, b"1   ");
    put(60, &850u16.to_be_bytes());
    put(64, &[0x00, 0x3a]);
    put(68, b"0000000000000001");
    put(84, b"240101  ");
    put(92, &[0x68, 0xf0, 0x05]); // diagnostics, internally calibrated
    let sum = |from: &[u8]| from.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let (base, extended) =
        (sum(memory.get(..63).unwrap_or_default()), sum(memory.get(64..95).unwrap_or_default()));
    memory[63] = base;
    memory[95] = extended;
    memory
}

/// The diagnostics: 35 °C, 3.3 V, 6 mA, 0.5 mW out, 0.4 mW in (SFF-8472, chapter 9).
fn diagnostics() -> [u8; 256] {
    let mut memory = [0u8; 256];
    let limits: [(usize, [i16; 4]); 5] = [
        (0, [80 << 8, -10 << 8, 75 << 8, -5 << 8]),
        (8, [0x7fff, 29700, 0x7fff, 30000]),
        (16, [6000, 500, 5500, 1000]),
        (24, [10000, 1000, 8000, 1500]),
        (32, [10000, 500, 8000, 800]),
    ];
    let mut put = |at: usize, value: u16| {
        for (to, from) in memory.iter_mut().skip(at).zip(value.to_be_bytes()) {
            *to = from;
        }
    };
    for (at, values) in limits {
        for (index, value) in values.into_iter().enumerate() {
            put(at.saturating_add(index.saturating_mul(2)), value as u16);
        }
    }
    for (index, value) in [35 << 8, 33000, 3000, 5000, 4000].into_iter().enumerate() {
        put(96usize.saturating_add(index.saturating_mul(2)), value);
    }
    let sum = memory.iter().take(95).fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    memory[95] = sum;
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bus master that moves the wires as I2C prescribes.
    struct Master(Cage);

    impl Master {
        fn wires(&mut self, clock: bool, data: bool) {
            let value = if clock { CLOCK_OUT } else { 0 } | if data { DATA_OUT } else { 0 };
            self.0.write(value);
        }

        fn start(&mut self) {
            self.wires(true, true);
            self.wires(true, false);
            self.wires(false, false);
        }

        fn repeated_start(&mut self) {
            self.wires(false, true);
            self.start();
        }

        fn stop(&mut self) {
            self.wires(false, false);
            self.wires(true, false);
            self.wires(true, true);
        }

        fn bit(&mut self, data: bool) -> bool {
            self.wires(false, data);
            self.wires(true, data);
            let seen = self.0.read() & DATA_IN != 0;
            self.wires(false, data);
            seen
        }

        /// Gives a byte; whether it was acknowledged.
        fn give(&mut self, byte: u8) -> bool {
            for index in (0..8).rev() {
                self.bit(byte >> index & 1 != 0);
            }
            !self.bit(true)
        }

        fn take(&mut self, more: bool) -> u8 {
            let byte = (0..8).fold(0, |byte, _| byte << 1 | u8::from(self.bit(true)));
            self.bit(!more);
            byte
        }

        fn read(&mut self, address: u8, place: u8, count: usize) -> Option<Vec<u8>> {
            self.start();
            if !(self.give(address << 1) && self.give(place)) {
                self.stop();
                return None;
            }
            self.repeated_start();
            assert!(self.give(address << 1 | 1));
            let bytes = (0..count).map(|index| self.take(index + 1 < count)).collect();
            self.stop();
            Some(bytes)
        }
    }

    fn master(module: bool) -> Master {
        Master(Cage::new(&Options { module, ..Options::default() }))
    }

    #[test]
    fn the_identity_is_read_byte_by_byte_and_in_a_row() {
        let mut master = master(true);
        assert_eq!(master.read(0x50, 0, 1), Some(vec![3]));
        assert_eq!(master.read(0x50, 3, 1), Some(vec![0x10]));
        assert_eq!(master.read(0x50, 20, 7), Some(b"RINGWAY".to_vec()));
        assert_eq!(master.read(0x50, 37, 3), Some(vec![0x00, 0x1b, 0x21]));
        let base = master.read(0x50, 0, 64).unwrap();
        assert_eq!(base[..63].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), base[63]);
    }

    #[test]
    fn only_its_two_addresses_are_answered() {
        let mut master = master(true);
        assert_eq!(master.read(0x52, 0, 1), None);
        assert_eq!(master.read(0x51, 96, 2), Some(vec![35, 0]));
    }

    #[test]
    fn an_empty_cage_says_nothing() {
        assert_eq!(master(false).read(0x50, 0, 1), None);
    }

    #[test]
    fn any_movement_of_the_wires_leaves_a_bus_that_works() {
        let mut master = master(true);
        let mut random = 1u32;
        for _ in 0..10_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            master.0.write(random >> 24);
        }
        master.stop();
        assert_eq!(master.read(0x50, 0, 1), Some(vec![3]));
    }
}
