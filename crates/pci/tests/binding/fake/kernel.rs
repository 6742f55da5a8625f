//! What the machine in a folder does when it is written to: the kernel's part.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway_pci::kernel::{Kernel, Ownership};
use ringway_pci::sysfs::{Memlock, Sysfs, User};

use super::{Failure, Fake};

fn refusal() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn no_device() -> io::Error {
    io::Error::from_raw_os_error(19)
}

impl Fake {
    fn path_of(&self, address: &str) -> PathBuf {
        self.root.join("sys/devices/pci0000:00").join(address)
    }

    pub fn attach(&self, address: &str, driver: &str) {
        self.link(
            &format!("sys/devices/pci0000:00/{address}/driver"),
            &format!("../../../bus/pci/drivers/{driver}"),
        );
        self.link(
            &format!("sys/bus/pci/drivers/{driver}/{address}"),
            &format!("../../../../devices/pci0000:00/{address}"),
        );
        if driver == "vfio-pci" {
            if let Some(group) = self.sysfs.link_name(format!("/sys/bus/pci/devices/{address}/iommu_group")) {
                let node = PathBuf::from(format!("/dev/vfio/{group}"));
                if !self.sysfs.exists(&node) {
                    self.put(&format!("dev/vfio/{group}"), "");
                    self.state.borrow_mut().owners.insert(node, Ownership { user: 0, mode: 0o600 });
                }
            }
            return;
        }
        let delay = self.state.borrow().interface_delay;
        if delay.is_zero() {
            self.make_interface(address);
        } else {
            let mut state = self.state.borrow_mut();
            let due = state.now + delay;
            state.awaited.push((address.to_owned(), due));
        }
    }

    fn make_interface(&self, address: &str) {
        let has_one = self.state.borrow().interfaces.iter().any(|other| other == address);
        if has_one && self.path_of(address).join("driver").exists() {
            // The lowest number that is free, as the kernel names them.
            let free = |name: &String| !self.root.join("sys/class/net").join(name).exists();
            let name = (0..).map(|number| format!("eth{number}")).find(free).unwrap();
            self.put(&format!("sys/devices/pci0000:00/{address}/net/{name}/flags"), "0x1002\n");
            self.link(
                &format!("sys/class/net/{name}"),
                &format!("../../devices/pci0000:00/{address}/net/{name}"),
            );
        }
    }

    pub fn detach(&self, address: &str) {
        let driver = self.driver(address).unwrap();
        let folder = self.path_of(address);
        fs::remove_file(folder.join("driver")).unwrap();
        self.remove(&format!("sys/bus/pci/drivers/{driver}/{address}"));
        for interface in self.sysfs.list(format!("/sys/bus/pci/devices/{address}/net")) {
            self.remove(&format!("sys/class/net/{interface}"));
            self.state.borrow_mut().addresses.retain(|(owner, _)| *owner != interface);
        }
        let _ = fs::remove_dir_all(folder.join("net"));
        let group = self.sysfs.link_name(format!("/sys/bus/pci/devices/{address}/iommu_group"));
        if let (Some(group), "vfio-pci") = (group, driver.as_str()) {
            let others = self.sysfs.list(format!("/sys/kernel/iommu_groups/{group}/devices"));
            if !others.iter().any(|other| self.driver(other).as_deref() == Some("vfio-pci")) {
                self.remove(&format!("dev/vfio/{group}"));
                self.state.borrow_mut().owners.remove(Path::new(&format!("/dev/vfio/{group}")));
            }
        }
    }

    /// Whether a driver takes a function, by override or else by ids.
    fn matches(&self, address: &str, driver: &str) -> bool {
        let reserved = self.read(&format!("sys/devices/pci0000:00/{address}/driver_override")).unwrap();
        let ids = self.read(&format!("sys/devices/pci0000:00/{address}/device")).unwrap();
        match reserved.trim() {
            "(null)" => matches!(
                (ids.trim(), driver),
                ("0x10fb", "ixgbe") | ("0x1041" | "0x1000", "virtio-pci") | ("0xa170", "snd_hda_intel")
            ),
            reserved => reserved == driver,
        }
    }

    fn try_bind(&self, address: &str, driver: &str) -> io::Result<()> {
        if self.driver(address).is_some() || !self.matches(address, driver) {
            return Err(no_device());
        }
        if driver == "vfio-pci" && self.state.borrow().refused.iter().any(|refused| refused == address) {
            return Err(io::Error::from_raw_os_error(22));
        }
        if !self.state.borrow().ignored.iter().any(|ignored| ignored == address) || driver != "vfio-pci" {
            self.attach(address, driver);
        }
        Ok(())
    }

    fn react(&self, path: &Path, value: &str) -> io::Result<()> {
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let value = value.trim();
        if !self.sysfs.exists(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        match parts.as_slice() {
            ["/", "sys", "bus", "pci", "drivers", driver, "unbind"] => {
                if self.driver(value).as_deref() != Some(*driver) {
                    return Err(no_device());
                }
                self.detach(value);
                Ok(())
            }
            ["/", "sys", "bus", "pci", "drivers", driver, "bind"] => self.try_bind(value, driver),
            ["/", "sys", "bus", "pci", "drivers_probe"] => {
                for driver in self.sysfs.list("/sys/bus/pci/drivers") {
                    if self.try_bind(value, &driver).is_ok() {
                        break;
                    }
                }
                Ok(())
            }
            ["/", "sys", "bus", "pci", "devices", address, "driver_override"] => {
                let text = if value.is_empty() { "(null)" } else { value };
                self.put(&format!("sys/devices/pci0000:00/{address}/driver_override"), &format!("{text}\n"));
                Ok(())
            }
            ["/", "sys", "class", "net", interface, "flags"] => {
                self.put(&format!("sys/class/net/{interface}/flags"), &format!("{value}\n"));
                Ok(())
            }
            other => panic!("a write to {other:?}, which the kernel knows nothing of"),
        }
    }

    /// Does a write, or fails where it was told to.
    fn write(&self, path: &Path, effect: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let (number, fail, undoing) = {
            let mut state = self.state.borrow_mut();
            let number = state.writes;
            state.writes += 1;
            let undoing =
                state.fail_undo_of.clone().filter(|end| path.to_string_lossy().ends_with(end.as_str()));
            (number, state.fail, undoing)
        };
        match fail {
            Some((at, Failure::Refused)) if at == number => Err(refusal()),
            Some((at, Failure::LateError)) if at == number => {
                effect()?;
                Err(refusal())
            }
            Some((at, Failure::Killed)) if number >= at => Err(refusal()),
            Some((at, _)) if number > at && undoing.is_some() => Err(refusal()),
            _ => effect(),
        }
    }
}

impl Kernel for Fake {
    fn interrupted(&self) -> bool {
        let state = self.state.borrow();
        state.interrupt_after.is_some_and(|writes| state.writes >= writes)
    }

    fn sysfs(&self) -> &Sysfs {
        &self.sysfs
    }

    fn write_attribute(&self, path: &Path, value: &str) -> io::Result<()> {
        self.write(path, || self.react(path, value))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.write(path, || fs::create_dir(self.sysfs.resolve(path)))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.write(path, || fs::remove_dir(self.sysfs.resolve(path)))
    }

    fn write_file(&self, path: &Path, contents: &str) -> io::Result<()> {
        self.write(path, || fs::write(self.sysfs.resolve(path), contents))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.write(path, || fs::remove_file(self.sysfs.resolve(path)))
    }

    fn ownership(&self, path: &Path) -> io::Result<Ownership> {
        self.state.borrow().owners.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set_ownership(&self, path: &Path, ownership: Ownership) -> io::Result<()> {
        self.write(path, || match self.state.borrow_mut().owners.get_mut(path) {
            Some(owner) => {
                *owner = ownership;
                Ok(())
            }
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn may_open(&self, path: &Path) -> bool {
        let state = self.state.borrow();
        state.owners.get(path).is_some_and(|owner| {
            state.user == 0
                || owner.mode & 0o006 == 0o006
                || (owner.user == state.user && owner.mode & 0o600 == 0o600)
        })
    }

    fn load_module(&self, name: &str) -> io::Result<()> {
        self.write(Path::new(name), || {
            if self.state.borrow().failing_modules.iter().any(|failing| failing == name) {
                return Err(io::Error::other(format!("modprobe: FATAL: Module {name} not found")));
            }
            match name {
                "vfio-pci" => {
                    self.add_driver("vfio-pci");
                    self.put("sys/module/vfio_pci/refcnt", "0\n");
                    self.put("dev/vfio/vfio", "");
                    self.set_owner("/dev/vfio/vfio", 0, 0o666);
                }
                "vfio_iommu_type1" => self.put("sys/module/vfio_iommu_type1/refcnt", "0\n"),
                "ixgbe" | "pci:v00008086d000010FB" => {
                    self.add_driver("ixgbe");
                    // A driver that comes takes what it finds free.
                    for address in self.sysfs.list("/sys/bus/pci/devices") {
                        let _ = self.try_bind(&address, "ixgbe");
                    }
                }
                other => return Err(io::Error::other(format!("modprobe: FATAL: Module {other} not found"))),
            }
            Ok(())
        })
    }

    fn unload_module(&self, name: &str) -> io::Result<()> {
        self.write(Path::new(name), || {
            match name {
                "vfio-pci" => {
                    self.remove("sys/bus/pci/drivers/vfio-pci");
                    self.remove("sys/module/vfio_pci");
                    self.remove("dev/vfio");
                    self.state.borrow_mut().owners.remove(Path::new("/dev/vfio/vfio"));
                }
                "vfio_iommu_type1" => self.remove("sys/module/vfio_iommu_type1"),
                other => self.remove(&format!("sys/bus/pci/drivers/{other}")),
            }
            Ok(())
        })
    }

    fn set_memlock(&self, process: u32, limit: Memlock) -> io::Result<()> {
        let words = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        self.write(Path::new("memlock"), || {
            self.set_limits(process, &words(limit.soft), &words(limit.hard));
            Ok(())
        })
    }

    fn addresses(&self) -> io::Result<Vec<(String, IpAddr)>> {
        Ok(self.state.borrow().addresses.clone())
    }

    fn find_user(&self, who: &str) -> Option<User> {
        self.sysfs.local_user(who).or_else(|| Some(User { id: who.parse().ok()?, name: None }))
    }

    fn process_id(&self) -> u32 {
        300
    }

    fn user_id(&self) -> u32 {
        self.state.borrow().user
    }

    fn pause(&self, time: Duration) {
        let due = {
            let mut state = self.state.borrow_mut();
            state.now += time;
            let now = state.now;
            let (due, later) = state.awaited.drain(..).partition(|(_, at)| *at <= now);
            state.awaited = later;
            let due: Vec<(String, Duration)> = due;
            due
        };
        for (address, _) in due {
            self.make_interface(&address);
        }
    }

    fn settle(&self) {}
}
