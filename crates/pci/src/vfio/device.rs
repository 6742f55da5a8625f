//! A function that VFIO opened: configuration space, BARs, interrupts, reset.
//!
//! Contract: what a [`Backend`] promises, and that mapped registers can always be touched: a write to configuration
//! space that would switch memory decoding off, or put the function to sleep, is made without that bit. (The kernel
//! answers an access to such a function's mapped registers with SIGBUS.) The same device serves group and container
//! and, one day, cdev and iommufd: it stands on a [`Session`], whatever that was opened by.
//!
//! A function that is gone answers all ones, or its accesses are errors. A kernel that wants a function back (it is
//! unplugged or unbound while it is open) says so by [`Backend::removal_requested`], and waits until it is closed.
//!
//! Source: Linux, `include/uapi/linux/vfio.h` and Documentation/driver-api/vfio.rst. Not here: who may open it.

use super::discover;
use super::ioctl::device as request;
use super::region::{Layout, Region};
use super::session::Session;
use crate::function::capability_list;
use crate::sysfs::Sysfs;
use crate::{Address, Backend, Error, Identity, Registers, Width, event_counter};
use ringway_dma::AddressSpace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET, VFIO_IRQ_INFO_EVENTFD, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX,
};

/// PCI Local Bus 3.0, section 6.2: the words of the header that tell who a function is.
const VENDOR: u16 = 0x00;
const DEVICE: u16 = 0x02;
const COMMAND: u16 = 0x04;
const COMMAND_MEMORY: u32 = 1 << 1;
const REVISION_AND_CLASS: u16 = 0x08;
const SUBSYSTEM_VENDOR: u16 = 0x2c;
const SUBSYSTEM: u16 = 0x2e;
/// PCI Power Management 1.2, section 3.2: the capability's id, its control register, and the bits of the power state.
const CAPABILITY_POWER: u8 = 0x01;
const POWER_CONTROL: u16 = 0x04;
const POWER_STATE: u32 = 0b11;
/// How long a function may take to answer after a reset. PCI Express Base 5.0, section 6.6.1, allows 1 s after which
/// it may still ask for retries; the kernel has waited already.
const RESET_LIMIT: Duration = Duration::from_secs(5);

/// An open function.
#[derive(Debug)]
pub(super) struct Device {
    identity: Identity,
    configuration: Layout,
    resettable: bool,
    vectors: u16,
    /// Whether vectors are connected. Held while they are changed.
    connected: Mutex<bool>,
    /// Where the power state is, if the function has one.
    power_control: Option<u16>,
    /// Counts how often the kernel asked for the function; `None` where it can't (before 4.0).
    removal_requests: Option<Arc<OwnedFd>>,
    bars: Mutex<[Option<Arc<Region>>; 6]>,
    session: Arc<Session>,
}

impl Device {
    /// Checks that a descriptor is a PCI device's.
    pub(super) fn check(descriptor: &OwnedFd) -> Result<(), Error> {
        let wrong =
            |errno: Errno| Error::WrongDescriptor { wanted: "a VFIO PCI device", source: errno.into() };
        let information = request::information(descriptor.as_fd()).map_err(wrong)?;
        if information.flags & VFIO_DEVICE_FLAGS_PCI == 0 { Err(wrong(Errno::NOTTY)) } else { Ok(()) }
    }

    /// Takes an open device over, and makes sure that it is a NIC.
    pub(super) fn new(session: Session, address: Address, numa_node: Option<u32>) -> Result<Self, Error> {
        Self::check(session.descriptor())?;
        let descriptor = session.descriptor().as_fd();
        let refused = |attempt| move |errno| discover::refused(address, attempt, errno);
        let information = request::information(descriptor).map_err(refused("asking what it has"))?;
        let interrupts = request::interrupts(descriptor, VFIO_PCI_MSIX_IRQ_INDEX);
        let interrupts = interrupts.map_err(refused("asking for its MSI-X vectors"))?;
        let configuration = layout(&session, &address.to_string(), VFIO_PCI_CONFIG_REGION_INDEX)?;
        let vectors = if interrupts.flags & VFIO_IRQ_INFO_EVENTFD != 0 { interrupts.count } else { 0 };
        let mut device = Self {
            identity: Identity {
                name: address.to_string(),
                vendor: 0,
                device: 0,
                subsystem_vendor: 0,
                subsystem: 0,
                revision: 0,
                class: 0,
                numa_node,
            },
            configuration,
            resettable: information.flags & VFIO_DEVICE_FLAGS_RESET != 0,
            vectors: u16::try_from(vectors).unwrap_or(u16::MAX),
            connected: Mutex::new(false),
            power_control: None,
            removal_requests: None,
            bars: Mutex::default(),
            session: Arc::new(session),
        };
        device.identify()?;
        if device.identity.class >> 16 != 0x02 {
            let class = device.identity.class;
            return Err(Error::NotNetwork { address, kind: "device of another kind", class });
        }
        let power =
            capability_list(&device)?.into_iter().find(|capability| capability.id == CAPABILITY_POWER);
        device.power_control = power.and_then(|capability| capability.offset.checked_add(POWER_CONTROL));
        device.removal_requests = device.hear_removal_requests();
        // Before anything is mapped: decoding on, and awake.
        for offset in [Some(COMMAND), device.power_control].into_iter().flatten() {
            let value = device.config_read(offset, Width::Word)?;
            device.config_write(offset, Width::Word, value)?;
        }
        Ok(device)
    }

    /// Whether it is the function at `address`, as far as can be told.
    pub(super) fn check_claim(&self, sysfs: &Sysfs, address: Address) -> Result<(), Error> {
        discover::check_claim(sysfs, address, self.session.descriptor().as_fd(), &self.identity)
    }

    fn identify(&mut self) -> Result<(), Error> {
        let word = |offset| Ok::<u16, Error>(self.config_read(offset, Width::Word)? as u16);
        let (vendor, device) = (word(VENDOR)?, word(DEVICE)?);
        let (subsystem_vendor, subsystem) = (word(SUBSYSTEM_VENDOR)?, word(SUBSYSTEM)?);
        let revision_and_class = self.config_read(REVISION_AND_CLASS, Width::Double)?;
        if revision_and_class == u32::MAX {
            return Err(Error::Gone { device: self.identity.name.clone() });
        }
        let identity = &mut self.identity;
        (identity.vendor, identity.device) = (vendor, device);
        (identity.subsystem_vendor, identity.subsystem) = (subsystem_vendor, subsystem);
        identity.revision = revision_and_class as u8;
        identity.class = revision_and_class >> 8;
        Ok(())
    }

    /// A counter of the kernel's requests to give the function back. Without one the function serves as well.
    fn hear_removal_requests(&self) -> Option<Arc<OwnedFd>> {
        let descriptor = self.session.descriptor().as_fd();
        let information = request::interrupts(descriptor, VFIO_PCI_REQ_IRQ_INDEX).ok()?;
        let counter = event_counter().ok().filter(|_| information.count > 0)?;
        let connected = request::connect(descriptor, VFIO_PCI_REQ_IRQ_INDEX, &[Arc::clone(&counter)]);
        connected.is_ok_and(|answer| answer == 0).then_some(counter)
    }

    fn refused(&self, attempt: &'static str, errno: Errno) -> Error {
        Error::Vfio { device: self.identity.name.clone(), attempt, source: errno.into() }
    }

    /// The bits of a write to configuration space that leave mapped registers reachable.
    fn harmless(&self, offset: u16, value: u32) -> u32 {
        match offset {
            COMMAND => value | COMMAND_MEMORY,
            offset if Some(offset) == self.power_control => value & !POWER_STATE,
            _ => value,
        }
    }

    fn check_config(&self, offset: u16, width: Width) -> Result<(), Error> {
        let end = u64::from(offset).saturating_add(width.bytes().into());
        if offset.is_multiple_of(width.bytes()) && end <= self.configuration.length {
            Ok(())
        } else {
            Err(Error::ConfigOffset { device: self.identity.name.clone(), offset, bytes: width.bytes() })
        }
    }

    /// Waits until the function answers. The vendor's id is no test: the kernel keeps a copy of it.
    fn wait_until_it_answers(&self) -> Result<(), Error> {
        let deadline = Instant::now() + RESET_LIMIT;
        loop {
            if self.config_read(REVISION_AND_CLASS, Width::Double).is_ok_and(|value| value != u32::MAX) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Gone { device: self.identity.name.clone() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The layout of region `index`.
fn layout(session: &Session, device: &str, index: u32) -> Result<Layout, Error> {
    let information = request::region(session.descriptor().as_fd(), index).map_err(|errno| Error::Vfio {
        device: device.to_owned(),
        attempt: "asking where its registers are",
        source: errno.into(),
    })?;
    Layout::read(&information)
        .map_err(|what| Error::Nonsense { request: "VFIO_DEVICE_GET_REGION_INFO", what })
}

impl Backend for Device {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn address_space(&self) -> &AddressSpace {
        self.session.space()
    }

    fn is_emulated(&self) -> bool {
        false
    }

    fn config_read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        self.check_config(offset, width)?;
        let (start, offset) = (self.configuration.start, u64::from(offset));
        match width {
            Width::Byte => self.session.read(start, offset).map(|[byte]| byte.into()),
            Width::Word => self.session.read(start, offset).map(|word| u16::from_le_bytes(word).into()),
            Width::Double => self.session.read(start, offset).map(u32::from_le_bytes),
        }
        .map_err(|errno| self.refused("reading its configuration space", errno))
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        self.check_config(offset, width)?;
        let [first, second, ..] = self.harmless(offset, value).to_le_bytes();
        let (start, place) = (self.configuration.start, u64::from(offset));
        match width {
            Width::Byte => self.session.write(start, place, [first]),
            Width::Word => self.session.write(start, place, [first, second]),
            Width::Double => self.session.write(start, place, self.harmless(offset, value).to_le_bytes()),
        }
        .map_err(|errno| self.refused("writing its configuration space", errno))
    }

    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, Error> {
        let missing = || Error::NoBar { device: self.identity.name.clone(), index };
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.get_mut(usize::from(index)).ok_or_else(missing)?;
        if let Some(bar) = bar {
            return Ok(Arc::<Region>::clone(bar));
        }
        let layout = layout(&self.session, &self.identity.name, index.into())?;
        if layout.length == 0 {
            return Err(missing());
        }
        let region = Arc::new(Region::new(&self.session, layout));
        *bar = Some(Arc::clone(&region));
        Ok(region)
    }

    fn msix_vectors(&self) -> u16 {
        self.vectors
    }

    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), Error> {
        let too_few = |available| Error::TooFewVectors {
            device: self.identity.name.clone(),
            wanted: vectors.len(),
            available,
        };
        if vectors.len() > usize::from(self.vectors) {
            return Err(too_few(self.vectors));
        }
        let descriptor = self.session.descriptor().as_fd();
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        // The number of vectors can't change while they are connected (VFIO_IRQ_INFO_NORESIZE).
        if *connected {
            request::disconnect(descriptor, VFIO_PCI_MSIX_IRQ_INDEX)
                .map_err(|errno| self.refused("disconnecting its interrupts", errno))?;
            *connected = false;
        }
        if vectors.is_empty() {
            return Ok(());
        }
        match request::connect(descriptor, VFIO_PCI_MSIX_IRQ_INDEX, vectors) {
            Ok(0) => {
                *connected = true;
                Ok(())
            }
            Ok(available) => Err(too_few(u16::try_from(available).unwrap_or(0))),
            Err(errno) => Err(self.refused("connecting its interrupts", errno)),
        }
    }

    fn removal_requested(&self) -> bool {
        let Some(counter) = &self.removal_requests else { return false };
        // Looked at, not read: once asked for, always asked for.
        let mut look = [PollFd::new(counter, PollFlags::IN)];
        poll(&mut look, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    fn reset(&self) -> Result<bool, Error> {
        if !self.resettable {
            return Ok(false);
        }
        let deadline = Instant::now() + RESET_LIMIT;
        loop {
            match request::reset(self.session.descriptor().as_fd()) {
                Ok(()) => break,
                // Who wants the function back holds its lock in the kernel, until it is closed.
                Err(Errno::AGAIN) if self.removal_requested() => return Ok(false),
                // Somebody else holds it: sysfs is being written, say.
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1))
                }
                Err(errno) => return Err(self.refused("resetting it", errno)),
            }
        }
        self.wait_until_it_answers()?;
        Ok(true)
    }
}
