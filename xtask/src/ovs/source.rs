//! Open vSwitch's source, as Debian packages it, and its build in the cache.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::cache::{self, Cache};
use crate::debian::{self, Closure, Set};
use crate::tool;

/// A release that Debian has, one of each layout of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Release {
    /// 3.5, FLOW_WC_SEQ 42
    #[value(name = "3.5")]
    V3_5,
    /// 4.0, FLOW_WC_SEQ 43
    #[value(name = "4.0")]
    V4_0,
}

impl Release {
    pub(super) const ALL: [Release; 2] = [Release::V3_5, Release::V4_0];

    fn set(self) -> Set<'static> {
        let (name, suites, at_least): (_, &[&str], _) = match self {
            Release::V3_5 => ("openvswitch-3.5", &["trixie"], "3.5"),
            Release::V4_0 => ("openvswitch-4.0", &["forky"], "4.0"),
        };
        let packages = &["openvswitch-source"];
        Set { name, suites, prefer: None, packages, closure: Closure::Named, at_least }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Release::V3_5 => "3.5",
            Release::V4_0 => "4.0",
        })
    }
}

/// An Open vSwitch that is built.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    /// Which one.
    pub(super) release: Release,
    /// Debian's version.
    pub(super) version: String,
    /// The source tree.
    pub(super) source: PathBuf,
    /// The tree that it is built in.
    pub(super) build: PathBuf,
    /// Where the libraries lie that it needs for AF_XDP.
    pub(super) libraries: PathBuf,
}

/// Written when a build is whole.
const BUILT: &str = "ringway-built";

/// Returns the release from the cache, or fetches and builds it: three minutes on two processors.
pub(super) fn obtain(cache: &Cache, release: Release) -> Result<Switch> {
    let unpacked = debian::obtain(cache, &release.set(), false)?;
    let libraries = af_xdp_libraries(cache)?;
    let folder = cache.path(format!("ovs/{}", unpacked.version.replace([':', '/', '~'], "_")));
    let switch = Switch {
        release,
        version: unpacked.version.clone(),
        source: folder.join("source"),
        build: folder.join("build"),
        libraries: libraries.join("usr/lib/x86_64-linux-gnu"),
    };
    if switch.build.join(BUILT).exists() {
        return Ok(switch);
    }
    let _lock = cache.lock("ovs")?;
    if switch.build.join(BUILT).exists() {
        return Ok(switch);
    }
    for (program, package) in [("gcc", "gcc"), ("make", "make"), ("python3", "python3"), ("tar", "tar")] {
        tool::find(program, package)?;
    }
    cache.fill(&switch.source, |place| unpack(&unpacked.root.join("usr/src/openvswitch"), place))?;
    cache::remove_folder(&switch.build)?;
    cache::create_folder(&switch.build)?;
    tool::timed("configured", || configure(&switch, &libraries))?;
    tool::timed("built", || {
        let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut make = Command::new("make");
        make.current_dir(&switch.build).arg(format!("-j{jobs}"));
        // The programs of the tests are made by "check"; no test has this number.
        tool::output_of(&mut make).map(drop)
    })?;
    cache::write_whole(&switch.build.join(BUILT), unpacked.version.as_bytes())?;
    Ok(switch)
}

/// Puts the source in place. Newer packages hold a tree, older ones an archive.
fn unpack(package: &Path, place: &Path) -> Result<()> {
    let archive = package.join("openvswitch.tar.gz");
    let mut command = if archive.exists() {
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&archive).arg("--strip-components=1").arg("-C").arg(place);
        tar
    } else if package.join("configure").exists() {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(package.join(".")).arg(place);
        copy
    } else {
        bail!("{} holds neither a configured tree nor openvswitch.tar.gz", package.display());
    };
    tool::output_of(&mut command).map(drop)
}

fn configure(switch: &Switch, libraries: &Path) -> Result<()> {
    let include = format!("-I{}", libraries.join("usr/include").display());
    let folders = [switch.libraries.clone(), libraries.join("lib/x86_64-linux-gnu")];
    let link: Vec<String> = folders
        .iter()
        .flat_map(|folder| {
            [format!("-L{}", folder.display()), format!("-Wl,-rpath-link,{}", folder.display())]
        })
        .collect();
    let mut command = Command::new(switch.source.join("configure"));
    command.current_dir(&switch.build).args(["--disable-ssl", "--enable-shared", "--enable-afxdp"]);
    command.args([
        "CFLAGS=-O2 -g".to_owned(),
        format!("CPPFLAGS={include}"),
        format!("LDFLAGS={}", link.join(" ")),
    ]);
    command.args([format!("LIBXDP_CFLAGS={include}"), "LIBXDP_LIBS=-lxdp -lbpf".to_owned()]);
    command.args([format!("LIBBPF_CFLAGS={include}"), "LIBBPF_LIBS=-lbpf".to_owned()]);
    tool::output_of(&mut command).map(drop)
}

/// What AF_XDP needs, from the release of Debian that this machine runs: it is linked with this machine's C library.
fn af_xdp_libraries(cache: &Cache) -> Result<PathBuf> {
    let system = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = system
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release has no VERSION_CODENAME: this needs Debian")?
        .trim_matches('"')
        .to_owned();
    // From trixie on, libraries that have to do with time have "t64" in their names.
    let elf = if codename == "bookworm" { "libelf1" } else { "libelf1t64" };
    let set = Set {
        name: "af-xdp",
        suites: &[codename.as_str()],
        prefer: None,
        packages: &[
            "libxdp-dev",
            "libxdp1",
            "libbpf-dev",
            "libbpf1",
            "libnuma-dev",
            "libnuma1",
            "libelf-dev",
            elf,
            "zlib1g-dev",
            "zlib1g",
        ],
        closure: Closure::Named,
        at_least: "1.2",
    };
    Ok(debian::obtain(cache, &set, false)?.root)
}
