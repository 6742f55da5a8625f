//! The guest's image: a static busybox, the kernel's modules, the lab's scripts and the programs under test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::Archive;
use super::fetch::{Fetched, Kernel};
use super::modules::Modules;
use crate::debian::Unpacked;

/// Loaded at every boot, as far as the kernel has them as modules. Names with underscores.
const LOADED: [&str; 3] = ["virtio_pci", "virtio_net", "af_packet"];

/// There to be loaded by a case or by the program under test.
const AT_HAND: [&str; 5] = ["vfio-pci", "vfio_iommu_type1", "bridge", "e1000e", "ixgbe"];

/// The ordinary user who drives the NICs.
pub const USER: &str = "engineer";

/// A program that goes into the guest's `/usr/local/bin`.
#[derive(Debug)]
pub struct Program {
    /// Its name there.
    pub name: String,
    /// Where it was built.
    pub path: PathBuf,
}

/// Writes the image.
pub fn build(destination: &Path, fetched: &Fetched, programs: &[Program]) -> Result<()> {
    let mut archive = Archive::new();
    for folder in ["proc", "sys", "dev", "run", "tmp", "root", "sbin", "usr/bin", "usr/sbin"] {
        archive.folder(folder);
    }
    archive.file("init", 0o755, include_bytes!("guest/init.sh"));
    archive.file("etc/lab/channel.sh", 0o644, include_bytes!("guest/channel.sh"));
    archive.file("etc/lab/library.sh", 0o644, include_bytes!("guest/library.sh"));
    archive.file(
        "etc/passwd",
        0o644,
        format!("root:x:0:0:root:/root:/bin/sh\n{USER}:x:1000:1000:{USER}:/tmp:/bin/sh\n").as_bytes(),
    );
    archive.file("etc/group", 0o644, format!("root:x:0:\n{USER}:x:1000:\n").as_bytes());
    archive.file("etc/lab/background.sh", 0o644, include_bytes!("guest/background.sh"));
    archive.file("usr/local/bin/modprobe", 0o755, include_bytes!("guest/modprobe.sh"));
    archive.file("usr/local/bin/limited", 0o755, include_bytes!("guest/limited.sh"));
    archive.file("bin/busybox", 0o755, &read(&fetched.busybox)?);
    archive.link("bin/sh", "busybox");
    modules(&mut archive, &fetched.kernel)?;
    ethtool(&mut archive, &fetched.ethtool)?;
    for program in programs {
        archive.file(&format!("usr/local/bin/{}", program.name), 0o755, &read(&program.path)?);
    }
    crate::cache::write_whole(destination, &archive.finish())
}

fn modules(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let source = Modules::open(&kernel.modules)?;
    let wanted: Vec<&str> = LOADED.iter().chain(&AT_HAND).copied().collect();
    let folder = format!("lib/modules/{}", kernel.release);
    let mut table = String::new();
    let mut loaded = String::new();
    for module in source.closure(&wanted)? {
        if LOADED.contains(&module.name.as_str()) {
            loaded.push_str(&format!("{}\n", module.name));
        }
        let depends: Vec<String> = module.depends.iter().map(|name| format!("kernel/{name}.ko")).collect();
        table.push_str(&format!("kernel/{}.ko: {}\n", module.name, depends.join(" ")));
        archive.file(&format!("{folder}/kernel/{}.ko", module.name), 0o644, &module.object);
    }
    archive.file(&format!("{folder}/modules.dep"), 0o644, table.as_bytes());
    for name in ["modules.alias", "modules.symbols"] {
        archive.file(&format!("{folder}/{name}"), 0o644, b"");
    }
    archive.file("etc/lab/modules", 0o644, loaded.as_bytes());
    Ok(())
}

/// Debian's ethtool with the libraries that it is linked to, each where its loader looks.
fn ethtool(archive: &mut Archive, unpacked: &Unpacked) -> Result<()> {
    const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
    archive.folder("lib64");
    archive.folder(LIBRARIES);
    let program = unpacked.file(&["usr/sbin/ethtool", "sbin/ethtool"])?;
    archive.file("usr/sbin/ethtool", 0o755, &read(&program)?);
    let loader = unpacked
        .file(&["usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"])?;
    archive.file("lib64/ld-linux-x86-64.so.2", 0o755, &read(&loader)?);
    for library in ["libc.so.6", "libm.so.6", "libmnl.so.0"] {
        let file = unpacked
            .file(&[&format!("{LIBRARIES}/{library}"), &format!("lib/x86_64-linux-gnu/{library}")])?;
        archive.file(&format!("{LIBRARIES}/{library}"), 0o755, &read(&file)?);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
