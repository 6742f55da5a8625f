//! Binding: taking network functions from the kernel for user space, and giving them back.
//!
//! Contract: [`plan_bind`] and [`plan_unbind`] look, refuse what must be refused, and return a [`Plan`] without having
//! changed anything; it can be shown, or carried out. [`Plan::carry_out`] does all of it or, on any failure,
//! undoes what it did and says so. Binding needs root; planning doesn't.
//!
//! What binding changes: vfio-pci is loaded; the function goes to it by `driver_override`; the IOMMU group's node in
//! `/dev/vfio` goes to the user; the user's nearest process may lock more memory; `/run/ringway` remembers what was there.
//! A lasting binding adds a udev rule and a limits file.
//!
//! Not here: opening a function (VFIO's part), what the command line looks like.

mod checks;
mod give;
mod memlock;
mod persist;
mod record;
mod step;
mod take;
mod transaction;

use std::time::Duration;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Lock};

pub(crate) use checks::{bypasses_iommu, not_viable};
pub use give::{UnbindRequest, plan_unbind};
pub(crate) use memlock::size;
pub use take::{BindRequest, plan_bind};
pub use transaction::Undone;

use step::Step;

/// What is to be done, looked over and found allowed.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    notes: Vec<String>,
    functions: Vec<Address>,
    returning: Vec<Returning>,
}

/// A function that a driver is to make network interfaces of again.
#[derive(Debug)]
struct Returning {
    address: Address,
    /// The names it had, if that is known.
    interfaces: Vec<String>,
    /// Whether it must have an interface, as it had one before.
    certain: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The changes made, in words, in their order; what was so already is left out.
    pub done: Vec<String>,
    /// What the user should know besides.
    pub notes: Vec<String>,
}

impl Plan {
    /// The functions concerned, with those that come along as members of a group.
    pub fn functions(&self) -> &[Address] {
        &self.functions
    }

    /// The steps in words.
    pub fn steps(&self) -> Vec<String> {
        self.steps.iter().map(ToString::to_string).collect()
    }

    /// What the user should know besides.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Carries the plan out: all of it, or nothing. Then waits for the network interfaces that come back.
    ///
    /// # Errors
    /// [`Error::Undone`] when a step failed, with what was put back. [`Error::NoInterface`] when all is done but an
    /// interface hasn't come back in time; nothing is undone then.
    pub fn carry_out(self, kernel: &dyn Kernel) -> Result<Outcome> {
        let done = transaction::run(kernel, &self.steps)?;
        let mut notes = self.notes;
        for returning in &self.returning {
            notes.push(await_interface(kernel, returning)?);
        }
        Ok(Outcome { done, notes })
    }
}

/// Keeps others away who change bindings, until what is returned is dropped: to be had before a plan is made that is carried
/// out.
///
/// # Errors
/// [`Error::Locked`] when somebody else doesn't end, or the machine has no PCI bus, or this isn't root;
/// [`Error::Interrupted`] when a signal comes while somebody else is waited for.
pub fn exclusively(kernel: &dyn Kernel) -> Result<Lock> {
    kernel.lock().map_err(
        |source| {
            if kernel.interrupted() { Error::Interrupted } else { Error::Locked { source } }
        },
    )
}

/// Waits for a function's interface, by the name it had if udev gives it that again.
fn await_interface(kernel: &dyn Kernel, returning: &Returning) -> Result<String> {
    let Returning { address, interfaces, certain } = returning;
    let sysfs = kernel.sysfs();
    let Some(driver) = sysfs.function(*address)?.driver else {
        return Ok(format!("{address} is free: the kernel has no driver for it at the moment"));
    };
    let present = || sysfs.interfaces_of(*address);
    // A driver that has said nothing on interfaces before may well make none.
    let patience = if *certain { step::PATIENCE } else { Duration::from_secs(5) };
    kernel.wait_for(patience, &mut || !present().is_empty() || kernel.interrupted());
    if present().is_empty() {
        if kernel.interrupted() {
            return Ok(format!("{address} is back with {driver}; its interface was not waited for"));
        }
        if *certain {
            return Err(Error::NoInterface { address: *address, driver, seconds: patience.as_secs() });
        }
        return Ok(format!("{address} is back with {driver}"));
    }
    kernel.settle();
    kernel.wait_for(step::RENAMING, &mut || interfaces.iter().all(|name| present().contains(name)));
    let now = present();
    let before = if interfaces.is_empty() || *interfaces == now {
        String::new()
    } else {
        format!(" (was {})", interfaces.join(", "))
    };
    Ok(format!("{address} is back with {driver}, interface {}{before}", now.join(", ")))
}
