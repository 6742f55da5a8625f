//! Kernel modules for the guest: which ones, in which order, unpacked.
//!
//! Debian's kernel packages carry no `modules.dep` (it is made at installation), so each module is asked for
//! what it depends on: the `depends=` entry of its `.modinfo` section.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use lzma_rust2::XzReader;

/// A module, unpacked, with the modules that it needs loaded before it.
#[derive(Debug)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The object file.
    pub object: Vec<u8>,
    /// All modules that it depends on, directly or not: each after those that need it, as in `modules.dep`.
    pub depends: Vec<String>,
}

/// The modules of one kernel.
#[derive(Debug)]
pub struct Modules {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Modules {
    /// Lists the modules under `lib/modules/RELEASE`.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        let path = folder.join("modules.builtin");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let builtin = text.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Self { files, builtin })
    }

    /// The wanted modules and all that they depend on, each after those it needs.
    ///
    /// What is built into the kernel is left out.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<Module>> {
        let mut ordered = Vec::new();
        let mut seen = BTreeSet::new();
        for name in wanted {
            self.visit(&name.replace('-', "_"), &mut seen, &mut ordered)?;
        }
        Ok(ordered)
    }

    fn visit(&self, name: &str, seen: &mut BTreeSet<String>, ordered: &mut Vec<Module>) -> Result<()> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.files.get(name).ok_or_else(|| anyhow!("this kernel has no module {name}"))?;
        let object = unpacked(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut needed: BTreeSet<String> = dependencies(&object).into_iter().collect();
        for other in &needed {
            self.visit(other, seen, ordered)?;
        }
        // What these need comes before them in the order, with its own list complete.
        let direct = needed.clone();
        for module in ordered.iter().filter(|module| direct.contains(&module.name)) {
            needed.extend(module.depends.iter().cloned());
        }
        let depends = ordered
            .iter()
            .rev()
            .filter(|module| needed.contains(&module.name))
            .map(|module| module.name.clone())
            .collect();
        ordered.push(Module { name: name.to_owned(), object, depends });
        Ok(())
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// A module's name from its file's: `vfio-pci.ko.xz` is `vfio_pci`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko")?;
    Some(stem.replace('-', "_"))
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let mut object = Vec::new();
    let mut file = File::open(path)?;
    if path.extension().is_some_and(|extension| extension == "xz") {
        XzReader::new(file, true).read_to_end(&mut object)?;
    } else {
        file.read_to_end(&mut object)?;
    }
    if !object.starts_with(b"\x7fELF") {
        bail!("it is no object file");
    }
    Ok(object)
}

/// The `depends=a,b` entry among the NUL-terminated texts of a module.
fn dependencies(object: &[u8]) -> Vec<String> {
    object
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="))
        .map(|list| {
            String::from_utf8_lossy(list)
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| name.replace('-', "_"))
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_files_compressed_or_not() {
        assert_eq!(module_name(Path::new("a/vfio-pci.ko.xz")).as_deref(), Some("vfio_pci"));
        assert_eq!(module_name(Path::new("kernel/net/virtio_net.ko")).as_deref(), Some("virtio_net"));
        assert_eq!(module_name(Path::new("modules.order")), None);
    }

    #[test]
    fn dependencies_are_read_from_the_module_itself() {
        let object = b"\x7fELF\0license=GPL\0depends=vfio,irq-bypass\0retpoline=Y\0";
        assert_eq!(dependencies(object), ["vfio", "irq_bypass"]);
        assert!(dependencies(b"\x7fELF\0depends=\0").is_empty());
    }

    #[test]
    fn a_module_comes_after_all_it_depends_on() {
        let root = std::env::temp_dir().join(format!("ringway-modules-{}", std::process::id()));
        fs::create_dir_all(root.join("kernel/net")).unwrap();
        fs::write(root.join("modules.builtin"), "kernel/lib/base.ko\n").unwrap();
        fs::write(root.join("kernel/net/top.ko"), b"\x7fELF\0depends=mid-dle,base\0").unwrap();
        fs::write(root.join("kernel/net/mid-dle.ko"), b"\x7fELF\0depends=low\0").unwrap();
        fs::write(root.join("kernel/low.ko"), b"\x7fELF\0depends=\0").unwrap();
        let modules = Modules::open(&root).unwrap();
        let closure = modules.closure(&["top", "low"]).unwrap();
        let order: Vec<&str> = closure.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(order, ["low", "mid_dle", "top"]);
        assert_eq!(closure[2].depends, ["mid_dle", "low"]);
        let error = modules.closure(&["absent"]).unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
        fs::remove_dir_all(root).unwrap();
    }
}
