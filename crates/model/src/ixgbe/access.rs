//! What reading and writing a register does beyond the table.

use super::core::Core;
use super::eeprom::EEC_SIZE;
use super::options::Personality;
use super::registers::*;
use super::table::is_counter;
use std::sync::atomic::Ordering;

/// ESDP's data bits: SDP2 tells that there is a module, SDP3 switches its laser off (as on Intel's own boards).
const ESDP_MODULE: u32 = 1 << 2;
const ESDP_LASER_OFF: u32 = 1 << 3;
/// EEC: request and grant of the bit-banged interface.
const EEC_REQUEST: u32 = 1 << 6;
const EEC_GRANT: u32 = 1 << 7;
/// SW_FW_SYNC's own semaphore on the X540 (8.2.3.4.12 of its datasheet): taken by reading.
const SW_FW_SYNC_SEMAPHORE: u32 = 1 << 31;

impl Core {
    /// Reads a register.
    pub(crate) fn read(&mut self, offset: u32) -> u32 {
        let offset = canonical(offset);
        if is_counter(offset) {
            return self.table.take(offset);
        }
        if let Some((number, place)) = receive_queue(offset) {
            return match (place, self.receive.get(number)) {
                (RDH, Some(queue)) => queue.head,
                (RDT, Some(queue)) => queue.tail.load(Ordering::Acquire),
                _ => self.table.get(offset),
            };
        }
        if let Some((number, place)) = transmit_queue(offset) {
            return match (place, self.transmit.get(number)) {
                (TDH, Some(queue)) => queue.head,
                (TDT, Some(queue)) => queue.tail.load(Ordering::Acquire),
                _ => self.table.get(offset),
            };
        }
        let stored = self.table.get(offset);
        match offset {
            STATUS => self.status(),
            ESDP if self.cage.is_present() => stored | ESDP_MODULE,
            ESDP => stored & !ESDP_MODULE,
            I2CCTL => self.cage.read(),
            EEC if stored & EEC_REQUEST != 0 => stored | EEC_SIZE | EEC_GRANT,
            EEC => stored | EEC_SIZE,
            SWSM => {
                // 10.5.4: whoever reads it as 0 has it.
                self.table.put(SWSM, SWSM_SEMAPHORE, true);
                stored
            }
            SW_FW_SYNC if self.options.personality.is_copper() => {
                self.table.put(SW_FW_SYNC, SW_FW_SYNC_SEMAPHORE, true);
                stored
            }
            EICR => self.interrupts.read_causes(),
            EICS => self.interrupts.causes(),
            EIMS | EIMC => self.interrupts.mask(),
            EIAM => self.interrupts.auto_mask(),
            _ if within(offset, EICS_EX, 2) => 0,
            _ if within(offset, EIMS_EX, 2) => self.interrupts.queue_mask(index(offset, EIMS_EX)),
            _ if within(offset, EIMC_EX, 2) => self.interrupts.queue_mask(index(offset, EIMC_EX)),
            _ if within(offset, EIAM_EX, 2) => self.interrupts.queue_auto_mask(index(offset, EIAM_EX)),
            LINKS => self.link.read_links(),
            LINKS2 => 0,
            ANLP1 => self.link.partner(),
            SECRXSTAT | SECTXSTAT => SECURITY_READY,
            TSYNCRXCTL => stored & !TSYNCRXCTL_VALID | u32::from(self.clock.has_stamp()),
            RXSTMPL => self.clock.stamp_low(),
            RXSTMPH => self.clock.stamp_high(),
            SYSTIML => self.clock.read_low(),
            SYSTIMH => self.clock.read_high(),
            _ => stored,
        }
    }

    fn status(&self) -> u32 {
        let link = if self.link.is_up() { STATUS_LINK_UP } else { 0 };
        let master = if self.table.has(CTRL, CTRL_MASTER_DISABLE) { 0 } else { STATUS_MASTER_ENABLE };
        link | master
    }

    /// Writes a register.
    pub(crate) fn write(&mut self, offset: u32, value: u32) {
        let offset = canonical(offset);
        if is_counter(offset) {
            return;
        }
        if let Some((number, place)) = receive_queue(offset) {
            return self.write_receive_queue(number, place, offset, value);
        }
        if let Some((number, place)) = transmit_queue(offset) {
            return self.write_transmit_queue(number, place, offset, value);
        }
        if self.write_interrupts(offset, value) {
            return;
        }
        match offset {
            STATUS | LINKS | LINKS2 | ANLP1 | SECRXSTAT | SECTXSTAT | FWSM | MREVID => return,
            CTRL => return self.control(value),
            // Done the moment it is asked for (7.1.2.7.3).
            FDIRCTRL => {
                self.table.set(FDIRCTRL, value | FDIRCTRL_DONE);
                return self.steering.director.initialise(&mut self.table);
            }
            FDIRCMD => return self.steering.director.command(&mut self.table, value),
            EERD => return self.table.set(EERD, self.eeprom.read_command(value)),
            EEWR => {
                let answer = self.eeprom.write_command(value);
                return self.table.set(EEWR, answer);
            }
            I2CCTL => return self.cage.write(value),
            MSCA => {
                let (command, data) = self.phy.command(value, self.table.get(MSRWD), self.link.is_up());
                self.table.set(MSRWD, data);
                return self.table.set(MSCA, command);
            }
            HICR => return self.host_command(value),
            EEC => {
                let fixed = EEC_PRESENT | EEC_AUTO_READ_DONE | EEC_FLASH_DONE;
                return self.table.set(EEC, value | fixed);
            }
            SYSTIML => return self.clock.write(false, value),
            SYSTIMH => return self.clock.write(true, value),
            TIMINCA => {
                self.table.set(TIMINCA, value);
                return self.clock.set_increment(value);
            }
            TSAUXC => {
                self.table.set(TSAUXC, value);
                return self.clock.set_stopped(value & TSAUXC_DISABLE != 0);
            }
            // Address high: 16 bits, and "valid" (8.2.3.7.10).
            _ if within(offset, RAL, 256) && offset & 4 != 0 => self.table.set(offset, value & 0x8000_ffff),
            RDRXCTL => return self.table.set(RDRXCTL, value | RDRXCTL_INITIALISED),
            AUTOC => {
                // 8.2.3.22.19: negotiation restarts, and ends at once.
                self.table.set(AUTOC, value & !AUTOC_RESTART);
                if value & AUTOC_RESTART != 0 && self.link.is_up() {
                    self.interrupts.raise(CAUSE_LINK);
                }
                return;
            }
            _ => self.table.set(offset, value),
        }
        self.after_write(offset, value);
    }

    /// Registers that the packet path has decoded.
    fn after_write(&mut self, offset: u32, value: u32) {
        match offset {
            RXCTRL | DMATXCTL | HLREG0 | MAXFRS | RXCSUM | SECRXCTRL => self.refresh_units(),
            FCTRL | VLNCTRL | MCSTCTRL => self.filters.refresh(&self.table),
            MRQC => self.refresh_scaling(),
            ESDP if self.options.personality == Personality::Fibre82599 => {
                let changed = self.link.set_laser(value & ESDP_LASER_OFF == 0);
                self.link_changed(changed);
            }
            FDIRM | FDIRSIP4M | FDIRDIP4M | FDIRTCPM | FDIRUDPM | FDIRSCTPM | FDIRHKEY => {
                self.steering.director.refresh(&self.table);
            }
            _ if within(offset, ETQF, 8) || within(offset, ETQS, 8) => {
                self.steering.refresh_types(&self.table)
            }
            _ if [SAQF, DAQF, SDPQF, FTQF, L34TIMIR].iter().any(|&array| within(offset, array, 128)) => {
                self.steering.refresh_tuples(&self.table);
            }
            _ if within(offset, RAL, 256) => self.filters.refresh(&self.table),
            _ if within(offset, RETA, 32) || within(offset, RSSRK, 10) || within(offset, ERETA, 96) => {
                self.refresh_scaling();
            }
            _ => {}
        }
    }

    fn refresh_scaling(&mut self) {
        self.scaling.refresh(&self.table, self.options.personality == Personality::X550);
    }

    /// CTRL (8.2.3.1.1): a reset clears it with everything else, whatever was written beside the reset's bit.
    fn control(&mut self, value: u32) {
        if value & (CTRL_RESET | CTRL_LINK_RESET) != 0 {
            return self.reset();
        }
        self.table.set(CTRL, value);
        self.refresh_units();
    }

    fn write_receive_queue(&mut self, number: usize, place: u32, offset: u32, value: u32) {
        let Some(queue) = self.receive.get_mut(number) else { return };
        match place {
            RDT => queue.tail.store(value & 0xffff, Ordering::Release),
            RDH if !queue.enabled => queue.head = value & 0xffff,
            RDH => {}
            _ => {
                self.table.set(offset, value & ring_bits(place));
                self.refresh_receive_queue(number);
            }
        }
    }

    fn write_transmit_queue(&mut self, number: usize, place: u32, offset: u32, value: u32) {
        let Some(queue) = self.transmit.get_mut(number) else { return };
        match place {
            TDT => queue.tail.store(value & 0xffff, Ordering::Release),
            TDH if !queue.enabled => queue.head = value & 0xffff,
            TDH => {}
            TXDCTL => {
                // 8.2.3.9.10: a flush is over at once.
                self.table.set(offset, value & !TXDCTL_FLUSH);
                self.refresh_transmit_queue(number);
            }
            _ => {
                self.table.set(offset, value & ring_bits(place));
                self.refresh_transmit_queue(number);
            }
        }
    }

    /// Whether the register belongs to the interrupts.
    fn write_interrupts(&mut self, offset: u32, value: u32) -> bool {
        let interrupts = &mut self.interrupts;
        match offset {
            EICR => interrupts.clear_causes(value),
            EICS => interrupts.set_causes(value),
            EIMS => interrupts.enable(value),
            EIMC => interrupts.disable(value),
            EIAM => interrupts.set_auto_mask(value),
            EIAC => {
                self.table.set(EIAC, value);
                self.interrupts.set_auto_clear(value);
            }
            GPIE => {
                self.table.set(GPIE, value);
                self.interrupts.set_mode(value);
            }
            IVAR_MISC => {
                self.table.set(IVAR_MISC, value);
                self.interrupts.set_other_vector(value);
            }
            _ if within(offset, EICS_EX, 2) => interrupts.set_queue_causes(index(offset, EICS_EX), value),
            _ if within(offset, EIMS_EX, 2) => interrupts.enable_queues(index(offset, EIMS_EX), value),
            _ if within(offset, EIMC_EX, 2) => interrupts.disable_queues(index(offset, EIMC_EX), value),
            _ if within(offset, EIAM_EX, 2) => interrupts.set_queue_auto_mask(index(offset, EIAM_EX), value),
            _ if within(offset, IVAR, 64) => {
                self.table.set(offset, value);
                self.interrupts.set_vectors(index(offset, IVAR) as usize, value);
            }
            _ if within(offset, EITR, 24) => {
                self.table.set(offset, value);
                self.interrupts.set_interval(index(offset, EITR) as usize, value);
            }
            _ if within(offset, EITR_HIGH, 104) => {
                self.table.set(offset, value);
                self.interrupts.set_interval((index(offset, EITR_HIGH) as usize).saturating_add(24), value);
            }
            _ => return false,
        }
        true
    }

    /// The link came or went, if `changed`.
    pub(crate) fn link_changed(&mut self, changed: bool) {
        if changed {
            self.interrupts.raise(CAUSE_LINK);
            self.refresh_units();
        }
    }
}

/// Which bits of a queue's register exist: rings are aligned to 128 bytes, and as long as that takes (8.2.3.8.1, 3).
fn ring_bits(place: u32) -> u32 {
    match place {
        RDBAL => !0x7f,
        RDLEN => 0x000f_ff80,
        _ => u32::MAX,
    }
}

/// Whether `offset` is in an array of `count` words.
fn within(offset: u32, array: u32, count: u32) -> bool {
    offset.checked_sub(array).is_some_and(|inside| inside / 4 < count)
}

fn index(offset: u32, array: u32) -> u32 {
    offset.wrapping_sub(array) / 4
}
