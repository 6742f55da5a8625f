//! Virtio over PCI, virtio 1.x (virtio 1.2, section 4.1).

use super::capabilities::{self, COMMON, DEVICE, NOTIFY, Wanted};
use super::{QueueAreas, Transport};
use crate::{Error, Features};
use ringway_dma::{Attachment, Keeper, Park};
use ringway_pci::{Bar, Doorbell, Function, Width};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The common configuration structure (section 4.1.4.3).
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: u64 = 0;
    pub(super) const DEVICE_FEATURE: u64 = 4;
    pub(super) const DRIVER_FEATURE_SELECT: u64 = 8;
    pub(super) const DRIVER_FEATURE: u64 = 12;
    pub(super) const CONFIG_MSIX_VECTOR: u64 = 16;
    pub(super) const DEVICE_STATUS: u64 = 20;
    pub(super) const CONFIG_GENERATION: u64 = 21;
    pub(super) const QUEUE_SELECT: u64 = 22;
    pub(super) const QUEUE_SIZE: u64 = 24;
    pub(super) const QUEUE_MSIX_VECTOR: u64 = 26;
    pub(super) const QUEUE_ENABLE: u64 = 28;
    pub(super) const QUEUE_NOTIFY_OFF: u64 = 30;
    pub(super) const QUEUE_DESC: u64 = 32;
    pub(super) const QUEUE_DRIVER: u64 = 40;
    pub(super) const QUEUE_DEVICE: u64 = 48;
    pub(super) const QUEUE_RESET: u64 = 58;
    /// The structure of virtio 1.0; later versions append.
    pub(super) const LENGTH: u32 = 56;
    /// Up to here it can reset one queue (virtio 1.2).
    pub(super) const LENGTH_WITH_RESET: u64 = 60;
}

/// No interrupt (section 4.1.4.3).
const NO_VECTOR: u16 = 0xffff;
/// A device that takes longer to reset than this is broken: hypervisors take microseconds, hardware milliseconds.
const RESET_LIMIT: Duration = Duration::from_secs(5);

/// A modern virtio PCI function.
#[derive(Debug)]
pub(crate) struct ModernPci {
    common: Bar,
    notify: Bar,
    notify_multiplier: u32,
    configuration: Option<Bar>,
    /// Held while a queue is selected.
    selected: Mutex<()>,
    function: Function,
}

impl ModernPci {
    /// Finds the device's structures. Nothing is changed.
    pub(crate) fn new(function: Function) -> Result<Self, Error> {
        let structures = capabilities::structures(&function)?;
        let find = |kind, what, minimum, alignment| Wanted { kind, what, minimum, alignment };
        let (common, _) = capabilities::require(
            &function,
            &structures,
            find(COMMON, "common configuration", common::LENGTH, 4),
        )?;
        let (notify, place) =
            capabilities::require(&function, &structures, find(NOTIFY, "notification area", 2, 2))?;
        let notify_multiplier = capabilities::notify_multiplier(&function, place)?;
        let configuration =
            capabilities::map(&function, &structures, find(DEVICE, "device configuration", 1, 4))?;
        Ok(Self {
            common,
            notify,
            notify_multiplier,
            configuration: configuration.map(|(bar, _)| bar),
            selected: Mutex::default(),
            function,
        })
    }

    /// Selects a queue for as long as the guard lives.
    fn select(&self, queue: u16) -> MutexGuard<'_, ()> {
        let guard = self.selected.lock().unwrap_or_else(PoisonError::into_inner);
        self.common.write16(common::QUEUE_SELECT, queue);
        guard
    }

    fn device(&self) -> String {
        self.function.name().to_owned()
    }

    /// A vector that the device could not take reads back as none (section 4.1.5.1.2.1).
    fn check_vector(&self, register: u64, vector: Option<u16>) -> Result<(), Error> {
        let wanted = vector.unwrap_or(NO_VECTOR);
        self.common.write16(register, wanted);
        if self.common.read16(register) == wanted {
            return Ok(());
        }
        Err(Error::Protocol {
            device: self.device(),
            what: format!("it can't use MSI-X vector {wanted}"),
            section: "4.1.5.1.2",
        })
    }
}

impl Drop for ModernPci {
    fn drop(&mut self) {
        // The last queue and the control handle are gone. The device forgets its rings before the function takes its
        // bus mastering away and gives their memory back; if it doesn't answer, the function's own teardown is what
        // there is.
        let _ = self.reset();
    }
}

impl Keeper for ModernPci {
    fn keep(&self, what: Box<dyn Park>) {
        self.function.keep(what);
    }
}

impl Transport for ModernPci {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn attachment(&self) -> &Attachment {
        self.function.attachment()
    }

    fn numa_node(&self) -> Option<u32> {
        self.function.identity().numa_node
    }

    fn is_emulated(&self) -> bool {
        self.function.is_emulated()
    }

    fn removal_requested(&self) -> bool {
        self.function.removal_requested()
    }

    fn offered(&self) -> Features {
        let mut bits = 0;
        for (select, shift) in [(0, 0), (1, 32)] {
            self.common.write32(common::DEVICE_FEATURE_SELECT, select);
            bits |= u64::from(self.common.read32(common::DEVICE_FEATURE)) << shift;
        }
        Features::from_bits(bits)
    }

    fn accept(&self, features: Features) {
        for (select, shift) in [(0, 0), (1, 32)] {
            self.common.write32(common::DRIVER_FEATURE_SELECT, select);
            self.common.write32(common::DRIVER_FEATURE, (features.bits() >> shift) as u32);
        }
    }

    fn status(&self) -> u8 {
        self.common.read8(common::DEVICE_STATUS)
    }

    fn set_status(&self, status: u8) {
        self.common.write8(common::DEVICE_STATUS, status);
    }

    fn reset(&self) -> Result<(), Error> {
        self.set_status(0);
        let deadline = Instant::now() + RESET_LIMIT;
        loop {
            match self.status() {
                0 => return Ok(()),
                u8::MAX => return Err(Error::Gone { device: self.device() }),
                _ if Instant::now() > deadline => {
                    return Err(Error::Timeout {
                        device: self.device(),
                        what: "reset",
                        milliseconds: RESET_LIMIT.as_millis() as u64,
                    });
                }
                _ => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    fn enable_dma(&self) -> Result<(), Error> {
        Ok(self.function.set_bus_master(true)?)
    }

    fn queue_maximum(&self, queue: u16) -> u16 {
        let _selected = self.select(queue);
        self.common.read16(common::QUEUE_SIZE)
    }

    fn start_queue(&self, queue: u16, areas: &QueueAreas) -> Result<Doorbell, Error> {
        let _selected = self.select(queue);
        self.common.write16(common::QUEUE_SIZE, areas.size);
        let taken = self.common.read16(common::QUEUE_SIZE);
        if taken != areas.size {
            return Err(Error::Protocol {
                device: self.device(),
                what: format!("its queue {queue} takes {taken} descriptors instead of {}", areas.size),
                section: "4.1.4.3",
            });
        }
        self.check_vector(common::QUEUE_MSIX_VECTOR, areas.vector)?;
        self.common.write_ring_base(common::QUEUE_DESC, common::QUEUE_DESC + 4, areas.descriptors);
        self.common.write_ring_base(common::QUEUE_DRIVER, common::QUEUE_DRIVER + 4, areas.driver);
        self.common.write_ring_base(common::QUEUE_DEVICE, common::QUEUE_DEVICE + 4, areas.device);
        let place = u64::from(self.common.read16(common::QUEUE_NOTIFY_OFF))
            .saturating_mul(u64::from(self.notify_multiplier));
        // `Bar` checks the place against the length that the device gave (section 4.1.4.4.1).
        let doorbell = self.notify.doorbell(self.name(), place, Width::Word)?;
        self.common.write16(common::QUEUE_ENABLE, 1);
        Ok(doorbell)
    }

    fn can_reset_queues(&self) -> bool {
        self.common.length() >= common::LENGTH_WITH_RESET
    }

    fn reset_queue(&self, queue: u16) -> Result<(), Error> {
        let _selected = self.select(queue);
        self.common.write16(common::QUEUE_RESET, 1);
        let deadline = Instant::now() + RESET_LIMIT;
        loop {
            // Section 4.1.4.3.2: done when both read 0.
            match (self.common.read16(common::QUEUE_RESET), self.common.read16(common::QUEUE_ENABLE)) {
                (0, 0) => return Ok(()),
                (u16::MAX, u16::MAX) => return Err(Error::Gone { device: self.device() }),
                _ if Instant::now() > deadline => {
                    return Err(Error::Timeout {
                        device: self.device(),
                        what: "reset a queue",
                        milliseconds: RESET_LIMIT.as_millis() as u64,
                    });
                }
                _ => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    fn vectors(&self) -> u16 {
        self.function.msix_vectors()
    }

    fn connect_interrupts(&self, counters: &[Arc<OwnedFd>], changes: Option<u16>) -> Result<(), Error> {
        self.function.set_msix(counters)?;
        self.check_vector(common::CONFIG_MSIX_VECTOR, changes)
    }

    fn configuration_length(&self) -> u64 {
        self.configuration.as_ref().map_or(0, Bar::length)
    }

    fn configuration8(&self, offset: u64) -> u8 {
        self.configuration.as_ref().map_or(0, |registers| registers.read8(offset))
    }

    fn configuration16(&self, offset: u64) -> u16 {
        self.configuration.as_ref().map_or(0, |registers| registers.read16(offset))
    }

    fn configuration32(&self, offset: u64) -> u32 {
        self.configuration.as_ref().map_or(0, |registers| registers.read32(offset))
    }

    fn generation(&self) -> u8 {
        self.common.read8(common::CONFIG_GENERATION)
    }
}
