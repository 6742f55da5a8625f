//! Checks: does an IOMMU stand before the devices, and does it watch their interrupts too.
//!
//! Sources: Linux, Documentation/admin-guide/kernel-parameters.txt (intel_iommu, amd_iommu),
//! Documentation/driver-api/vfio.rst.

use crate::kernel::Kernel;
use crate::sysfs::Sysfs;
use crate::{Address, Error};

use super::hints::{is_guest, processor_vendor};
use super::{Check, Verdict};

/// The error for a function that no IOMMU stands before, with what switches it on.
pub(crate) fn no_iommu(sysfs: &Sysfs, address: Address) -> Error {
    let remedy = iommu(sysfs).mend.unwrap_or_else(|| {
        "other functions have one, so move the card to another slot, or switch the IOMMU on for it in the firmware's \
         setup"
            .to_owned()
    });
    Error::NoIommu { address, remedy }
}

/// Whether the IOMMU is on.
pub(super) fn iommu(sysfs: &Sysfs) -> Check {
    const NAME: &str = "IOMMU";
    let groups = sysfs.group_numbers().len();
    if groups > 0 {
        let units = sysfs.list("/sys/class/iommu");
        let units = if units.is_empty() { "unnamed".to_owned() } else { units.join(", ") };
        return Check::good(NAME, format!("on ({units}), {groups} groups"));
    }
    let command_line = sysfs.read_optional("/proc/cmdline").unwrap_or_default();
    let disabling = ["intel_iommu=off", "amd_iommu=off", "iommu=off"];
    if let Some(word) = command_line.split_whitespace().find(|word| disabling.contains(word)) {
        let finding = format!("switched off by '{word}' on the kernel's command line");
        return Check::bad(NAME, Verdict::Failure, finding, kernel_argument(sysfs, Change::Remove, word));
    }
    let intel = processor_vendor(sysfs).as_deref() == Some("GenuineIntel");
    let tables = ["DMAR", "IVRS", "VIOT"];
    let described = tables.iter().any(|table| sysfs.exists(format!("/sys/firmware/acpi/tables/{table}")));
    if described {
        // AMD's is on by itself; Intel's as the kernel was built.
        let argument = if intel || sysfs.exists("/sys/firmware/acpi/tables/DMAR") {
            "intel_iommu=on"
        } else {
            "amd_iommu=force_enable"
        };
        let finding = "the firmware describes one, but the kernel doesn't use it: there are no IOMMU groups";
        return Check::bad(NAME, Verdict::Failure, finding, kernel_argument(sysfs, Change::Add, argument));
    }
    if is_guest(sysfs) {
        let finding = "this virtual machine has none: there are no IOMMU groups";
        let mend = "give it one (QEMU: -device intel-iommu,intremap=on,caching-mode=on with -M q35,kernel-irqchip=split) \
                    and boot it with intel_iommu=on";
        return Check::bad(NAME, Verdict::Failure, finding, mend);
    }
    let feature = if intel { "VT-d" } else { "the IOMMU (AMD-Vi)" };
    let finding = "the firmware describes none: there are no IOMMU groups";
    let mend = format!("sudo systemctl reboot --firmware-setup, and switch {feature} on there");
    Check::bad(NAME, Verdict::Failure, finding, mend)
}

/// Whether a device's interrupts are remapped, without which a program could raise any interrupt by a DMA write. VFIO
/// refuses functions then, unless it was told not to.
pub(super) fn interrupt_remapping(kernel: &dyn Kernel) -> Check {
    const NAME: &str = "interrupt remapping";
    let sysfs = kernel.sysfs();
    let interrupts = sysfs.read_optional("/proc/interrupts").unwrap_or_default();
    // The kernel names the chips of remapped interrupts IR-IO-APIC, IR-PCI-MSI and so on.
    if interrupts.split_whitespace().any(|word| word.starts_with("IR-")) {
        return Check::good(NAME, "on");
    }
    let parameter = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
    if sysfs.read_optional(parameter).is_some_and(|value| value == "Y" || value == "1") {
        let mend = "leave it so only where the devices and their programs are trusted";
        return Check::bad(NAME, Verdict::Warning, "off, and VFIO was told to go on all the same", mend);
    }
    let argument = if is_guest(sysfs) {
        "give the virtual machine's IOMMU intremap=on".to_owned()
    } else {
        "switch it on in the firmware's setup (x2APIC, interrupt remapping)".to_owned()
    };
    let mend = format!(
        "{argument}; or, where the devices are trusted: sudo modprobe vfio_iommu_type1; echo 1 | sudo tee {parameter}"
    );
    Check::bad(NAME, Verdict::Failure, "off: VFIO will refuse every function", mend)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

/// The command that changes the kernel's command line on this distribution.
fn kernel_argument(sysfs: &Sysfs, change: Change, argument: &str) -> String {
    let grubby = ["/usr/sbin/grubby", "/sbin/grubby"].iter().any(|path| sysfs.exists(path));
    match change {
        _ if grubby => {
            let option = if change == Change::Add { "args" } else { "remove-args" };
            format!("sudo grubby --update-kernel=ALL --{option}={argument} && sudo reboot")
        }
        _ if sysfs.exists("/etc/default/grub") => {
            let edit = match change {
                Change::Add => format!("s/^GRUB_CMDLINE_LINUX=\"/&{argument} /"),
                Change::Remove => format!("s/\\b{argument}\\b//"),
            };
            format!("sudo sed -i '{edit}' /etc/default/grub && sudo update-grub && sudo reboot")
        }
        Change::Add => format!("add {argument} to the kernel's command line in the boot loader, and reboot"),
        Change::Remove => {
            format!("remove {argument} from the kernel's command line in the boot loader, and reboot")
        }
    }
}
