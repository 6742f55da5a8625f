//! Opening on a tree in a folder: every reason why a function can't be opened, and the way out in its message.

use super::Opening;
use crate::sysfs::Sysfs;
use crate::{Address, Error};
use ringway_dma::AddressSpace;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const NIC: &str = "0000:03:00.0";
const NEIGHBOUR: &str = "0000:03:00.1";

/// A machine in a folder, removed with it.
struct Machine(PathBuf);

impl Machine {
    /// One with nothing in it.
    fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("ringway-vfio-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }

    /// One where a NIC in group 7 is on vfio-pci, with all the nodes (ordinary files here).
    fn sound() -> Self {
        let machine = Self::empty();
        machine.function(NIC, "0x020000", Some("vfio-pci"), Some(7));
        machine.write("dev/vfio/vfio", "");
        machine.write("dev/vfio/7", "");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        symlink(Path::new(target), path).unwrap();
    }

    fn function(&self, address: &str, class: &str, driver: Option<&str>, group: Option<u32>) {
        let folder = format!("sys/bus/pci/devices/{address}");
        for (name, text) in
            [("vendor", "0x1af4"), ("device", "0x1041"), ("class", class), ("numa_node", "-1")]
        {
            self.write(&format!("{folder}/{name}"), text);
        }
        if let Some(driver) = driver {
            self.link(&format!("{folder}/driver"), &format!("../../../../bus/pci/drivers/{driver}"));
        }
        if let Some(group) = group {
            self.link(&format!("{folder}/iommu_group"), &format!("../../../kernel/iommu_groups/{group}"));
            self.write(&format!("sys/kernel/iommu_groups/{group}/devices/{address}"), "");
        }
    }

    fn open(&self) -> Opening<'static> {
        Opening::of(nic()).on(Sysfs::under(&self.0))
    }

    fn refusal(&self) -> Error {
        self.open().open().unwrap_err()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn nic() -> Address {
    NIC.parse().unwrap()
}

/// The message must have all of these in it.
fn assert_says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

#[test]
fn no_function_at_the_address() {
    let error = Machine::empty().refusal();
    assert!(matches!(error, Error::NoSuchFunction { .. }));
    assert_says(&error, &[NIC]);
}

#[test]
fn a_function_that_is_no_nic_is_named_by_its_kind() {
    let machine = Machine::empty();
    machine.function(NIC, "0x010802", Some("nvme"), Some(7));
    let error = machine.refusal();
    assert!(matches!(error, Error::NotNetwork { class: 0x01_0802, .. }));
    assert_says(&error, &[NIC, "storage controller"]);
}

#[test]
fn without_an_iommu_the_message_says_how_to_switch_it_on() {
    let machine = Machine::empty();
    machine.function(NIC, "0x020000", Some("virtio-pci"), None);
    assert!(matches!(machine.refusal(), Error::NoIommu { .. }));
    assert_says(&machine.refusal(), &[NIC, "all of the machine's memory", "firmware-setup"]);
    machine.write("sys/firmware/acpi/tables/DMAR", "");
    assert_says(&machine.refusal(), &["add intel_iommu=on to the kernel's command line"]);
    machine.write("proc/cmdline", "quiet iommu=off\n");
    assert_says(&machine.refusal(), &["remove iommu=off from the kernel's command line"]);
}

#[test]
fn a_group_that_the_kernel_made_up_is_refused() {
    let machine = Machine::sound();
    machine.write("sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
    assert!(matches!(machine.refusal(), Error::UnprotectedGroup { .. }));
    let machine = Machine::sound();
    machine.write("dev/vfio/noiommu-7", "");
    assert!(matches!(machine.refusal(), Error::UnprotectedGroup { .. }));
    assert_says(&machine.refusal(), &[NIC, "/dev/vfio/noiommu-7", "all of the machine's memory"]);
}

#[test]
fn a_function_with_another_driver_or_none_is_to_be_bound_first() {
    let machine = Machine::sound();
    machine.function(NIC, "0x020000", Some("virtio-pci"), Some(7));
    assert!(matches!(machine.refusal(), Error::NotOnVfio { .. }));
    assert_says(&machine.refusal(), &[NIC, "virtio-pci", "sudo ringway bind 0000:03:00.0"]);
    let machine = Machine::empty();
    machine.function(NIC, "0x020000", None, Some(7));
    assert_says(&machine.refusal(), &["no driver has it", "sudo ringway bind"]);
}

#[test]
fn a_vendors_variant_of_vfio_pci_will_do() {
    let machine = Machine::sound();
    machine.function(NIC, "0x020000", Some("mlx5_vfio_pci"), Some(7));
    // As far as the nodes, which are ordinary files here.
    assert!(matches!(machine.refusal(), Error::WrongDescriptor { .. }));
}

#[test]
fn members_of_the_group_that_the_kernel_drives_are_named_with_their_drivers() {
    let machine = Machine::sound();
    machine.function(NEIGHBOUR, "0x020000", Some("ixgbe"), Some(7));
    machine.function("0000:02:00.0", "0x060400", Some("pcieport"), Some(7));
    let error = machine.refusal();
    assert!(matches!(error, Error::NotViable { group: 7, .. }));
    assert_says(&error, &[NIC, "0000:03:00.1 (driver ixgbe)", "bind 0000:03:00.0 --group"]);
    assert!(!error.to_string().contains("pcieport"), "{error}");
}

#[test]
fn a_kernel_without_vfio_is_told_from_one_with_the_new_interface_only() {
    let machine = Machine::sound();
    fs::remove_file(machine.path("dev/vfio/vfio")).unwrap();
    assert!(matches!(machine.refusal(), Error::NoVfio { .. }));
    assert_says(&machine.refusal(), &["/dev/vfio/vfio is missing", "modprobe vfio-pci"]);
    machine.write("dev/vfio/devices/vfio0", "");
    assert_says(&machine.refusal(), &["/dev/vfio/vfio is missing", "VFIO_GROUP"]);
}

#[test]
fn a_node_that_is_no_vfio_is_not_used() {
    let error = Machine::sound().refusal();
    assert!(matches!(error, Error::WrongDescriptor { .. }));
    assert_says(&error, &["not a VFIO container"]);
}

#[test]
fn descriptors_of_another_kind_are_refused_whatever_they_are_handed_in_as() {
    let machine = Machine::sound();
    let file = || OwnedFd::from(fs::File::open(machine.path("dev/vfio/7")).unwrap());
    for (opening, wanted) in [
        (machine.open().with_container(file()), "not a VFIO container"),
        (machine.open().with_group(file()), "not a VFIO group"),
        (machine.open().with_device(file()), "not a VFIO PCI device"),
        (
            machine.open().with_container(file()).with_group(file()).with_device(file()),
            "not a VFIO PCI device",
        ),
    ] {
        assert_says(&opening.open().unwrap_err(), &[wanted]);
    }
}

#[test]
fn an_address_space_of_another_kind_is_refused() {
    let machine = Machine::sound();
    let space = AddressSpace::emulated();
    let opening = Opening::of(nic()).on(Sysfs::under(&machine.0)).in_space(&space);
    assert!(matches!(opening.open().unwrap_err(), Error::OtherSpace { .. }));
}

#[test]
fn a_group_whose_node_is_gone_or_taken_away_is_named_with_the_way_back() {
    use crate::vfio::discover::explain_group_open;
    use rustix::io::Errno;
    let machine = Machine::sound();
    let sysfs = Sysfs::under(&machine.0);
    let node = Path::new("/dev/vfio/7");
    let taken = explain_group_open(&sysfs, nic(), node, Errno::ACCESS);
    assert!(matches!(taken, Error::NoRights { .. }));
    assert_says(&taken, &["/dev/vfio/7", "belongs to", "sudo ringway bind 0000:03:00.0 --user"]);
    let gone = explain_group_open(&sysfs, nic(), node, Errno::NOENT);
    assert!(matches!(gone, Error::NoVfio { .. }));
    assert_says(&gone, &["/dev/vfio/7", "--device"]);
    let busy = explain_group_open(&sysfs, nic(), node, Errno::BUSY);
    assert!(matches!(busy, Error::Busy { .. }));
    assert_says(&busy, &[NIC, "/dev/vfio/7", "has it open"]);
}
