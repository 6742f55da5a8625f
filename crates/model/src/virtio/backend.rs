//! The driver's half: the function behind `ringway-pci`'s seam.
//!
//! Where hardware has an operating system between driver and function, this plays its part too: it connects vectors
//! to event counters, and restores what a reset of the function takes away (BARs, the command register).

use super::handle::Shared;
use super::pci::{BAR_BYTES, MSIX_BAR, NOTIFY, NOTIFY_MULTIPLIER, REGISTER_BAR};
use crate::config_space::ones;
use ringway_dma::AddressSpace;
use ringway_pci::{Backend, Doorbell, Error, Identity, Registers, Width};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What [`ringway_pci::Function::new`] takes.
#[derive(Debug)]
pub(crate) struct Function {
    shared: Arc<Shared>,
    identity: Identity,
    space: AddressSpace,
}

impl Function {
    pub(crate) fn new(shared: Arc<Shared>, identity: Identity, space: AddressSpace) -> Self {
        Self { shared, identity, space }
    }
}

impl Backend for Function {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn address_space(&self) -> &AddressSpace {
        &self.space
    }

    fn is_emulated(&self) -> bool {
        true
    }

    fn config_read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        Ok(self.shared.lock().config_read(offset, width))
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        self.shared.lock().config_write(offset, width, value);
        Ok(())
    }

    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, Error> {
        let length = if index == MSIX_BAR || index == REGISTER_BAR { BAR_BYTES } else { 0 };
        Ok(Arc::new(RegisterBar { shared: Arc::clone(&self.shared), index, length }))
    }

    fn msix_vectors(&self) -> u16 {
        self.shared.lock().interrupts.vectors()
    }

    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), Error> {
        let mut device = self.shared.lock();
        let available = device.interrupts.vectors();
        if vectors.len() > usize::from(available) {
            let device = self.identity.name.clone();
            return Err(Error::TooFewVectors { device, wanted: vectors.len(), available });
        }
        device.interrupts.connect(vectors);
        if !device.gone {
            device.config.enable_msix(!vectors.is_empty());
        }
        Ok(())
    }

    fn reset(&self) -> Result<bool, Error> {
        let mut device = self.shared.lock();
        if device.gone {
            return Ok(false);
        }
        let state = device.config.save();
        device.function_reset();
        device.config.restore(&state);
        Ok(true)
    }
}

/// The registers behind one BAR.
#[derive(Debug)]
struct RegisterBar {
    shared: Arc<Shared>,
    index: u8,
    length: u64,
}

impl RegisterBar {
    fn read(&self, offset: u64, width: Width) -> u32 {
        if self.length == 0 {
            return ones(width);
        }
        self.shared.lock().bar_read(self.index, offset, width)
    }

    fn write(&self, offset: u64, width: Width, value: u32) {
        if self.length != 0 {
            self.shared.lock().bar_write(self.index, offset, width, value);
        }
    }
}

impl Registers for RegisterBar {
    fn length(&self) -> u64 {
        self.length
    }

    fn read8(&self, offset: u64) -> u8 {
        self.read(offset, Width::Byte) as u8
    }

    fn read16(&self, offset: u64) -> u16 {
        self.read(offset, Width::Word) as u16
    }

    fn read32(&self, offset: u64) -> u32 {
        self.read(offset, Width::Double)
    }

    fn write8(&self, offset: u64, value: u8) {
        self.write(offset, Width::Byte, value.into());
    }

    fn write16(&self, offset: u64, value: u16) {
        self.write(offset, Width::Word, value.into());
    }

    fn write32(&self, offset: u64, value: u32) {
        self.write(offset, Width::Double, value);
    }

    /// Section 4.1.4.4: only the notification area has such registers.
    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell> {
        let place = offset.checked_sub(NOTIFY).filter(|_| self.index == REGISTER_BAR)?;
        if width == Width::Byte || !place.is_multiple_of(NOTIFY_MULTIPLIER.into()) {
            return None;
        }
        let device = self.shared.lock();
        let slot = device.queues.get(usize::try_from(place / u64::from(NOTIFY_MULTIPLIER)).ok()?)?;
        Some(Doorbell::Emulated(Arc::clone(slot.bell())))
    }
}
