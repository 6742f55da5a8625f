//! IOMMU groups: which functions the IOMMU can't tell apart, and whether user space may have a group.
//!
//! Contract: a group is *viable* when no member is held by a driver that does DMA for the kernel. VFIO then, and only
//! then, hands the group out. A member without a driver doesn't stand in the way, nor do bridges on the port driver.
//!
//! Source: Linux, Documentation/driver-api/vfio.rst, and the drivers that set `driver_managed_dma`.
//!
//! Not here: opening a group (VFIO's part).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{FunctionInfo, Sysfs};
use crate::address::Address;
use crate::error::Result;

/// One function in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Where it sits.
    pub address: Address,
    /// The driver that has it.
    pub driver: Option<String>,
    /// Whether it keeps user space from having the group.
    pub blocks: bool,
}

impl fmt::Display for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.driver {
            Some(driver) => write!(out, "{} (driver {driver})", self.address),
            None => write!(out, "{} (no driver)", self.address),
        }
    }
}

/// An IOMMU group and its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The kernel's number for it.
    pub number: u32,
    /// All its functions, by address.
    pub members: Vec<Member>,
}

impl Group {
    /// The members that keep user space from having the group.
    pub fn blockers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.blocks)
    }

    /// Whether VFIO would hand the group out.
    pub fn viable(&self) -> bool {
        self.blockers().next().is_none()
    }

    /// The device node through which the group is opened.
    pub fn node(&self) -> PathBuf {
        group_node(self.number)
    }
}

/// The device node through which a group is opened.
pub(crate) fn group_node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/vfio/{number}"))
}

/// Whether a driver leaves DMA to user space, so that VFIO accepts it beside a function that is handed out.
fn leaves_dma_to_user_space(driver: &str) -> bool {
    // Vendors' variants of vfio-pci are called mlx5-vfio-pci, hisi-acc-vfio-pci and so on.
    matches!(driver, "pci-stub" | "pcieport") || driver.replace('_', "-").ends_with("vfio-pci")
}

impl Sysfs {
    /// An IOMMU group with its members.
    ///
    /// # Errors
    /// An attribute of a member that can't be understood.
    pub fn group(&self, number: u32) -> Result<Group> {
        let mut members = Vec::new();
        for name in self.list(group_path(number).join("devices")) {
            let Ok(address) = name.parse() else { continue };
            let driver = self.function(address)?.driver;
            let blocks = driver.as_deref().is_some_and(|driver| !leaves_dma_to_user_space(driver));
            members.push(Member { address, driver, blocks });
        }
        members.sort_by_key(|member| member.address);
        Ok(Group { number, members })
    }

    /// The function's IOMMU group, if a real IOMMU stands before it. The kernel can be told to make groups without
    /// one (`vfio-noiommu`); such a group protects nothing and counts as none.
    ///
    /// # Errors
    /// An attribute of a member that can't be understood.
    pub fn group_of(&self, function: &FunctionInfo) -> Result<Option<Group>> {
        match function.iommu_group {
            Some(number) if !self.pretended_group(number) => self.group(number).map(Some),
            _ => Ok(None),
        }
    }

    /// The numbers of all groups that have a real IOMMU behind them.
    pub fn group_numbers(&self) -> Vec<u32> {
        let names = self.list("/sys/kernel/iommu_groups");
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.retain(|number| !self.pretended_group(*number));
        numbers.sort_unstable();
        numbers
    }

    fn pretended_group(&self, number: u32) -> bool {
        self.read_optional(group_path(number).join("name")).is_some_and(|name| name == "vfio-noiommu")
    }
}

fn group_path(number: u32) -> PathBuf {
    Path::new("/sys/kernel/iommu_groups").join(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_on_a_driver_that_does_no_dma_for_the_kernel_does_not_block() {
        for driver in ["vfio-pci", "mlx5-vfio-pci", "hisi_acc_vfio_pci", "pci-stub", "pcieport"] {
            assert!(leaves_dma_to_user_space(driver), "{driver}");
        }
        for driver in ["ixgbe", "virtio-pci", "uio_pci_generic", "igb_uio", "snd_hda_intel"] {
            assert!(!leaves_dma_to_user_space(driver), "{driver}");
        }
    }
}
