//! The EEPROM (datasheet, chapter 6) and the register that reads it word by word (EERD, 8.2.3.2.2).

use super::options::{Options, Personality};
use super::registers::{EERD_DONE, EERD_START};

/// Words. EEC says so as a power of two (8.2.3.2.1).
const WORDS: usize = 2048;
/// EEC.EE_Size for that: 64 words and twice as many for each.
pub(crate) const EEC_SIZE: u32 = 5 << 11;

/// Section 6.2: the software's words.
const PBA_NUMBER: usize = 0x15;
const SAN_ADDRESS: usize = 0x27;
const MODULE_LIST: usize = 0x2b;
const CAPABILITIES: usize = 0x2c;
const FIRMWARE: usize = 0x0f;
const CHECKSUM: usize = 0x3f;
/// What words 0 to 0x3f sum up to.
const SUM: u16 = 0xbaba;

/// Where this EEPROM keeps what those words point to.
const MODULES_AT: usize = 0x100;
const SEQUENCE_AT: usize = 0x120;
const FIRMWARE_AT: usize = 0x140;
const PATCH_AT: usize = 0x150;

/// A module's kind in the list of initialisation sequences (6.4.5): optical, at the first port's core.
const OPTICAL_FIRST_CORE: u16 = 5;
const COPPER_CABLE_FIRST_CORE: u16 = 3;

/// The words.
#[derive(Debug)]
pub(crate) struct Eeprom {
    words: Vec<u16>,
}

impl Eeprom {
    pub(crate) fn new(options: &Options) -> Self {
        let mut eeprom = Self { words: vec![0xffff; WORDS] };
        for word in 0..CHECKSUM {
            eeprom.set(word, 0);
        }
        // Pointers to sections that aren't there.
        for pointer in 0x03..FIRMWARE {
            eeprom.set(pointer, 0xffff);
        }
        // The X550 keeps its address elsewhere, and a pointer to a section in word 2.
        if options.personality == Personality::X550 {
            eeprom.set(2, 0xffff);
        } else {
            let [a, b, c, d, e, f] = options.mac;
            for (index, pair) in [[a, b], [c, d], [e, f]].into_iter().enumerate() {
                eeprom.set(index, u16::from_le_bytes(pair));
            }
        }
        // Behind the checksum; the X550 includes them in the sum.
        eeprom.set(CHECKSUM + 1, 0);
        eeprom.set(CHECKSUM + 2, 0);
        eeprom.set(PBA_NUMBER, 0xe100);
        eeprom.set(PBA_NUMBER.saturating_add(1), 0x0001);
        eeprom.set(SAN_ADDRESS, 0xffff);
        eeprom.set(SAN_ADDRESS.saturating_add(1), 0xffff);
        eeprom.set(CAPABILITIES, 0);
        eeprom.firmware();
        if options.personality == Personality::Fibre82599 {
            eeprom.modules();
        }
        eeprom.seal();
        eeprom
    }

    /// Firmware of version 6 in its pass-through patch.
    fn firmware(&mut self) {
        self.set(FIRMWARE, FIRMWARE_AT as u16);
        self.set(FIRMWARE_AT + 4, PATCH_AT as u16);
        self.set(PATCH_AT + 7, 6);
    }

    /// One empty initialisation sequence for each kind of module.
    fn modules(&mut self) {
        self.set(MODULE_LIST, MODULES_AT as u16);
        let list =
            [2, OPTICAL_FIRST_CORE, SEQUENCE_AT as u16, COPPER_CABLE_FIRST_CORE, SEQUENCE_AT as u16, 0xffff];
        for (index, word) in list.into_iter().enumerate() {
            self.set(MODULES_AT.saturating_add(index), word);
        }
        self.set(SEQUENCE_AT, 0);
        self.set(SEQUENCE_AT + 1, 0xffff);
    }

    /// Sets the checksum word.
    fn seal(&mut self) {
        let sum = self.words.iter().take(CHECKSUM).fold(0u16, |sum, word| sum.wrapping_add(*word));
        self.set(CHECKSUM, SUM.wrapping_sub(sum));
    }

    /// Writes the word at `at`, if there is one.
    pub(crate) fn set(&mut self, at: usize, value: u16) {
        if let Some(word) = self.words.get_mut(at) {
            *word = value;
        }
    }

    /// The word at `at`; all ones outside.
    pub(crate) fn word(&self, at: usize) -> u16 {
        self.words.get(at).copied().unwrap_or(0xffff)
    }

    /// What EERD reads after `command` was written to it: done at once.
    pub(crate) fn read_command(&self, command: u32) -> u32 {
        if command & EERD_START == 0 {
            return command;
        }
        let address = command >> 2 & 0x3fff;
        u32::from(self.word(address as usize)) << 16 | address << 2 | EERD_DONE
    }

    /// EEWR, of the X540: the same fields, the other way.
    pub(crate) fn write_command(&mut self, command: u32) -> u32 {
        if command & EERD_START == 0 {
            return command;
        }
        let address = command >> 2 & 0x3fff;
        self.set(address as usize, (command >> 16) as u16);
        command & !EERD_START | EERD_DONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(eeprom: &Eeprom, word: u32) -> u16 {
        let answer = eeprom.read_command(word << 2 | EERD_START);
        assert_ne!(answer & EERD_DONE, 0);
        (answer >> 16) as u16
    }

    #[test]
    fn the_words_sum_up_and_the_address_stands_first() {
        let options = Options { mac: [2, 1, 2, 3, 4, 5], ..Options::default() };
        let eeprom = Eeprom::new(&options);
        let sum = (0..=0x3f).fold(0u16, |sum, word| sum.wrapping_add(read(&eeprom, word)));
        assert_eq!(sum, 0xbaba);
        assert_eq!([read(&eeprom, 0), read(&eeprom, 1), read(&eeprom, 2)], [0x0102, 0x0302, 0x0504]);
        assert_eq!(read(&eeprom, 0x3fff), 0xffff);
    }

    #[test]
    fn a_module_is_found_in_the_list_of_sequences() {
        let eeprom = Eeprom::new(&Options::default());
        let mut at = read(&eeprom, 0x2b) + 1;
        while read(&eeprom, u32::from(at)) != 5 {
            assert_ne!(read(&eeprom, u32::from(at)), 0xffff);
            at += 2;
        }
        let sequence = read(&eeprom, u32::from(at + 1));
        assert_eq!(read(&eeprom, u32::from(sequence + 1)), 0xffff);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut eeprom = Eeprom::new(&Options::default());
        assert_eq!(eeprom.write_command(0x1234 << 16 | 0x200 << 2 | 1) & 3, EERD_DONE);
        assert_eq!(read(&eeprom, 0x200), 0x1234);
    }
}
