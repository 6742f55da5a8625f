//! What the two ports' drivers and the firmware share, and who has it (82599 datasheet, section 10.5.4).
//!
//! A bit a resource in SW_FW_SYNC, which is itself changed under two locks: SMBI among software, SWESMBI against
//! firmware. They survive a program that died with them, so a holder that doesn't let go for a second is taken for dead.

use crate::registers::{self as register, Registers};
use crate::{Error, wait};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(1);

/// A shared resource in this driver's hands, until it is dropped.
#[derive(Debug)]
pub(crate) struct Semaphore<'a> {
    registers: &'a Registers,
    bit: u32,
}

impl<'a> Semaphore<'a> {
    /// Takes the resource of `bit`.
    pub(crate) fn take(device: &str, registers: &'a Registers, bit: u32) -> Result<Self, Error> {
        let others = bit | (bit << register::SW_FW_SYNC_FIRMWARE_SHIFT);
        let taken = wait::until(device, registers, "let go of a semaphore", LIMIT, || {
            with_sync_register(registers, |held| if held & others == 0 { Some(held | bit) } else { None })
        });
        match taken {
            Err(Error::Timeout { .. }) => {
                registers.clear(register::SWSM, register::SWSM_SMBI | register::SWSM_SWESMBI);
                let held = registers.read(register::SW_FW_SYNC);
                registers.write(register::SW_FW_SYNC, (held & !others) | bit);
            }
            other => other?,
        }
        Ok(Self { registers, bit })
    }
}

impl Drop for Semaphore<'_> {
    fn drop(&mut self) {
        // Without the lock on the register the bit is cleared all the same: better than keeping it for ever.
        if !with_sync_register(self.registers, |held| Some(held & !self.bit)) {
            self.registers.clear(register::SW_FW_SYNC, self.bit);
        }
    }
}

/// Changes the synchronisation register under its two locks. `false`: a lock is held by another, or there was nothing
/// to change.
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
