//! An open device's file, and its seat in the container.
//!
//! Contract: the order at the end. The file is closed first, by whoever holds the session last (the device, a BAR, a
//! doorbell), and only then does its group leave the container. Whatever way the device was opened, through a group or,
//! one day, as a character device bound to iommufd, a session is what the rest of it stands on.

use super::container::Type1;
use super::group::Group;
use crate::{Address, Error};
use ringway_dma::AddressSpace;
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// An open device. The order of the fields is the order in which they go.
#[derive(Debug)]
pub(super) struct Session {
    descriptor: OwnedFd,
    seat: Seat,
}

/// What keeps a device attached to its address space.
#[derive(Debug)]
pub(super) struct Seat {
    space: AddressSpace,
    group: Option<Arc<Group>>,
    taken: Option<Address>,
}

impl Seat {
    /// A seat in `space` for the function at `address`; `group` is `None` when somebody else keeps the group open. A
    /// function has one seat at a time: the kernel would open it twice, and then there would be two owners.
    pub(super) fn take(
        space: &AddressSpace,
        group: Option<Arc<Group>>,
        address: Address,
    ) -> Result<Self, Error> {
        // Made before it is known to be free: on an error its end lets the group go.
        let mut seat = Self { space: space.clone(), group, taken: None };
        if let Some(container) = space.unit::<Type1>() {
            container.enter(address)?;
            seat.taken = Some(address);
        }
        Ok(seat)
    }

    /// The group, unless somebody else keeps it.
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_deref()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(container) = self.space.unit::<Type1>() {
            container.leave(self.taken, self.group.take());
        }
    }
}

impl Session {
    /// An open device in its seat.
    pub(super) fn new(descriptor: OwnedFd, seat: Seat) -> Self {
        Self { descriptor, seat }
    }

    /// The device's file.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// The memory that the device reaches.
    pub(super) fn space(&self) -> &AddressSpace {
        &self.seat.space
    }

    /// Reads at `offset` of the region that starts at `start` of the file, all in one access.
    pub(super) fn read<const BYTES: usize>(&self, start: u64, offset: u64) -> Result<[u8; BYTES], Errno> {
        let mut bytes = [0u8; BYTES];
        let place = start.checked_add(offset).ok_or(Errno::OVERFLOW)?;
        let count = rustix::io::retry_on_intr(|| pread(&self.descriptor, &mut bytes, place))?;
        if count == BYTES { Ok(bytes) } else { Err(Errno::IO) }
    }

    /// Writes at `offset` of the region that starts at `start` of the file, all in one access.
    pub(super) fn write<const BYTES: usize>(
        &self,
        start: u64,
        offset: u64,
        bytes: [u8; BYTES],
    ) -> Result<(), Errno> {
        let place = start.checked_add(offset).ok_or(Errno::OVERFLOW)?;
        let count = rustix::io::retry_on_intr(|| pwrite(&self.descriptor, &bytes, place))?;
        if count == BYTES { Ok(()) } else { Err(Errno::IO) }
    }
}
