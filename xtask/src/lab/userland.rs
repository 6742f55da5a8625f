//! A layer over the guest's image that makes it a small Debian machine: udev, kmod, PAM's sessions with their limits,
//! su and sudo, as the distribution ships them.
//!
//! Contract: a second archive, unpacked over the first one; where both have a file, this one's stays. What it is for are
//! the cases on what outlives a login or a reboot. It sets no password and asks for none.
//!
//! Not here: starting udev, which `guest/init.sh` does where it finds it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::archive::Archive;
use super::image::USER;
use crate::debian::Unpacked;
use crate::tool;

/// Where Debian keeps shared libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Folders that are taken whole.
const FOLDERS: [&str; 7] = [
    "usr/lib/x86_64-linux-gnu/systemd",
    "usr/lib/x86_64-linux-gnu/security",
    "usr/libexec/sudo",
    "usr/lib/udev/rules.d",
    "usr/lib/systemd/network",
    "usr/lib/modprobe.d",
    "etc/security",
];

/// Large libraries among them that nothing here needs: the image takes time to unpack in a guest.
const LEFT_OUT: [&str; 4] = ["libdb-", "libsqlite3", "libmvec", "libsystemd-core"];

/// Single files.
const FILES: [&str; 6] = [
    "usr/bin/kmod",
    "usr/bin/udevadm",
    "usr/bin/prlimit",
    "etc/udev/udev.conf",
    "etc/pam.d/su",
    "etc/pam.d/sudo",
];

/// Programs that become root.
const SET_USER: [&str; 2] = ["usr/bin/su", "usr/bin/sudo"];

/// The names of kmod, which replace busybox's and the lab's own.
const KMOD: [&str; 6] =
    ["sbin/modprobe", "sbin/depmod", "sbin/insmod", "sbin/rmmod", "sbin/lsmod", "usr/local/bin/modprobe"];

/// Groups that Debian's udev rules name.
const GROUPS: [&str; 12] =
    ["tty", "disk", "lp", "kmem", "dialout", "cdrom", "tape", "audio", "video", "input", "kvm", "render"];

/// The layer.
pub fn build(unpacked: &Unpacked) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    let root = &unpacked.root;
    for entry in listed(&root.join(LIBRARIES))? {
        if entry.contains(".so") {
            one(&mut archive, root, &format!("{LIBRARIES}/{entry}"))?;
        }
    }
    for folder in FOLDERS {
        tree(&mut archive, root, folder)?;
    }
    for path in FILES {
        one(&mut archive, root, path)?;
    }
    for path in SET_USER {
        archive.file(path, 0o4755, &read(&root.join(path))?);
    }
    for path in KMOD {
        archive.link(path, "/usr/bin/kmod");
    }
    archive.link("usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm");
    archive.file("usr/local/bin/xtask", 0o755, &this_program()?);
    settings(&mut archive);
    Ok(archive.finish())
}

/// This program, whose `bind` the user calls from the source tree, without what only a debugger reads. A dynamic program:
/// the guest has Debian's libraries.
fn this_program() -> Result<Vec<u8>> {
    let stripped = std::env::temp_dir().join(format!("ringway-xtask-{}", std::process::id()));
    let mut strip = Command::new("strip");
    // By its path: `/proc/self/exe` would be strip itself.
    strip.arg("-o").arg(&stripped).arg(std::env::current_exe()?);
    let program = tool::output_of(&mut strip).and_then(|_| read(&stripped));
    // It may not have come to be.
    let _ = fs::remove_file(&stripped);
    program
}

/// What the packages' installation would have set up.
fn settings(archive: &mut Archive) {
    let groups: String =
        GROUPS.iter().zip(2_u32..).map(|(name, number)| format!("{name}:x:{number}:\n")).collect();
    let text = format!("root:x:0:\n{USER}:x:1000:\n{groups}");
    archive.file("etc/group", 0o644, text.as_bytes());
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost lab\n");
    archive.file("etc/environment", 0o644, b"");
    archive.file("etc/default/locale", 0o644, b"");
    // No passwords in the guest: whoever is there is let in. Limits come by the services' own files.
    for kind in ["auth", "account", "session", "session-noninteractive"] {
        let group = kind.split('-').next().unwrap_or(kind);
        archive.file(
            &format!("etc/pam.d/common-{kind}"),
            0o644,
            format!("{group} required pam_permit.so\n").as_bytes(),
        );
    }
    // As Debian's own file has it, but for the password.
    let sudoers = format!(
        "Defaults env_reset\nDefaults use_pty\n\
         Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n\
         root ALL=(ALL:ALL) ALL\n{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    );
    archive.file("etc/sudoers", 0o440, sudoers.as_bytes());
}

/// Adds a folder with all that is in it.
fn tree(archive: &mut Archive, root: &Path, folder: &str) -> Result<()> {
    archive.folder(folder);
    for name in listed(&root.join(folder))? {
        let path = format!("{folder}/{name}");
        if fs::symlink_metadata(root.join(&path))?.is_dir() {
            tree(archive, root, &path)?;
        } else {
            one(archive, root, &path)?;
        }
    }
    Ok(())
}

/// Adds a file with its mode, or a link.
fn one(archive: &mut Archive, root: &Path, path: &str) -> Result<()> {
    let source = root.join(path);
    let metadata =
        fs::symlink_metadata(&source).with_context(|| format!("cannot look at {}", source.display()))?;
    if metadata.is_symlink() {
        let target = fs::read_link(&source)?;
        let target = target.to_str().ok_or_else(|| anyhow!("{} is no text", target.display()))?;
        archive.link(path, target);
    } else if metadata.is_file() {
        archive.file(path, metadata.permissions().mode() & 0o777, &read(&source)?);
    }
    Ok(())
}

/// The names in a folder, in order, without what is left out.
fn listed(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !LEFT_OUT.iter().any(|start| name.starts_with(start)));
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
