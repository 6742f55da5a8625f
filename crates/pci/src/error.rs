//! What can go wrong with PCI functions, each with the way out.
//!
//! Contract: one enum for the crate; a message names the function, the path, the errno, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::address::Address;

/// A result whose error is this crate's.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with PCI functions.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    // Discovery
    /// A text that is no PCI address.
    #[error("'{text}' is no PCI address: write domain:bus:device.function, such as 0000:03:00.0 or 03:00.0")]
    BadAddress {
        /// What was given.
        text: String,
    },
    /// Nothing answers at an address.
    #[error(
        "there is no PCI function at {address}: `ringway status` lists the network functions of this machine"
    )]
    NoSuchFunction {
        /// The address.
        address: Address,
    },
    /// An interface that no PCI function stands behind.
    #[error("{name} is a network interface, but no PCI function's: `ringway status` lists those that are")]
    NoSuchInterface {
        /// The interface's name.
        name: String,
    },
    /// A file of the kernel's can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The errno.
        source: io::Error,
    },
    /// A file of the kernel's holds what it never should.
    #[error("{} holds '{text}', which is not {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The kernel doesn't tell the machine's network addresses.
    #[error("the kernel doesn't tell this machine's network addresses: {source}")]
    Addresses {
        /// The errno.
        source: io::Error,
    },

    // Refusals to bind
    /// Nothing to do.
    #[error("no function was named: `ringway status` lists the network functions of this machine")]
    NothingNamed,
    /// A function that is no NIC.
    #[error(
        "{address} is no network function but a {kind} (class {class:06x}): `ringway status` lists those that are"
    )]
    NotNetwork {
        /// The function.
        address: Address,
        /// What its class is called.
        kind: &'static str,
        /// Its class.
        class: u32,
    },
    /// No IOMMU stands before the function.
    #[error(
        "{address} has no IOMMU group, so it could reach all of the machine's memory: \
         switch the IOMMU on (`ringway doctor` says how)"
    )]
    NoIommu {
        /// The function.
        address: Address,
    },
    /// The function does its DMA around the IOMMU.
    #[error(
        "{address} goes around the IOMMU ({reason}): whoever drives it could reach all of the machine's memory. \
         QEMU: -device virtio-net-pci,disable-legacy=on,iommu_platform=on"
    )]
    BypassesIommu {
        /// The function.
        address: Address,
        /// How that shows.
        reason: &'static str,
    },
    /// Other functions of the group are held by kernel drivers.
    #[error(
        "IOMMU group {group} is not viable for {address}: the kernel holds {members} in the same group. {remedy}"
    )]
    NotViable {
        /// The function.
        address: Address,
        /// Its group.
        group: u32,
        /// The members in the way, with their drivers.
        members: String,
        /// What to do.
        remedy: String,
    },
    /// The machine uses the function.
    #[error("{address} is in use: {uses}. {remedy}, or take it all the same with --force")]
    InUse {
        /// The function.
        address: Address,
        /// What for.
        uses: String,
        /// What to do first.
        remedy: String,
    },
    /// A user whom the machine doesn't know.
    #[error("there is no user '{name}' on this machine: give a login name or a user number")]
    NoSuchUser {
        /// What was given.
        name: String,
    },
    /// Udev isn't there to bring the binding back.
    #[error("there is no udev on this machine ({} is missing), so nothing would bind after a reboot: leave out --persist", path.display())]
    NoUdev {
        /// What was looked for.
        path: PathBuf,
    },

    // Refusals to unbind
    /// Nothing to give back.
    #[error("{address} is not on vfio-pci ({driver}), so there is nothing to give back")]
    NotBound {
        /// The function.
        address: Address,
        /// The driver that has it.
        driver: String,
    },
    /// A program has the function's group open.
    #[error("{address} is in use by {holders}, through {}: end it first", node.display())]
    Held {
        /// The function.
        address: Address,
        /// Its group's device node.
        node: PathBuf,
        /// The processes.
        holders: String,
    },
    /// A driver has the function again, but its network interface hasn't come.
    #[error(
        "{address} is back with its driver {driver}, but its network interface has not come within {seconds} s: \
         see `dmesg` for what the driver says"
    )]
    NoInterface {
        /// The function.
        address: Address,
        /// The driver.
        driver: String,
        /// How long was waited.
        seconds: u64,
    },

    // Steps that failed
    /// A change that the kernel refused.
    #[error("{attempt} failed: {source}")]
    Change {
        /// What was attempted.
        attempt: String,
        /// The errno.
        source: io::Error,
    },
    /// A driver that the kernel accepted the request for but that doesn't have the function.
    #[error("{address} was to go to {wanted}, but {found}: see `dmesg` for what the driver says")]
    DriverRefused {
        /// The function.
        address: Address,
        /// The driver that should have it.
        wanted: String,
        /// What has it.
        found: String,
    },
    /// A device node that never came.
    #[error("{} has not come: see `dmesg`", path.display())]
    NoNode {
        /// The node.
        path: PathBuf,
    },
    /// A change to the machine was given up, and undone.
    #[error("{source}. {undone}")]
    Undone {
        /// What failed.
        source: Box<Error>,
        /// What was put back, and what could not be.
        undone: Undone,
    },
}

/// What became of the steps before the one that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// What was put back, in the order in which it was done.
    pub put_back: Vec<String>,
    /// What could not be put back, and why.
    pub left: Vec<String>,
    /// What undoing can't bring back.
    pub lost: Vec<String>,
}

impl fmt::Display for Undone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.put_back.as_slice(), self.left.as_slice()) {
            ([], []) => write!(out, "Nothing had been changed")?,
            (put_back, []) => write!(out, "Everything is as it was; undone: {}", put_back.join("; "))?,
            ([], left) => write!(out, "Nothing could be undone: {}", left.join("; "))?,
            (put_back, left) => {
                write!(out, "Undone: {}. NOT undone: {}", put_back.join("; "), left.join("; "))?;
            }
        }
        for lost in &self.lost {
            write!(out, ". {lost}")?;
        }
        Ok(())
    }
}
