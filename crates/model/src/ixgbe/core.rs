//! The function itself: registers, queues, filters, interrupts, link and memories, without its front ends.
//!
//! One lock stands around it (see `front.rs`). What the packet path needs of the registers is decoded when they
//! are written, in `refresh_*`, and lies in plain fields.

use super::clock::Clock;
use super::eeprom::Eeprom;
use super::filters::Filters;
use super::interrupts::Interrupts;
use super::link::Link;
use super::module::Cage;
use super::options::{Options, Personality};
use super::pause::Pausing;
use super::phy::Phy;
use super::receive::ReceiveQueue;
use super::registers::*;
use super::rss::Scaling;
use super::steering::Steering;
use super::table::Table;
use super::transmit::TransmitQueue;
use ringway_dma::Fault;

/// Queues of a direction (7.1.2, 7.2.1.2.1).
pub(crate) const QUEUES: usize = 128;

/// Accesses that the address space refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) count: u64,
    pub(crate) last: Option<Fault>,
}

impl Faults {
    #[cold]
    pub(crate) fn note(&mut self, fault: Fault) {
        self.count = self.count.saturating_add(1);
        self.last = Some(fault);
    }
}

/// Everything that a function is but its configuration space, its memory and its wire.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) table: Table,
    pub(crate) receive: Vec<ReceiveQueue>,
    pub(crate) transmit: Vec<TransmitQueue>,
    pub(crate) filters: Filters,
    pub(crate) scaling: Scaling,
    pub(crate) steering: Steering,
    pub(crate) pausing: Pausing,
    pub(crate) clock: Clock,
    pub(crate) interrupts: Interrupts,
    pub(crate) eeprom: Eeprom,
    pub(crate) cage: Cage,
    pub(crate) phy: Phy,
    pub(crate) link: Link,
    pub(crate) faults: Faults,
    /// Bus mastering is on (configuration space).
    pub(crate) bus_master: bool,
    /// Frames are taken: RXCTRL, link, bus mastering.
    pub(crate) receiving: bool,
    /// Frames are sent: DMATXCTL, link, bus mastering.
    pub(crate) transmitting: bool,
    /// Enabled transmit queues, a bit each.
    pub(crate) transmit_enabled: u128,
    /// Frames come without their FCS.
    pub(crate) strips_check: bool,
    /// Frames that are too short get padded.
    pub(crate) pads: bool,
    /// What is sent comes back in instead (HLREG0.LPBK).
    pub(crate) loops_back: bool,
    /// The hash is reported, not the fragment's checksum (RXCSUM.PCSD).
    pub(crate) hash_reported: bool,
    /// The longest frame without tag, FCS included.
    pub(crate) maximum_frame: u32,
    /// A frame without its tag, on its way into buffers.
    pub(crate) untagged: Vec<u8>,
    /// Frames on their way back in (loopback).
    pub(crate) looped: Vec<Vec<u8>>,
    /// A segment that is being made.
    pub(crate) segment: Vec<u8>,
}

impl Core {
    pub(crate) fn new(options: Options) -> Self {
        let mut core = Self {
            table: Table::new(),
            receive: (0..QUEUES).map(|_| ReceiveQueue::new()).collect(),
            transmit: (0..QUEUES).map(|_| TransmitQueue::new()).collect(),
            filters: Filters::default(),
            scaling: Scaling::new(),
            steering: Steering::default(),
            pausing: Pausing::default(),
            clock: Clock::new(&options),
            interrupts: Interrupts::new(),
            eeprom: Eeprom::new(&options),
            cage: Cage::new(&options),
            phy: Phy::new(&options),
            link: Link::new(&options),
            faults: Faults::default(),
            bus_master: false,
            receiving: false,
            transmitting: false,
            transmit_enabled: 0,
            strips_check: false,
            pads: false,
            loops_back: false,
            hash_reported: false,
            maximum_frame: 1518,
            untagged: Vec::with_capacity(16 << 10),
            looped: Vec::new(),
            segment: Vec::with_capacity(16 << 10),
            options,
        };
        core.reset();
        core
    }

    /// A software reset (4.2.1.6.2): registers as at first, queues off, the address reloaded from the EEPROM. The
    /// link stays up, as it does when firmware or the other port keeps it.
    pub(crate) fn reset(&mut self) {
        self.table.clear();
        self.receive.iter_mut().for_each(ReceiveQueue::reset);
        self.transmit.iter_mut().for_each(TransmitQueue::reset);
        self.interrupts.reset();
        self.cage.reset();
        let [a, b, c, d, e, f] = self.options.mac;
        for (offset, value) in [
            (EEC, EEC_PRESENT | EEC_AUTO_READ_DONE | EEC_FLASH_DONE),
            (EEMNGCTL, EEMNGCTL_DONE),
            (FWSM, FWSM_VALID),
            (AUTOC, self.link.control_after_reset(self.options.personality)),
            (CTRL_EXT, CTRL_EXT_RESET_DONE),
            (HLREG0, HLREG0_CRC_STRIP | HLREG0_PAD | 1),
            (MAXFRS, 1518 << 16),
            (RDRXCTL, RDRXCTL_INITIALISED),
            (VLNCTRL, 0x8100),
            (RXPBSIZE, 512 << 10),
            (TXPBSIZE, 160 << 10),
            (DMATXCTL, 0x8100 << 16),
            (DTXTCPFLGL, 0x0ff6_0ff6),
            (DTXTCPFLGH, 0x0000_0f7f),
            (FDIRCTRL, 0),
            (EIAC, 0),
            (RAL, u32::from_le_bytes([a, b, c, d])),
            (RAL.wrapping_add(4), u32::from_le_bytes([e, f, 0, 0]) | RAH_VALID),
            (MREVID, 1),
            (HICR, if self.options.personality == Personality::X550 { HICR_ENABLE } else { 0 }),
        ] {
            self.table.set(offset, value);
        }
        // The first pool may be used for the first address (8.2.3.7.10).
        self.table.set(MPSAR, u32::MAX);
        self.table.set(MPSAR.wrapping_add(4), u32::MAX);
        // The laser's pin is an input until it is driven, and the module's own default is to shine.
        self.link.set_laser(true);
        self.refresh();
    }

    /// Decodes all registers anew.
    pub(crate) fn refresh(&mut self) {
        self.filters.refresh(&self.table);
        self.steering = Steering::default();
        self.pausing = Pausing::default();
        self.clock = Clock::new(&self.options);
        self.scaling.refresh(&self.table, self.options.personality == Personality::X550);
        for queue in 0..QUEUES {
            self.refresh_receive_queue(queue);
            self.refresh_transmit_queue(queue);
        }
        self.refresh_units();
    }

    /// Decodes the registers that are common to all queues.
    pub(crate) fn refresh_units(&mut self) {
        let link = self.link.is_up();
        let mac = self.table.get(HLREG0);
        self.loops_back = mac & HLREG0_LOOPBACK != 0;
        let alive =
            self.bus_master && !self.table.has(CTRL, CTRL_MASTER_DISABLE) && (link || self.loops_back);
        self.receiving =
            alive && self.table.has(RXCTRL, RXCTRL_ENABLE) && !self.table.has(SECRXCTRL, SECRXCTRL_DISABLE);
        self.transmitting = alive && self.table.has(DMATXCTL, DMATXCTL_ENABLE);
        self.strips_check = mac & HLREG0_CRC_STRIP != 0 || self.table.has(RDRXCTL, RDRXCTL_CRC_STRIP);
        self.pads = mac & HLREG0_PAD != 0;
        self.hash_reported = self.table.has(RXCSUM, RXCSUM_HASH_NOT_CHECKSUM);
        self.maximum_frame =
            if mac & HLREG0_JUMBO != 0 { (self.table.get(MAXFRS) >> 16).max(1518) } else { 1518 };
    }

    pub(crate) fn refresh_receive_queue(&mut self, number: usize) {
        if let Some(queue) = self.receive.get_mut(number) {
            queue.refresh(&self.table, receive_block(number));
        }
    }

    pub(crate) fn refresh_transmit_queue(&mut self, number: usize) {
        if let Some(queue) = self.transmit.get_mut(number) {
            queue.refresh(&self.table, transmit_block(number));
            let bit = 1u128.wrapping_shl(number as u32);
            if queue.enabled {
                self.transmit_enabled |= bit;
            } else {
                self.transmit_enabled &= !bit;
            }
        }
    }

    /// Bus mastering changed.
    pub(crate) fn set_bus_master(&mut self, on: bool) {
        self.bus_master = on;
        self.refresh_units();
    }

    /// The other end of the cable changed.
    pub(crate) fn set_link(&mut self, up: bool) {
        let changed = self.link.set_cable(up);
        self.link_changed(changed);
    }

    /// A module was put into the cage or taken out: SDP2 moves, which is a cause of its own (8.2.3.5.1).
    pub(crate) fn set_module(&mut self, present: bool) {
        if self.options.personality == Personality::Fibre82599 && self.cage.is_present() != present {
            self.cage.set_present(present);
            self.interrupts.raise(CAUSE_SDP2);
            let changed = self.link.set_module(present);
            self.link_changed(changed);
        }
    }
}
