//! The PCI functions of the machine and what sysfs says of each.
//!
//! Contract: [`Sysfs::functions`] lists every function in the order of addresses; [`Sysfs::function`] reads one, and an
//! address at which nothing answers is an error. A function that vanishes while the list is read is left out.
//!
//! Not here: config space, registers.

use std::fs;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::Sysfs;
use crate::address::Address;
use crate::error::{Error, Result};

/// The kernel's driver which hands a function to user space through VFIO.
pub const VFIO_DRIVER: &str = "vfio-pci";

/// One PCI function, as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionInfo {
    /// Where it sits.
    pub address: Address,
    /// PCI vendor id.
    #[serde(serialize_with = "four_digits")]
    pub vendor: u16,
    /// PCI device id.
    #[serde(serialize_with = "four_digits")]
    pub device: u16,
    /// PCI class: base class, subclass and programming interface, in 24 bits.
    #[serde(serialize_with = "six_digits")]
    pub class: u32,
    /// The kernel driver that has it, by the name `lspci` prints (`ixgbe`, `virtio-pci`, `vfio-pci`).
    pub driver: Option<String>,
    /// The driver that the kernel was told to use for it, whatever its ids say.
    pub driver_override: Option<String>,
    /// The number of its IOMMU group; `None` where no IOMMU stands before it.
    pub iommu_group: Option<u32>,
    /// The NUMA node it is attached to; `None` where the machine doesn't say.
    pub numa_node: Option<u32>,
    /// The names of its network interfaces (more than one on some cards; none without a network driver).
    pub interfaces: Vec<String>,
}

// Ids go out as `lspci -n` prints them.

fn four_digits<S: Serializer>(id: &u16, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:04x}"))
}

fn six_digits<S: Serializer>(class: &u32, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{class:06x}"))
}

impl FunctionInfo {
    /// Whether it is a network controller (base class 2).
    pub fn is_network(&self) -> bool {
        self.class >> 16 == 0x02
    }

    /// Whether it is a bridge (base class 6): VFIO leaves those to the kernel.
    pub fn is_bridge(&self) -> bool {
        self.class >> 16 == 0x06
    }

    /// Whether vfio-pci has it, so that a program in user space may open it.
    pub fn on_vfio(&self) -> bool {
        self.driver.as_deref() == Some(VFIO_DRIVER)
    }

    /// What kind of device its class names, in words, for messages.
    pub fn kind(&self) -> &'static str {
        match self.class >> 16 {
            0x01 => "storage controller",
            0x02 => "network controller",
            0x03 => "display controller",
            0x04 => "multimedia device",
            0x05 => "memory controller",
            0x06 => "bridge",
            0x07 => "communication controller",
            0x08 => "system peripheral",
            0x0c => "serial bus controller",
            0x0d => "wireless controller",
            _ => "device of another kind",
        }
    }

    /// Its folder in sysfs.
    pub fn path(&self) -> PathBuf {
        function_path(self.address)
    }
}

/// A function's folder in sysfs.
pub(crate) fn function_path(address: Address) -> PathBuf {
    PathBuf::from("/sys/bus/pci/devices").join(address.to_string())
}

impl Sysfs {
    /// All PCI functions, by address.
    ///
    /// # Errors
    /// An attribute that can't be understood.
    pub fn functions(&self) -> Result<Vec<FunctionInfo>> {
        let mut functions = Vec::new();
        for name in self.list("/sys/bus/pci/devices") {
            let Ok(address) = name.parse() else { continue };
            match self.function(address) {
                Ok(function) => functions.push(function),
                Err(Error::NoSuchFunction { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        functions.sort_by_key(|function| function.address);
        Ok(functions)
    }

    /// The function at one address.
    ///
    /// # Errors
    /// [`Error::NoSuchFunction`] if nothing is there.
    pub fn function(&self, address: Address) -> Result<FunctionInfo> {
        let path = function_path(address);
        if !self.exists(&path) {
            return Err(Error::NoSuchFunction { address });
        }
        let number = |name: &str| -> Result<u32> {
            let text = self.read(path.join(name))?;
            let digits = text.strip_prefix("0x").unwrap_or(&text);
            u32::from_str_radix(digits, 16)
                .map_err(|_| self.malformed(path.join(name), &text, "a hexadecimal number"))
        };
        let id = |name: &str| -> Result<u16> {
            let value = number(name)?;
            u16::try_from(value)
                .map_err(|_| self.malformed(path.join(name), &format!("{value:#x}"), "a 16-bit number"))
        };
        let driver_override = self
            .read_optional(path.join("driver_override"))
            .filter(|name| !name.is_empty() && name != "(null)");
        Ok(FunctionInfo {
            address,
            vendor: id("vendor")?,
            device: id("device")?,
            class: number("class")?,
            driver: self.link_name(path.join("driver")),
            driver_override,
            iommu_group: self.link_name(path.join("iommu_group")).and_then(|name| name.parse().ok()),
            // -1 where the firmware says nothing.
            numa_node: self.read_optional(path.join("numa_node")).and_then(|node| node.parse().ok()),
            interfaces: self.interfaces_of(address),
        })
    }

    /// The function that a user means: an address, long or short, or the name of a network interface.
    ///
    /// # Errors
    /// [`Error::NoSuchFunction`], [`Error::NoSuchInterface`], or [`Error::BadAddress`] for what is neither.
    pub fn function_named(&self, text: &str) -> Result<FunctionInfo> {
        match text.parse() {
            Ok(address) => self.function(address),
            Err(bad_address) => {
                if text.is_empty() || text.contains('/') || !self.exists(format!("/sys/class/net/{text}")) {
                    return Err(bad_address);
                }
                let functions = self.functions()?;
                functions
                    .into_iter()
                    .find(|function| function.interfaces.iter().any(|name| name == text))
                    .ok_or_else(|| Error::NoSuchInterface { name: text.to_owned() })
            }
        }
    }

    /// The names of the network interfaces below a function: its own, or those of the virtio device on it.
    pub(crate) fn interfaces_of(&self, address: Address) -> Vec<String> {
        let path = function_path(address);
        let mut interfaces = self.list(path.join("net"));
        for child in self.virtio_devices(address) {
            interfaces.extend(self.list(path.join(child).join("net")));
        }
        interfaces
    }

    /// The names of the virtio devices that the kernel's virtio-pci driver made of a function (`virtio0`).
    pub(crate) fn virtio_devices(&self, address: Address) -> Vec<String> {
        let mut children = self.list(function_path(address));
        children.retain(|name| {
            name.strip_prefix("virtio").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        });
        children
    }

    /// How many virtual functions a physical function has at work.
    pub(crate) fn virtual_functions(&self, address: Address) -> u32 {
        let count = self.read_optional(function_path(address).join("sriov_numvfs"));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// The disks below a function.
    pub(crate) fn block_devices(&self, address: Address) -> Vec<String> {
        let mut disks = self.list("/sys/block");
        let place = format!("/{address}/");
        disks.retain(|disk| {
            let target = fs::read_link(self.resolve("/sys/block").join(disk));
            target.is_ok_and(|target| target.to_string_lossy().contains(&place))
        });
        disks
    }

    fn malformed(&self, path: PathBuf, text: &str, expected: &'static str) -> Error {
        Error::Malformed { path, text: text.to_owned(), expected }
    }
}
