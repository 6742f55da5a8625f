//! A part of a BAR, checked once and then plain to use.

use crate::{Doorbell, Error, Registers, Width};
use ringway_dma::RingBase;
use std::sync::Arc;

/// `length` bytes of registers from `offset` of a BAR.
///
/// An offset outside it is a mistake of the driver, not of the device: such a read gives all ones, as from a
/// function that is gone, and such a write goes nowhere.
#[derive(Clone, Debug)]
pub struct Bar {
    registers: Arc<dyn Registers>,
    offset: u64,
    length: u64,
}

impl Bar {
    /// A window of `length` bytes at `offset`.
    ///
    /// # Errors
    /// When the BAR is shorter: what a capability says of a BAR is a claim of the device.
    pub fn window(
        device: &str,
        registers: Arc<dyn Registers>,
        offset: u64,
        length: u64,
    ) -> Result<Self, Error> {
        if offset.checked_add(length).is_none_or(|end| end > registers.length()) {
            return Err(Error::BarTooShort {
                device: device.to_owned(),
                wanted: offset.saturating_add(length),
                length: registers.length(),
            });
        }
        Ok(Self { registers, offset, length })
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn place(&self, offset: u64, bytes: u64) -> Option<u64> {
        let end = offset.checked_add(bytes)?;
        if end <= self.length { self.offset.checked_add(offset) } else { None }
    }

    /// Reads a byte.
    pub fn read8(&self, offset: u64) -> u8 {
        self.place(offset, 1).map_or(u8::MAX, |place| self.registers.read8(place))
    }

    /// Reads two bytes.
    pub fn read16(&self, offset: u64) -> u16 {
        self.place(offset, 2).map_or(u16::MAX, |place| self.registers.read16(place))
    }

    /// Reads four bytes.
    pub fn read32(&self, offset: u64) -> u32 {
        self.place(offset, 4).map_or(u32::MAX, |place| self.registers.read32(place))
    }

    /// Writes a byte.
    pub fn write8(&self, offset: u64, value: u8) {
        if let Some(place) = self.place(offset, 1) {
            self.registers.write8(place, value);
        }
    }

    /// Writes two bytes.
    pub fn write16(&self, offset: u64, value: u16) {
        if let Some(place) = self.place(offset, 2) {
            self.registers.write16(place, value);
        }
    }

    /// Writes four bytes.
    pub fn write32(&self, offset: u64, value: u32) {
        if let Some(place) = self.place(offset, 4) {
            self.registers.write32(place, value);
        }
    }

    /// Writes the base of a ring into a pair of registers: the low half at `low`, the high half at `high`.
    pub fn write_ring_base(&self, low: u64, high: u64, base: RingBase) {
        self.write32(low, base.low());
        self.write32(high, base.high());
    }

    /// The register at `offset` as a doorbell.
    ///
    /// # Errors
    /// When it lies outside.
    pub fn doorbell(&self, device: &str, offset: u64, width: Width) -> Result<Doorbell, Error> {
        self.place(offset, width.bytes().into())
            .and_then(|place| self.registers.doorbell(place, width))
            .ok_or_else(|| Error::BarTooShort {
                device: device.to_owned(),
                wanted: offset.saturating_add(width.bytes().into()),
                length: self.length,
            })
    }
}
