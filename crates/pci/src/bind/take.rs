//! The plan of a binding: from what is asked and what is there to the steps.
//!
//! Contract: looks only. The order is by what can go wrong: modules, records and files first, which are easy to take
//! back; then the functions, one after the other; then rights and limits.

use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::doctor::no_iommu;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Ownership};
use crate::sysfs::{FunctionInfo, User, VFIO_DRIVER};

use super::record::Record;
use super::step::{Step, driver_path};
use super::{Plan, checks, memlock, persist, record};

/// What to bind, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BindRequest {
    /// The functions: addresses, long or short, or names of network interfaces.
    pub functions: Vec<String>,
    /// The user who is to drive them, by login name or number. Without one they stay root's.
    pub user: Option<String>,
    /// Make it survive reboots and logins.
    pub persist: bool,
    /// Take the other members of the functions' IOMMU groups too.
    pub group: bool,
    /// Take functions that the machine uses.
    pub force: bool,
    /// How many bytes the user is to be able to lock; `None` is without limit. A higher limit is left alone.
    pub memlock: Option<u64>,
}

/// Plans a binding.
///
/// # Errors
/// Why it is refused: no such function, no NIC, no IOMMU, a device that goes around it, a group that isn't viable, a
/// function in use, no such user, no udev to make it last.
pub fn plan_bind(kernel: &dyn Kernel, request: &BindRequest) -> Result<Plan> {
    let named = named_functions(kernel, &request.functions)?;
    named.iter().try_for_each(checks::refuse_other_kinds)?;
    let taken = taken_functions(kernel, &named, request.group)?;
    let addresses: Vec<Address> = taken.iter().map(|(function, _)| function.address).collect();
    let mut groups = Vec::new();
    for (function, _) in &taken {
        let address = function.address;
        if kernel.sysfs().group_of(function)?.is_none() {
            return Err(no_iommu(kernel.sysfs(), address));
        }
        if let Some(reason) = checks::bypasses_iommu(kernel, function) {
            return Err(Error::BypassesIommu { address, reason });
        }
        groups.push(checks::viable_group(kernel, function, &addresses)?);
        if !request.force {
            checks::refuse_used(kernel, function)?;
        }
    }
    let user = request.user.as_deref().map(|name| find_user(kernel, name)).transpose()?;
    // Root has no need of either.
    let user = user.filter(|user| user.id != 0);

    let mut plan =
        Plan { steps: modules(kernel), notes: Vec::new(), functions: addresses, returning: Vec::new() };
    plan.steps.extend(missing_folders(kernel, Path::new(record::FOLDER)));
    if request.persist {
        plan.steps.extend(persist_folders(kernel, user.is_some())?);
    }
    for (function, companion_of) in &taken {
        let record = remember(kernel, function, user.as_ref(), companion_of);
        let address = function.address;
        plan.steps.push(Step::WriteFile { path: record::path(address), contents: record.text() });
        if request.persist {
            let contents = persist::rule(function, &record);
            plan.steps.push(Step::WriteFile { path: persist::rule_path(address), contents });
        } else if let Some(lasting) = persist::record(kernel.sysfs(), address)
            && lasting.user != record.user
        {
            let whose = lasting.user.map_or("root".to_owned(), |user| format!("user {user}"));
            plan.notes.push(format!(
                "{address} goes back to {whose} at the next boot, by {}: bind with --persist to change that",
                persist::rule_path(address).display()
            ));
        }
    }
    // The last first, so that an undoing gives the first back first, and interfaces get the names that the kernel gave
    // them in that order.
    plan.steps.extend(taken.iter().rev().flat_map(|(function, _)| take(function)));
    for (function, companion_of) in &taken {
        if !companion_of.is_empty() {
            plan.notes.push(format!(
                "{} ({}) comes along: it is in the same IOMMU group",
                function.address,
                function.kind()
            ));
        }
    }
    groups.sort_by_key(|group| group.number);
    groups.dedup_by_key(|group| group.number);
    if let Some(user) = &user {
        plan.steps.push(share_container());
        for group in &groups {
            plan.steps.push(Step::Own {
                node: group.node(),
                ownership: Ownership { user: user.id, mode: 0o600 },
                await_it: true,
            });
        }
        if request.persist {
            let contents = persist::limits(user, persist::lasting(kernel.sysfs(), user.id, request.memlock));
            plan.steps.push(Step::WriteFile { path: persist::limits_path(user.id), contents });
        }
        let raise = memlock::plan(kernel, user, request.memlock, request.persist);
        plan.steps.extend(raise.step);
        plan.notes.push(raise.note);
    } else {
        plan.notes.push("the functions stay root's: --user NAME gives them to an ordinary user".to_owned());
    }
    Ok(plan)
}

/// The functions that were named, each once.
fn named_functions(kernel: &dyn Kernel, names: &[String]) -> Result<Vec<FunctionInfo>> {
    if names.is_empty() {
        return Err(Error::NothingNamed);
    }
    let mut functions: Vec<FunctionInfo> = Vec::new();
    for name in names {
        let function = kernel.sysfs().function_named(name)?;
        if !functions.iter().any(|known| known.address == function.address) {
            functions.push(function);
        }
    }
    Ok(functions)
}

/// The functions to take: those named and, with `whole_group`, the other members of their groups but bridges, each
/// with the named functions on whose account it is taken (none for those named).
fn taken_functions(
    kernel: &dyn Kernel,
    named: &[FunctionInfo],
    whole_group: bool,
) -> Result<Vec<(FunctionInfo, Vec<Address>)>> {
    let mut taken: Vec<(FunctionInfo, Vec<Address>)> =
        named.iter().map(|function| (function.clone(), Vec::new())).collect();
    for function in named.iter().filter(|_| whole_group) {
        let Some(group) = kernel.sysfs().group_of(function)? else { continue };
        for member in group.members {
            if named.iter().any(|named| named.address == member.address) {
                continue;
            }
            if let Some((_, on_account)) = taken.iter_mut().find(|(known, _)| known.address == member.address)
            {
                on_account.push(function.address);
                continue;
            }
            let companion = kernel.sysfs().function(member.address)?;
            if !companion.is_bridge() {
                taken.push((companion, vec![function.address]));
            }
        }
    }
    taken.sort_by_key(|(function, _)| function.address);
    Ok(taken)
}

fn find_user(kernel: &dyn Kernel, name: &str) -> Result<User> {
    // The highest number is nobody's: to give something to it means to leave its owner as it is (chown(2)).
    kernel
        .find_user(name)
        .filter(|user| user.id != u32::MAX)
        .ok_or_else(|| Error::NoSuchUser { name: name.to_owned() })
}

/// vfio-pci, and the type 1 IOMMU back end where the kernel has it as a module: it is not everywhere loaded with it.
fn modules(kernel: &dyn Kernel) -> Vec<Step> {
    let sysfs = kernel.sysfs();
    let mut steps = Vec::new();
    let driver = driver_path(VFIO_DRIVER);
    if !sysfs.exists(&driver) {
        steps.push(Step::LoadModule { name: VFIO_DRIVER.to_owned(), shows: driver });
    }
    let name = "vfio_iommu_type1";
    if !sysfs.module_present(name) && sysfs.module_available(name) == Some(true) {
        let shows = Path::new("/sys/module").join(name);
        steps.push(Step::LoadModule { name: name.to_owned(), shows });
    }
    steps
}

/// What to remember of a function. What an earlier binding remembered stays: what is there now is that binding.
fn remember(
    kernel: &dyn Kernel,
    function: &FunctionInfo,
    user: Option<&User>,
    companion_of: &[Address],
) -> Record {
    // On vfio-pci, or on the way there when an earlier binding was killed: perhaps before it could reserve the function.
    let ours = function.on_vfio() || function.driver.is_none();
    let earlier = ours.then(|| Record::load(kernel.sysfs(), function.address)).flatten();
    let now = || Record {
        driver: function.driver.clone().filter(|driver| driver != VFIO_DRIVER),
        reserved: function.driver_override.clone().filter(|driver| driver != VFIO_DRIVER),
        interfaces: function.interfaces.clone(),
        ..Record::default()
    };
    let earlier_account = earlier.as_ref().map(|record| record.companion_of.clone());
    let mut record = earlier.unwrap_or_else(now);
    record.user = user.map(|user| user.id);
    record.companion_of = companion_of.to_vec();
    // Named before, it stays so; taken along before, it is now taken along for both.
    match earlier_account {
        Some(before) if before.is_empty() => record.companion_of.clear(),
        Some(before) if !companion_of.is_empty() => {
            record.companion_of.extend(before.iter().filter(|address| !companion_of.contains(address)));
        }
        _ => {}
    }
    record
}

/// The steps that move one function to vfio-pci.
fn take(function: &FunctionInfo) -> Vec<Step> {
    let address = function.address;
    let wanted = VFIO_DRIVER.to_owned();
    let mut steps = Vec::new();
    if function.on_vfio() {
        return steps;
    }
    if let Some(driver) = &function.driver {
        steps.push(Step::Detach { address, driver: driver.clone() });
    }
    if function.driver_override.as_ref() != Some(&wanted) {
        steps.push(Step::Override { address, driver: Some(wanted.clone()) });
    }
    steps.push(Step::Attach { address, driver: wanted });
    steps
}

/// The container's node is meant for everyone, as it gives no right to any device; the kernel and udev make it so,
/// a guest's simple device manager may not.
fn share_container() -> Step {
    let ownership = Ownership { user: 0, mode: 0o666 };
    Step::Own { node: PathBuf::from("/dev/vfio/vfio"), ownership, await_it: false }
}

/// The steps that make a folder and those above it that are missing.
fn missing_folders(kernel: &dyn Kernel, folder: &Path) -> Vec<Step> {
    let missing = folder.ancestors().take_while(|folder| !kernel.sysfs().exists(folder));
    let mut steps: Vec<Step> = missing.map(|path| Step::MakeDirectory { path: path.to_owned() }).collect();
    steps.reverse();
    steps
}

fn persist_folders(kernel: &dyn Kernel, limits: bool) -> Result<Vec<Step>> {
    if !persist::UDEV.iter().any(|folder| kernel.sysfs().exists(folder)) {
        return Err(Error::NoUdev { path: PathBuf::from(persist::UDEV[0]) });
    }
    let mut steps = missing_folders(kernel, Path::new(persist::RULES));
    if limits {
        for step in missing_folders(kernel, Path::new(persist::LIMITS)) {
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    Ok(steps)
}
