//! Debian packages without root: fetched from the mirror that this machine's own apt is set up with, checked
//! by apt against the archive's signature, unpacked into the cache, never installed.
//!
//! A [`Set`] names packages and suites; [`obtain`] returns the folder they are unpacked in. A set that is in
//! the cache and new enough is used as it is, with no look at the network. apt runs on a private state of its
//! own (sources, lists, an empty list of installed packages), but with the machine's own configuration, so
//! that a proxy or credentials set up there still serve.

mod apt;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{self, Cache};
use crate::tool;
use apt::Apt;

/// What belongs to a set besides the packages it names.
#[derive(Clone, Copy, Debug)]
pub enum Closure<'a> {
    /// Nothing: the packages as named.
    Named,
    /// All that they depend on, as if nothing were installed.
    Dependencies,
    /// What they depend on as far as the names begin so (a kernel's image, binary and module packages).
    Beginning(&'a str),
}

/// Packages that are fetched and kept together.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// A short name, which is also the name in the cache.
    pub name: &'a str,
    /// The suites to choose from.
    pub suites: &'a [&'a str],
    /// The suite that wins where several have a package; otherwise apt's own order.
    pub prefer: Option<&'a str>,
    /// The packages; the first one's version is the set's version.
    pub packages: &'a [&'a str],
    /// What comes with them.
    pub closure: Closure<'a>,
    /// The least version of the first package that serves (as `dpkg --compare-versions` compares).
    pub at_least: &'a str,
}

/// A set, unpacked.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The folder that holds all packages' files.
    pub root: PathBuf,
    /// The version of the set's first package.
    pub version: String,
    /// Each package in it, with its version.
    pub packages: BTreeMap<String, String>,
}

/// Written last into an unpacked set: a set without it is not whole.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    request: String,
    version: String,
    packages: BTreeMap<String, String>,
}

const RECORD: &str = "packages.json";

impl Unpacked {
    /// The first of several paths (relative to the set's root) that is there.
    pub fn file(&self, candidates: &[&str]) -> Result<PathBuf> {
        candidates
            .iter()
            .map(|candidate| self.root.join(candidate))
            .find(|path| path.exists())
            .ok_or_else(|| anyhow!("none of {} is in {}", candidates.join(", "), self.root.display()))
    }
}

impl Set<'_> {
    /// A text that differs between sets that differ: part of the cache's key.
    fn request(&self) -> String {
        let closure = match self.closure {
            Closure::Named => "named".to_owned(),
            Closure::Dependencies => "dependencies".to_owned(),
            Closure::Beginning(prefix) => format!("beginning {prefix}"),
        };
        format!(
            "{}; {}; {}; {closure}",
            self.suites.join(" "),
            self.prefer.unwrap_or("-"),
            self.packages.join(" ")
        )
    }
}

/// Returns the set from the cache, or fetches and unpacks it.
///
/// With `refresh` the archive is asked again, and a newer version is taken if there is one.
pub fn obtain(cache: &Cache, set: &Set<'_>, refresh: bool) -> Result<Unpacked> {
    if !refresh && let Some(found) = cached(cache, set)? {
        return Ok(found);
    }
    let _lock = cache.lock("debian")?;
    // Another run may have fetched it while this one waited.
    if !refresh && let Some(found) = cached(cache, set)? {
        return Ok(found);
    }
    tool::find("apt-get", "apt")?;
    tool::find("dpkg-deb", "dpkg")?;
    let start = std::time::Instant::now();
    println!("      fetching {} ({}) from {}", set.name, set.packages.join(", "), set.suites.join(", "));
    let unpacked = fetch(cache, set).with_context(|| format!("cannot fetch {}", set.name))?;
    println!(
        "      {} {}: {} packages, fetched and unpacked in {}",
        set.name,
        unpacked.version,
        unpacked.packages.len(),
        tool::seconds(start.elapsed())
    );
    Ok(unpacked)
}

/// Where the name of the set's current folder is kept.
fn pointer(cache: &Cache, set: &Set<'_>) -> PathBuf {
    cache.path(format!("debian/{}.current", set.name))
}

fn cached(cache: &Cache, set: &Set<'_>) -> Result<Option<Unpacked>> {
    let Ok(name) = fs::read_to_string(pointer(cache, set)) else { return Ok(None) };
    let folder = cache.path("debian").join(name.trim());
    let Ok(text) = fs::read(folder.join(RECORD)) else { return Ok(None) };
    let Ok(record) = serde_json::from_slice::<Record>(&text) else { return Ok(None) };
    if record.request != set.request() || !new_enough(&record.version, set.at_least)? {
        return Ok(None);
    }
    Ok(Some(Unpacked { root: folder.join("root"), version: record.version, packages: record.packages }))
}

fn fetch(cache: &Cache, set: &Set<'_>) -> Result<Unpacked> {
    let apt = Apt::open(cache, set.suites, set.prefer)?;
    let downloads = cache.path(format!("debian/{}.download", set.name));
    apt.update()?;
    apt.download(set, &downloads)?;
    let archives = archives_in(&downloads)?;
    let packages = archives.iter().map(|path| identity(path)).collect::<Result<BTreeMap<_, _>>>()?;
    let first = set.packages.first().ok_or_else(|| anyhow!("the set {} names no package", set.name))?;
    let version = packages
        .get(*first)
        .cloned()
        .ok_or_else(|| anyhow!("{first} isn't among what was fetched: {:?}", packages.keys()))?;
    if !new_enough(&version, set.at_least)? {
        bail!(
            "{first} {version} is older than {}: has the mirror the suites {}?",
            set.at_least,
            set.suites.join(", ")
        );
    }
    let name = format!("{}-{}-{}", set.name, version.replace([':', '/', '~'], "_"), key(set, &packages));
    let destination = cache.path("debian").join(&name);
    cache.fill(&destination, |folder| {
        let root = folder.join("root");
        cache::create_folder(&root)?;
        for archive in &archives {
            tool::output_of(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&root))?;
        }
        let record = Record { request: set.request(), version: version.clone(), packages: packages.clone() };
        cache::write_whole(&folder.join(RECORD), &serde_json::to_vec_pretty(&record)?)
    })?;
    cache::write_whole(&pointer(cache, set), name.as_bytes())?;
    cache::remove_folder(&downloads)?;
    Ok(Unpacked { root: destination.join("root"), version, packages })
}

/// Eight hexadecimal digits that stand for the request and every package's version.
fn key(set: &Set<'_>, packages: &BTreeMap<String, String>) -> String {
    let digest = Sha256::digest(format!("{} {packages:?}", set.request()).as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn archives_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            archives.push(path);
        }
    }
    archives.sort();
    Ok(archives)
}

/// A package file's name and version, from its own control data.
fn identity(archive: &Path) -> Result<(String, String)> {
    let text = tool::output_of(
        Command::new("dpkg-deb").args(["--show", "--showformat=${Package} ${Version}"]).arg(archive),
    )?;
    let (name, version) = text
        .trim()
        .split_once(' ')
        .ok_or_else(|| anyhow!("{} doesn't say what package it is: {text}", archive.display()))?;
    Ok((name.to_owned(), version.to_owned()))
}

/// Whether a package's version is at least the other, by Debian's own order.
fn new_enough(version: &str, least: &str) -> Result<bool> {
    let status = Command::new("dpkg")
        .args(["--compare-versions", version, "ge", least])
        .status()
        .context("cannot run dpkg: the lab needs Debian or one of its children")?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Set<'static> = Set {
        name: "tools",
        suites: &["stable"],
        prefer: None,
        packages: &["tool"],
        closure: Closure::Named,
        at_least: "1.2",
    };

    fn scratch(name: &str) -> Cache {
        let root = std::env::temp_dir().join(format!("ringway-debian-{name}-{}", std::process::id()));
        cache::remove_folder(&root).unwrap();
        Cache::at(root).unwrap()
    }

    fn put(cache: &Cache, record: &Record) {
        let folder = cache.path("debian/tools-1");
        cache::create_folder(&folder).unwrap();
        fs::write(pointer(cache, &SET), "tools-1").unwrap();
        fs::write(folder.join(RECORD), serde_json::to_vec(record).unwrap()).unwrap();
    }

    fn record(version: &str, request: String) -> Record {
        Record { request, version: version.to_owned(), packages: BTreeMap::new() }
    }

    #[test]
    fn a_set_in_the_cache_is_used_if_it_is_new_enough() {
        let cache = scratch("used");
        put(&cache, &record("1.3", SET.request()));
        assert_eq!(cached(&cache, &SET).unwrap().unwrap().version, "1.3");
        put(&cache, &record("1.1", SET.request()));
        assert!(cached(&cache, &SET).unwrap().is_none());
        cache::remove_folder(&cache.path("")).unwrap();
    }

    #[test]
    fn a_set_that_was_asked_for_otherwise_is_not_taken() {
        let cache = scratch("otherwise");
        let other = Set { suites: &["testing"], ..SET };
        put(&cache, &record("1.3", other.request()));
        assert!(cached(&cache, &SET).unwrap().is_none());
        cache::remove_folder(&cache.path("")).unwrap();
    }

    #[test]
    fn a_set_without_its_record_is_not_whole() {
        let cache = scratch("whole");
        put(&cache, &record("1.3", SET.request()));
        fs::remove_file(cache.path("debian/tools-1").join(RECORD)).unwrap();
        assert!(cached(&cache, &SET).unwrap().is_none());
        cache::remove_folder(&cache.path("")).unwrap();
    }
}
