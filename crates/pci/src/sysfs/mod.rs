//! What the kernel says of PCI functions, in `/sys`, `/proc` and `/dev`, read below a root of choice.
//!
//! Contract: reading only; nothing here changes the machine, and nothing needs root. Paths are named as on a
//! running machine (`/sys/bus/pci/...`); [`Sysfs`] puts its root before them, so that a tree in a folder
//! can stand in for the machine. An attribute that isn't there is `None`; one that can't be understood is an error
//! which names it.
//!
//! Not here: changes (see [`crate::kernel`]), judgement on what was read ([`crate::status`], [`crate::doctor`]).

mod function;
mod group;
mod names;
mod network;
mod process;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use function::function_path;
pub use function::{FunctionInfo, VFIO_DRIVER};
pub(crate) use group::group_node;
pub use group::{Group, Member};
pub use names::Names;
pub use network::Interface;
pub(crate) use network::{FLAG_UP, interface_path};
pub use process::{Memlock, Process, User};

use crate::error::{Error, Result};

/// The kernel's file trees below one root: `/` for the running machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// The running machine's trees.
    pub fn host() -> Self {
        Self::under("/")
    }

    /// Trees below `root`: `root/sys`, `root/proc`, `root/dev` and so on.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a path of the machine really lies.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text without the blanks around it.
    ///
    /// # Errors
    /// [`Error::Read`] with the path and the errno.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<String> {
        let path = path.as_ref();
        self.read_raw(path)
            .map(|text| text.trim().to_owned())
            .map_err(|source| Error::Read { path: path.to_owned(), source })
    }

    /// A file's text without the blanks around it, or `None` if it can't be read: many attributes exist on some
    /// kernels only, or answer with an error while a device is down.
    pub fn read_optional(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read_raw(path.as_ref()).ok().map(|text| text.trim().to_owned())
    }

    /// A file's whole text, byte for byte where it is UTF-8; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::Read`] if it is there but can't be read.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        let path = path.as_ref();
        match self.read_raw(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        }
    }

    /// The last component of what a symbolic link points to (a driver's or a group's name); `None` without the link.
    pub fn link_name(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.resolve(path)).ok()?;
        target.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.resolve(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whether something lies at this path.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path).exists()
    }

    /// Whether the running kernel has this module as a file or built in, going by the lists that `depmod` writes. `None`
    /// where there are no such lists (a hand-made guest image, say), so that only trying will tell.
    pub fn module_available(&self, name: &str) -> Option<bool> {
        let folder = self.modules_folder()?;
        let lists = ["modules.dep", "modules.builtin"].map(|list| self.read_optional(folder.join(list)));
        if lists.iter().all(Option::is_none) {
            return None;
        }
        // Files may be spelt with either sign, and may be compressed: vfio-pci.ko, vfio_pci.ko.xz.
        let spelling = name.replace('-', "_");
        let names_it = |line: &str| {
            let file = line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            file.split(".ko").next().unwrap_or_default().replace('-', "_") == spelling
        };
        Some(lists.iter().flatten().flat_map(|list| list.lines()).any(names_it))
    }

    /// Where the running kernel's modules lie, if there are any.
    pub(crate) fn modules_folder(&self) -> Option<PathBuf> {
        Some(Path::new("/lib/modules").join(self.read_optional("/proc/sys/kernel/osrelease")?))
    }

    /// Whether this module is in the kernel now: loaded, or built in and with a folder of its own.
    pub fn module_present(&self, name: &str) -> bool {
        self.exists(Path::new("/sys/module").join(name.replace('-', "_")))
    }

    fn read_raw(&self, path: &Path) -> io::Result<String> {
        // Lossy: an attribute may hold bytes that aren't UTF-8 (an EFI variable, a device's own text).
        fs::read(self.resolve(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A whole file's bytes, for what isn't text (an EFI variable); `None` if it can't be read.
    pub(crate) fn read_bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        fs::read(self.resolve(path)).ok()
    }
}
