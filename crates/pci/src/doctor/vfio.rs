//! Checks: is the kernel's driver for user space there, are the groups viable, may this user open them.

use crate::kernel::Kernel;
use crate::status::{driver_for, no_access};
use crate::sysfs::{FunctionInfo, VFIO_DRIVER};

use super::{Check, Needs, Verdict};

/// Whether vfio-pci is loaded, or can be, and which back end holds the mappings.
pub(super) fn driver(kernel: &dyn Kernel) -> Check {
    const NAME: &str = "vfio-pci";
    let sysfs = kernel.sysfs();
    if sysfs.exists(format!("/sys/bus/pci/drivers/{VFIO_DRIVER}")) {
        return Check::good(NAME, format!("loaded, mappings by {}", Backend::of(kernel).name()));
    }
    match sysfs.module_available(VFIO_DRIVER) {
        Some(true) => Check::good(NAME, "can be loaded (`ringway bind` does it)"),
        Some(false) => Check::bad(
            NAME,
            Verdict::Failure,
            "this kernel has neither the driver nor a module of it",
            "install the kernel's whole set of modules (Debian: sudo apt install linux-image-amd64; Ubuntu: sudo apt \
             install linux-modules-extra-$(uname -r)), or build the kernel with CONFIG_VFIO_PCI",
        ),
        None => {
            let folder = sysfs.modules_folder().filter(|folder| sysfs.exists(folder));
            let (finding, mend) = match folder {
                Some(folder) => (
                    format!("not loaded, and there is no list of modules in {}", folder.display()),
                    "sudo depmod -a",
                ),
                None => (
                    "not loaded, and there are no modules of the running kernel in /lib/modules".to_owned(),
                    "sudo reboot, if the kernel was upgraded since the machine started; otherwise install its modules",
                ),
            };
            Check::bad(NAME, Verdict::Failure, finding, mend)
        }
    }
}

/// Who keeps the mappings of user space, and so how locked memory is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    /// VFIO's type 1: a process is charged for what each of its containers maps.
    Type1,
    /// iommufd in the container's place: the user is charged, over all processes.
    Iommufd,
    /// Neither is loaded yet; type 1 is what VFIO loads.
    NotLoaded,
}

impl Backend {
    pub(super) fn of(kernel: &dyn Kernel) -> Self {
        let sysfs = kernel.sysfs();
        if sysfs.module_present("vfio_iommu_type1") {
            Self::Type1
        } else if sysfs.exists("/dev/iommu") && sysfs.module_available("vfio_iommu_type1") != Some(true) {
            Self::Iommufd
        } else {
            Self::NotLoaded
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Type1 => "VFIO type 1",
            Self::Iommufd => "iommufd",
            Self::NotLoaded => "VFIO type 1 (not loaded yet)",
        }
    }

    pub(super) fn counting(self) -> &'static str {
        match self {
            Self::Type1 | Self::NotLoaded => {
                "VFIO type 1 counts per process, and again for each address space"
            }
            Self::Iommufd => "iommufd counts per user, over all processes",
        }
    }
}

/// Whether the groups of the functions that Ringway could drive are free of the kernel's other drivers.
pub(super) fn groups(kernel: &dyn Kernel, needs: &Needs<'_>) -> Check {
    const NAME: &str = "IOMMU groups";
    let functions = match kernel.sysfs().functions() {
        Ok(functions) => functions,
        Err(error) => return Check::bad(NAME, Verdict::Failure, error.to_string(), "see `dmesg`"),
    };
    let drivable = |function: &&FunctionInfo| driver_for(function, needs.supported).is_some();
    let (mut seen, mut shared, mut first) = (0_usize, Vec::new(), None);
    for function in functions.iter().filter(drivable) {
        let Ok(Some(group)) = kernel.sysfs().group_of(function) else { continue };
        seen += 1;
        let others: Vec<String> = group
            .blockers()
            .filter(|member| member.address != function.address)
            .map(ToString::to_string)
            .collect();
        if others.is_empty() {
            continue;
        }
        let finding =
            format!("group {} of {} also has {}", group.number, function.address, others.join(", "));
        let mend = format!("sudo ringway bind {} --group", function.address);
        if function.on_vfio() {
            return Check::bad(NAME, Verdict::Failure, format!("not viable: {finding}"), mend);
        }
        shared.push(finding);
        first.get_or_insert(mend);
    }
    match first {
        Some(mend) => {
            Check::bad(NAME, Verdict::Warning, format!("to be taken whole: {}", shared.join("; ")), mend)
        }
        None if seen == 0 => Check::bad(
            NAME,
            Verdict::Warning,
            "no function that Ringway has a driver for is in an IOMMU group",
            "see `ringway status`; without a NIC: ringway forward emulated:0 emulated:1",
        ),
        None => Check::good(NAME, format!("each of {seen} functions can be taken by itself")),
    }
}

/// Whether something that Ringway has a driver for is bound, and this user may open it.
pub(super) fn rights(kernel: &dyn Kernel, needs: &Needs<'_>) -> Check {
    const NAME: &str = "rights on /dev/vfio";
    let sysfs = kernel.sysfs();
    let functions = sysfs.functions().unwrap_or_default();
    let bound: Vec<&FunctionInfo> =
        functions.iter().filter(|function| function.is_network() && function.on_vfio()).collect();
    if bound.is_empty() {
        let mend = "sudo ringway bind ADDRESS  # `ringway status` lists them";
        return Check::bad(NAME, Verdict::Failure, "no network function is bound to vfio-pci", mend);
    }
    let (bound, others): (Vec<&FunctionInfo>, Vec<&FunctionInfo>) =
        bound.into_iter().partition(|function| driver_for(function, needs.supported).is_some());
    if bound.is_empty() {
        let others: Vec<String> = others.iter().map(|function| function.address.to_string()).collect();
        let finding =
            format!("what is bound to vfio-pci ({}) no driver of Ringway's takes", others.join(", "));
        let mend = "sudo ringway bind ADDRESS  # of another; `ringway status` lists them";
        return Check::bad(NAME, Verdict::Failure, finding, mend);
    }
    let container = std::path::Path::new("/dev/vfio/vfio");
    if !kernel.may_open(container) {
        let mend =
            if sysfs.exists(container) { "sudo chmod 666 /dev/vfio/vfio" } else { "sudo modprobe vfio" };
        return Check::bad(NAME, Verdict::Failure, "/dev/vfio/vfio can't be opened by this user", mend);
    }
    let mut obstacles = Vec::new();
    for function in &bound {
        if let Ok(Some(group)) = sysfs.group_of(function)
            && let Some(obstacle) = no_access(kernel, function.address, &group)
        {
            obstacles.push((function.address, obstacle));
        }
    }
    let verdict = if obstacles.len() == bound.len() { Verdict::Failure } else { Verdict::Warning };
    match obstacles.first() {
        None => {
            let addresses: Vec<String> = bound.iter().map(|function| function.address.to_string()).collect();
            Check::good(NAME, format!("this user may open {}", addresses.join(", ")))
        }
        Some((address, obstacle)) => {
            let (finding, mend) = match obstacle.rsplit_once(": sudo ") {
                Some((finding, command)) => (finding.to_owned(), format!("sudo {command}")),
                None => (obstacle.clone(), "end that program first".to_owned()),
            };
            Check::bad(NAME, verdict, format!("{address}: {finding}"), mend)
        }
    }
}
