//! What keeps a function from being taken from the kernel.
//!
//! Contract: each check returns the refusal as an error that names the function, the reason and the way out. Only what
//! the machine uses can be forced; what would break the IOMMU's protection cannot.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, 4.1.2.1 (device ids), 6 (VIRTIO_F_ACCESS_PLATFORM).

use std::collections::BTreeSet;

use crate::address::Address;
use crate::doctor::no_iommu;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::sysfs::{FunctionInfo, Group, Member};

/// Red Hat's vendor id, which all virtio functions carry.
const VIRTIO_VENDOR: u16 = 0x1af4;
/// VIRTIO_F_ACCESS_PLATFORM: the device's DMA passes the IOMMU.
const ACCESS_PLATFORM: usize = 33;

/// Refuses what Ringway couldn't drive at all.
pub(crate) fn refuse_other_kinds(function: &FunctionInfo) -> Result<()> {
    if function.is_network() {
        return Ok(());
    }
    Err(Error::NotNetwork { address: function.address, kind: function.kind(), class: function.class })
}

/// How a function shows that its DMA goes around the IOMMU, if it does.
///
/// A virtio function of old (transitional or legacy) always does; a modern one does unless it offers
/// VIRTIO_F_ACCESS_PLATFORM, which shows in what its kernel driver negotiated. Without such a driver it can't be told
/// here; the virtio driver looks again when it starts.
pub(crate) fn bypasses_iommu(kernel: &dyn Kernel, function: &FunctionInfo) -> Option<&'static str> {
    match (function.vendor, function.device) {
        (VIRTIO_VENDOR, 0x1000..=0x103f) => Some("a virtio device with the legacy interface"),
        (VIRTIO_VENDOR, 0x1040..=0x107f) => {
            let sysfs = kernel.sysfs();
            let offers = |child: String| {
                let path = function.path().join(child);
                sysfs.link_name(path.join("driver"))?;
                sysfs
                    .read_optional(path.join("features"))?
                    .as_bytes()
                    .get(ACCESS_PLATFORM)
                    .map(|bit| *bit == b'1')
            };
            let without =
                sysfs.virtio_devices(function.address).into_iter().filter_map(offers).any(|bit| !bit);
            without.then_some("a virtio device without VIRTIO_F_ACCESS_PLATFORM")
        }
        _ => None,
    }
}

/// Refuses a function that the machine uses.
pub(crate) fn refuse_used(kernel: &dyn Kernel, function: &FunctionInfo) -> Result<()> {
    let (uses, remedies) = uses(kernel, function)?;
    if uses.is_empty() {
        return Ok(());
    }
    let remedies: Vec<String> = remedies.into_iter().collect();
    Err(Error::InUse { address: function.address, uses: uses.join("; "), remedy: remedies.join(" and ") })
}

/// What the machine does with a function, and how to end that.
fn uses(kernel: &dyn Kernel, function: &FunctionInfo) -> Result<(Vec<String>, BTreeSet<String>)> {
    let sysfs = kernel.sysfs();
    let (mut uses, mut remedies) = (Vec::new(), BTreeSet::new());
    if !function.interfaces.is_empty() {
        let addresses = kernel.addresses().map_err(|source| Error::Addresses { source })?;
        for name in &function.interfaces {
            let interface = sysfs.interface(name, &addresses);
            let mut found = Vec::new();
            if interface.default_route {
                found.push("carries the default route".to_owned());
            }
            if interface.up && !interface.addresses.is_empty() {
                let list: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
                found.push(format!("is up with address {}", list.join(", ")));
            }
            if !found.is_empty() {
                remedies.insert(format!("Set the interface down (`ip link set {name} down`)"));
            }
            if !interface.upper.is_empty() {
                let upper = interface.upper.join(", ");
                remedies.insert(format!("Take {name} out of {upper} (`ip link`)"));
                found.push(format!("carries {upper}"));
            }
            if !found.is_empty() {
                uses.push(format!("its interface {name} {}", found.join(" and ")));
            }
        }
    }
    let virtual_functions = sysfs.virtual_functions(function.address);
    if virtual_functions > 0 {
        uses.push(format!("{virtual_functions} virtual functions of it are at work"));
        remedies.insert(format!("End them (`echo 0 > {}`)", function.path().join("sriov_numvfs").display()));
    }
    let disks = sysfs.block_devices(function.address);
    if !disks.is_empty() {
        uses.push(format!("the disk {} hangs on it", disks.join(", ")));
        remedies.insert("Move the network card to another slot".to_owned());
    }
    if sysfs.read_optional(function.path().join("boot_vga")).is_some_and(|flag| flag == "1") {
        uses.push("it is the machine's screen".to_owned());
        remedies.insert("Move the network card to another slot".to_owned());
    }
    Ok((uses, remedies))
}

/// The function's group, refused if anything but `taken` keeps user space from having it.
pub(crate) fn viable_group(kernel: &dyn Kernel, function: &FunctionInfo, taken: &[Address]) -> Result<Group> {
    let address = function.address;
    let group = kernel.sysfs().group_of(function)?.ok_or_else(|| no_iommu(kernel.sysfs(), address))?;
    let blockers: Vec<&Member> = group.blockers().filter(|member| !taken.contains(&member.address)).collect();
    if blockers.is_empty() {
        return Ok(group);
    }
    Err(not_viable(kernel, address, group.number, &blockers))
}

/// The error for a group that `blockers` keep from user space, with what helps.
pub(crate) fn not_viable(kernel: &dyn Kernel, address: Address, group: u32, blockers: &[&Member]) -> Error {
    let is_bridge = |member: &&&Member| {
        kernel.sysfs().function(member.address).is_ok_and(|function| function.is_bridge())
    };
    let remedy = match blockers.iter().find(is_bridge) {
        Some(bridge) => {
            format!("{} is a bridge and can't be taken: move the card to another slot", bridge.address)
        }
        None => format!("Take the whole group: ringway bind {address} --group"),
    };
    let members: Vec<String> = blockers.iter().map(ToString::to_string).collect();
    Error::NotViable { address, group, members: members.join(", "), remedy }
}
