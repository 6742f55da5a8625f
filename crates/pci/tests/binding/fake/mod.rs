//! A machine in a folder: a sysfs tree that reacts to writes as the kernel does, and fails where it is told to.
//!
//! What it knows: drivers are bound and unbound by `bind`, `unbind`, `driver_override` and `drivers_probe`; vfio-pci
//! makes a group's node, a network driver makes an interface, down and without address; a module that is
//! loaded takes the functions its ids match.

mod kernel;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ringway_pci::kernel::{Kernel, Ownership};
use ringway_pci::sysfs::Sysfs;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The write is refused.
    Refused,
    /// The write has its effect, and is then reported as failed.
    LateError,
    /// The writer is killed: neither this write nor any later one happens.
    Killed,
}

#[derive(Default)]
struct State {
    writes: usize,
    fail: Option<(usize, Failure)>,
    fail_undo_of: Option<String>,
    /// A signal comes when so many writes have been made.
    pub interrupt_after: Option<usize>,
    owners: BTreeMap<PathBuf, Ownership>,
    addresses: Vec<(String, IpAddr)>,
    /// Functions that vfio-pci refuses, and those that it accepts without taking them.
    refused: Vec<String>,
    ignored: Vec<String>,
    /// The functions that a driver makes an interface of, and how long that takes.
    interfaces: Vec<String>,
    interface_delay: Duration,
    awaited: Vec<(String, Duration)>,
    now: Duration,
    user: u32,
    failing_modules: Vec<String>,
}

/// The machine.
pub struct Fake {
    sysfs: Sysfs,
    root: PathBuf,
    state: RefCell<State>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Fake {
    /// A machine without PCI functions, with vfio-pci as a module, and with this chain of processes: init (1), a shell of
    /// ada's (100, user 1000), sudo (200, root), ringway (300, root).
    pub fn empty() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Thousands of small files are written: in memory where that can be had.
        let shared = PathBuf::from("/dev/shm");
        let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
        let root = folder.join(format!("ringway-binding-{}-{number}", std::process::id()));
        let fake = Self { sysfs: Sysfs::under(&root), root, state: RefCell::default() };
        for folder in [
            "sys/bus/pci/devices",
            "sys/bus/pci/drivers",
            "sys/kernel/iommu_groups",
            "sys/class/net",
            "sys/class/iommu/dmar0",
            "sys/block",
            "sys/module",
            "dev",
            "run",
            "etc/udev/rules.d",
            "usr/lib/udev/rules.d",
        ] {
            fs::create_dir_all(fake.root.join(folder)).unwrap();
        }
        fake.put("sys/bus/pci/drivers_probe", "");
        fake.put("proc/sys/kernel/osrelease", "6.1.0-test\n");
        fake.put(
            "lib/modules/6.1.0-test/modules.dep",
            "kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/vfio.ko\nkernel/drivers/vfio/vfio_iommu_type1.ko:\n\
             kernel/drivers/net/ethernet/intel/ixgbe/ixgbe.ko.xz: kernel/lib/dca.ko.xz\n",
        );
        fake.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n");
        fake.put("proc/net/route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n");
        fake.put("proc/net/ipv6_route", "");
        fake.put("proc/interrupts", "  0:  1  IR-IO-APIC    2-edge      timer\n");
        fake.put("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme\n");
        fake.put("proc/cmdline", "root=/dev/sda1 ro\n");
        fake.process(1, "init", 0, 0);
        fake.process(100, "bash", 1, 1000);
        fake.process(200, "sudo", 100, 0);
        fake.process(300, "ringway", 200, 0);
        fake
    }

    /// A machine with network cards of each kind; see the calls for what is where.
    pub fn new() -> Self {
        let fake = Self::empty();
        for driver in ["ixgbe", "virtio-pci", "pcieport", "snd_hda_intel", "ahci"] {
            fake.add_driver(driver);
        }
        fake.add("0000:03:00.0", 0x8086, 0x10fb, 0x02_0000, Some(12), Some("ixgbe"), true);
        fake.add("0000:03:00.1", 0x8086, 0x10fb, 0x02_0000, Some(13), Some("ixgbe"), true);
        // A group of four: two NICs, a sound card and the bridge before them.
        fake.add("0000:00:1c.0", 0x8086, 0xa110, 0x06_0400, Some(14), Some("pcieport"), false);
        fake.add("0000:04:00.0", 0x8086, 0x10fb, 0x02_0000, Some(14), Some("ixgbe"), true);
        fake.add("0000:04:00.1", 0x8086, 0x10fb, 0x02_0000, Some(14), None, false);
        fake.add("0000:04:00.2", 0x8086, 0xa170, 0x04_0300, Some(14), Some("snd_hda_intel"), false);
        fake.add("0000:05:00.0", 0x8086, 0x10fb, 0x02_0000, None, Some("ixgbe"), true);
        fake.add("0000:08:00.0", 0x8086, 0xa102, 0x01_0601, Some(17), Some("ahci"), false);
        fake
    }

    /// Puts a PCI function into the machine.
    #[expect(clippy::too_many_arguments, reason = "one line a function reads best in a table")]
    pub fn add(
        &self,
        address: &str,
        vendor: u16,
        device: u16,
        class: u32,
        group: Option<u32>,
        driver: Option<&str>,
        interface: bool,
    ) {
        let folder = format!("sys/devices/pci0000:00/{address}");
        self.put(&format!("{folder}/vendor"), &format!("{vendor:#06x}\n"));
        self.put(&format!("{folder}/device"), &format!("{device:#06x}\n"));
        self.put(&format!("{folder}/class"), &format!("{class:#08x}\n"));
        self.put(&format!("{folder}/driver_override"), "(null)\n");
        self.put(&format!("{folder}/numa_node"), "-1\n");
        self.put(&format!("{folder}/modalias"), &format!("pci:v{vendor:08X}d{device:08X}\n"));
        self.link(
            &format!("sys/bus/pci/devices/{address}"),
            &format!("../../../devices/pci0000:00/{address}"),
        );
        if let Some(group) = group {
            fs::create_dir_all(self.root.join(format!("sys/kernel/iommu_groups/{group}/devices"))).unwrap();
            self.link(
                &format!("sys/kernel/iommu_groups/{group}/devices/{address}"),
                &format!("../../../../devices/pci0000:00/{address}"),
            );
            self.link(&format!("{folder}/iommu_group"), &format!("../../../kernel/iommu_groups/{group}"));
        }
        if interface {
            self.state.borrow_mut().interfaces.push(address.to_owned());
        }
        if let Some(driver) = driver {
            self.attach(address, driver);
        }
    }

    pub fn add_driver(&self, driver: &str) {
        for file in ["bind", "unbind"] {
            self.put(&format!("sys/bus/pci/drivers/{driver}/{file}"), "");
        }
    }

    /// Loads a module, as if long ago.
    pub fn with_module(&self, name: &str) {
        self.load_module(name).unwrap();
        self.heal();
    }

    /// Takes a driver out of the machine: its functions are free then.
    pub fn without_driver(&self, driver: &str) {
        for address in self.sysfs.list("/sys/bus/pci/devices") {
            if self.driver(&address).as_deref() == Some(driver) {
                self.detach(&address);
            }
        }
        self.remove(&format!("sys/bus/pci/drivers/{driver}"));
    }

    /// Takes a card out of the machine.
    pub fn take_out(&self, address: &str) {
        if self.driver(address).is_some() {
            self.detach(address);
        }
        let group = self.sysfs.link_name(format!("/sys/bus/pci/devices/{address}/iommu_group"));
        if let Some(group) = group {
            self.remove(&format!("sys/kernel/iommu_groups/{group}/devices/{address}"));
        }
        self.remove(&format!("sys/bus/pci/devices/{address}"));
        self.remove(&format!("sys/devices/pci0000:00/{address}"));
    }

    pub fn process(&self, id: u32, name: &str, parent: u32, user: u32) {
        self.process_with_rights(id, name, parent, user, user);
    }

    /// A process of `user` with the rights of `effective`, as of a program with the set-user-ID bit.
    pub fn process_with_rights(&self, id: u32, name: &str, parent: u32, user: u32, effective: u32) {
        let caps = if effective == 0 { "000001ffffffffff" } else { "0000000000000000" };
        let status = format!(
            "Name:\t{name}\nPPid:\t{parent}\nUid:\t{user}\t{effective}\t{effective}\t{effective}\nCapEff:\t{caps}\n"
        );
        self.put(&format!("proc/{id}/status"), &status);
        self.set_limits(id, "8388608", "8388608");
    }

    pub fn set_limits(&self, id: u32, soft: &str, hard: &str) {
        let text = format!(
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max locked memory         {soft:<20} {hard:<20} bytes     \n"
        );
        self.put(&format!("proc/{id}/limits"), &text);
    }

    /// Writes a file of the machine, without a thought for who may.
    pub fn put(&self, path: &str, contents: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    pub fn remove(&self, path: &str) {
        let path = self.root.join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    pub fn link(&self, path: &str, target: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    pub fn driver(&self, address: &str) -> Option<String> {
        self.sysfs.function(address.parse().unwrap()).unwrap().driver
    }

    pub fn set_address(&self, interface: &str, address: &str) {
        self.state.borrow_mut().addresses.push((interface.to_owned(), address.parse().unwrap()));
    }

    pub fn set_up(&self, interface: &str) {
        self.put(&format!("sys/class/net/{interface}/flags"), "0x1003\n");
    }

    /// Makes the `number`th write from now on fail (the first is number 0).
    pub fn fail_at(&self, number: usize, failure: Failure) {
        let mut state = self.state.borrow_mut();
        state.writes = 0;
        state.fail = Some((number, failure));
    }

    /// Makes each write to a path with this end fail after the failure set by `fail_at` has happened.
    pub fn fail_undo_of(&self, end: &str) {
        self.state.borrow_mut().fail_undo_of = Some(end.to_owned());
    }

    /// A signal comes when so many writes from now on have been made.
    pub fn interrupt_after(&self, writes: usize) {
        let mut state = self.state.borrow_mut();
        state.writes = 0;
        state.interrupt_after = Some(writes);
    }

    /// No failures from now on.
    pub fn heal(&self) {
        let mut state = self.state.borrow_mut();
        state.fail = None;
        state.fail_undo_of = None;
        state.writes = 0;
    }

    pub fn writes(&self) -> usize {
        self.state.borrow().writes
    }

    pub fn vfio_refuses(&self, address: &str) {
        self.state.borrow_mut().refused.push(address.to_owned());
    }

    pub fn vfio_ignores(&self, address: &str) {
        self.state.borrow_mut().ignored.push(address.to_owned());
    }

    pub fn module_fails(&self, name: &str) {
        self.state.borrow_mut().failing_modules.push(name.to_owned());
    }

    pub fn interfaces_take(&self, delay: Duration) {
        self.state.borrow_mut().interface_delay = delay;
    }

    pub fn run_as(&self, user: u32) {
        self.state.borrow_mut().user = user;
        self.process(300, "ringway", 100, user);
    }

    pub fn owner(&self, node: &str) -> Option<Ownership> {
        self.state.borrow().owners.get(Path::new(node)).copied()
    }

    pub fn set_owner(&self, node: &str, user: u32, mode: u32) {
        self.state.borrow_mut().owners.insert(PathBuf::from(node), Ownership { user, mode });
    }

    /// What a reboot leaves: /etc, and the functions with their own drivers.
    pub fn reboot(&self) {
        for name in self.sysfs.list("/sys/bus/pci/devices") {
            if self.driver(&name).as_deref() == Some("vfio-pci") {
                self.detach(&name);
            }
            self.put(&format!("sys/devices/pci0000:00/{name}/driver_override"), "(null)\n");
        }
        for name in self.sysfs.list("/run") {
            self.remove(&format!("run/{name}"));
        }
    }

    /// Everything there is: folders, links, files and owners.
    pub fn snapshot(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        walk(&self.root, &self.root, &mut all);
        for (node, owner) in &self.state.borrow().owners {
            all.insert(format!("owner of {}", node.display()), format!("{owner:?}"));
        }
        all
    }

    /// Fails with what differs, if anything does from an earlier snapshot.
    #[track_caller]
    pub fn assert_as(&self, before: &BTreeMap<String, String>, case: &str) {
        let now = self.snapshot();
        let mut differing: Vec<String> = Vec::new();
        for name in before.keys().chain(now.keys().filter(|name| !before.contains_key(*name))) {
            if before.get(name) != now.get(name) {
                differing.push(format!("{name}: {:?} became {:?}", before.get(name), now.get(name)));
            }
        }
        assert!(differing.is_empty(), "{case}\n{}", differing.join("\n"));
    }
}

fn walk(root: &Path, folder: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let kind = fs::symlink_metadata(&path).unwrap();
        if kind.is_symlink() {
            all.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else if kind.is_dir() {
            all.insert(name, "folder".to_owned());
            walk(root, &path, all);
        } else {
            all.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}
