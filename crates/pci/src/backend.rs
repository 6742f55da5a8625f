//! The seam: what a driver needs of a function, whatever stands behind it.
//!
//! VFIO is one back end, a software model another. Drivers don't use this trait but [`Function`](crate::Function),
//! which stands on it and adds what must never be left out (capability walks with bounds, teardown in order).
//! A model implements it without `unsafe`: nothing in here lets an implementation reach memory.

use crate::{Doorbell, Error};
use ringway_dma::AddressSpace;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Who a function is: the words at the head of its configuration space (PCI Local Bus 3.0, section 6.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name that errors and statistics carry: `0000:03:00.0`, `emulated:0`.
    pub name: String,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Subsystem vendor id.
    pub subsystem_vendor: u16,
    /// Subsystem id.
    pub subsystem: u16,
    /// Revision id.
    pub revision: u8,
    /// Base class, subclass and programming interface: `0x020000` is an Ethernet controller.
    pub class: u32,
    /// The NUMA node that the function hangs on, where the kernel knows one.
    pub numa_node: Option<u32>,
}

/// How wide an access to configuration space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Double,
}

impl Width {
    /// The width in bytes.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Double => 4,
        }
    }
}

/// The registers behind one base address register (BAR). Dynamic dispatch: none of these is on the packet path.
///
/// An access outside the BAR, or not aligned to its width, is not made: a read gives all ones, as from a function
/// that is gone, and a write is dropped. [`Bar`](crate::Bar) checks offsets before it comes to that.
pub trait Registers: Send + Sync + fmt::Debug {
    /// Its size in bytes.
    fn length(&self) -> u64;
    /// Reads a byte.
    fn read8(&self, offset: u64) -> u8;
    /// Reads two bytes, little-endian.
    fn read16(&self, offset: u64) -> u16;
    /// Reads four bytes, little-endian.
    fn read32(&self, offset: u64) -> u32;
    /// Writes a byte.
    fn write8(&self, offset: u64, value: u8);
    /// Writes two bytes, little-endian.
    fn write16(&self, offset: u64, value: u16);
    /// Writes four bytes, little-endian.
    fn write32(&self, offset: u64, value: u32);
    /// The store that tells the device of new descriptors, at `offset`, two or four bytes wide. `None` when the
    /// offset is outside the BAR or not aligned.
    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell>;
}

/// A function and its address space, as a back end provides them.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Who it is.
    fn identity(&self) -> &Identity;

    /// The memory that it can reach.
    fn address_space(&self) -> &AddressSpace;

    /// Whether its accesses to memory are confined by an IOMMU or a software table at all. A driver refuses a
    /// device that can be told to bypass it.
    fn is_emulated(&self) -> bool;

    /// Reads configuration space, little-endian, at an aligned offset below 4096.
    ///
    /// # Errors
    /// When the kernel refuses the access.
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, Error>;

    /// Writes configuration space.
    ///
    /// # Errors
    /// When the kernel refuses the access.
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error>;

    /// The registers behind BAR `index` (0 to 5).
    ///
    /// # Errors
    /// When there is no such BAR or it can't be mapped.
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, Error>;

    /// How many MSI-X vectors the function has.
    fn msix_vectors(&self) -> u16;

    /// Connects vector n to the n-th event counter, all in one call; an empty slice disconnects all.
    ///
    /// # Errors
    /// When there are more counters than vectors, or the kernel refuses.
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), Error>;

    /// Whether the function is wanted back: it is being unplugged, or taken from this program's back end. Whoever wants it
    /// waits until it is closed. Back ends that nobody takes functions from leave this as it is.
    fn removal_requested(&self) -> bool {
        false
    }

    /// Resets the function and waits, bounded, until it answers again. `Ok(false)`: it has no way to be reset
    /// by itself, or who wants it back is in the way.
    ///
    /// # Errors
    /// When the function doesn't come back.
    fn reset(&self) -> Result<bool, Error>;
}
