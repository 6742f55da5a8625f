//! apt on a private state: its own sources, lists, list of installed packages (empty) and downloads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Closure, Set};
use crate::cache::{self, Cache};
use crate::tool;

/// Names a mirror where the machine's own apt has none that carries Debian.
const MIRROR_VARIABLE: &str = "RINGWAY_DEBIAN_MIRROR";

/// Debian's own keys, wherever this machine's package `debian-archive-keyring` puts them.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A private apt.
#[derive(Debug)]
pub(super) struct Apt {
    folder: PathBuf,
    prefer: Option<String>,
}

impl Apt {
    /// Sets up (or finds again) the state for these suites.
    pub(super) fn open(cache: &Cache, suites: &[&str], prefer: Option<&str>) -> Result<Self> {
        let folder = cache.path(format!("apt/{}", suites.join("+")));
        for part in ["state/lists/partial", "cache/archives/partial"] {
            cache::create_folder(&folder.join(part))?;
        }
        let mirror = mirror()?;
        let keyring = KEYRINGS.iter().find(|path| Path::new(path).is_file());
        let signed = keyring.map(|path| format!(" signed-by={path}")).unwrap_or_default();
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [target=Packages{signed}] {mirror} {suite} main\n"))
            .collect();
        cache::write_whole(&folder.join("sources.list"), sources.as_bytes())?;
        cache::write_whole(&folder.join("installed"), b"")?;
        Ok(Self { folder, prefer: prefer.map(str::to_owned) })
    }

    /// Fetches the suites' lists of packages.
    pub(super) fn update(&self) -> Result<()> {
        tool::output_of(self.command("apt-get").args([
            "-qq",
            "-o",
            "APT::Update::Error-Mode=any",
            "update",
        ]))?;
        Ok(())
    }

    /// Downloads a set's package files into a folder, which is emptied first.
    pub(super) fn download(&self, set: &Set<'_>, folder: &Path) -> Result<()> {
        cache::remove_folder(folder)?;
        cache::create_folder(&folder.join("partial"))?;
        match set.closure {
            Closure::Dependencies => {
                tool::output_of(
                    self.command("apt-get")
                        .arg("-o")
                        .arg(format!("Dir::Cache::archives={}", folder.display()))
                        .args(["-qq", "-y", "--download-only", "--no-install-recommends", "install"])
                        .args(set.packages),
                )?;
            }
            Closure::Named => self.download_named(set.packages.iter().copied(), folder)?,
            Closure::Beginning(prefix) => {
                let names = self.closure(set.packages, prefix)?;
                self.download_named(names.iter().map(String::as_str), folder)?;
            }
        }
        Ok(())
    }

    fn download_named<'a>(&self, names: impl Iterator<Item = &'a str>, folder: &Path) -> Result<()> {
        tool::output_of(self.command("apt-get").args(["-qq", "download"]).args(names).current_dir(folder))?;
        Ok(())
    }

    /// The packages and, as far as their names begin with the prefix, all they depend on.
    fn closure(&self, packages: &[&str], prefix: &str) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut open: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
        while let Some(name) = open.pop() {
            let text = tool::output_of(self.command("apt-cache").args(["depends", "--important", &name]))?;
            open.extend(depended_on(&text).filter(|other| other.starts_with(prefix)).map(str::to_owned));
            open.retain(|other| other != &name && !found.contains(other));
            found.insert(name);
        }
        Ok(found)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let inside = |part: &str| self.folder.join(part).display().to_string();
        for (key, value) in [
            ("Dir::Etc::sourcelist", inside("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferences", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("Dir::State", inside("state")),
            ("Dir::State::status", inside("installed")),
            ("Dir::Cache", inside("cache")),
            ("APT::Sandbox::User", String::new()),
            ("APT::Default-Release", self.prefer.clone().unwrap_or_default()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
        ] {
            command.arg("-o").arg(format!("{key}={value}"));
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        command
    }
}

/// The names in `apt-cache depends` that are required; virtual packages (in angle brackets) are left out.
fn depended_on(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim_start().trim_start_matches('|');
            line.strip_prefix("Depends: ").or_else(|| line.strip_prefix("PreDepends: "))
        })
        .map(str::trim)
        .filter(|name| !name.starts_with('<'))
}

/// The Debian mirror of this machine's own apt.
fn mirror() -> Result<String> {
    if let Some(named) = std::env::var(MIRROR_VARIABLE).ok().filter(|value| !value.is_empty()) {
        return Ok(named);
    }
    let text = tool::output_of(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(CREATED_BY) $(REPO_URI)",
    ]))
    .context("cannot ask apt for this machine's mirror")?;
    match debian_mirror(&text) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!(
            "this machine's apt has no Debian mirror (apt-get indextargets): set {MIRROR_VARIABLE} to the \
             address of one"
        ),
    }
}

/// Picks the main archive's address from `apt-get indextargets`: neither the security archive nor others'.
fn debian_mirror(text: &str) -> Option<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Packages "))
        .map(str::trim)
        .find(|address| address.trim_end_matches('/').ends_with("/debian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_told_from_the_security_archive_and_others() {
        let text = "DEP-11 http://a.invalid/debian/\n\
                    Packages http://s.invalid/debian-security/\n\
                    Packages https://other.invalid/node/\n\
                    Packages http://m.invalid/debian/\n";
        assert_eq!(debian_mirror(text), Some("http://m.invalid/debian/"));
        assert_eq!(debian_mirror("Packages https://other.invalid/node/\n"), None);
    }

    #[test]
    fn only_required_real_packages_count_as_dependencies() {
        let text = "linux-image-amd64\n  Depends: linux-image-9\n |Depends: linux-binary-9\n  \
                    Depends: <linux-virtual>\n  Recommends: firmware\n  PreDepends: linux-base\n";
        let names: Vec<&str> = depended_on(text).collect();
        assert_eq!(names, ["linux-image-9", "linux-binary-9", "linux-base"]);
    }
}
