//! The container: one translation table in the kernel, and the groups whose functions reach memory through it.
//!
//! Contract: two types for two states. An [`Empty`] container has no group and no IOMMU, so nothing can be mapped in
//! it: only the first group turns it into a [`Type1`], which is what an address space stands on. The container lives as
//! long as its address space, and holds at least one group for all that time, since the kernel forgets every mapping
//! when the last group leaves. Other groups leave with their last function.
//!
//! Source: Linux, Documentation/driver-api/vfio.rst. Not here: what may be mapped (`limits.rs`), devices.

use super::discover;
use super::group::Group;
use super::ioctl::container as request;
use super::limits;
use super::memlock::Allowance;
use crate::sysfs::Sysfs;
use crate::{Address, Error};
use ringway_dma::{BackendError, Iommu, Iova, Limits, Mapping};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vfio_bindings::bindings::vfio::{VFIO_API_VERSION, VFIO_TYPE1v2_IOMMU};

/// How long the kernel may take from forgetting the last group's mappings to saying so.
const DISSOLVING: Duration = Duration::from_secs(5);

/// Where containers come from.
pub(super) const NODE: &str = "/dev/vfio/vfio";

/// A container that translates nothing yet.
#[derive(Debug)]
pub(super) struct Empty(OwnedFd);

impl Empty {
    /// Opens a new one, for the sake of the function at `address`.
    pub(super) fn open(sysfs: &Sysfs, address: Address) -> Result<Self, Error> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(sysfs.resolve(NODE), flags, Mode::empty())
            .map_err(|errno| discover::explain_container_open(sysfs, address, Path::new(NODE), errno))?;
        Self::adopt(descriptor, address)
    }

    /// Takes a container over that somebody else opened.
    pub(super) fn adopt(descriptor: OwnedFd, address: Address) -> Result<Self, Error> {
        let version = request::api_version(descriptor.as_fd())
            .map_err(|errno| Error::WrongDescriptor { wanted: "a VFIO container", source: errno.into() })?;
        if version != VFIO_API_VERSION as i32 {
            return Err(Error::NoType1 {
                address,
                reason: format!("it speaks version {version} of the API, not 0"),
            });
        }
        Ok(Self(descriptor))
    }

    /// Puts the first group in and gives the container its IOMMU, unless who opened it did so.
    pub(super) fn with_group(self, sysfs: &Sysfs, address: Address, group: Group) -> Result<Type1, Error> {
        group.join(sysfs, address, self.0.as_fd())?;
        if request::information(self.0.as_fd()).is_err() {
            // Asked with a group inside: it is the group that decides what is on offer.
            match request::has_extension(self.0.as_fd(), VFIO_TYPE1v2_IOMMU) {
                Ok(true) => {}
                Ok(false) => {
                    let reason = "`sudo modprobe vfio_iommu_type1` may be all that is missing".to_owned();
                    return Err(Error::NoType1 { address, reason });
                }
                Err(errno) => return Err(discover::refused(address, "asking for a type 1 IOMMU", errno)),
            }
            request::set_iommu(self.0.as_fd(), VFIO_TYPE1v2_IOMMU).map_err(|errno| match errno {
                Errno::PERM => Error::UnsafeInterrupts { address },
                errno => discover::refused(address, "giving its container a type 1 IOMMU", errno),
            })?;
        }
        Ok(Type1::new(self.0, vec![Arc::new(group)]))
    }

    /// A container that somebody else gave groups and an IOMMU, and keeps them in.
    pub(super) fn already_translating(self, address: Address) -> Result<Type1, Error> {
        request::information(self.0.as_fd()).map_err(|errno| match errno {
            Errno::INVAL => Error::NotTranslating { address },
            errno => discover::refused(address, "asking what its container translates", errno),
        })?;
        Ok(Type1::new(self.0, Vec::new()))
    }
}

/// A container with a type 1 IOMMU (version 2): what an address space on VFIO stands on.
#[derive(Debug)]
pub(super) struct Type1 {
    descriptor: OwnedFd,
    members: Mutex<Members>,
    tally: Mutex<Tally>,
}

/// Who is inside.
#[derive(Debug, Default)]
struct Members {
    groups: Vec<Arc<Group>>,
    functions: Vec<Address>,
}

impl Members {
    /// Lets the groups go that no function is open in, all but one if there are no others. A group that is in use has a
    /// count of two at least, one here and one in a seat; seats come and go under the members' lock only.
    fn dismiss_idle_groups(&mut self) {
        if self.groups.iter().any(|group| Arc::strong_count(group) > 1) {
            self.groups.retain(|group| Arc::strong_count(group) > 1);
        } else {
            self.groups.truncate(1);
        }
    }
}

/// What is mapped, by our own account.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    mappings: usize,
    bytes: u64,
}

impl Type1 {
    fn new(descriptor: OwnedFd, groups: Vec<Arc<Group>>) -> Self {
        let members = Mutex::new(Members { groups, functions: Vec::new() });
        Self { descriptor, members, tally: Mutex::default() }
    }

    /// The group of this number if it is inside, else what `open` gives, put inside.
    pub(super) fn group(
        &self,
        sysfs: &Sysfs,
        address: Address,
        number: Option<u32>,
        open: impl FnOnce() -> Result<Group, Error>,
    ) -> Result<Arc<Group>, Error> {
        let mut members = self.members();
        if let Some(found) = members.groups.iter().find(|group| number.is_some() && group.number() == number)
        {
            return Ok(Arc::clone(found));
        }
        let group = Arc::new(open()?);
        group.join(sysfs, address, self.descriptor.as_fd())?;
        members.groups.push(Arc::clone(&group));
        members.dismiss_idle_groups();
        Ok(group)
    }

    /// The only group, after a container was made with it.
    pub(super) fn first_group(&self) -> Option<Arc<Group>> {
        self.members().groups.first().map(Arc::clone)
    }

    /// A function takes its seat; nobody else has it.
    pub(super) fn enter(&self, address: Address) -> Result<(), Error> {
        let mut members = self.members();
        if members.functions.contains(&address) {
            return Err(Error::OpenAlready { address });
        }
        members.functions.push(address);
        Ok(())
    }

    /// A function was closed, or was not opened after all. Its group goes with its last function, so that it can be given back to the
    /// kernel while others go on; the last group stays, since the mappings would go with it.
    pub(super) fn leave(&self, address: Option<Address>, group: Option<Arc<Group>>) {
        let mut members = self.members();
        members.functions.retain(|taken| Some(*taken) != address);
        drop(group);
        members.dismiss_idle_groups();
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the kernel has taken the last group out, because its last function was unbound or unplugged. The container then
    /// translates nothing any more: all mappings went as the group was taken, before this is seen.
    fn is_dissolved(&self) -> bool {
        matches!(request::information(self.descriptor.as_fd()), Err(Errno::INVAL))
    }

    /// Whether the kernel is taking the last group out just now: the mappings are gone before the container says so.
    fn becomes_dissolved(&self) -> bool {
        let deadline = Instant::now() + DISSOLVING;
        while !self.is_dissolved() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: `map` asks the kernel for exactly the mapping, and the kernel undoes a mapping that fails half-way. `unmap`
// answers Ok only when the kernel says that it unmapped the whole length, which it does after the IOMMU has forgotten
// it, or when the container has no IOMMU any more and so no mapping (where the kernel finds none while it takes the last
// group out, that is waited for). `limits` are the kernel's, without reserved regions and the MSI window, or a range that no
// machine reserves.
unsafe impl Iommu for Type1 {
    fn limits(&self) -> Result<Limits, BackendError> {
        let information = request::information(self.descriptor.as_fd()).map_err(|errno| Error::Mapping {
            what: "asking what the container translates",
            source: errno.into(),
        })?;
        Ok(limits::read(&information, self.tally().mappings)?)
    }

    unsafe fn map(&self, mapping: Mapping<'_>) -> Result<(), BackendError> {
        let bytes = mapping.length as u64;
        let mut tally = self.tally();
        let allowance = Allowance::of_this_process(tally.bytes);
        if let Some(refusal) = allowance.refusal(bytes) {
            return Err(refusal.into());
        }
        let container = self.descriptor.as_fd();
        let address = mapping.memory.as_ptr().addr();
        // SAFETY: the caller keeps the memory until it is unmapped, and gives it to nobody who relies on it.
        let mapped = unsafe { request::map(container, mapping.iova.get(), address, mapping.length) };
        mapped.map_err(|errno| match errno {
            // Somebody else in this process was quicker, or CAP_IPC_LOCK is one of a user namespace only.
            Errno::NOMEM if { Allowance { exempt: false, ..allowance } }.refusal(bytes).is_some() => allowance.error(bytes),
            Errno::NOSPC => Error::Mapping {
                what: "one mapping more (the limit is /sys/module/vfio_iommu_type1/parameters/dma_entry_limit)",
                source: errno.into(),
            },
            errno if self.is_dissolved() => Error::Mapping {
                what: "any memory: the kernel took the last function of this address space back; open them in a new one",
                source: errno.into(),
            },
            errno => Error::Mapping { what: "the kernel's mapping (`dmesg` may say more)", source: errno.into() },
        })?;
        tally.mappings = tally.mappings.saturating_add(1);
        tally.bytes = tally.bytes.saturating_add(bytes);
        Ok(())
    }

    fn unmap(&self, iova: Iova, length: usize) -> Result<(), BackendError> {
        let mut tally = self.tally();
        let unmapped = match request::unmap(self.descriptor.as_fd(), iova.get(), length) {
            Err(_) if self.is_dissolved() => length as u64,
            Ok(0) if self.becomes_dissolved() => length as u64,
            other => other
                .map_err(|errno| Error::Mapping { what: "the kernel's unmapping", source: errno.into() })?,
        };
        if unmapped != length as u64 {
            return Err(Error::PartlyUnmapped { wanted: length as u64, unmapped }.into());
        }
        tally.mappings = tally.mappings.saturating_sub(1);
        tally.bytes = tally.bytes.saturating_sub(unmapped);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel")]
    fn only_a_container_is_taken_for_a_container() {
        let address: Address = "0000:00:02.0".parse().unwrap();
        let not_containers: [OwnedFd; 2] = [
            std::fs::File::open("/dev/null").unwrap().into(),
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap(),
        ];
        for descriptor in not_containers {
            let error = Empty::adopt(descriptor, address).unwrap_err();
            assert!(matches!(error, Error::WrongDescriptor { .. }));
            assert!(error.to_string().contains("is not a VFIO container"), "{error}");
        }
    }
}
