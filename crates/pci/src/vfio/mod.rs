//! VFIO as a back end: a function opened by an ordinary user, its accesses to memory confined by the IOMMU.
//!
//! ```text
//!   Function ── Device ── Session ──┬── device file      registers, interrupts, reset
//!                                   └── Seat ── Group    the functions that the IOMMU can't tell apart
//!   AddressSpace ── Type1 ──────────────────────┘        the container: one translation table, several groups
//! ```
//!
//! [`open`] puts a function into an address space of its own; [`open_in`] puts it into one that the program names, so
//! that packets cross between two NICs without a copy. Functions of one IOMMU group must share an address space. A
//! program that isn't to have rights on `/dev/vfio` is handed descriptors instead: [`Opening`].
//!
//! ```no_run
//! # fn main() -> Result<(), ringway_pci::Error> {
//! use ringway_pci::vfio;
//! let first = vfio::open("0000:03:00.0".parse()?)?;
//! let second = vfio::open_in(first.address_space(), "0000:03:00.1".parse()?)?;
//! assert!(first.address_space().is_same(second.address_space()));
//! # Ok(())
//! # }
//! ```
//!
//! The kernel's part that is used: group and container with a type 1 IOMMU, version 2. Not here: giving a function to
//! vfio-pci (`bind`); IOMMU groups without an IOMMU (`vfio-noiommu`), which are refused.

mod container;
mod device;
mod discover;
mod group;
mod ioctl;
mod limits;
mod memlock;
mod region;
mod session;
// Not under Miri: they stand on files, and on what the kernel says to them.
#[cfg(test)]
#[cfg(not(miri))]
mod tests;

use crate::sysfs::Sysfs;
use crate::{Address, Error, Function};
use container::{Empty, Type1};
use device::Device;
use group::Group;
use ringway_dma::AddressSpace;
use session::{Seat, Session};
use std::os::fd::OwnedFd;

/// Opens a function into an address space of its own, [`Function::address_space`].
///
/// # Errors
/// What stands in the way, and the way out: see [`Error`].
pub fn open(address: Address) -> Result<Function, Error> {
    Opening::of(address).open()
}

/// Opens a function into an address space that another one is in.
///
/// Ranges that the new function's IOMMU can't translate are taken out of the address space. A mapping that is made by
/// another thread at the same time may fail for that reason; tried again it succeeds.
///
/// # Errors
/// As [`open`]; also when the address space isn't one of VFIO's, or holds mappings where the new function can't
/// reach.
pub fn open_in(space: &AddressSpace, address: Address) -> Result<Function, Error> {
    Opening::of(address).in_space(space).open()
}

/// A function to be opened, and what is at hand for it.
///
/// Descriptors that are handed in make the rights on their device nodes unnecessary. A container must be handed in
/// whole: what else is mapped in it, by whoever opened it, its devices reach too. A group that is in a container
/// already must be in the one of the address space. A device needs no group when somebody else keeps it open.
#[derive(Debug)]
#[must_use = "nothing is opened before `open`"]
pub struct Opening<'a> {
    address: Address,
    sysfs: Sysfs,
    space: Option<&'a AddressSpace>,
    container: Option<OwnedFd>,
    group: Option<OwnedFd>,
    device: Option<OwnedFd>,
}

impl<'a> Opening<'a> {
    /// The function at `address`, with nothing at hand.
    pub fn of(address: Address) -> Self {
        Self { address, sysfs: Sysfs::host(), space: None, container: None, group: None, device: None }
    }

    /// Into this address space, not one of its own.
    pub fn in_space(mut self, space: &'a AddressSpace) -> Self {
        self.space = Some(space);
        self
    }

    /// In this container, an open `/dev/vfio/vfio`.
    pub fn with_container(mut self, container: OwnedFd) -> Self {
        self.container = Some(container);
        self
    }

    /// Through this group, an open `/dev/vfio/N`.
    pub fn with_group(mut self, group: OwnedFd) -> Self {
        self.group = Some(group);
        self
    }

    /// As this device, which a group gave out (VFIO_GROUP_GET_DEVICE_FD).
    pub fn with_device(mut self, device: OwnedFd) -> Self {
        self.device = Some(device);
        self
    }

    /// With other file trees than the machine's.
    #[cfg(all(test, not(miri)))]
    fn on(mut self, sysfs: Sysfs) -> Self {
        self.sysfs = sysfs;
        self
    }

    /// Opens it.
    ///
    /// # Errors
    /// As [`open`] and [`open_in`]; also when a descriptor isn't what it was handed in as.
    pub fn open(mut self) -> Result<Function, Error> {
        let address = self.address;
        if let Some(device) = &self.device {
            Device::check(device)?;
        }
        let group = self.group.take().map(|group| Group::adopt(group, self.group_number())).transpose()?;
        let numa_node = self.sysfs.function(address).ok().and_then(|function| function.numa_node);
        let seat = match self.space {
            Some(space) => self.join(space, group)?,
            None => self.new_space(group)?,
        };
        let handed_in = self.device.is_some();
        let device = match (self.device, seat.group()) {
            (Some(device), _) => device,
            (None, Some(group)) => group.device(&self.sysfs, address)?,
            (None, None) => return Err(Error::NotInGroup { address }),
        };
        let device = Device::new(Session::new(device, seat), address, numa_node)?;
        if handed_in {
            device.check_claim(&self.sysfs, address)?;
        }
        Function::new(Box::new(device))
    }

    /// The group's number as sysfs has it, where there is a sysfs.
    fn group_number(&self) -> Option<u32> {
        self.sysfs.function(self.address).ok().and_then(|function| function.iommu_group)
    }

    /// A new address space with the function's group in it.
    fn new_space(&mut self, group: Option<Group>) -> Result<Seat, Error> {
        let address = self.address;
        let whole = self.container.is_some() && self.device.is_some();
        let container =
            self.container.take().map(|container| Empty::adopt(container, address)).transpose()?;
        let type1 = match (container, group) {
            (Some(container), None) if whole => container.already_translating(address)?,
            (container, Some(group)) => container
                .map_or_else(|| Empty::open(&self.sysfs, address), Ok)?
                .with_group(&self.sysfs, address, group)?,
            (container, None) => {
                // Everything that can be seen from outside is looked at before anything is opened.
                let number = discover::group_of(&self.sysfs, address)?;
                let container = container.map_or_else(|| Empty::open(&self.sysfs, address), Ok)?;
                let group = Group::open(&self.sysfs, address, number)?;
                container.with_group(&self.sysfs, address, group)?
            }
        };
        let group = type1.first_group();
        Seat::take(&AddressSpace::new(Box::new(type1))?, group, address)
    }

    /// Puts the function's group into an existing address space.
    fn join(&self, space: &AddressSpace, group: Option<Group>) -> Result<Seat, Error> {
        let address = self.address;
        let Some(container) = space.unit::<Type1>().filter(|_| self.container.is_none()) else {
            return Err(Error::OtherSpace { address });
        };
        let joined = match group {
            None if self.device.is_some() => None,
            Some(group) => {
                let number = group.number();
                Some(container.group(&self.sysfs, address, number, || Ok(group))?)
            }
            None => {
                let number = discover::group_of(&self.sysfs, address)?;
                let open = || Group::open(&self.sysfs, address, number);
                Some(container.group(&self.sysfs, address, Some(number), open)?)
            }
        };
        let seat = Seat::take(space, joined, address)?;
        space.refresh_limits()?;
        Ok(seat)
    }
}
