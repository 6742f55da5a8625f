//! What stands in the machine, and what of it Ringway can use: every network function with its driver, its
//! IOMMU group, its interfaces, and the reason why not.
//!
//! Contract: looks only, needs no root, and speaks for the user who asks. "Usable" means that a port on this function
//! could be started now; the reason otherwise names the way out. Which ids have a driver is the caller's to say, as this
//! crate knows no driver.
//!
//! Not here: how it is printed.

use serde::Serialize;

use crate::address::Address;
use crate::bind::{bypasses_iommu, not_viable};
use crate::doctor::no_iommu;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::sysfs::{FunctionInfo, Group, Interface, Member, Names};

/// Ids of functions that a driver of Ringway's takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Supported {
    /// PCI vendor id.
    pub vendor: u16,
    /// PCI device id.
    pub device: u16,
    /// The driver's name.
    pub driver: &'static str,
}

/// One network function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionStatus {
    /// What sysfs says of it.
    #[serde(flatten)]
    pub function: FunctionInfo,
    /// The vendor's name, where the machine has a list of them.
    pub vendor_name: Option<String>,
    /// The device's name, where the machine has a list of them.
    pub device_name: Option<String>,
    /// The other members of its IOMMU group.
    pub group_members: Vec<Member>,
    /// Its network interfaces, with their links.
    pub network: Vec<Interface>,
    /// The driver of Ringway's that takes it, if there is one.
    pub ringway_driver: Option<&'static str>,
    /// Why Ringway can't use it now; `None` if it can.
    pub obstacle: Option<String>,
    /// Whether Ringway can use it now, as this user.
    pub usable: bool,
}

/// All network functions of the machine, by address.
///
/// # Errors
/// An attribute of sysfs that can't be understood.
pub fn status(kernel: &dyn Kernel, supported: &[Supported]) -> Result<Vec<FunctionStatus>> {
    let names = Names::load(kernel.sysfs());
    // Links are worth showing even where addresses aren't to be had.
    let addresses = kernel.addresses().unwrap_or_default();
    let functions = kernel.sysfs().functions()?.into_iter().filter(FunctionInfo::is_network);
    functions
        .map(|function| {
            let group = kernel.sysfs().group_of(&function)?;
            let obstacle = obstacle(kernel, &function, group.as_ref(), supported);
            let mut group_members = group.map(|group| group.members).unwrap_or_default();
            group_members.retain(|member| member.address != function.address);
            Ok(FunctionStatus {
                vendor_name: names.vendor(function.vendor).map(str::to_owned),
                device_name: names.device(function.vendor, function.device).map(str::to_owned),
                group_members,
                network: function
                    .interfaces
                    .iter()
                    .map(|name| kernel.sysfs().interface(name, &addresses))
                    .collect(),
                ringway_driver: driver_for(&function, supported),
                usable: obstacle.is_none(),
                obstacle,
                function,
            })
        })
        .collect()
}

/// The driver of Ringway's that takes a function.
pub(crate) fn driver_for(function: &FunctionInfo, supported: &[Supported]) -> Option<&'static str> {
    let takes = |known: &&Supported| (known.vendor, known.device) == (function.vendor, function.device);
    supported.iter().find(takes).map(|known| known.driver)
}

/// The first thing that keeps Ringway from starting a port on the function, with the way out.
fn obstacle(
    kernel: &dyn Kernel,
    function: &FunctionInfo,
    group: Option<&Group>,
    supported: &[Supported],
) -> Option<String> {
    let address = function.address;
    let Some(group) = group else { return Some(no_iommu(kernel.sysfs(), address).to_string()) };
    if let Some(reason) = bypasses_iommu(kernel, function) {
        return Some(Error::BypassesIommu { address, reason }.to_string());
    }
    if driver_for(function, supported).is_none() {
        let known: Vec<String> = supported
            .iter()
            .map(|known| format!("{} {:04x}:{:04x}", known.driver, known.vendor, known.device))
            .collect();
        return Some(format!(
            "no driver of Ringway's takes {:04x}:{:04x}; there are: {}",
            function.vendor,
            function.device,
            known.join(", ")
        ));
    }
    if !function.on_vfio() {
        let holder =
            function.driver.as_ref().map_or("no driver has it".to_owned(), |name| format!("{name} has it"));
        return Some(format!("{holder}: sudo ringway bind {address}"));
    }
    let blockers: Vec<&Member> = group.blockers().collect();
    if !blockers.is_empty() {
        return Some(not_viable(kernel, address, group.number, &blockers).to_string());
    }
    no_access(kernel, address, group)
}

/// What keeps this user from opening a group that is on vfio-pci.
pub(crate) fn no_access(kernel: &dyn Kernel, address: Address, group: &Group) -> Option<String> {
    let node = group.node();
    if !kernel.may_open(&node) {
        let owner = kernel.ownership(&node).map_or("is missing".to_owned(), |owner| {
            let name = kernel.find_user(&owner.user.to_string()).and_then(|user| user.name);
            format!("belongs to {}", name.unwrap_or_else(|| format!("user {}", owner.user)))
        });
        let me = kernel.user_id();
        let name =
            kernel.find_user(&me.to_string()).and_then(|user| user.name).unwrap_or_else(|| me.to_string());
        return Some(format!(
            "no rights: {} {owner}: sudo ringway bind {address} --user {name}",
            node.display()
        ));
    }
    let holders = kernel.sysfs().holders(&node);
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    (!holders.is_empty()).then(|| format!("in use by {}, through {}", holders.join(", "), node.display()))
}
