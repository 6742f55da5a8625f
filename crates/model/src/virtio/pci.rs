//! The function as PCI sees it: configuration space, capabilities, and where registers lie (virtio 1.2, section 4.1).
//!
//! | BAR | offset | length | what | section |
//! |---|---|---|---|---|
//! | 0 | 0x0000 | 16 a vector | MSI-X table | PCI 3.0, 6.8.2 |
//! | 0 | 0x1000 | 32 | MSI-X pending bits | PCI 3.0, 6.8.2 |
//! | 4 | 0x0000 | 60 | common configuration | 4.1.4.3 |
//! | 4 | 0x0040 | 1 | ISR status | 4.1.4.5 |
//! | 4 | 0x0080 | 24 | network device configuration | 4.1.4.6, 5.1.4 |
//! | 4 | 0x1000 | 4 a queue | notifications, one address a queue | 4.1.4.4 |
//!
//! A driver must find these by the capabilities; another device has them elsewhere.

use super::device::Device;
use super::violation::Rule;
use crate::config_space::{COMMAND_BUS_MASTER, COMMAND_MEMORY, ConfigSpace, ones};
use ringway_pci::{Identity, Width};

/// Section 4.1.2: vendor, the id of a network device without legacy interface, and its revision.
pub(crate) const VENDOR: u16 = 0x1af4;
pub(crate) const DEVICE: u16 = 0x1041;
pub(crate) const REVISION: u8 = 1;
/// An Ethernet controller.
pub(crate) const CLASS: u32 = 0x02_0000;

pub(crate) const MSIX_BAR: u8 = 0;
pub(crate) const REGISTER_BAR: u8 = 4;
/// Both BARs have this size.
pub(crate) const BAR_BYTES: u64 = 0x2000;
const PENDING_BITS: u64 = 0x1000;
const COMMON: u64 = 0x0000;
const COMMON_BYTES: u64 = 60;
const ISR: u64 = 0x0040;
const NETWORK: u64 = 0x0080;
pub(crate) const NETWORK_BYTES: u64 = 24;
pub(crate) const NOTIFY: u64 = 0x1000;
/// Section 4.1.4.4.1: an even power of two.
pub(crate) const NOTIFY_MULTIPLIER: u32 = 4;

/// Section 4.1.4: the vendor-specific capability and its types.
const VENDOR_CAPABILITY: u8 = 0x09;
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
const PCI_CFG: u8 = 5;

/// Section 4.1.4.9: the fields of the access capability, from its start.
const WINDOW_BAR: u16 = 4;
const WINDOW_OFFSET: u16 = 8;
const WINDOW_LENGTH: u16 = 12;
const WINDOW_DATA: u16 = 16;

/// Builds the configuration space. Returns it, and where the access capability lies.
pub(crate) fn config_space(identity: &Identity, vectors: u16, queues: u16) -> (ConfigSpace, u16) {
    let mut space = ConfigSpace::new(identity);
    space.bar(MSIX_BAR, BAR_BYTES as u32, false);
    space.bar(REGISTER_BAR, BAR_BYTES as u32, true);
    space.express_capability();
    space.msix_capability(vectors, MSIX_BAR, 0, PENDING_BITS as u32);
    let notify_bytes = u32::from(queues).wrapping_mul(NOTIFY_MULTIPLIER);
    space.capability(VENDOR_CAPABILITY, &structure(COMMON_CFG, COMMON, COMMON_BYTES as u32, &[]));
    let multiplier = NOTIFY_MULTIPLIER.to_le_bytes();
    space.capability(VENDOR_CAPABILITY, &structure(NOTIFY_CFG, NOTIFY, notify_bytes, &multiplier));
    space.capability(VENDOR_CAPABILITY, &structure(ISR_CFG, ISR, 1, &[]));
    space.capability(VENDOR_CAPABILITY, &structure(DEVICE_CFG, NETWORK, NETWORK_BYTES as u32, &[]));
    let window = space.capability(VENDOR_CAPABILITY, &structure(PCI_CFG, 0, 0, &[0; 4]));
    space.allow(window.wrapping_add(WINDOW_BAR), &[0xff]);
    space.allow(window.wrapping_add(WINDOW_OFFSET), &[0xff; 12]);
    space.seal();
    (space, window)
}

/// Section 4.1.4: a capability's bytes after its id and link.
fn structure(kind: u8, offset: u64, length: u32, extra: &[u8]) -> Vec<u8> {
    let bytes = (extra.len() as u8).wrapping_add(16);
    let mut body = vec![bytes, kind, if kind == PCI_CFG { 0 } else { REGISTER_BAR }, 0, 0, 0];
    body.extend_from_slice(&(offset as u32).to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(extra);
    body
}

impl Device {
    /// Reads configuration space.
    pub(crate) fn config_read(&mut self, offset: u16, width: Width) -> u32 {
        if self.gone {
            return ones(width);
        }
        if offset == self.window.wrapping_add(WINDOW_DATA) {
            if let Some((bar, place, width)) = self.window_place() {
                return self.bar_read(bar, place, width);
            }
            self.note(Rule::WindowAccess, || "a read".to_owned());
        }
        self.config.read(offset, width)
    }

    /// Writes configuration space, and does what the command register, MSI-X, FLR and the access window ask for.
    pub(crate) fn config_write(&mut self, offset: u16, width: Width, value: u32) {
        if self.gone {
            return;
        }
        let was_masked = self.config.msix_masked();
        if self.config.write(offset, width, value) {
            self.function_reset();
            return;
        }
        if was_masked && !self.config.msix_masked() {
            self.interrupts.unmask();
        }
        if offset == self.window.wrapping_add(WINDOW_DATA) {
            match self.window_place() {
                Some((bar, place, width)) => self.bar_write(bar, place, width, value),
                None => self.note(Rule::WindowAccess, || format!("a write of {value:#x}")),
            }
        }
    }

    /// What the access capability points at, when that is a place (section 4.1.4.9.2).
    fn window_place(&self) -> Option<(u8, u64, Width)> {
        let field = |offset: u16, width| self.config.read(self.window.wrapping_add(offset), width);
        let bar = field(WINDOW_BAR, Width::Byte) as u8;
        let place = u64::from(field(WINDOW_OFFSET, Width::Double));
        let width = match field(WINDOW_LENGTH, Width::Double) {
            1 => Width::Byte,
            2 => Width::Word,
            4 => Width::Double,
            _ => return None,
        };
        let inside = bar == REGISTER_BAR && place.saturating_add(width.bytes().into()) <= BAR_BYTES;
        (inside && place.is_multiple_of(width.bytes().into())).then_some((bar, place, width))
    }

    /// Whether the device may access memory and send messages.
    pub(crate) fn bus_master(&self) -> bool {
        self.config.command() & COMMAND_BUS_MASTER != 0
    }

    /// Reads registers, as the bus does: all ones where nothing answers.
    pub(crate) fn bar_read(&mut self, bar: u8, offset: u64, width: Width) -> u32 {
        if !self.decodes(offset, width) {
            return ones(width);
        }
        match bar {
            REGISTER_BAR => match offset {
                ISR if width == Width::Byte => self.read_isr().into(),
                NETWORK..NETWORK_END => self.network_read(offset.wrapping_sub(NETWORK), width),
                ..COMMON_BYTES => self.common_read(offset, width),
                _ => 0,
            },
            MSIX_BAR if width == Width::Double => match offset {
                ..PENDING_BITS => self.interrupts.read_table(offset),
                _ => self.interrupts.read_pending(offset.wrapping_sub(PENDING_BITS)),
            },
            _ => ones(width),
        }
    }

    /// Writes registers.
    pub(crate) fn bar_write(&mut self, bar: u8, offset: u64, width: Width, value: u32) {
        if !self.decodes(offset, width) {
            return;
        }
        match (bar, offset) {
            (REGISTER_BAR, ..COMMON_BYTES) => self.common_write(offset, width, value),
            (REGISTER_BAR, NETWORK..NETWORK_END) => {
                self.note(Rule::ConfigurationWrite, || {
                    format!("{value:#x} to offset {}", offset.wrapping_sub(NETWORK))
                });
            }
            (REGISTER_BAR, NOTIFY..) => self.notified(offset.wrapping_sub(NOTIFY), value),
            (MSIX_BAR, ..PENDING_BITS) if width == Width::Double => {
                self.interrupts.write_table(offset, value)
            }
            _ => {}
        }
    }

    fn decodes(&self, offset: u64, width: Width) -> bool {
        let bytes = u64::from(width.bytes());
        !self.gone
            && self.config.command() & COMMAND_MEMORY != 0
            && offset.is_multiple_of(bytes)
            && offset.checked_add(bytes).is_some_and(|end| end <= BAR_BYTES)
    }

    /// A write to the notification area (section 4.1.5.2) that came as a register access. The control queue is served
    /// before it returns; packets wait for the next step.
    fn notified(&mut self, offset: u64, value: u32) {
        let index = (offset / u64::from(NOTIFY_MULTIPLIER)) as usize;
        if let Some(slot) = self.queues.get(index) {
            slot.ring_bell(value);
        }
        self.serve_control();
    }
}

/// The end of the network device's configuration.
const NETWORK_END: u64 = NETWORK + NETWORK_BYTES;
