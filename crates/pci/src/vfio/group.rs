//! An IOMMU group: the functions that the IOMMU can't tell apart, handed out as one.
//!
//! Contract: a [`Group`] that exists is a VFIO group which the kernel calls viable. The kernel opens a group once at a
//! time, so all functions of a group that a process has share one `Group`.
//!
//! Not here: which group a function is in (`discover.rs`), the container that it joins (`container.rs`).

use super::discover;
use super::ioctl::group as request;
use crate::sysfs::Sysfs;
use crate::{Address, Error};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// An open group.
#[derive(Debug)]
pub(super) struct Group {
    descriptor: OwnedFd,
    number: Option<u32>,
}

impl Group {
    /// Opens group `number`, for the sake of the function at `address`.
    pub(super) fn open(sysfs: &Sysfs, address: Address, number: u32) -> Result<Self, Error> {
        let node = node(number);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(sysfs.resolve(&node), flags, Mode::empty())
            .map_err(|errno| discover::explain_group_open(sysfs, address, &node, errno))?;
        let group = Self::adopt(descriptor, Some(number))?;
        if group.status(address)?.viable {
            Ok(group)
        } else {
            Err(discover::explain_not_viable(sysfs, address, number))
        }
    }

    /// Takes a group over that somebody else opened.
    pub(super) fn adopt(descriptor: OwnedFd, number: Option<u32>) -> Result<Self, Error> {
        request::status(descriptor.as_fd())
            .map_err(|errno| Error::WrongDescriptor { wanted: "a VFIO group", source: errno.into() })?;
        Ok(Self { descriptor, number })
    }

    /// The kernel's number for it, unless it was handed in where there is no sysfs to say so.
    pub(super) fn number(&self) -> Option<u32> {
        self.number
    }

    fn status(&self, address: Address) -> Result<request::Status, Error> {
        request::status(self.descriptor.as_fd())
            .map_err(|errno| discover::refused(address, "asking for its group's status", errno))
    }

    /// Puts it into a container, unless who opened it did so.
    pub(super) fn join(
        &self,
        sysfs: &Sysfs,
        address: Address,
        container: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let status = self.status(address)?;
        if status.in_container {
            return Ok(());
        }
        request::set_container(self.descriptor.as_fd(), container).map_err(|errno| match errno {
            Errno::PERM if status.viable => Error::UnsafeInterrupts { address },
            Errno::PERM => discover::explain_not_viable(sysfs, address, self.number.unwrap_or_default()),
            errno => discover::refused(address, "putting its group into the container", errno),
        })
    }

    /// Opens the function at `address`.
    pub(super) fn device(&self, sysfs: &Sysfs, address: Address) -> Result<OwnedFd, Error> {
        // An address is digits and signs: it has no zero byte.
        let name = CString::new(address.to_string()).unwrap_or_default();
        request::device(self.descriptor.as_fd(), &name)
            .map_err(|errno| discover::explain_device(sysfs, address, self.number, errno))
    }
}

/// The device node of a group.
pub(super) fn node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/vfio/{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel")]
    fn only_a_group_is_taken_for_a_group() {
        let not_groups: [OwnedFd; 2] = [
            std::fs::File::open("/dev/null").unwrap().into(),
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap(),
        ];
        for descriptor in not_groups {
            let error = Group::adopt(descriptor, None).unwrap_err();
            assert!(matches!(error, Error::WrongDescriptor { .. }));
            assert!(error.to_string().contains("is not a VFIO group"), "{error}");
        }
    }
}
