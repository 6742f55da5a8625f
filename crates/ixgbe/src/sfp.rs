//! The SFP+ module: what it is, read from its EEPROM over I2C (SFF-8472; 82599 datasheet, section 3.5.5 and 8.2.3.1.5).
//!
//! The bus is driven bit by bit: the device has no engine for it. It is shared with the other port's firmware, so it
//! is used under the PHY semaphore (section 10.5.4).

use crate::registers::{self as register, Registers};
use crate::{Error, wait};
use std::fmt;
use std::time::Duration;

/// The module's EEPROM answers at this address (SFF-8472, chapter 4).
const EEPROM: u8 = 0xa0;
/// Bytes of its base page that matter here.
const PAGE: usize = 64;
/// Half a clock period: 100 kHz and a margin.
const HALF_PERIOD: Duration = Duration::from_micros(6);
const SEMAPHORE_LIMIT: Duration = Duration::from_secs(1);

/// An SFP+ module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// What kind it is: `10GBASE-SR`, `direct attach`.
    pub kind: &'static str,
    /// Who made it.
    pub vendor: String,
    /// The maker's part number.
    pub part: String,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} module {} {}", self.kind, self.vendor, self.part)
    }
}

impl Module {
    /// From the first bytes of the module's EEPROM (SFF-8472, table 4-1).
    pub(crate) fn parse(page: &[u8; PAGE]) -> Self {
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
            0x03 if ten_gigabit & 0x80 != 0 => "10GBASE-ER",
            0x03 if one_gigabit & 0x01 != 0 => "1000BASE-SX",
            0x03 if one_gigabit & 0x02 != 0 => "1000BASE-LX",
            0x03 if one_gigabit & 0x08 != 0 => "1000BASE-T",
            0x03 => "unknown SFP+",
            _ => "unknown",
        };
        Self { kind, vendor: text(20..36), part: text(40..56) }
    }
}

/// Reads the module; `None` where the cage is empty.
pub(crate) fn identify(device: &str, registers: &Registers) -> Result<Option<Module>, Error> {
    if registers.read(register::ESDP) & register::ESDP_MODULE_PRESENT == 0 {
        return Ok(None);
    }
    let guard = Semaphore::take(device, registers)?;
    let page = I2c { registers }.read_page().ok_or_else(|| Error::Module { device: device.to_owned() });
    drop(guard);
    Ok(Some(Module::parse(&page?)))
}

/// The PHY of this port, kept from the firmware and the other port (section 10.5.4).
struct Semaphore<'a> {
    registers: &'a Registers,
    bit: u32,
}

impl<'a> Semaphore<'a> {
    fn take(device: &str, registers: &'a Registers) -> Result<Self, Error> {
        let port = (registers.read(register::STATUS) >> register::STATUS_LAN_ID_SHIFT) & 1;
        let bit = register::SW_FW_SYNC_PHY0 << port;
        let others = bit | (bit << register::SW_FW_SYNC_FIRMWARE_SHIFT);
        wait::until(device, registers, "let go of the PHY semaphore", SEMAPHORE_LIMIT, || {
            with_sync_register(registers, |held| if held & others == 0 { Some(held | bit) } else { None })
        })?;
        Ok(Self { registers, bit })
    }
}

impl Drop for Semaphore<'_> {
    fn drop(&mut self) {
        // Without the lock on the register the bit is cleared all the same: better than keeping the bus for ever.
        if !with_sync_register(self.registers, |held| Some(held & !self.bit)) {
            self.registers.clear(register::SW_FW_SYNC, self.bit);
        }
    }
}

/// Changes the synchronisation register under its own two locks: among software, and against firmware (section
/// 10.5.4). `false`: a lock is held by another, or there was nothing to change.
fn with_sync_register(registers: &Registers, change: impl FnOnce(u32) -> Option<u32>) -> bool {
    // Reading SMBI sets it: whoever reads 0 has it.
    if registers.read(register::SWSM) & register::SWSM_SMBI != 0 {
        return false;
    }
    registers.set(register::SWSM, register::SWSM_SWESMBI);
    let mut changed = false;
    if registers.read(register::SWSM) & register::SWSM_SWESMBI != 0
        && let Some(value) = change(registers.read(register::SW_FW_SYNC))
    {
        registers.write(register::SW_FW_SYNC, value);
        changed = true;
    }
    registers.clear(register::SWSM, register::SWSM_SMBI | register::SWSM_SWESMBI);
    changed
}

/// The two wires. Both are open-drain: 1 lets go, and something else may hold the wire low.
struct I2c<'a> {
    registers: &'a Registers,
}

impl I2c<'_> {
    /// The base page: a dummy write sets the place to 0, then everything is read in one go (SFF-8472, chapter 4).
    fn read_page(&self) -> Option<[u8; PAGE]> {
        let mut page = [0; PAGE];
        self.start();
        let answered = self.send(EEPROM) && self.send(0) && {
            self.start();
            self.send(EEPROM | 1)
        };
        if answered {
            let last = PAGE - 1;
            for (index, byte) in page.iter_mut().enumerate() {
                *byte = self.receive(index != last);
            }
        }
        self.stop();
        answered.then_some(page)
    }

    fn clock(&self, high: bool) {
        self.wire(register::I2CCTL_CLOCK_OUT, high);
        // A module may hold the clock low while it thinks; none may do so for long.
        for _ in 0..100 {
            if !high || self.registers.read(register::I2CCTL) & register::I2CCTL_CLOCK_IN != 0 {
                break;
            }
            std::thread::sleep(HALF_PERIOD);
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
        std::thread::sleep(HALF_PERIOD);
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
