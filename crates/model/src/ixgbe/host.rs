//! The host interface: commands to the firmware, which on the X550 reads and writes the EEPROM for the driver.
//!
//! A driver puts a command into the buffer and sets a bit of HICR; the answer is there when it reads HICR again.
//! Known: read and write of the EEPROM's shadow, and the driver telling its version. The 82599 and X540 models have
//! the interface switched off, as without manageability firmware.

use super::core::Core;
use super::registers::{FLEX_MNG, HICR, HICR_COMMAND, HICR_ENABLE, HICR_STATUS_VALID};

/// Commands: the first byte of the buffer.
const READ_SHADOW: u8 = 0x31;
const WRITE_SHADOW: u8 = 0x33;
const DRIVER_VERSION: u8 = 0xdd;
/// The answer's status, its third byte.
const SUCCESS: u8 = 1;
const FAILURE: u8 = 2;
/// Where data lies in the buffer, and how much of it there is room for.
const DATA: u32 = 12;
const LARGEST: usize = 1024 - DATA as usize;

impl Core {
    /// HICR is written.
    pub(crate) fn host_command(&mut self, value: u32) {
        if !self.table.has(HICR, HICR_ENABLE) {
            return self.table.set(HICR, value & !HICR_ENABLE);
        }
        self.table.set(HICR, value & !HICR_COMMAND | HICR_ENABLE);
        if value & HICR_COMMAND == 0 {
            return;
        }
        let [command, ..] = self.table.get(FLEX_MNG).to_le_bytes();
        let address = u32::from_be_bytes(self.table.get(FLEX_MNG.wrapping_add(4)).to_le_bytes());
        let [high, low, ..] = self.table.get(FLEX_MNG.wrapping_add(8)).to_le_bytes();
        let length = usize::from(u16::from_be_bytes([high, low])).min(LARGEST);
        let first = (address / 2) as usize;
        let status = match command {
            READ_SHADOW => {
                for index in 0..length.div_ceil(4) {
                    let word = first.saturating_add(index.saturating_mul(2));
                    let pair = u32::from(self.eeprom.word(word))
                        | u32::from(self.eeprom.word(word.saturating_add(1))) << 16;
                    self.table.set(data(index), pair);
                }
                SUCCESS
            }
            WRITE_SHADOW => {
                for index in 0..length / 2 {
                    let pair = self.table.get(data(index / 2));
                    let word = if index % 2 == 0 { pair as u16 } else { (pair >> 16) as u16 };
                    self.eeprom.set(first.saturating_add(index), word);
                }
                SUCCESS
            }
            DRIVER_VERSION => SUCCESS,
            _ => FAILURE,
        };
        // Command, no data, status, and a checksum that brings the sum of all bytes to zero.
        let checksum = 0u8.wrapping_sub(command).wrapping_sub(status);
        self.table.set(FLEX_MNG, u32::from_le_bytes([command, 0, status, checksum]));
        self.table.put(HICR, HICR_STATUS_VALID, true);
    }
}

/// Where word pair `index` of the data lies.
fn data(index: usize) -> u32 {
    FLEX_MNG.wrapping_add(DATA).wrapping_add((index as u32).wrapping_mul(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::{Options, Personality};

    fn core(personality: Personality) -> Core {
        Core::new(Options { personality, ..Options::default() })
    }

    /// Puts a command with address and length in bytes into the buffer and starts it.
    fn command(core: &mut Core, command: u8, address: u32, length: u16) {
        core.write(FLEX_MNG, u32::from_le_bytes([command, 0, 6, 0xff]));
        core.write(FLEX_MNG + 4, u32::from_le_bytes(address.to_be_bytes()));
        core.write(FLEX_MNG + 8, u32::from(u16::from_le_bytes(length.to_be_bytes())));
        let control = core.read(HICR);
        core.write(HICR, control | HICR_COMMAND);
    }

    #[test]
    fn the_x550_reads_its_eeprom_through_firmware() {
        let mut core = core(Personality::X550);
        command(&mut core, READ_SHADOW, 0, 0x42 * 2);
        assert_eq!(core.read(HICR) & 7, HICR_ENABLE | HICR_STATUS_VALID);
        let word = |core: &mut Core, index: u32| {
            let pair = core.read(FLEX_MNG + 12 + index / 2 * 4);
            if index.is_multiple_of(2) { pair as u16 } else { (pair >> 16) as u16 }
        };
        let sum = (0..0x42).fold(0u16, |sum, index| sum.wrapping_add(word(&mut core, index)));
        assert_eq!(sum, 0xbaba);
        core.write(FLEX_MNG + 12, 0x1234);
        command(&mut core, WRITE_SHADOW, 0x200 * 2, 2);
        command(&mut core, READ_SHADOW, 0x200 * 2, 2);
        assert_eq!(word(&mut core, 0), 0x1234);
    }

    #[test]
    fn lengths_and_commands_of_any_kind_are_survived() {
        let mut core = core(Personality::X550);
        for kind in 0..=255 {
            command(&mut core, kind, u32::MAX, u16::MAX);
        }
        command(&mut core, 0x77, 0, 0);
        assert_eq!(core.read(FLEX_MNG) >> 16 & 0xff, u32::from(FAILURE));
    }

    #[test]
    fn without_firmware_nothing_answers() {
        let mut core = core(Personality::Fibre82599);
        command(&mut core, READ_SHADOW, 0, 2);
        assert_eq!(core.read(HICR) & HICR_ENABLE, 0);
    }
}
