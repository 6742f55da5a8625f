//! Why a function can't be opened, and what to do about it.
//!
//! Contract: [`group_of`] looks before anything is opened, in the order in which a person would put things right: is it
//! there, is it a NIC, is there an IOMMU, is it on vfio-pci, is its group free. The `explain_` functions turn an errno
//! into what it means for this function. All read sysfs, proc and `/dev` only, as any user may.
//!
//! Not here: putting it right (`bind`).

use crate::doctor::no_iommu;
use crate::sysfs::{FunctionInfo, Sysfs};
use crate::{Address, Error, Identity};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The number of the IOMMU group of a NIC that can be opened, as far as looking tells.
pub(super) fn group_of(sysfs: &Sysfs, address: Address) -> Result<u32, Error> {
    let function = sysfs.function(address)?;
    if !function.is_network() {
        return Err(Error::NotNetwork { address, kind: function.kind(), class: function.class });
    }
    let Some(number) = function.iommu_group else {
        return Err(no_iommu(sysfs, address));
    };
    let group = sysfs.group_of(&function)?;
    let Some(group) = group.filter(|_| !sysfs.exists(unsafe_node(number))) else {
        return Err(Error::UnprotectedGroup { address, node: unsafe_node(number) });
    };
    if !is_on_vfio(&function) {
        return Err(not_on_vfio(&function));
    }
    if group.viable() { Ok(number) } else { Err(explain_not_viable(sysfs, address, number)) }
}

/// vfio-pci itself, or a vendor's variant of it (mlx5-vfio-pci, …).
fn is_on_vfio(function: &FunctionInfo) -> bool {
    function.driver.as_deref().is_some_and(|driver| driver.replace('_', "-").ends_with("vfio-pci"))
}

fn not_on_vfio(function: &FunctionInfo) -> Error {
    let driver = match &function.driver {
        Some(driver) => format!("the kernel's driver {driver} has it"),
        None => "no driver has it".to_owned(),
    };
    Error::NotOnVfio { address: function.address, driver }
}

/// The node of a group that the kernel made up where there is no IOMMU.
fn unsafe_node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/vfio/noiommu-{number}"))
}

/// A group with members that the kernel drives.
pub(super) fn explain_not_viable(sysfs: &Sysfs, address: Address, number: u32) -> Error {
    let members: Vec<String> = match sysfs.group(number) {
        Ok(group) => group.blockers().map(ToString::to_string).collect(),
        Err(_) => Vec::new(),
    };
    let members =
        if members.is_empty() { "a function that sysfs doesn't show".to_owned() } else { members.join(", ") };
    let remedy = format!("Take the whole group: `sudo ringway bind {address} --group`");
    Error::NotViable { address, group: number, members, remedy }
}

/// `/dev/vfio/vfio` didn't open.
pub(super) fn explain_container_open(sysfs: &Sysfs, address: Address, node: &Path, errno: Errno) -> Error {
    match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => {
            let reason = if sysfs.list("/dev/vfio/devices").is_empty() {
                "load the module: `sudo modprobe vfio-pci`; in a container, hand in --device /dev/vfio/vfio"
            } else {
                "this kernel has VFIO by character device (cdev) only, built without VFIO_GROUP; that is not supported yet"
            };
            Error::NoVfio { node: node.to_owned(), reason }
        }
        Errno::ACCESS | Errno::PERM => no_rights(sysfs, address, node, errno),
        errno => refused(address, "opening a container", errno),
    }
}

/// `/dev/vfio/N` didn't open.
pub(super) fn explain_group_open(sysfs: &Sysfs, address: Address, node: &Path, errno: Errno) -> Error {
    match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => Error::NoVfio {
            node: node.to_owned(),
            reason: "the function is on vfio-pci, so the node should be there. On a host the kernel makes it as the \
                     group's functions are unbound and bound again (`sudo ringway unbind`, then `bind`); in a \
                     container, hand in --device with this path",
        },
        Errno::ACCESS | Errno::PERM => no_rights(sysfs, address, node, errno),
        Errno::BUSY => busy(sysfs, address, node),
        errno => refused(address, "opening its group", errno),
    }
}

/// The group didn't give the function out.
pub(super) fn explain_device(sysfs: &Sysfs, address: Address, group: Option<u32>, errno: Errno) -> Error {
    match (errno, sysfs.function(address)) {
        (Errno::NODEV, Err(Error::NoSuchFunction { address })) => Error::NoSuchFunction { address },
        (Errno::NODEV, Ok(function)) if !is_on_vfio(&function) => not_on_vfio(&function),
        (Errno::NODEV, _) => Error::NotInGroup { address },
        (Errno::BUSY, _) => {
            let node = group.map_or_else(|| PathBuf::from("/dev/vfio"), super::group::node);
            busy(sysfs, address, &node)
        }
        (errno, _) => refused(address, "opening it through its group", errno),
    }
}

/// Whether a device that was handed in is the one at `address`, as far as can be told: newer kernels say whose a
/// descriptor is (in `/proc/self/fdinfo`), and the ids must be those that sysfs has.
pub(super) fn check_claim(
    sysfs: &Sysfs,
    address: Address,
    descriptor: BorrowedFd<'_>,
    identity: &Identity,
) -> Result<(), Error> {
    let information = sysfs.read_optional(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()));
    if let Some(found) = information.as_deref().and_then(path_in_fdinfo)
        && found != address.to_string()
    {
        return Err(Error::OtherFunction { address, found: found.to_owned() });
    }
    match sysfs.function(address) {
        Ok(function) if (function.vendor, function.device) != (identity.vendor, identity.device) => {
            let found = format!("one with the ids {:04x}:{:04x}", identity.vendor, identity.device);
            Err(Error::OtherFunction { address, found })
        }
        // Without sysfs, in a sandbox say, the program's word is taken for it.
        _ => Ok(()),
    }
}

/// The name of the function in a descriptor's information.
fn path_in_fdinfo(information: &str) -> Option<&str> {
    let path = information.lines().find_map(|line| line.strip_prefix("vfio-device-syspath:"))?;
    path.trim().rsplit('/').next()
}

/// Any other errno, with what was attempted.
pub(super) fn refused(address: Address, attempt: &'static str, errno: Errno) -> Error {
    Error::Vfio { device: address.to_string(), attempt, source: errno.into() }
}

fn no_rights(sysfs: &Sysfs, address: Address, node: &Path, errno: Errno) -> Error {
    let name =
        |id: u32| sysfs.local_user(&id.to_string()).and_then(|user| user.name).unwrap_or(id.to_string());
    let user = name(rustix::process::geteuid().as_raw());
    let standing = match std::fs::metadata(sysfs.resolve(node)) {
        Ok(node) => format!(
            "it belongs to {} (group {}, mode {:04o})",
            name(node.uid()),
            node.gid(),
            node.mode() & 0o7777
        ),
        Err(error) => format!("its owner can't be seen: {error}"),
    };
    let remedy = if node.ends_with("vfio") {
        "`chmod 0666` it as root, as udev does on most systems: it grants nothing by itself".to_owned()
    } else {
        format!("`sudo ringway bind {address} --user {user}` hands it over")
    };
    Error::NoRights { node: node.to_owned(), user, standing, remedy, source: errno.into() }
}

fn busy(sysfs: &Sysfs, address: Address, node: &Path) -> Error {
    let holders = sysfs.holders(node);
    let holders = if holders.iter().any(|holder| holder.id == std::process::id()) {
        "this process has it open, in another address space: functions of one IOMMU group must share an address space"
            .to_owned()
    } else if holders.is_empty() {
        "a process of another user has it open: `fuser -v` on the node, as root, names it".to_owned()
    } else {
        let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
        format!("{} has it open: end it first", names.join(", "))
    };
    Error::Busy { address, node: node.to_owned(), holders }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_kernels_word_on_a_descriptor_is_understood() {
        let information =
            "pos:\t0\nflags:\t02000002\nvfio-device-syspath: /sys/devices/pci0000:e0/0000:e4:00.0\n";
        assert_eq!(path_in_fdinfo(information), Some("0000:e4:00.0"));
        assert_eq!(path_in_fdinfo("pos:\t0\n"), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "it works on files")]
    fn a_device_with_other_ids_than_its_address_has_is_refused() {
        let root = std::env::temp_dir().join(format!("ringway-claim-{}", std::process::id()));
        let folder = root.join("sys/bus/pci/devices/0000:03:00.0");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("vendor", "0x8086"), ("device", "0x10fb"), ("class", "0x020000")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        let claim = |address: &str, device| {
            let identity = Identity {
                name: String::new(),
                vendor: 0x8086,
                device,
                subsystem_vendor: 0,
                subsystem: 0,
                revision: 0,
                class: 0x02_0000,
                numa_node: None,
            };
            check_claim(&Sysfs::under(&root), address.parse().unwrap(), file.as_fd(), &identity)
        };
        assert!(claim("0000:03:00.0", 0x10fb).is_ok());
        assert!(claim("0000:03:00.0", 0x1563).unwrap_err().to_string().contains("8086:1563"));
        assert!(claim("0000:04:00.0", 0x1563).is_ok(), "nothing is known of it");
        std::fs::remove_dir_all(root).unwrap();
    }
}
