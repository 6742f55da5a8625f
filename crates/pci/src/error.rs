//! What can go wrong with PCI functions, each with the way out.
//!
//! Contract: one enum for the crate; a message names the function, the path, the errno, and what to do about it.

use crate::Address;
use crate::bind::Undone;
use std::io;
use std::path::PathBuf;

/// A result whose error is this crate's.
pub type Result<T> = std::result::Result<T, Error>;

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device's capability points beyond its BAR.
    #[error(
        "{device}: registers end at byte {length} of the BAR, {wanted} are needed; the device's capabilities are wrong"
    )]
    BarTooShort {
        /// The function.
        device: String,
        /// The end of what was to be used.
        wanted: u64,
        /// The end of what is there.
        length: u64,
    },
    /// The capability list goes round in a circle.
    #[error("{device}: its PCI capability list does not end; the device is faulty or gone")]
    CapabilityLoop {
        /// The function.
        device: String,
    },
    /// More interrupts were asked for than there are.
    #[error("{device}: {wanted} MSI-X vectors are needed, it has {available}: use fewer queues")]
    TooFewVectors {
        /// The function.
        device: String,
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        available: u16,
    },
    /// A device went on with bus mastering off.
    #[error("{device}: it doesn't stop accessing memory; its buffers are kept until the process ends")]
    NotQuiet {
        /// The function.
        device: String,
    },
    /// The kernel gave no event counter for an interrupt.
    #[error(
        "no event counter (eventfd) for an interrupt: {0}; is the limit of open files too low (`ulimit -n`)?"
    )]
    EventCounter(io::Error),

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

    // Binding
    /// The kernel doesn't tell the machine's network addresses.
    #[error("the kernel doesn't tell this machine's network addresses: {source}")]
    Addresses {
        /// The errno.
        source: io::Error,
    },

    /// Nothing to do.
    #[error("no function was named: `ringway status` lists the network functions of this machine")]
    NothingNamed,
    /// No IOMMU stands before the function.
    #[error(
        "{address} has no IOMMU group, so it could reach all of the machine's memory: \
         {remedy}"
    )]
    NoIommu {
        /// The function.
        address: Address,
        /// How to switch the IOMMU on.
        remedy: String,
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
    /// Nothing that a function could be given back to.
    #[error(
        "'{name}' is no driver to give a function back to: write the name of one of the kernel's, such as ixgbe"
    )]
    BadDriver {
        /// What was given.
        name: String,
    },
    /// Udev isn't there to bring the binding back.
    #[error("there is no udev on this machine ({} is missing), so nothing would bind after a reboot: leave out --persist", path.display())]
    NoUdev {
        /// What was looked for.
        path: PathBuf,
    },

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

    /// A change that the kernel refused.
    #[error("{attempt} failed: {source}")]
    Change {
        /// What was attempted.
        attempt: String,
        /// The errno.
        source: io::Error,
    },
    /// A kernel module that can't be loaded.
    #[error("module {name} can't be loaded: {source}. {remedy}")]
    NoModule {
        /// The module.
        name: String,
        /// What modprobe said.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
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
    /// A signal came.
    #[error("it was interrupted by a signal")]
    Interrupted,
    /// Somebody else changes bindings.
    #[error(
        "another `ringway bind` or `unbind` is at work and doesn't end, or can't be kept away ({source}): see `ps aux | grep bind`, \
         and try again when it has ended"
    )]
    Locked {
        /// The errno, or that time is up.
        source: io::Error,
    },
    /// A change to the machine was given up, and undone.
    #[error("{source}. {undone}")]
    Undone {
        /// What failed.
        source: Box<Error>,
        /// What was put back, and what could not be.
        undone: Undone,
    },

    // VFIO: opening
    /// The kernel was told to pretend that there is an IOMMU.
    #[error(
        "{address} has no IOMMU before it: its group is one that the kernel made up ({}), and whoever drives it could \
         reach all of the machine's memory. Switch the IOMMU on, and load vfio without enable_unsafe_noiommu_mode",
        node.display()
    )]
    UnprotectedGroup {
        /// The function.
        address: Address,
        /// The group's device node.
        node: PathBuf,
    },
    /// Another driver has the function, or none.
    #[error(
        "{address} can't be opened from user space: {driver}, not vfio-pci. Run `sudo ringway bind {address}`"
    )]
    NotOnVfio {
        /// The function.
        address: Address,
        /// Who has it.
        driver: String,
    },
    /// A device node of VFIO's is missing.
    #[error("{} is missing: {reason}", node.display())]
    NoVfio {
        /// The node.
        node: PathBuf,
        /// Why, as a rule, and what to do.
        reason: &'static str,
    },
    /// This user may not open a device node.
    #[error("{user} has no rights on {} ({source}): {standing}. {remedy}", node.display())]
    NoRights {
        /// The node.
        node: PathBuf,
        /// Who asked.
        user: String,
        /// Whose it is.
        standing: String,
        /// What to do.
        remedy: String,
        /// The errno.
        source: io::Error,
    },
    /// The function's group is open already.
    #[error("{address} is in use, through {}: {holders}", node.display())]
    Busy {
        /// The function.
        address: Address,
        /// Its group's device node.
        node: PathBuf,
        /// Who has it, and what to do.
        holders: String,
    },
    /// The function is open in this very address space.
    #[error("{address} is open already, in this address space: a function has one owner, close it first")]
    OpenAlready {
        /// The function.
        address: Address,
    },
    /// The kernel's VFIO has no type 1 IOMMU.
    #[error("{address}: the kernel's VFIO offers no type 1 IOMMU (version 2): {reason}")]
    NoType1 {
        /// The function.
        address: Address,
        /// What may be missing.
        reason: String,
    },
    /// The IOMMU doesn't confine interrupts.
    #[error(
        "{address}: the IOMMU doesn't remap interrupts, so the function could raise any of them, and the kernel refuses \
         it. Switch interrupt remapping on (QEMU: -device intel-iommu,intremap=on), or, if the function is trusted, \
         `modprobe vfio_iommu_type1 allow_unsafe_interrupts=1`"
    )]
    UnsafeInterrupts {
        /// The function.
        address: Address,
    },
    /// The group doesn't have the function.
    #[error(
        "{address} is not a function of the group that it was to be opened through: hand in the group of this one"
    )]
    NotInGroup {
        /// The function.
        address: Address,
    },
    /// The device that was handed in is not the one at the address.
    #[error("the device that was handed in as {address} is another function: {found}")]
    OtherFunction {
        /// Where it should be.
        address: Address,
        /// What it is.
        found: String,
    },
    /// A container was handed in without a group, and has none.
    #[error(
        "{address}: the container that was handed in has no IOMMU yet: hand in the function's group as well"
    )]
    NotTranslating {
        /// The function.
        address: Address,
    },
    /// An address space that isn't VFIO's.
    #[error(
        "{address} can't go into this address space: it must be one that VFIO opened, and no other container be handed in"
    )]
    OtherSpace {
        /// The function.
        address: Address,
    },
    /// A descriptor of another kind was handed in.
    #[error("the descriptor that was handed in is not {wanted}: {source}")]
    WrongDescriptor {
        /// What it should be.
        wanted: &'static str,
        /// What the kernel said to the question.
        source: io::Error,
    },

    // VFIO: an open function
    /// The kernel refused a request.
    #[error("{device}: {attempt} failed: {source}")]
    Vfio {
        /// The function.
        device: String,
        /// What was attempted.
        attempt: &'static str,
        /// The errno.
        source: io::Error,
    },
    /// The kernel's answer can't be understood.
    #[error("the kernel's answer to {request} makes no sense: {what}")]
    Nonsense {
        /// The request.
        request: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no such BAR.
    #[error("{device} has no BAR {index}; the device's capabilities are wrong")]
    NoBar {
        /// The function.
        device: String,
        /// The BAR.
        index: u8,
    },
    /// An access to configuration space that can't be made.
    #[error(
        "{device}: there are no {bytes} bytes at {offset:#x} of its configuration space, or not aligned ones"
    )]
    ConfigOffset {
        /// The function.
        device: String,
        /// Where.
        offset: u16,
        /// How many bytes.
        bytes: u16,
    },
    /// The function answers nothing but ones.
    #[error(
        "{device} doesn't answer: it was pulled out, has lost its power, or did not come back from a reset"
    )]
    Gone {
        /// The function.
        device: String,
    },

    // VFIO: memory
    /// The address space failed.
    #[error(transparent)]
    Memory(#[from] ringway_dma::Error),
    /// More memory would be locked than the process may lock.
    #[error(
        "{needed} KiB are to be locked besides {locked} KiB that are locked already, but the limit on locked memory \
         (RLIMIT_MEMLOCK) is {limit}: {remedy}"
    )]
    MemlockTooLow {
        /// What the mapping takes, in KiB.
        needed: u64,
        /// What the process has locked, in KiB.
        locked: u64,
        /// What it may lock.
        limit: String,
        /// What to do.
        remedy: String,
    },
    /// The kernel refused to change the table of an address space.
    #[error("{what} was refused: {source}")]
    Mapping {
        /// What was asked for.
        what: &'static str,
        /// The errno.
        source: io::Error,
    },
    /// Less was unmapped than was mapped.
    #[error("the kernel unmapped {unmapped} bytes of {wanted}: the memory is kept")]
    PartlyUnmapped {
        /// What was to be unmapped.
        wanted: u64,
        /// What was.
        unmapped: u64,
    },
}
