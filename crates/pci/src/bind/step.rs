//! The single changes that binding is made of, and the reverse of each.
//!
//! Contract: a step that finds its work done does nothing and says so; that makes reverses safe to run after a
//! failure, whatever the failed operation left. Before a step changes anything it puts its reverse into the journal:
//! a driver may take a function and report an error all the same. A reverse is a step too.
//!
//! Source: Linux, Documentation/ABI/testing/sysfs-bus-pci (driver_override, bind, unbind), sysfs-class-net (flags).
//!
//! Not here: which steps, and in what order ([`super::take`], [`super::give`]).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Ownership};
use crate::sysfs::{FLAG_UP, FunctionInfo, Memlock, Process, VFIO_DRIVER, interface_path};

use super::transaction::Journal;

/// How long a driver may take to make its device node or its network interface. The slowest seen take some seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long udev may take to name an interface as before, once it has come.
pub(crate) const RENAMING: Duration = Duration::from_secs(2);

/// One change to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Load a module; `shows` is the path that is there once it is loaded.
    LoadModule { name: String, shows: PathBuf },
    /// Unload a module.
    UnloadModule { name: String, shows: PathBuf },
    /// Make a folder.
    MakeDirectory { path: PathBuf },
    /// Remove a folder.
    RemoveDirectory { path: PathBuf },
    /// Write a file, new or in another's place.
    WriteFile { path: PathBuf, contents: String },
    /// Remove a file.
    RemoveFile { path: PathBuf },
    /// Name the only driver that may have the function, or (`None`) let its ids decide.
    Override { address: Address, driver: Option<String> },
    /// Take the function from its driver.
    Detach { address: Address, driver: String },
    /// Give the function to a driver.
    Attach { address: Address, driver: String },
    /// Let the kernel find a driver by the function's ids.
    Match { address: Address },
    /// Await the interfaces that a driver makes again, by their names, and set their flags back.
    Return { address: Address, interfaces: Vec<(String, u32)> },
    /// Give a device node to a user; `await_it` where a driver makes the node just before.
    Own { node: PathBuf, ownership: Ownership, await_it: bool },
    /// Set a process's limit on locked memory.
    SetMemlock { process: Process, limit: Memlock },
}

impl Step {
    /// Makes the change, if it isn't made already. Returns whether something was changed.
    pub(crate) fn apply(&self, kernel: &dyn Kernel, journal: &mut Journal) -> Result<bool> {
        match self {
            Self::LoadModule { name, shows } => {
                if kernel.sysfs().exists(shows) {
                    return Ok(false);
                }
                journal.reverse(Self::UnloadModule { name: name.clone(), shows: shows.clone() });
                kernel.load_module(name).map_err(|source| no_module(name, source))?;
                Ok(true)
            }
            Self::UnloadModule { name, shows } => {
                if !kernel.sysfs().exists(shows) {
                    return Ok(false);
                }
                journal.reverse(Self::LoadModule { name: name.clone(), shows: shows.clone() });
                let outcome = kernel.unload_module(name);
                // A modprobe that can't unload what the module needed calls that a failure.
                if kernel.sysfs().exists(shows) { self.changed(outcome) } else { Ok(true) }
            }
            Self::MakeDirectory { path } => {
                if kernel.sysfs().exists(path) {
                    return Ok(false);
                }
                journal.reverse(Self::RemoveDirectory { path: path.clone() });
                self.changed(kernel.make_directory(path))
            }
            Self::RemoveDirectory { path } => {
                if !kernel.sysfs().exists(path) {
                    return Ok(false);
                }
                journal.reverse(Self::MakeDirectory { path: path.clone() });
                self.changed(kernel.remove_directory(path))
            }
            Self::WriteFile { path, contents } => {
                let before = kernel.sysfs().read_file(path)?;
                if before.as_ref() == Some(contents) {
                    return Ok(false);
                }
                journal.reverse(restore_file(path, before));
                self.changed(kernel.write_file(path, contents))
            }
            Self::RemoveFile { path } => match kernel.sysfs().read_file(path)? {
                None => Ok(false),
                before => {
                    journal.reverse(restore_file(path, before));
                    self.changed(kernel.remove_file(path))
                }
            },
            Self::Override { address, driver } => {
                let function = kernel.sysfs().function(*address)?;
                if function.driver_override == *driver {
                    return Ok(false);
                }
                let path = function.path().join("driver_override");
                journal.reverse(Self::Override { address: *address, driver: function.driver_override });
                // A line without text takes the override away.
                let value = driver.as_deref().unwrap_or("\n");
                self.changed(kernel.write_attribute(&path, value))
            }
            Self::Detach { address, driver } => self.detach(kernel, journal, *address, driver),
            Self::Attach { address, driver } => self.attach(kernel, journal, *address, driver),
            Self::Match { address } => self.match_driver(kernel, journal, *address),
            Self::Return { address, interfaces } => self.take_back(kernel, *address, interfaces),
            Self::Own { node, ownership, await_it } => {
                let sysfs = kernel.sysfs();
                if *await_it {
                    kernel.wait_for(PATIENCE, &mut || sysfs.exists(node) || journal.interrupted(kernel));
                    if !sysfs.exists(node) {
                        return Err(if journal.interrupted(kernel) {
                            Error::Interrupted
                        } else {
                            Error::NoNode { path: node.clone() }
                        });
                    }
                    kernel.settle();
                }
                if !sysfs.exists(node) {
                    return Ok(false);
                }
                let before = match kernel.ownership(node) {
                    Ok(before) => before,
                    Err(source) => return Err(Error::Read { path: node.clone(), source }),
                };
                if before == *ownership {
                    return Ok(false);
                }
                journal.reverse(Self::Own { node: node.clone(), ownership: before, await_it: false });
                self.changed(kernel.set_ownership(node, *ownership))
            }
            Self::SetMemlock { process, limit } => {
                let Some(before) = kernel.sysfs().memlock(process.id) else { return Ok(false) };
                if before == *limit {
                    return Ok(false);
                }
                journal.reverse(Self::SetMemlock { process: process.clone(), limit: before });
                self.changed(kernel.set_memlock(process.id, *limit))
            }
        }
    }

    /// Takes the function from its driver; the reverse brings driver, node's owner and interface's flags back.
    fn detach(
        &self,
        kernel: &dyn Kernel,
        journal: &mut Journal,
        address: Address,
        driver: &str,
    ) -> Result<bool> {
        let function = kernel.sysfs().function(address)?;
        if function.driver.as_deref() != Some(driver) {
            return Ok(false);
        }
        // What must come back after the driver goes into the journal before it.
        let lost = remember_interfaces(kernel, journal, &function);
        if driver == VFIO_DRIVER
            && let Some(group) = function.iommu_group
        {
            let node = crate::sysfs::group_node(group);
            if let Ok(ownership) = kernel.ownership(&node) {
                journal.reverse(Self::Own { node, ownership, await_it: true });
            }
        }
        journal.reverse(Self::Attach { address, driver: driver.to_owned() });
        let outcome = kernel.write_attribute(&driver_path(driver).join("unbind"), &address.to_string());
        if kernel.sysfs().function(address)?.driver.as_deref() != Some(driver) {
            lost.into_iter().for_each(|words| journal.lose(words));
        }
        self.changed(outcome)
    }

    /// Gives the function to a driver and looks whether the driver has it.
    fn attach(
        &self,
        kernel: &dyn Kernel,
        journal: &mut Journal,
        address: Address,
        driver: &str,
    ) -> Result<bool> {
        if kernel.sysfs().function(address)?.driver.as_deref() == Some(driver) {
            return Ok(false);
        }
        journal.reverse(Self::Detach { address, driver: driver.to_owned() });
        self.changed(kernel.write_attribute(&driver_path(driver).join("bind"), &address.to_string()))?;
        let found = kernel.sysfs().function(address)?.driver;
        if found.as_deref() == Some(driver) {
            return Ok(true);
        }
        let found = found.map_or("no driver has it".to_owned(), |found| format!("{found} has it"));
        Err(Error::DriverRefused { address, wanted: driver.to_owned(), found })
    }

    /// Lets the kernel find a driver. That none is found is no failure: the function is free, as it should be.
    fn match_driver(&self, kernel: &dyn Kernel, journal: &mut Journal, address: Address) -> Result<bool> {
        let function = kernel.sysfs().function(address)?;
        if function.driver.is_some() {
            return Ok(false);
        }
        if let Some(alias) = kernel.sysfs().read_optional(function.path().join("modalias")) {
            // The kernel asks for a driver's module when a device is added, not here. There may be none to load.
            let _ = kernel.load_module(&alias);
        }
        let found =
            |kernel: &dyn Kernel| -> Result<Option<String>> { Ok(kernel.sysfs().function(address)?.driver) };
        let before = found(kernel)?;
        if before.is_none() {
            let probe = kernel.write_attribute(Path::new("/sys/bus/pci/drivers_probe"), &address.to_string());
            if let Some(driver) = found(kernel)? {
                journal.reverse(Self::Detach { address, driver });
            }
            return self.changed(probe);
        }
        if let Some(driver) = before {
            journal.reverse(Self::Detach { address, driver });
        }
        Ok(true)
    }

    /// Awaits interfaces and sets those up again that were. Another name than before is an error: whoever configured the
    /// interface by its name must know.
    fn take_back(&self, kernel: &dyn Kernel, address: Address, interfaces: &[(String, u32)]) -> Result<bool> {
        let sysfs = kernel.sysfs();
        let present = || sysfs.interfaces_of(address);
        if !kernel.wait_for(PATIENCE, &mut || present().len() >= interfaces.len()) {
            return self.changed(Err(io::Error::other("no interface has come")));
        }
        // udev may still be giving them the names they had.
        kernel.settle();
        kernel.wait_for(RENAMING, &mut || interfaces.iter().all(|(name, _)| present().contains(name)));
        let now = present();
        let mut changed = false;
        let mut renamed = Vec::new();
        for ((name, flags), other) in interfaces.iter().zip(&now) {
            let found = if now.contains(name) { name } else { other };
            if found != name {
                renamed.push(format!("{name} came back as {found}"));
            }
            if flags & FLAG_UP != 0 && sysfs.interface_flags(found) != Some(*flags) {
                let path = interface_path(found).join("flags");
                self.changed(kernel.write_attribute(&path, &format!("{flags:#x}")))?;
                changed = true;
            }
        }
        if renamed.is_empty() { Ok(changed) } else { self.changed(Err(io::Error::other(renamed.join(", ")))) }
    }

    fn changed(&self, outcome: io::Result<()>) -> Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(source) => Err(Error::Change { attempt: self.attempt(), source }),
        }
    }

    /// The step in words, with the path that is written to.
    fn attempt(&self) -> String {
        let path = match self {
            Self::Override { address, .. } => crate::sysfs::function_path(*address).join("driver_override"),
            Self::Detach { driver, .. } => driver_path(driver).join("unbind"),
            Self::Attach { driver, .. } => driver_path(driver).join("bind"),
            Self::Match { .. } => PathBuf::from("/sys/bus/pci/drivers_probe"),
            _ => return format!("'{self}'"),
        };
        format!("'{self}' (a write to {})", path.display())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadModule { name, .. } => write!(out, "load module {name}"),
            Self::UnloadModule { name, .. } => write!(out, "unload module {name}"),
            Self::MakeDirectory { path } => write!(out, "make folder {}", path.display()),
            Self::RemoveDirectory { path } => write!(out, "remove folder {}", path.display()),
            Self::WriteFile { path, .. } => write!(out, "write {}", path.display()),
            Self::RemoveFile { path } => write!(out, "remove {}", path.display()),
            Self::Override { address, driver: Some(driver) } => write!(out, "reserve {address} for {driver}"),
            Self::Override { address, driver: None } => write!(out, "reserve {address} for no driver"),
            Self::Detach { address, driver } => write!(out, "take {address} from {driver}"),
            Self::Attach { address, driver } => write!(out, "give {address} to {driver}"),
            Self::Match { address } => write!(out, "let the kernel choose a driver for {address}"),
            Self::Return { address, interfaces } => {
                let up = interfaces.iter().filter(|(_, flags)| flags & FLAG_UP != 0);
                let up: Vec<&str> = up.map(|(name, _)| name.as_str()).collect();
                match up.as_slice() {
                    [] => write!(out, "await the interface of {address}"),
                    names => write!(out, "set {} up", names.join(", ")),
                }
            }
            Self::Own { node, ownership: Ownership { user, mode }, .. } => {
                write!(out, "give {} to user {user} (mode {mode:04o})", node.display())
            }
            Self::SetMemlock { process, limit } => {
                write!(
                    out,
                    "set the locked-memory limit of {process} to {}",
                    super::memlock::size(limit.soft)
                )
            }
        }
    }
}

/// Notes how to get a function's interfaces back; returns what can't be brought back.
fn remember_interfaces(kernel: &dyn Kernel, journal: &mut Journal, function: &FunctionInfo) -> Vec<String> {
    if function.interfaces.is_empty() {
        return Vec::new();
    }
    let flags = |name: &String| (name.clone(), kernel.sysfs().interface_flags(name).unwrap_or(0));
    let interfaces = function.interfaces.iter().map(flags).collect();
    journal.reverse(Step::Return { address: function.address, interfaces });
    let addresses = kernel.addresses().unwrap_or_default();
    let mut lost = Vec::new();
    let again = |what: String| format!("What no undoing brings back: {what}");
    for name in &function.interfaces {
        let upper = kernel.sysfs().interface(name, &addresses).upper;
        if !upper.is_empty() {
            lost.push(again(format!("{} on {name}; set that up again", upper.join(", "))));
        }
        let own = addresses.iter().filter(|(owner, _)| owner == name);
        let list: Vec<String> = own.map(|(_, address)| address.to_string()).collect();
        if !list.is_empty() {
            let list = list.join(", ");
            lost.push(again(format!("the addresses of {name} ({list}) and its routes; set them again")));
        }
    }
    let virtual_functions = kernel.sysfs().virtual_functions(function.address);
    if virtual_functions > 0 {
        let address = function.address;
        lost.push(again(format!("{virtual_functions} virtual functions of {address}; begin them again")));
    }
    lost
}

fn no_module(name: &str, source: io::Error) -> Error {
    let remedy = if name.starts_with("vfio") {
        "`ringway doctor` says what would help"
    } else {
        "Install the driver, or name another with `ringway unbind --driver`"
    };
    Error::NoModule { name: name.to_owned(), source, remedy }
}

/// A PCI driver's folder in sysfs.
pub(crate) fn driver_path(driver: &str) -> PathBuf {
    Path::new("/sys/bus/pci/drivers").join(driver)
}

fn restore_file(path: &Path, before: Option<String>) -> Step {
    match before {
        Some(contents) => Step::WriteFile { path: path.to_owned(), contents },
        None => Step::RemoveFile { path: path.to_owned() },
    }
}
