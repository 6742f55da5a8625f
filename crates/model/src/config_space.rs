//! PCI configuration space: its bytes, and which of them a driver may write.
//!
//! Every device of this crate builds one: a type 0 header (PCI Local Bus 3.0, section 6.1), a capability list
//! (section 6.7) and base address registers that can be sized (section 6.2.5.1). What a write means beyond the
//! byte that it changes is the device's business; this module only stores. Offsets from 256 on, the extended
//! space, read as zero: no extended capability.

use ringway_pci::{Identity, Width};

/// Section 6.2.2: the command register.
pub(crate) const COMMAND: u16 = 0x04;
/// The function answers to accesses to its BARs.
pub(crate) const COMMAND_MEMORY: u16 = 1 << 1;
/// The function may access memory, and send MSI-X messages, which are memory writes.
pub(crate) const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// The function must not use its interrupt pin.
const COMMAND_INTX_DISABLE: u16 = 1 << 10;
/// Section 6.2.3: the status register, its interrupt bit and "there is a capability list".
const STATUS: u16 = 0x06;
const STATUS_INTERRUPT: u16 = 1 << 3;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const CAPABILITIES_POINTER: u16 = 0x34;
const FIRST_CAPABILITY: u16 = 0x40;
const BARS: u16 = 0x10;

/// PCI Express Base 5.0, section 7.5.3: the capability and the registers in it that are used here.
const PCI_EXPRESS: u8 = 0x10;
const DEVICE_CONTROL: u16 = 0x08;
const DEVICE_CONTROL_RESET: u16 = 1 << 15;
/// PCI Local Bus 3.0, section 6.8.2: MSI-X, and message control in it.
const MSIX: u8 = 0x11;
const MESSAGE_CONTROL: u16 = 0x02;
const MESSAGE_CONTROL_ENABLE: u16 = 1 << 15;
const MESSAGE_CONTROL_MASK: u16 = 1 << 14;

/// The first 256 bytes, and which bits of them a write changes.
#[derive(Debug)]
pub(crate) struct ConfigSpace {
    bytes: [u8; 256],
    writable: [u8; 256],
    after_reset: [u8; 256],
    next: u16,
    last_link: u16,
    express: u16,
    msix: u16,
}

impl ConfigSpace {
    /// A header without BARs and capabilities.
    pub(crate) fn new(identity: &Identity) -> Self {
        let mut space = Self {
            bytes: [0; 256],
            writable: [0; 256],
            after_reset: [0; 256],
            next: FIRST_CAPABILITY,
            last_link: CAPABILITIES_POINTER,
            express: 0,
            msix: 0,
        };
        space.put(0x00, &identity.vendor.to_le_bytes());
        space.put(0x02, &identity.device.to_le_bytes());
        let class = identity.class.to_le_bytes();
        space.put(0x08, &[identity.revision, class[0], class[1], class[2]]);
        space.put(0x2c, &identity.subsystem_vendor.to_le_bytes());
        space.put(0x2e, &identity.subsystem.to_le_bytes());
        space.put(0x3d, &[1]); // interrupt pin A
        space.allow(
            COMMAND,
            &(COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_INTX_DISABLE | 1 << 6 | 1 << 8).to_le_bytes(),
        );
        space.allow(0x0c, &[0xff]); // cache line size
        space.allow(0x3c, &[0xff]); // interrupt line
        space
    }

    /// A memory BAR of `size` bytes, a power of two of at least 16. A 64-bit one takes the next index too.
    pub(crate) fn bar(&mut self, index: u8, size: u32, wide: bool) {
        let at = BARS.wrapping_add(u16::from(index).wrapping_mul(4));
        let kind: u8 = if wide { 0b1100 } else { 0 }; // 64 bits, prefetchable
        self.put(at, &[kind]);
        self.allow(at, &(!size.wrapping_sub(1) & !0xf).to_le_bytes());
        if wide {
            self.allow(at.wrapping_add(4), &[0xff; 4]);
        }
    }

    /// Appends a capability: `body` is what follows its id and its link. Returns its offset.
    pub(crate) fn capability(&mut self, id: u8, body: &[u8]) -> u16 {
        let at = self.next;
        self.put(self.last_link, &[at as u8]);
        self.put(at, &[id, 0]);
        self.put(at.wrapping_add(2), body);
        self.last_link = at.wrapping_add(1);
        self.next = at.wrapping_add((body.len() as u16).wrapping_add(2).next_multiple_of(4));
        self.put(STATUS, &STATUS_CAPABILITIES.to_le_bytes());
        at
    }

    /// PCI Express, version 2, an endpoint that can be reset by itself (FLR) and never has pending transactions:
    /// a model's access to memory is over when the register access that stopped it returns.
    pub(crate) fn express_capability(&mut self) {
        let mut body = [0u8; 58];
        body[0] = 0x02;
        body[2..6].copy_from_slice(&(1u32 << 28 | 1 << 15).to_le_bytes());
        body[10] = 0x11; // link capabilities: 2.5 GT/s, one lane
        body[16] = 0x11; // link status: the same
        self.express = self.capability(PCI_EXPRESS, &body);
        self.allow(self.express.wrapping_add(DEVICE_CONTROL), &[0xff, 0x7f]);
    }

    /// MSI-X with `vectors` vectors, its table and its pending bits in BAR `bar`.
    pub(crate) fn msix_capability(&mut self, vectors: u16, bar: u8, table: u32, pending: u32) {
        let mut body = [0u8; 10];
        body[0..2].copy_from_slice(&vectors.wrapping_sub(1).to_le_bytes());
        body[2..6].copy_from_slice(&(table | u32::from(bar)).to_le_bytes());
        body[6..10].copy_from_slice(&(pending | u32::from(bar)).to_le_bytes());
        self.msix = self.capability(MSIX, &body);
        self.allow(
            self.msix.wrapping_add(MESSAGE_CONTROL),
            &(MESSAGE_CONTROL_ENABLE | MESSAGE_CONTROL_MASK).to_le_bytes(),
        );
    }

    /// Lets a driver write these bits.
    pub(crate) fn allow(&mut self, offset: u16, mask: &[u8]) {
        for (byte, &mask) in self.writable.iter_mut().skip(offset.into()).zip(mask) {
            *byte = mask;
        }
    }

    /// Says that it is complete: a reset returns to what it holds now.
    pub(crate) fn seal(&mut self) {
        self.after_reset = self.bytes;
    }

    /// Function level reset. What firmware wrote into BARs goes too (PCI Express Base 5.0, section 6.6.2); software
    /// that resets a function restores them.
    pub(crate) fn reset(&mut self) {
        self.bytes = self.after_reset;
    }

    /// What an operating system saves before it resets a function.
    pub(crate) fn save(&self) -> [u8; 256] {
        self.bytes
    }

    /// And restores after it.
    pub(crate) fn restore(&mut self, saved: &[u8; 256]) {
        self.bytes = *saved;
    }

    /// Reads `width` bytes at `offset`.
    pub(crate) fn read(&self, offset: u16, width: Width) -> u32 {
        let mut value = [0u8; 4];
        let bytes = self.bytes.iter().skip(offset.into());
        for (to, &from) in value.iter_mut().zip(bytes).take(width.bytes().into()) {
            *to = from;
        }
        u32::from_le_bytes(value)
    }

    /// Writes what may be written of `width` bytes at `offset`. Whether it asked for a function level reset.
    pub(crate) fn write(&mut self, offset: u16, width: Width, value: u32) -> bool {
        let places = self.bytes.iter_mut().zip(&self.writable).skip(offset.into());
        for ((byte, &mask), new) in places.zip(value.to_le_bytes()).take(width.bytes().into()) {
            *byte = *byte & !mask | new & mask;
        }
        let control = self.express.wrapping_add(DEVICE_CONTROL);
        let shift = control.wrapping_sub(offset).wrapping_mul(8);
        let end = offset.wrapping_add(width.bytes());
        let whole = offset <= control && end >= control.wrapping_add(2);
        self.express != 0 && whole && (value >> shift) as u16 & DEVICE_CONTROL_RESET != 0
    }

    /// The command register.
    pub(crate) fn command(&self) -> u16 {
        self.read(COMMAND, Width::Word) as u16
    }

    /// MSI-X enable, as software has set it in message control.
    pub(crate) fn msix_enabled(&self) -> bool {
        self.message_control() & MESSAGE_CONTROL_ENABLE != 0
    }

    /// The function mask: no message is sent while it is set.
    pub(crate) fn msix_masked(&self) -> bool {
        self.message_control() & MESSAGE_CONTROL_MASK != 0
    }

    /// Sets MSI-X enable, as an operating system does when it connects vectors.
    pub(crate) fn enable_msix(&mut self, on: bool) {
        let control = self.message_control();
        let control = if on { control | MESSAGE_CONTROL_ENABLE } else { control & !MESSAGE_CONTROL_ENABLE };
        self.put(self.msix.wrapping_add(MESSAGE_CONTROL), &control.to_le_bytes());
    }

    /// Sets or clears the interrupt bit of the status register.
    pub(crate) fn set_interrupt_status(&mut self, on: bool) {
        let status = self.read(STATUS, Width::Word) as u16;
        let status = if on { status | STATUS_INTERRUPT } else { status & !STATUS_INTERRUPT };
        self.put(STATUS, &status.to_le_bytes());
    }

    fn message_control(&self) -> u16 {
        self.read(self.msix.wrapping_add(MESSAGE_CONTROL), Width::Word) as u16
    }

    fn put(&mut self, offset: u16, bytes: &[u8]) {
        for (to, &from) in self.bytes.iter_mut().skip(offset.into()).zip(bytes) {
            *to = from;
        }
    }
}

/// What is read where nothing answers.
pub(crate) fn ones(width: Width) -> u32 {
    match width {
        Width::Byte => 0xff,
        Width::Word => 0xffff,
        Width::Double => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let mut space = ConfigSpace::new(&Identity {
            name: "emulated:0".into(),
            vendor: 0x1af4,
            device: 0x1041,
            subsystem_vendor: 1,
            subsystem: 2,
            revision: 3,
            class: 0x02_00_00,
            numa_node: None,
        });
        space.bar(0, 8192, false);
        space.bar(4, 16384, true);
        space.express_capability();
        space.msix_capability(5, 0, 0, 4096);
        space.seal();
        space
    }

    #[test]
    fn a_bar_tells_its_size_when_ones_are_written_to_it() {
        let mut space = space();
        space.write(0x10, Width::Double, u32::MAX);
        assert_eq!(space.read(0x10, Width::Double), !8191);
        space.write(0x20, Width::Double, u32::MAX);
        space.write(0x24, Width::Double, u32::MAX);
        assert_eq!(space.read(0x20, Width::Double), !16383 | 0b1100);
        assert_eq!(space.read(0x24, Width::Double), u32::MAX);
        space.write(0x14, Width::Double, u32::MAX);
        assert_eq!(space.read(0x14, Width::Double), 0);
    }

    #[test]
    fn identity_cannot_be_written() {
        let mut space = space();
        space.write(0, Width::Double, 0);
        assert_eq!(space.read(0, Width::Double), 0x1041_1af4);
        assert_eq!(space.read(8, Width::Double), 0x0200_0003);
    }

    #[test]
    fn a_write_to_device_control_asks_for_a_reset_and_the_bit_reads_zero() {
        let mut space = space();
        let control = space.express + DEVICE_CONTROL;
        assert!(space.write(control, Width::Word, 0x8000));
        assert_eq!(space.read(control, Width::Word), 0);
        assert!(space.write(control, Width::Double, 0x8000));
        assert!(!space.write(control, Width::Word, 0x10));
        space.reset();
        assert_eq!(space.read(control, Width::Word), 0);
    }

    #[test]
    fn the_extended_space_is_empty() {
        let space = space();
        assert_eq!(space.read(0x100, Width::Double), 0);
        assert_eq!(space.read(0xffc, Width::Double), 0);
        assert_eq!(space.read(0xfe, Width::Double), 0);
    }
}
