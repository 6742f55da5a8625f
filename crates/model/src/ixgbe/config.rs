//! Configuration space of the function (datasheet, section 9.3; capabilities at the 82599's own places).
//!
//! There is no interrupt pin: the model sends messages only. It stores and says what a write asked for. What bus mastering, MSI-X enable and a function level reset mean
//! is the device's business.

use ringway_pci::{Identity, Width};

/// Bytes of configuration space: 256 of the PCI header and capabilities, the rest extended (empty here).
pub(crate) const CONFIG_BYTES: usize = 4096;

const COMMAND: usize = 0x04;
const COMMAND_BUS_MASTER: u8 = 1 << 2;
const STATUS: usize = 0x06;
const BAR0: usize = 0x10;
const BAR4: usize = 0x20;
const CAPABILITIES: usize = 0x34;
/// 9.3.7.1: power management. 9.3.9: MSI-X. 9.3.10: PCI Express. Each points to the next.
const POWER: usize = 0x40;
const MSIX: usize = 0x70;
const EXPRESS: usize = 0xa0;
const DEVICE_CONTROL: usize = EXPRESS + 0x08;

/// MSI-X vectors of the physical function, and where their table and pending bits lie in BAR 4 (9.3.9).
pub(crate) const VECTORS: u16 = 64;
pub(crate) const MSIX_PENDING: u32 = 0x2000;
/// Bytes of BAR 4.
pub(crate) const MSIX_BYTES: u64 = 0x4000;

/// What a write to configuration space asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Initiate function level reset.
    pub(crate) reset: bool,
}

/// The bytes, and which of them a driver may write.
#[derive(Debug)]
pub(crate) struct ConfigSpace {
    bytes: Box<[u8]>,
    writable: Box<[u8]>,
    sealed: Box<[u8]>,
}

impl ConfigSpace {
    pub(crate) fn new(identity: &Identity, bar0_bytes: u32) -> Self {
        let empty = || vec![0; CONFIG_BYTES].into_boxed_slice();
        let mut space = Self { bytes: empty(), writable: empty(), sealed: empty() };
        space.put(0x00, &identity.vendor.to_le_bytes());
        space.put(0x02, &identity.device.to_le_bytes());
        let class = identity.class.to_le_bytes();
        space.put(0x08, &[identity.revision, class[0], class[1], class[2]]);
        space.put(0x2c, &identity.subsystem_vendor.to_le_bytes());
        space.put(0x2e, &identity.subsystem.to_le_bytes());
        // Memory, bus master, parity, SERR, INTx disable.
        space.allow(COMMAND, &[0x46, 0x05]);
        space.put(STATUS, &[0x10]);
        space.allow(0x0c, &[0xff]);
        space.allow(0x3c, &[0xff]);
        // Both BARs: memory, 64 bits wide, not prefetchable.
        for (bar, bytes) in [(BAR0, bar0_bytes), (BAR4, MSIX_BYTES as u32)] {
            space.put(bar, &[0b0100]);
            space.allow(bar, &(!bytes.wrapping_sub(1) & !0xf).to_le_bytes());
            space.allow(bar + 4, &[0xff; 4]);
        }
        space.put(CAPABILITIES, &[POWER as u8]);
        // Power management, version 3, no PME; the state can be written.
        space.put(POWER, &[0x01, MSIX as u8, 0x03, 0x00, 0x08, 0x00]);
        space.allow(POWER + 4, &[0x03]);
        space.put(MSIX, &[0x11, EXPRESS as u8]);
        space.put(MSIX + 2, &VECTORS.wrapping_sub(1).to_le_bytes());
        space.put(MSIX + 4, &4u32.to_le_bytes());
        space.put(MSIX + 8, &(MSIX_PENDING | 4).to_le_bytes());
        space.allow(MSIX + 3, &[0xc0]);
        space.express();
        space.sealed = space.bytes.clone();
        space
    }

    /// 9.3.10: an endpoint, version 2, with function level reset, eight lanes of 5 GT/s. Transactions are never
    /// pending: an access of the model is over when the register access that stopped it returns.
    fn express(&mut self) {
        self.put(EXPRESS, &[0x10, 0x00, 0x02, 0x00]);
        self.put(EXPRESS + 0x04, &(1u32 << 28 | 1 << 15 | 0b010).to_le_bytes());
        self.put(DEVICE_CONTROL, &[0x10, 0x28]);
        self.allow(DEVICE_CONTROL, &[0xff, 0x7f]);
        self.put(EXPRESS + 0x0c, &(8u32 << 4 | 2).to_le_bytes());
        self.allow(EXPRESS + 0x10, &[0xcb, 0x00]);
        self.put(EXPRESS + 0x12, &(8u16 << 4 | 2).to_le_bytes());
        // Completion time-outs can be set and switched off.
        self.put(EXPRESS + 0x24, &[0x1f]);
        self.allow(EXPRESS + 0x28, &[0x1f]);
        self.put(EXPRESS + 0x30, &[0x02]);
    }

    /// Function level reset (PCI Express Base 5.0, section 6.6.2): everything as at first.
    pub(crate) fn reset(&mut self) {
        self.bytes.clone_from(&self.sealed);
    }

    pub(crate) fn read(&self, offset: u16, width: Width) -> u32 {
        let mut value = [0u8; 4];
        let bytes = self.bytes.iter().skip(offset.into());
        for (to, &from) in value.iter_mut().zip(bytes).take(width.bytes().into()) {
            *to = from;
        }
        u32::from_le_bytes(value)
    }

    pub(crate) fn write(&mut self, offset: u16, width: Width, value: u32) -> Asked {
        let places = self.bytes.iter_mut().zip(&self.writable).enumerate().skip(offset.into());
        let mut reset = false;
        for ((place, (byte, &mask)), new) in places.zip(value.to_le_bytes()).take(width.bytes().into()) {
            *byte = *byte & !mask | new & mask;
            reset |= place == DEVICE_CONTROL + 1 && new & 0x80 != 0;
        }
        Asked { reset }
    }

    /// Whether the function may access memory and send messages.
    pub(crate) fn bus_master(&self) -> bool {
        self.bytes.get(COMMAND).is_some_and(|byte| byte & COMMAND_BUS_MASTER != 0)
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (to, &from) in self.bytes.iter_mut().skip(offset).zip(bytes) {
            *to = from;
        }
    }

    fn allow(&mut self, offset: usize, mask: &[u8]) {
        for (to, &from) in self.writable.iter_mut().skip(offset).zip(mask) {
            *to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let identity = Identity {
            name: "emulated:0".into(),
            vendor: 0x8086,
            device: 0x10fb,
            subsystem_vendor: 0x8086,
            subsystem: 0x0003,
            revision: 1,
            class: 0x02_0000,
            numa_node: None,
        };
        ConfigSpace::new(&identity, 0x2_0000)
    }

    #[test]
    fn bars_tell_their_size_and_kind() {
        let mut space = space();
        for (bar, bytes) in [(0x10, 0x2_0000u32), (0x20, 0x4000)] {
            space.write(bar, Width::Double, u32::MAX);
            space.write(bar + 4, Width::Double, u32::MAX);
            assert_eq!(space.read(bar, Width::Double), !(bytes - 1) | 0b100);
            assert_eq!(space.read(bar + 4, Width::Double), u32::MAX);
        }
        space.write(0x18, Width::Double, u32::MAX);
        assert_eq!(space.read(0x18, Width::Double), 0);
    }

    #[test]
    fn capabilities_stand_where_the_datasheet_puts_them() {
        let space = space();
        let mut found = Vec::new();
        let mut at = space.read(0x34, Width::Byte) as u16;
        while at != 0 {
            found.push((space.read(at, Width::Byte), at));
            at = space.read(at + 1, Width::Byte) as u16;
        }
        assert_eq!(found, [(0x01, 0x40), (0x11, 0x70), (0x10, 0xa0)]);
        assert_eq!(space.read(0x72, Width::Word) & 0x7ff, 63);
    }

    #[test]
    fn function_level_reset_is_asked_for_by_any_width_and_undoes_all() {
        let mut space = space();
        space.write(0x04, Width::Word, 0x0006);
        assert!(space.bus_master());
        assert!(space.write(0xa8, Width::Word, 0x8000).reset);
        assert!(space.write(0xa9, Width::Byte, 0x80).reset);
        assert!(!space.write(0xa8, Width::Double, 0x2810).reset);
        space.reset();
        assert!(!space.bus_master());
    }
}
