//! The store that tells a device of new descriptors.
//!
//! An enum, not a trait object: it stands on the packet path, once a batch, as one predicted branch.

use crate::{Registers, Width};
use std::fmt;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Keeps a BAR's mapping for as long as something points into it.
pub(crate) trait KeepMapped: Send + Sync + fmt::Debug {}
impl<T: Send + Sync + fmt::Debug> KeepMapped for T {}

/// A register that is only ever written, with two or four bytes.
#[derive(Debug)]
pub enum Doorbell {
    /// A device register behind a BAR.
    Mmio(Mmio),
    /// A model's register: the model sees the last value that was written.
    Emulated(Arc<AtomicU32>),
    /// A counter that another process waits on; the value says nothing.
    Eventfd(Arc<OwnedFd>),
    /// A register that can't be mapped, an I/O port say: each ring is a system call.
    Unmapped {
        /// The BAR that it is in.
        registers: Arc<dyn Registers>,
        /// Where in the BAR.
        offset: u64,
        /// How wide it is.
        width: Width,
    },
}

impl Doorbell {
    /// Tells the device. Everything written to memory before is visible to it by then.
    #[inline]
    pub fn ring(&self, value: u32) {
        ringway_dma::barrier::before_doorbell();
        // One branch where it matters: a register that is mapped, 32 bits wide.
        if let Self::Mmio(register) = self {
            register.store(value);
        } else if let Self::Emulated(register) = self {
            register.store(value, Ordering::Release);
        } else {
            self.call(value);
        }
    }

    /// Where telling is a system call.
    #[cold]
    #[inline(never)]
    fn call(&self, value: u32) {
        match self {
            Self::Mmio(_) | Self::Emulated(_) => {}
            Self::Eventfd(counter) => signal(counter),
            Self::Unmapped { registers, offset, width } => store(&**registers, *offset, *width, value),
        }
    }
}

#[cold]
fn store(registers: &dyn Registers, offset: u64, width: Width, value: u32) {
    match width {
        Width::Byte => registers.write8(offset, value as u8),
        Width::Word => registers.write16(offset, value as u16),
        Width::Double => registers.write32(offset, value),
    }
}

#[cold]
fn signal(counter: &OwnedFd) {
    // The only failure is a counter that is full, and a full counter wakes its reader too.
    let _ = rustix::io::write(counter, &1u64.to_ne_bytes());
}

/// A register in device memory, kept mapped.
#[derive(Debug)]
pub struct Mmio {
    register: NonNull<u8>,
    width: Width,
    _mapping: Arc<dyn KeepMapped>,
}

// SAFETY: the register is device memory, which any thread may write; the mapping is kept by `_mapping`.
unsafe impl Send for Mmio {}
// SAFETY: as above.
unsafe impl Sync for Mmio {}

impl Mmio {
    /// A doorbell at `register`.
    ///
    /// # Safety
    /// `register` is device memory, aligned to `width`, and stays mapped for as long as `mapping` lives.
    pub(crate) unsafe fn new(register: NonNull<u8>, width: Width, mapping: Arc<dyn KeepMapped>) -> Self {
        Self { register, width, _mapping: mapping }
    }

    #[inline]
    fn store(&self, value: u32) {
        if self.width == Width::Double {
            // SAFETY: mapped and aligned, by the contract of `new`.
            unsafe { self.register.cast::<u32>().write_volatile(value) }
        } else if self.width == Width::Word {
            // SAFETY: as above.
            unsafe { self.register.cast::<u16>().write_volatile(value as u16) }
        } else {
            // SAFETY: as above.
            unsafe { self.register.write_volatile(value as u8) }
        }
    }
}
