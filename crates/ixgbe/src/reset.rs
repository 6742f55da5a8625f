//! Reset, and what the device knows of itself afterwards (82599 datasheet, sections 4.2.1, 4.6.3 and 5.2.5.3.2).

use crate::registers::{self as register, Registers};
use crate::{Error, wait};
use ringway_port::MacAddress;
use std::time::Duration;

/// Pending requests end within this time, or never (section 5.2.5.3.2 names 800 microseconds; PCI allows far more).
const MASTER_LIMIT: Duration = Duration::from_millis(800);
const RESET_LIMIT: Duration = Duration::from_secs(1);
/// After a reset the device must be left alone for 10 ms (section 4.2.1.6.1).
const RESET_PAUSE: Duration = Duration::from_millis(10);
const INITIALISATION_LIMIT: Duration = Duration::from_secs(1);
/// Firmware that there is has configured the port by then.
const FIRMWARE_LIMIT: Duration = Duration::from_millis(100);

/// Masks all interrupts, and forgets those that were raised (section 4.6.3.1).
fn mask_interrupts(registers: &Registers) {
    registers.write(register::EIMC, register::EIMC_ALL);
    registers.flush();
    registers.read(register::EICR);
}

/// Stops receiving and the device's accesses to memory, and resets it (section 4.6.3.2).
pub(crate) fn reset(device: &str, registers: &Registers) -> Result<(), Error> {
    mask_interrupts(registers);
    registers.clear(register::RXCTRL, register::RXCTRL_ENABLE);
    // Master disable first: a reset with requests pending can hang the device (section 5.2.5.3.2).
    registers.set(register::CTRL, register::CTRL_MASTER_DISABLE);
    let drained = wait::until(device, registers, "finish its accesses to memory", MASTER_LIMIT, || {
        registers.read(register::STATUS) & register::STATUS_MASTER_ENABLED == 0
    });
    if matches!(drained, Err(Error::Gone { .. })) {
        return drained;
    }
    // Where requests don't end, the datasheet asks for two resets in a row.
    for _ in 0..if drained.is_ok() { 1 } else { 2 } {
        registers.set(register::CTRL, register::CTRL_RESET | register::CTRL_LINK_RESET);
        registers.flush();
        std::thread::sleep(RESET_PAUSE);
        wait::until(device, registers, "come out of reset", RESET_LIMIT, || {
            registers.read(register::CTRL) & (register::CTRL_RESET | register::CTRL_LINK_RESET) == 0
        })?;
    }
    mask_interrupts(registers);
    registers.clear(register::CTRL, register::CTRL_MASTER_DISABLE);
    Ok(())
}

/// The end: the firmware has the port back (section 8.2.3.1.3), and the device is as after power-on.
pub(crate) fn stop(device: &str, registers: &Registers) -> Result<(), Error> {
    registers.clear(register::CTRL_EXT, register::CTRL_EXT_DRIVER_LOADED);
    reset(device, registers)
}

/// Waits until the device has read its EEPROM, its firmware is done, and its DMA is set up (section 4.6.3).
pub(crate) fn wait_for_initialisation(device: &str, registers: &Registers) -> Result<(), Error> {
    wait::until(device, registers, "read its EEPROM", INITIALISATION_LIMIT, || {
        registers.read(register::EEC) & register::EEC_AUTO_READ_DONE != 0
    })?;
    let done = register::EEMNGCTL_DONE_PORT0 << port(registers);
    let configured = wait::until(device, registers, "configure its port", FIRMWARE_LIMIT, || {
        registers.read(register::EEMNGCTL) & done != 0
    });
    // A card without management firmware never says so, and there is nothing to wait for.
    if matches!(configured, Err(Error::Gone { .. })) {
        return configured;
    }
    wait::until(device, registers, "initialise its DMA", INITIALISATION_LIMIT, || {
        registers.read(register::RDRXCTL) & register::RDRXCTL_DMA_INITIALISED != 0
    })
}

/// Which of the card's ports this is: 0 or 1 (section 8.2.3.1.2).
pub(crate) fn port(registers: &Registers) -> u32 {
    (registers.read(register::STATUS) >> register::STATUS_LAN_ID_SHIFT) & 1
}

/// The address that the device took from its EEPROM (section 4.6.4).
pub(crate) fn address(device: &str, registers: &Registers) -> Result<MacAddress, Error> {
    let [a, b, c, d] = registers.read(register::ral(0)).to_le_bytes();
    let [e, f, ..] = registers.read(register::rah(0)).to_le_bytes();
    let address = MacAddress([a, b, c, d, e, f]);
    if address.is_unicast() {
        Ok(address)
    } else {
        Err(Error::Address { device: device.to_owned(), address })
    }
}

/// Reads a word of the EEPROM (section 8.2.3.2.2).
pub(crate) fn eeprom_word(device: &str, registers: &Registers, word: u16) -> Result<u16, Error> {
    registers.write(register::EERD, register::EERD_START | (u32::from(word) << register::EERD_ADDRESS_SHIFT));
    wait::until(device, registers, "read a word of its EEPROM", INITIALISATION_LIMIT, || {
        registers.read(register::EERD) & register::EERD_DONE != 0
    })?;
    Ok((registers.read(register::EERD) >> register::EERD_DATA_SHIFT) as u16)
}

/// The whole EEPROM, each word's lower byte first (section 8.2.3.2.1 for its size).
pub(crate) fn eeprom(device: &str, registers: &Registers) -> Result<Vec<u8>, Error> {
    let control = registers.read(register::EEC);
    let size = (control >> register::EEC_SIZE_SHIFT & register::EEC_SIZE).min(register::EEC_LARGEST);
    let words = 1u16 << size.saturating_add(register::EEC_SMALLEST_SHIFT);
    let mut bytes = Vec::new();
    for word in 0..words {
        bytes.extend(eeprom_word(device, registers, word)?.to_le_bytes());
    }
    Ok(bytes)
}

/// The EEPROM's own version, which Intel calls eTrack id: two words (section 6.2.1 and Intel's software).
pub(crate) fn firmware(device: &str, registers: &Registers) -> Result<String, Error> {
    let low = eeprom_word(device, registers, 0x2d)?;
    let high = eeprom_word(device, registers, 0x2e)?;
    Ok(format!("eTrack {:#010x}", (u32::from(high) << 16) | u32::from(low)))
}
