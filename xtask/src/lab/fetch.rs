//! What a run of the lab needs from Debian's archive: QEMU, a kernel, a static busybox, tshark and tcpdump.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::debian::{self, Closure, Set, Unpacked};

/// QEMU. 11.1 is the first with `vfio-user-pci`, and it is in the backports.
const QEMU: Set<'static> = Set {
    name: "qemu",
    suites: &["trixie", "trixie-backports"],
    prefer: Some("trixie-backports"),
    packages: &["qemu-system-x86"],
    closure: Closure::Dependencies,
    at_least: "1:11.1",
};

/// The kernel of Debian 13.
const KERNEL: Set<'static> = Set {
    name: "kernel-6.12",
    suites: &["trixie"],
    prefer: None,
    packages: &["linux-image-amd64"],
    closure: Closure::Beginning("linux-"),
    at_least: "6.12",
};

/// Statically linked, for the guest's user space and for the host's side of the wire.
const BUSYBOX: Set<'static> = Set {
    name: "busybox",
    suites: &["trixie"],
    prefer: None,
    packages: &["busybox-static"],
    closure: Closure::Named,
    at_least: "1:1.35",
};

/// For the guest, with its libraries: what a kernel driver says of its card.
const ETHTOOL: Set<'static> = Set {
    name: "ethtool",
    suites: &["trixie"],
    prefer: None,
    packages: &["ethtool"],
    closure: Closure::Dependencies,
    at_least: "1:6",
};

/// For the guest that is to be a small Debian machine (see `userland`), with all they need.
const USERLAND: Set<'static> = Set {
    name: "userland",
    suites: &["trixie"],
    prefer: None,
    packages: &["udev", "kmod", "util-linux", "sudo"],
    closure: Closure::Dependencies,
    at_least: "257",
};

/// What others see in traffic and in capture files.
const ANALYSERS: Set<'static> = Set {
    name: "analysers",
    suites: &["trixie"],
    prefer: None,
    packages: &["tshark", "tcpdump"],
    closure: Closure::Dependencies,
    at_least: "4.4",
};

/// Packages that ship capture files of others: a Go library's test files, and what a SIP tester plays.
const CAPTURES: Set<'static> = Set {
    name: "captures",
    suites: &["trixie"],
    prefer: None,
    packages: &["golang-github-google-gopacket-dev", "sip-tester"],
    closure: Closure::Named,
    at_least: "1.1",
};

/// QEMU, unpacked but not installed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Qemu {
    root: PathBuf,
    /// Its package's version.
    pub version: String,
}

/// A kernel, unpacked but not installed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kernel {
    /// What the kernel calls itself.
    pub release: String,
    /// The image that QEMU boots.
    pub image: PathBuf,
    /// The folder of its modules.
    pub modules: PathBuf,
}

/// All that is fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The emulator.
    pub qemu: Qemu,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The static busybox.
    pub busybox: PathBuf,
    /// ethtool and its libraries.
    pub ethtool: Unpacked,
    /// udev, kmod, su and sudo, with their libraries.
    pub userland: Unpacked,
    /// tshark and tcpdump.
    pub analysers: Analysers,
    /// The folder below which there are capture files.
    pub captures: PathBuf,
}

/// tshark and tcpdump, unpacked but not installed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Analysers {
    root: PathBuf,
}

/// Takes everything from the cache or fetches it.
pub fn all(cache: &Cache, refresh: bool) -> Result<Fetched> {
    let busybox = debian::obtain(cache, &BUSYBOX, refresh)?.file(&["usr/bin/busybox", "bin/busybox"])?;
    let kernel = kernel(&debian::obtain(cache, &KERNEL, refresh)?)?;
    let qemu = debian::obtain(cache, &QEMU, refresh)?;
    let qemu = Qemu { root: qemu.root, version: qemu.version };
    let ethtool = debian::obtain(cache, &ETHTOOL, refresh)?;
    let userland = debian::obtain(cache, &USERLAND, refresh)?;
    let analysers = Analysers { root: debian::obtain(cache, &ANALYSERS, refresh)?.root };
    let captures = debian::obtain(cache, &CAPTURES, refresh)?.root;
    Ok(Fetched { qemu, kernel, busybox, ethtool, userland, analysers, captures })
}

fn kernel(unpacked: &Unpacked) -> Result<Kernel> {
    let folder = unpacked.file(&["usr/lib/modules", "lib/modules"])?;
    let release = first_name(&folder)?;
    let image = unpacked.file(&[&format!("boot/vmlinuz-{release}")])?;
    Ok(Kernel { modules: folder.join(&release), release, image })
}

fn first_name(folder: &Path) -> Result<String> {
    let entry = std::fs::read_dir(folder)?.next().ok_or_else(|| anyhow!("{} is empty", folder.display()))?;
    Ok(entry?.file_name().to_string_lossy().into_owned())
}

impl Qemu {
    /// A command that starts the emulator through its own loader, with its own libraries and firmware.
    pub fn command(&self) -> Command {
        let at = |part: &str| self.root.join(part);
        let mut command = by_own_loader(&self.root, "usr/bin/qemu-system-x86_64");
        for folder in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(at(folder));
        }
        command.env("QEMU_MODULE_DIR", at("usr/lib/x86_64-linux-gnu/qemu"));
        command
    }
}

impl Analysers {
    /// tshark, to read files with. What it complains of is on standard error.
    pub fn tshark(&self) -> Command {
        let mut command = by_own_loader(&self.root, "usr/bin/tshark");
        command.env("WIRESHARK_DATA_DIR", self.root.join("usr/share/wireshark"));
        command.env("WIRESHARK_PLUGIN_DIR", self.root.join("usr/lib/x86_64-linux-gnu/wireshark/plugins"));
        // Nobody's own settings.
        command.env("WIRESHARK_CONFIG_DIR", self.root.join("etc/nobody")).env("LC_ALL", "C.UTF-8");
        command
    }

    /// tcpdump.
    pub fn tcpdump(&self) -> Command {
        by_own_loader(&self.root, "usr/bin/tcpdump")
    }
}

/// A command that starts a program of an unpacked set through the set's own loader, with its own libraries.
fn by_own_loader(root: &Path, program: &str) -> Command {
    let at = |part: &str| root.join(part);
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .map(|part| at(part).display().to_string())
        .join(":");
    let loader = ["usr/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"]
        .map(at)
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| at("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
    let mut command = Command::new(loader);
    command.arg("--library-path").arg(libraries).arg(at(program));
    command
}
