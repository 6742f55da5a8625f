//! Checks that only inform: what the kernel locks down, what it runs on, and what would make it faster.

use crate::kernel::Kernel;
use crate::sysfs::Sysfs;

use super::{Check, Verdict};

/// Kernel lockdown. VFIO works under it; direct access to registers through sysfs doesn't.
pub(super) fn lockdown(kernel: &dyn Kernel) -> Check {
    const NAME: &str = "kernel lockdown";
    let state = kernel.sysfs().read_optional("/sys/kernel/security/lockdown").unwrap_or_default();
    let chosen = state.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match chosen {
        None => Check::good(NAME, "this kernel has none, or doesn't show it"),
        Some("none") => Check::good(NAME, "off"),
        Some(mode) => {
            Check::good(NAME, format!("{mode}; VFIO works all the same, registers through sysfs don't"))
        }
    }
}

/// Secure boot. vfio-pci comes signed with the kernel.
pub(super) fn secure_boot(kernel: &dyn Kernel) -> Check {
    const NAME: &str = "secure boot";
    let variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    // Four bytes of attributes, then the value (UEFI specification 2.10, 3.3).
    let finding = match kernel.sysfs().read_bytes(variable).and_then(|bytes| bytes.get(4).copied()) {
        Some(1) => "on; vfio-pci is signed with the kernel, modules of your own must be signed too",
        Some(_) => "off",
        None if kernel.sysfs().exists("/sys/firmware/efi") => "off, or the firmware doesn't show it",
        None => "none: this machine wasn't booted by UEFI",
    };
    Check::good(NAME, finding)
}

/// The hypervisor, if this is a virtual machine.
pub(super) fn hypervisor(kernel: &dyn Kernel) -> Check {
    const NAME: &str = "hypervisor";
    let sysfs = kernel.sysfs();
    if !is_guest(sysfs) {
        return Check::good(NAME, "none: this is no virtual machine");
    }
    let place = |path: &str| sysfs.read_optional(path).filter(|text| !text.is_empty());
    let name = place("/sys/hypervisor/type")
        .or_else(|| place("/sys/class/dmi/id/product_name"))
        .or_else(|| place("/sys/class/dmi/id/sys_vendor"));
    Check::good(NAME, format!("{}: a virtual machine", name.as_deref().unwrap_or("of unknown kind")))
}

/// Processors that the scheduler leaves alone.
pub(super) fn isolation(kernel: &dyn Kernel) -> Check {
    const NAME: &str = "CPU isolation";
    let sysfs = kernel.sysfs();
    let isolated = sysfs.read_optional("/sys/devices/system/cpu/isolated").unwrap_or_default();
    if !isolated.is_empty() {
        return Check::good(NAME, format!("processors {isolated} are kept free"));
    }
    let online = sysfs.read_optional("/sys/devices/system/cpu/online").unwrap_or_default();
    // "0-7": the last one is as good as any to name.
    let last = online.rsplit(['-', ',']).next().unwrap_or_default();
    if last.is_empty() || last == "0" {
        return Check::good(NAME, "one processor, which everything shares");
    }
    let mend =
        format!("boot with isolcpus={last} nohz_full={last} rcu_nocbs={last}, and pin to processor {last}");
    Check::bad(NAME, Verdict::Hint, "no processor is kept free for polling", mend)
}

/// The frequency governor.
pub(super) fn governor(kernel: &dyn Kernel) -> Check {
    const NAME: &str = "frequency governor";
    let sysfs = kernel.sysfs();
    let mut governors: Vec<String> = sysfs
        .list("/sys/devices/system/cpu")
        .iter()
        .filter_map(|name| {
            sysfs.read_optional(format!("/sys/devices/system/cpu/{name}/cpufreq/scaling_governor"))
        })
        .collect();
    governors.sort();
    governors.dedup();
    match governors.as_slice() {
        [] => Check::good(NAME, "none: the frequency isn't the kernel's to set here"),
        [only] if only == "performance" => Check::good(NAME, "performance"),
        found => Check::bad(
            NAME,
            Verdict::Hint,
            format!("{}: the clock may fall while packets are few", found.join(", ")),
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
    }
}

/// Whether a hypervisor stands below: the processor says so.
pub(super) fn is_guest(sysfs: &Sysfs) -> bool {
    let processors = sysfs.read_optional("/proc/cpuinfo").unwrap_or_default();
    let flags = processors.lines().find(|line| line.starts_with("flags"));
    sysfs.exists("/sys/hypervisor/type")
        || flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// The processor's maker: `GenuineIntel`, `AuthenticAMD`.
pub(super) fn processor_vendor(sysfs: &Sysfs) -> Option<String> {
    let processors = sysfs.read_optional("/proc/cpuinfo")?;
    let line = processors.lines().find(|line| line.starts_with("vendor_id"))?;
    line.split_once(':').map(|(_, vendor)| vendor.trim().to_owned())
}
