//! Each thing that can ail a machine is found, and comes with what mends it.

use ringway_pci::bind::BindRequest;
use ringway_pci::doctor::{Check, Needs, Verdict, examine};

use crate::bind::{bind, for_ada};
use crate::fake::Fake;
use crate::status::SUPPORTED;

const NEEDS: Needs<'static> = Needs { memory: 32 << 20, supported: &SUPPORTED };

/// A machine on which ada can run Ringway: one NIC bound for her, from a shell that may lock enough.
fn healthy() -> Fake {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    fake.run_as(1000);
    fake.set_limits(300, "67108864", "67108864");
    fake
}

fn check(fake: &Fake, name: &str) -> Check {
    examine(fake, &NEEDS).checks.into_iter().find(|check| check.name == name).unwrap()
}

/// The check's finding and remedy; it must have come out as said, and the whole with it.
#[track_caller]
fn ails(fake: &Fake, name: &str, verdict: Verdict) -> (String, String) {
    let found = check(fake, name);
    assert_eq!(found.verdict, verdict, "{found:?}");
    assert_eq!(examine(fake, &NEEDS).ready, verdict != Verdict::Failure, "{found:?}");
    (found.finding, found.mend.expect("a remedy"))
}

#[test]
fn a_machine_made_ready_by_bind_is_ready() {
    let diagnosis = examine(&healthy(), &NEEDS);
    assert!(diagnosis.ready, "{diagnosis:?}");
    for check in &diagnosis.checks {
        assert!(check.verdict != Verdict::Failure, "{check:?}");
        assert_eq!(check.mend.is_some(), check.verdict != Verdict::Good, "{check:?}");
        assert!(!check.finding.is_empty(), "{check:?}");
    }
    assert_eq!(diagnosis.checks.len(), 12);
}

#[test]
fn an_iommu_that_the_kernel_does_not_use_is_mended_on_its_command_line() {
    let fake = healthy();
    fake.remove("sys/kernel/iommu_groups");
    fake.put("sys/firmware/acpi/tables/DMAR", "");
    fake.put("etc/default/grub", "GRUB_CMDLINE_LINUX=\"\"\n");
    let (finding, mend) = ails(&fake, "IOMMU", Verdict::Failure);
    assert!(finding.contains("the kernel doesn't use it"), "{finding}");
    assert_eq!(
        mend,
        "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&intel_iommu=on /' /etc/default/grub && sudo update-grub && sudo reboot"
    );
    fake.put("usr/sbin/grubby", "");
    let (_, mend) = ails(&fake, "IOMMU", Verdict::Failure);
    assert_eq!(mend, "sudo grubby --update-kernel=ALL --args=intel_iommu=on && sudo reboot");
}

#[test]
fn an_iommu_switched_off_by_a_word_is_mended_by_removing_it() {
    let fake = healthy();
    fake.remove("sys/kernel/iommu_groups");
    fake.put("proc/cmdline", "root=/dev/sda1 intel_iommu=off\n");
    let (finding, mend) = ails(&fake, "IOMMU", Verdict::Failure);
    assert_eq!(finding, "switched off by 'intel_iommu=off' on the kernel's command line");
    assert!(mend.starts_with("remove intel_iommu=off from the kernel's command line"), "{mend}");
}

#[test]
fn an_iommu_that_is_not_there_is_the_firmwares_or_the_hypervisors() {
    let fake = healthy();
    fake.remove("sys/kernel/iommu_groups");
    let (_, mend) = ails(&fake, "IOMMU", Verdict::Failure);
    assert_eq!(mend, "sudo systemctl reboot --firmware-setup, and switch VT-d on there");
    fake.put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu\n");
    let (_, mend) = ails(&fake, "IOMMU", Verdict::Failure);
    assert!(mend.contains("AMD-Vi"), "{mend}");
    fake.put("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu hypervisor\n");
    let (finding, mend) = ails(&fake, "IOMMU", Verdict::Failure);
    assert!(finding.contains("this virtual machine has none"), "{finding}");
    assert!(mend.contains("-device intel-iommu,intremap=on"), "{mend}");
}

#[test]
fn interrupts_that_are_not_remapped_fail_unless_vfio_was_told_to_go_on() {
    let fake = healthy();
    fake.put("proc/interrupts", "  0:  1  IO-APIC    2-edge      timer\n");
    let (_, mend) = ails(&fake, "interrupt remapping", Verdict::Failure);
    assert!(mend.contains("allow_unsafe_interrupts"), "{mend}");
    fake.put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
    ails(&fake, "interrupt remapping", Verdict::Warning);
}

#[test]
fn a_kernel_without_vfio_pci_fails_and_one_with_a_module_of_it_does_not() {
    let fake = Fake::new();
    assert_eq!(check(&fake, "vfio-pci").finding, "can be loaded (`ringway bind` does it)");
    fake.put("lib/modules/6.1.0-test/modules.dep", "kernel/drivers/net/vfio-pci-like.ko:\n");
    fake.put("lib/modules/6.1.0-test/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
    let (finding, mend) = ails(&fake, "vfio-pci", Verdict::Failure);
    assert!(finding.contains("neither the driver nor a module"), "{finding}");
    assert!(mend.contains("CONFIG_VFIO_PCI"), "{mend}");
    // The folder without the lists, then no folder.
    fake.remove("lib/modules/6.1.0-test/modules.dep");
    fake.remove("lib/modules/6.1.0-test/modules.builtin");
    assert_eq!(ails(&fake, "vfio-pci", Verdict::Failure).1, "sudo depmod -a");
    fake.remove("lib/modules");
    let (finding, mend) = ails(&fake, "vfio-pci", Verdict::Failure);
    assert!(finding.contains("no modules of the running kernel"), "{finding}");
    assert!(mend.starts_with("sudo reboot, if the kernel was upgraded"), "{mend}");
}

#[test]
fn a_shared_group_is_a_warning_until_half_of_it_is_bound() {
    let fake = healthy();
    let (finding, mend) = ails(&fake, "IOMMU groups", Verdict::Warning);
    assert!(
        finding.contains("group 14 of 0000:04:00.0 also has 0000:04:00.2 (driver snd_hda_intel)"),
        "{finding}"
    );
    assert_eq!(mend, "sudo ringway bind 0000:04:00.0 --group");
    fake.attach("0000:04:00.1", "vfio-pci");
    let (finding, mend) = ails(&fake, "IOMMU groups", Verdict::Failure);
    assert!(
        finding.starts_with("not viable: group 14 of 0000:04:00.1 also has 0000:04:00.0 (driver ixgbe)"),
        "{finding}"
    );
    assert_eq!(mend, "sudo ringway bind 0000:04:00.1 --group");
}

#[test]
fn missing_rights_fail_with_the_command_that_gives_them() {
    let fake = healthy();
    fake.set_owner("/dev/vfio/12", 0, 0o600);
    let (finding, mend) = ails(&fake, "rights on /dev/vfio", Verdict::Failure);
    assert_eq!(finding, "0000:03:00.0: no rights: /dev/vfio/12 belongs to root");
    assert_eq!(mend, "sudo ringway bind 0000:03:00.0 --user ada");
    bind(&fake, &for_ada(&["03:00.1"])).unwrap();
    // One of two is enough to run.
    ails(&fake, "rights on /dev/vfio", Verdict::Warning);
    fake.set_owner("/dev/vfio/vfio", 0, 0o660);
    let (_, mend) = ails(&fake, "rights on /dev/vfio", Verdict::Failure);
    assert_eq!(mend, "sudo chmod 666 /dev/vfio/vfio");
    let fake = Fake::new();
    let (finding, _) = ails(&fake, "rights on /dev/vfio", Verdict::Failure);
    assert_eq!(finding, "no network function is bound to vfio-pci");
}

#[test]
fn a_bound_function_that_no_driver_takes_does_not_make_a_machine_ready() {
    let fake = healthy();
    fake.put("sys/devices/pci0000:00/0000:03:00.0/device", "0x10d3\n");
    let (finding, mend) = ails(&fake, "rights on /dev/vfio", Verdict::Failure);
    assert_eq!(finding, "what is bound to vfio-pci (0000:03:00.0) no driver of Ringway's takes");
    assert!(mend.starts_with("sudo ringway bind ADDRESS"), "{mend}");
}

#[test]
fn too_little_locked_memory_fails_with_both_numbers_and_who_counts() {
    let fake = healthy();
    fake.set_limits(300, "8388608", "8388608");
    let (finding, mend) = ails(&fake, "locked memory", Verdict::Failure);
    assert_eq!(
        finding,
        "32 MiB needed (33554432 bytes), 8 MiB allowed (8388608 bytes): mapping would fail (VFIO type 1 counts per process, \
         and again for each address space)"
    );
    assert!(mend.starts_with("sudo prlimit --pid $$ --memlock=33554432:33554432"), "{mend}");
    fake.set_limits(300, "8388608", "unlimited");
    assert_eq!(ails(&fake, "locked memory", Verdict::Failure).1, "ulimit -l 32768");
    fake.set_limits(300, "33554432", "33554432");
    assert_eq!(check(&fake, "locked memory").verdict, Verdict::Good);
    // Root may lock what it likes.
    fake.run_as(0);
    assert!(check(&fake, "locked memory").finding.contains("CAP_IPC_LOCK"));
}

#[test]
fn iommufd_in_place_of_type_1_is_told_as_counting_per_user() {
    let fake = healthy();
    fake.remove("sys/module/vfio_iommu_type1");
    fake.put("lib/modules/6.1.0-test/modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko:\n");
    fake.put("dev/iommu", "");
    let finding = check(&fake, "locked memory").finding;
    assert!(finding.contains("iommufd counts per user"), "{finding}");
}

#[test]
fn huge_pages_are_told_for_each_node_and_the_missing_ones_asked_for() {
    let fake = healthy();
    let set = |node: u32, reserved: u32, free: u32| {
        let folder = format!("sys/devices/system/node/node{node}/hugepages/hugepages-2048kB");
        fake.put(&format!("{folder}/nr_hugepages"), &format!("{reserved}\n"));
        fake.put(&format!("{folder}/free_hugepages"), &format!("{free}\n"));
    };
    set(0, 4, 1);
    set(1, 0, 0);
    let (finding, mend) = ails(&fake, "huge pages", Verdict::Hint);
    assert_eq!(finding, "node0: 1 of 4 pages of 2 MiB free: too few for 32 MiB");
    assert_eq!(
        mend,
        "echo 19 | sudo tee /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
    );
    set(1, 16, 16);
    assert_eq!(
        check(&fake, "huge pages").finding,
        "node0: 1 of 4 pages of 2 MiB free; node1: 16 of 16 pages of 2 MiB free"
    );
}

#[test]
fn lockdown_secure_boot_and_hypervisor_are_told() {
    let fake = healthy();
    fake.put("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    fake.put(
        "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "\u{6}\u{0}\u{0}\u{0}\u{1}",
    );
    fake.put("proc/cpuinfo", "flags\t\t: fpu hypervisor\n");
    fake.put("sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n");
    assert!(check(&fake, "kernel lockdown").finding.starts_with("integrity; VFIO works all the same"));
    assert!(check(&fake, "secure boot").finding.starts_with("on;"));
    assert!(check(&fake, "hypervisor").finding.starts_with("Standard PC (Q35 + ICH9, 2009)"));
    assert!(examine(&fake, &NEEDS).ready);
}

#[test]
fn shared_processors_and_a_sparing_governor_are_hints() {
    let fake = healthy();
    fake.put("sys/devices/system/cpu/online", "0-7\n");
    fake.put("sys/devices/system/cpu/isolated", "\n");
    for processor in 0..8 {
        fake.put(&format!("sys/devices/system/cpu/cpu{processor}/cpufreq/scaling_governor"), "powersave\n");
    }
    let (_, mend) = ails(&fake, "CPU isolation", Verdict::Hint);
    assert!(mend.contains("isolcpus=7"), "{mend}");
    let (finding, mend) = ails(&fake, "frequency governor", Verdict::Hint);
    assert!(finding.starts_with("powersave:"), "{finding}");
    assert!(mend.contains("echo performance"), "{mend}");
    fake.put("sys/devices/system/cpu/isolated", "6-7\n");
    assert_eq!(check(&fake, "CPU isolation").finding, "processors 6-7 are kept free");
}

#[test]
fn the_diagnosis_as_json_has_the_fields_that_scripts_look_for() {
    let fake = healthy();
    fake.set_limits(300, "0", "0");
    let json = serde_json::to_value(examine(&fake, &NEEDS)).unwrap();
    assert_eq!(json["ready"], false);
    let memory =
        json["checks"].as_array().unwrap().iter().find(|check| check["name"] == "locked memory").unwrap();
    assert_eq!(memory["verdict"], "failure");
    assert!(memory["mend"].as_str().unwrap().contains("prlimit"));
}

#[test]
fn the_whole_group_bound_is_no_longer_shared() {
    let fake = healthy();
    fake.run_as(0);
    bind(&fake, &BindRequest { group: true, ..for_ada(&["04:00.0"]) }).unwrap();
    assert_eq!(check(&fake, "IOMMU groups").verdict, Verdict::Good);
}
