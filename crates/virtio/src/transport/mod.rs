//! How a driver talks to a virtio device besides the rings.
//!
//! Modern PCI is one transport; the legacy interface and vhost-user fit the same calls.

mod capabilities;
mod modern_pci;

pub(crate) use modern_pci::ModernPci;

use crate::{Error, Features};
use ringway_dma::{Attachment, Keeper, RingBase};
use ringway_pci::Doorbell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Device status bits (virtio 1.2, section 2.1).
pub(crate) mod status {
    pub(crate) const ACKNOWLEDGE: u8 = 1;
    pub(crate) const DRIVER: u8 = 2;
    pub(crate) const DRIVER_OK: u8 = 4;
    pub(crate) const FEATURES_OK: u8 = 8;
    pub(crate) const DEVICE_NEEDS_RESET: u8 = 64;
    pub(crate) const FAILED: u8 = 128;
}

/// Where a queue's three areas are (section 2.7), and which interrupt it raises.
#[derive(Debug)]
pub(crate) struct QueueAreas {
    pub(crate) size: u16,
    pub(crate) descriptors: RingBase,
    pub(crate) driver: RingBase,
    pub(crate) device: RingBase,
    pub(crate) vector: Option<u16>,
}

/// Whether the device is there, live and well.
pub(crate) fn alive(transport: &dyn Transport) -> Result<(), Error> {
    let failed = |reason| Err(Error::Failed { device: transport.name().to_owned(), reason });
    match transport.status() {
        u8::MAX => Err(Error::Gone { device: transport.name().to_owned() }),
        status if status & status::DEVICE_NEEDS_RESET != 0 => {
            failed("it says that it needs a reset (DEVICE_NEEDS_RESET)")
        }
        status if status & status::DRIVER_OK == 0 => failed("someone else has reset it"),
        _ => Ok(()),
    }
}

/// A virtio device without its rings.
pub(crate) trait Transport: Keeper {
    /// The device's name in messages.
    fn name(&self) -> &str;

    /// The open device and its address space.
    fn attachment(&self) -> &Attachment;

    /// Its NUMA node, where known.
    fn numa_node(&self) -> Option<u32>;

    /// Whether an IOMMU must confine it.
    fn is_emulated(&self) -> bool;

    /// Whether the kernel wants the function back, and waits for it.
    fn removal_requested(&self) -> bool;

    /// What the device offers.
    fn offered(&self) -> Features;

    /// Tells the device what the driver accepts.
    fn accept(&self, features: Features);

    /// The device status.
    fn status(&self) -> u8;

    /// Sets the device status; 0 resets, see [`reset`](Self::reset).
    fn set_status(&self, status: u8);

    /// Resets the device and waits, bounded, until it says so (section 4.1.4.3.2).
    fn reset(&self) -> Result<(), Error>;

    /// Lets the device reach memory.
    fn enable_dma(&self) -> Result<(), Error>;

    /// The largest size of a queue; 0: there is no such queue.
    fn queue_maximum(&self, queue: u16) -> u16;

    /// Sets a queue up and enables it; gives the doorbell of its new descriptors.
    fn start_queue(&self, queue: u16, areas: &QueueAreas) -> Result<Doorbell, Error>;

    /// Whether its registers have what resets one queue (section 4.1.4.3).
    fn can_reset_queues(&self) -> bool;

    /// Resets one queue, and waits, bounded, until the device says so (section 2.6.1).
    fn reset_queue(&self, queue: u16) -> Result<(), Error>;

    /// How many vectors it has.
    fn vectors(&self) -> u16;

    /// Connects interrupts: vector n to counter n; changes of the configuration go to `changes`.
    fn connect_interrupts(&self, counters: &[Arc<OwnedFd>], changes: Option<u16>) -> Result<(), Error>;

    /// The length of the device's configuration in bytes: a field beyond it is not there.
    fn configuration_length(&self) -> u64;

    /// Reads a field of the device's configuration, in the field's own width (section 4.1.3.1).
    fn configuration8(&self, offset: u64) -> u8;

    /// Reads a field of two bytes.
    fn configuration16(&self, offset: u64) -> u16;

    /// Reads a field of four bytes.
    fn configuration32(&self, offset: u64) -> u32;

    /// Changes with the configuration (section 2.5.1).
    fn generation(&self) -> u8;
}
