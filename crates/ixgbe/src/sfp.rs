//! The SFP+ module: what it is (SFF-8472), and what it asks of the device (82599 datasheet, section 6.4.5).

use crate::i2c::{self, I2c, PAGE};
use crate::registers::{self as register, Registers};
use crate::semaphore::Semaphore;
use crate::{Error, reset};
use std::fmt;

/// The word of the EEPROM that points to the modules' sequences, and the most that are looked at: entries of the list,
/// words of a sequence. Those on cards have fewer; a damaged EEPROM might never end.
const SEQUENCES: u16 = 0x2b;
const MAXIMUM_ENTRIES: u16 = 32;
const MAXIMUM_WORDS: u16 = 512;
/// Ends lists and sequences, and stands for pointers to nothing.
const END: u16 = 0xffff;
/// How often a module is asked. Some need time after they are put in.
const ATTEMPTS: u32 = 3;

/// An SFP+ module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// What kind it is: `10GBASE-SR`, `passive direct attach`.
    kind: &'static str,
    /// Who made it.
    vendor: String,
    /// The maker's part number.
    part: String,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} module {} {}", self.kind, self.vendor, self.part)
    }
}

impl Module {
    /// From the first bytes of the module's EEPROM (SFF-8472, table 4-1).
    fn parse(page: &[u8; PAGE]) -> Self {
        let text = |range: std::ops::Range<usize>| {
            let bytes = page.get(range).unwrap_or_default();
            let printable = bytes.iter().filter(|byte| (0x20..0x7f).contains(*byte));
            printable.map(|&byte| char::from(byte)).collect::<String>().trim().to_owned()
        };
        let [identifier, _, _, ten_gigabit, _, _, one_gigabit, _, cable, ..] = *page;
        let kind = match identifier {
            0x03 if cable & 0x04 != 0 => "passive direct attach",
            0x03 if cable & 0x08 != 0 => "active direct attach",
            0x03 if ten_gigabit & 0x10 != 0 => "10GBASE-SR",
            0x03 if ten_gigabit & 0x20 != 0 => "10GBASE-LR",
            0x03 if ten_gigabit & 0x40 != 0 => "10GBASE-LRM",
            0x03 if ten_gigabit & 0x80 != 0 => "10GBASE-ER",
            0x03 if one_gigabit & 0x01 != 0 => "1000BASE-SX",
            0x03 if one_gigabit & 0x02 != 0 => "1000BASE-LX",
            0x03 if one_gigabit & 0x08 != 0 => "1000BASE-T",
            0x03 => "unknown SFP+",
            _ => "unknown",
        };
        Self { kind, vendor: text(20..36), part: text(40..56) }
    }

    /// Whether it is for 1 Gbit/s only.
    pub(crate) fn is_gigabit(&self) -> bool {
        self.kind.starts_with("1000BASE")
    }

    /// The number of its sequence in the EEPROM's list: one for passive cables, one for all that is optical or active,
    /// for each port.
    fn sequence(&self, port: u32) -> u16 {
        let first = if self.kind == "passive direct attach" { 3 } else { 5 };
        first + port as u16
    }
}

/// Whether the page's sum is right (SFF-8472, section 8.1).
fn is_intact(page: &[u8; PAGE]) -> bool {
    let [data @ .., check] = page;
    data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == *check
}

/// Reads the module; `None` where the cage is empty. The bus says whether it is, since not every board wires the pin.
pub(crate) fn identify(device: &str, registers: &Registers) -> Result<Option<Module>, Error> {
    let _guard = Semaphore::take(device, registers, register::SW_FW_SYNC_PHY0 << reset::port(registers))?;
    let mut found = None;
    for _ in 0..ATTEMPTS {
        // A line that is stuck low reads as zeros, whose sum is right.
        let page = I2c { registers }.read_page();
        found = page.filter(|page| page.iter().any(|&byte| byte != 0)).or(found);
        // A sum that stays wrong is the maker's.
        if found.as_ref().is_some_and(is_intact) {
            break;
        }
    }
    match found {
        Some(page) => Ok(Some(Module::parse(&page))),
        None if registers.is_gone() => Err(Error::Gone { device: device.to_owned() }),
        None if registers.read(register::ESDP) & register::ESDP_MODULE_PRESENT == 0 => Ok(None),
        None => Err(Error::Module { device: device.to_owned() }),
    }
}

/// Bytes of each of the module's memories.
const MEMORY: usize = 256;
/// Where the identity says that there are diagnostics, and whether they are behind another address (SFF-8472, table 8-5).
const DIAGNOSTICS_TYPE: usize = 92;
const HAS_DIAGNOSTICS: u8 = 1 << 6;
const CHANGES_ADDRESS: u8 = 1 << 2;

/// The module's memories: its identity, and its diagnostics behind it where it has any.
pub(crate) fn read_memories(device: &str, registers: &Registers) -> Result<Vec<u8>, Error> {
    let _guard = Semaphore::take(device, registers, register::SW_FW_SYNC_PHY0 << reset::port(registers))?;
    let bus = I2c { registers };
    let read = |memory: u8| {
        let mut bytes = vec![0; MEMORY];
        (0..ATTEMPTS).any(|_| bus.read(memory, &mut bytes)).then_some(bytes)
    };
    let mut memories = read(i2c::EEPROM).ok_or_else(|| Error::Module { device: device.to_owned() })?;
    let kind = memories.get(DIAGNOSTICS_TYPE).copied().unwrap_or(0);
    if kind & (HAS_DIAGNOSTICS | CHANGES_ADDRESS) == HAS_DIAGNOSTICS
        && let Some(diagnostics) = read(i2c::DIAGNOSTICS)
    {
        memories.extend(diagnostics);
    }
    if registers.is_gone() {
        return Err(Error::Gone { device: device.to_owned() });
    }
    Ok(memories)
}

/// Sets the analogue core up for a module, with the words that the EEPROM has for its kind. Without any, what the
/// device came up with stays.
pub(crate) fn set_up(device: &str, registers: &Registers, module: &Module) -> Result<(), Error> {
    let word = |place: u16| reset::eeprom_word(device, registers, place);
    let is_nothing = |pointer: u16| pointer == 0 || pointer == END;
    let wanted = module.sequence(reset::port(registers));
    let list = word(SEQUENCES)?;
    if is_nothing(list) {
        return Ok(());
    }
    // Behind the list's length: pairs of kind and pointer.
    for entry in (0..MAXIMUM_ENTRIES).map(|entry| list.wrapping_add(1 + entry * 2)) {
        let kind = word(entry)?;
        if kind == END {
            break;
        }
        let sequence = word(entry.wrapping_add(1))?;
        if kind == wanted && !is_nothing(sequence) {
            let _guard = Semaphore::take(device, registers, register::SW_FW_SYNC_MAC)?;
            for place in 1..MAXIMUM_WORDS {
                let value = word(sequence.wrapping_add(place))?;
                if value == END {
                    break;
                }
                registers.write(register::CORECTL, value.into());
                registers.flush();
            }
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_what_its_eeprom_says() {
        let mut page = [0u8; PAGE];
        page[0] = 3;
        page[3] = 0x10;
        page[20..36].copy_from_slice(b"EXAMPLE OPTICS  ");
        page[40..56].copy_from_slice(b"SFP-10G-SR\0\0    ");
        assert_eq!(Module::parse(&page).to_string(), "10GBASE-SR module EXAMPLE OPTICS SFP-10G-SR");
        page[8] = 4;
        assert_eq!(Module::parse(&page).kind, "passive direct attach");
        assert_eq!(Module::parse(&[0xff; PAGE]).kind, "unknown");
    }
}
