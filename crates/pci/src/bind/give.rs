//! The plan of giving functions back: to the driver that was there, or to the one the kernel finds.
//!
//! Contract: looks only. A function that a program has open is refused, as the kernel would wait for that program
//! without end. A function left half-way by a killed `bind` is put right.

use std::path::Path;

use crate::address::Address;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::sysfs::{FunctionInfo, VFIO_DRIVER};

use super::record::Record;
use super::step::{Step, driver_path};
use super::{Plan, Returning, persist, record};

/// What to give back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnbindRequest {
    /// The functions: addresses, long or short. None means all that were bound by Ringway.
    pub functions: Vec<String>,
    /// The driver to give them to, in place of the one remembered.
    pub driver: Option<String>,
    /// Remove what makes a binding survive reboots and logins.
    pub persist: bool,
}

/// Plans to give functions back, with those that were taken along for them.
///
/// # Errors
/// Why it is refused: no name of a driver, nothing bound, a function that isn't on vfio-pci, one that a program has open.
pub fn plan_unbind(kernel: &dyn Kernel, request: &UnbindRequest) -> Result<Plan> {
    if let Some(driver) = &request.driver {
        refuse_odd_driver(driver)?;
    }
    let given = given_functions(kernel, request)?;
    let functions = &given.functions;
    let present = functions.iter().map(|function| function.address);
    let all: Vec<Address> = present.chain(given.gone.iter().copied()).collect();
    let mut plan =
        Plan { steps: Vec::new(), notes: Vec::new(), functions: all.clone(), returning: Vec::new() };
    for function in functions {
        refuse_held(kernel, function)?;
        // What came along with a NIC is for its own driver, whichever the NIC goes to.
        let own = if request.functions.is_empty() {
            Record::load(kernel.sysfs(), function.address).is_none_or(|record| record.companion_of.is_empty())
        } else {
            given.named.contains(&function.address)
        };
        let driver = request.driver.as_ref().filter(|_| own);
        give(kernel, driver, function, &mut plan);
    }
    let gone = given.gone.iter();
    plan.notes.extend(gone.map(|address| format!("{address} is no longer in the machine")));
    plan.notes.extend(left_unusable(kernel, functions)?);
    for address in &all {
        forget(kernel, request, *address, &mut plan);
    }
    if request.persist {
        forget_limits(kernel, &all, &mut plan);
    }
    Ok(plan)
}

/// A driver that a function can't be given back to, or that isn't the name of one: the name becomes part of a path and
/// an argument of modprobe's.
fn refuse_odd_driver(name: &str) -> Result<()> {
    if record::driver_name(name).is_some() && name.replace('_', "-") != VFIO_DRIVER {
        return Ok(());
    }
    Err(Error::BadDriver { name: name.to_owned() })
}

/// What there is to give back.
struct Given {
    /// The functions.
    functions: Vec<FunctionInfo>,
    /// The addresses that were named, or that stand for all; the others came along with them.
    named: Vec<Address>,
    /// Addresses of which something is remembered but at which nothing answers any more: a card that was taken out.
    gone: Vec<Address>,
}

/// The functions to give back: those named, or all, and those that came along with them alone.
fn given_functions(kernel: &dyn Kernel, request: &UnbindRequest) -> Result<Given> {
    let sysfs = kernel.sysfs();
    let mut known = record::recorded(sysfs);
    known.extend(persist::ruled(sysfs));
    known.sort_unstable();
    known.dedup();
    let mut given = Given { functions: Vec::new(), named: Vec::new(), gone: Vec::new() };
    if request.functions.is_empty() {
        for address in &known {
            given.take(&known, sysfs.function(*address))?;
        }
    }
    for name in &request.functions {
        given.take(&known, sysfs.function_named(name))?;
    }
    if given.functions.is_empty() && given.gone.is_empty() {
        return Err(Error::NothingNamed);
    }
    let present = given.functions.iter().map(|function| function.address);
    given.named = present.chain(given.gone.iter().copied()).collect();
    for function in &given.functions {
        // Not on vfio-pci and nothing known of it: it was never taken.
        if !function.on_vfio() && !known.contains(&function.address) {
            let driver = function
                .driver
                .as_ref()
                .map_or("no driver has it".to_owned(), |name| format!("{name} has it"));
            return Err(Error::NotBound { address: function.address, driver });
        }
    }
    for address in &known {
        let on_account = Record::load(sysfs, *address).map(|record| record.companion_of).unwrap_or_default();
        if !on_account.is_empty() && on_account.iter().all(|account| given.named.contains(account)) {
            given.take(&known, sysfs.function(*address))?;
        }
    }
    // In the order in which the kernel named their interfaces, as a rule, so that they get the same names again.
    given.functions.sort_by_key(|function| function.address);
    Ok(given)
}

impl Given {
    /// Takes a function in, once; one that has gone, if it is `known`, as such.
    fn take(&mut self, known: &[Address], found: Result<FunctionInfo>) -> Result<()> {
        match found {
            Ok(function) => {
                if !self.functions.iter().any(|other| other.address == function.address) {
                    self.functions.push(function);
                }
            }
            Err(Error::NoSuchFunction { address }) if known.contains(&address) => {
                if !self.gone.contains(&address) {
                    self.gone.push(address);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn refuse_held(kernel: &dyn Kernel, function: &FunctionInfo) -> Result<()> {
    let Some(group) = kernel.sysfs().group_of(function)?.filter(|_| function.on_vfio()) else {
        return Ok(());
    };
    // A program that goes by iommufd opens the function's own node, not the group's.
    let own = kernel.sysfs().list(function.path().join("vfio-dev"));
    let own = own.iter().map(|name| Path::new("/dev/vfio/devices").join(name));
    for node in std::iter::once(group.node()).chain(own) {
        let holders = kernel.sysfs().holders(&node);
        if !holders.is_empty() {
            let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
            return Err(Error::Held { address: function.address, node, holders: holders.join(", ") });
        }
    }
    Ok(())
}

/// Tells of functions that stay on vfio-pci but whose group is no longer viable once others of it have gone back.
fn left_unusable(kernel: &dyn Kernel, going: &[FunctionInfo]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for function in going {
        let Some(group) = kernel.sysfs().group_of(function)? else { continue };
        for member in &group.members {
            let stays = !going.iter().any(|going| going.address == member.address);
            if stays && member.driver.as_deref() == Some(VFIO_DRIVER) {
                notes.push(format!(
                    "{} stays on vfio-pci but can't be opened: {} is in the same IOMMU group",
                    member.address, function.address
                ));
            }
        }
    }
    Ok(notes)
}

/// The steps that give one function back: to `wanted`, or else to the driver that is remembered.
fn give(kernel: &dyn Kernel, wanted: Option<&String>, function: &FunctionInfo, plan: &mut Plan) {
    let address = function.address;
    let remembered = Record::load(kernel.sysfs(), address).unwrap_or_default();
    let reservation = Step::Override { address, driver: remembered.reserved.clone() };
    if let (None, Some(driver)) = (wanted, function.driver.as_ref().filter(|_| !function.on_vfio())) {
        // A driver has it already: it never left, as a binding was killed, or someone gave it away since. What the machine
        // may do with it now was not asked for here.
        if function.driver_override.as_deref() == Some(VFIO_DRIVER) {
            plan.steps.push(reservation);
        }
        plan.notes.push(format!("{address} is not on vfio-pci: {driver} has it, and keeps it"));
        return;
    }
    if function.on_vfio() {
        plan.steps.push(Step::Detach { address, driver: VFIO_DRIVER.to_owned() });
    }
    plan.steps.push(reservation);
    match wanted.cloned().or(remembered.driver) {
        Some(driver) => {
            let shows = driver_path(&driver);
            if !kernel.sysfs().exists(&shows) {
                plan.steps.push(Step::LoadModule { name: driver.clone(), shows });
            }
            if let Some(other) =
                function.driver.as_ref().filter(|other| **other != driver && *other != VFIO_DRIVER)
            {
                plan.steps.push(Step::Detach { address, driver: other.clone() });
            }
            plan.steps.push(Step::Attach { address, driver });
        }
        None => plan.steps.push(Step::Match { address }),
    }
    let certain = !remembered.interfaces.is_empty() && wanted.is_none();
    if function.is_network() || certain {
        plan.returning.push(Returning { address, interfaces: remembered.interfaces, certain });
    }
}

/// The steps that remove what is remembered of a function.
fn forget(kernel: &dyn Kernel, request: &UnbindRequest, address: Address, plan: &mut Plan) {
    let exists = |path: &std::path::PathBuf| kernel.sysfs().exists(path);
    plan.steps.extend(Some(record::path(address)).filter(exists).map(|path| Step::RemoveFile { path }));
    let rule = Some(persist::rule_path(address)).filter(exists);
    match rule {
        Some(path) if request.persist => plan.steps.push(Step::RemoveFile { path }),
        Some(path) => plan.notes.push(format!(
            "{address} will be bound again after a reboot, by {}: unbind with --persist to end that",
            path.display()
        )),
        None => {}
    }
}

/// The steps that remove the limits of users for whom nothing lasting is left.
fn forget_limits(kernel: &dyn Kernel, going: &[Address], plan: &mut Plan) {
    let sysfs = kernel.sysfs();
    let staying = persist::ruled(sysfs).into_iter().filter(|address| !going.contains(address));
    let needed: Vec<u32> = staying.filter_map(|address| persist::record(sysfs, address)?.user).collect();
    // A function may have changed hands since its first user's file was written: all that nothing needs go.
    for user in persist::limited(sysfs).into_iter().filter(|user| !needed.contains(user)) {
        plan.steps.push(Step::RemoveFile { path: persist::limits_path(user) });
    }
}
