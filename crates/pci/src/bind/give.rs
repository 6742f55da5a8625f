//! The plan of giving functions back: to the driver that was there, or to the one the kernel finds.
//!
//! Contract: looks only. A function that a program has open is refused, as the kernel would wait for that program
//! without end. A function left half-way by a killed `bind` is put right.

use crate::address::Address;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::sysfs::{FunctionInfo, VFIO_DRIVER};

use super::record::Record;
use super::step::{Step, driver_path};
use super::take::named_functions;
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
/// Why it is refused: nothing bound, a function that isn't on vfio-pci, one that a program has open.
pub fn plan_unbind(kernel: &dyn Kernel, request: &UnbindRequest) -> Result<Plan> {
    let functions = given_functions(kernel, request)?;
    let mut plan = Plan {
        steps: Vec::new(),
        notes: Vec::new(),
        functions: functions.iter().map(|function| function.address).collect(),
        returning: Vec::new(),
    };
    for function in &functions {
        refuse_held(kernel, function)?;
        give(kernel, request, function, &mut plan);
    }
    plan.notes.extend(left_unusable(kernel, &functions)?);
    for function in &functions {
        forget(kernel, request, function, &mut plan);
    }
    if request.persist {
        forget_limits(kernel, &functions, &mut plan);
    }
    Ok(plan)
}

/// The functions to give back: those named, or all, and those that came along with them alone.
fn given_functions(kernel: &dyn Kernel, request: &UnbindRequest) -> Result<Vec<FunctionInfo>> {
    let sysfs = kernel.sysfs();
    let mut known = record::recorded(sysfs);
    known.extend(persist::ruled(sysfs));
    known.sort_unstable();
    known.dedup();
    let mut functions = if request.functions.is_empty() {
        let mut functions = Vec::new();
        for address in &known {
            match sysfs.function(*address) {
                Ok(function) => functions.push(function),
                // Taken out of the machine since; there is nothing to give back.
                Err(Error::NoSuchFunction { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        functions
    } else {
        named_functions(kernel, &request.functions)?
    };
    if functions.is_empty() {
        return Err(Error::NothingNamed);
    }
    let named: Vec<Address> = functions.iter().map(|function| function.address).collect();
    for function in &functions {
        // Not on vfio-pci and nothing known of it: it was never taken.
        if !function.on_vfio() && !known.contains(&function.address) {
            let driver = function
                .driver
                .as_ref()
                .map_or("no driver has it".to_owned(), |name| format!("{name} has it"));
            return Err(Error::NotBound { address: function.address, driver });
        }
    }
    for address in known.iter().filter(|address| !named.contains(address)) {
        let on_account = Record::load(sysfs, *address).map(|record| record.companion_of).unwrap_or_default();
        if !on_account.is_empty() && on_account.iter().all(|account| named.contains(account)) {
            functions.push(sysfs.function(*address)?);
        }
    }
    // In the order in which the kernel named their interfaces, as a rule, so that they get the same names again.
    functions.sort_by_key(|function| function.address);
    Ok(functions)
}

fn refuse_held(kernel: &dyn Kernel, function: &FunctionInfo) -> Result<()> {
    let Some(group) = kernel.sysfs().group_of(function)?.filter(|_| function.on_vfio()) else {
        return Ok(());
    };
    let holders = kernel.sysfs().holders(&group.node());
    if holders.is_empty() {
        return Ok(());
    }
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    Err(Error::Held { address: function.address, node: group.node(), holders: holders.join(", ") })
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

/// The steps that give one function back.
fn give(kernel: &dyn Kernel, request: &UnbindRequest, function: &FunctionInfo, plan: &mut Plan) {
    let address = function.address;
    let record = Record::load(kernel.sysfs(), address);
    let remembered = record.clone().unwrap_or_default();
    if function.on_vfio() {
        plan.steps.push(Step::Detach { address, driver: VFIO_DRIVER.to_owned() });
    }
    plan.steps.push(Step::Override { address, driver: remembered.reserved.clone() });
    match request.driver.clone().or(remembered.driver) {
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
    let certain = !remembered.interfaces.is_empty() && request.driver.is_none();
    if function.is_network() || certain {
        plan.returning.push(Returning { address, interfaces: remembered.interfaces, certain });
    }
}

/// The steps that remove what is remembered of a function.
fn forget(kernel: &dyn Kernel, request: &UnbindRequest, function: &FunctionInfo, plan: &mut Plan) {
    let address = function.address;
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
fn forget_limits(kernel: &dyn Kernel, functions: &[FunctionInfo], plan: &mut Plan) {
    let sysfs = kernel.sysfs();
    let going: Vec<Address> = functions.iter().map(|function| function.address).collect();
    let staying = persist::ruled(sysfs).into_iter().filter(|address| !going.contains(address));
    let needed: Vec<u32> = staying.filter_map(|address| persist::record(sysfs, address)?.user).collect();
    // A function may have changed hands since its first user's file was written: all that nothing needs go.
    for user in persist::limited(sysfs).into_iter().filter(|user| !needed.contains(user)) {
        plan.steps.push(Step::RemoveFile { path: persist::limits_path(user) });
    }
}
