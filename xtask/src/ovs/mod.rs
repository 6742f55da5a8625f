//! `cargo xtask ovs`: the flow parser beside and inside Open vSwitch.
//!
//! For one Open vSwitch of each flow layout: fetch its source as Debian packages it, build it in the cache, build
//! `ringway-flow-ovs` against it, compare the two packet by packet, and, with `--full`, run Open vSwitch's own tests
//! with ours in place, count instructions, and pass traffic through a live switch.

mod af_xdp;
mod build;
mod compare;
mod layout;
mod live;
mod source;
mod speed;
mod suite;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::cache::Cache;
use source::{Release, Switch};

/// Arguments of `cargo xtask ovs`.
#[derive(Debug, Args)]
pub struct OvsArgs {
    /// Only this release
    #[arg(long, value_enum)]
    release: Option<Release>,
    /// Random cases to compare on each release; every truncation of every kind of packet comes first
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
    /// What the random cases are made from; a run is kept by its seed and goes on where it ended
    #[arg(long, default_value_t = 0x0052_696e_6777_6179)]
    seed: u64,
    /// Begin at the first case, and run the tests with the C again, whatever is kept
    #[arg(long)]
    from_start: bool,
    /// Also do everything below
    #[arg(long)]
    full: bool,
    /// Also run the few of Open vSwitch's own tests that are about extraction itself
    #[arg(long)]
    tests: bool,
    /// Also run all of Open vSwitch's own tests that are named for it, an hour on one processor
    #[arg(long)]
    suite: bool,
    /// Also count instructions per packet, beside the C (needs valgrind)
    #[arg(long)]
    speed: bool,
    /// Also pass traffic through a live switch between network namespaces (needs root)
    #[arg(long)]
    live: bool,
    /// Also forward over AF_XDP with the C and with ours in turn, and compare packets per second (needs root)
    #[arg(long)]
    af_xdp: bool,
}

/// Does what the arguments ask for, on each release.
pub fn run(arguments: &OvsArgs) -> Result<ExitCode> {
    let cache = Cache::open()?;
    for release in Release::ALL {
        if arguments.release.is_some_and(|only| only != release) {
            continue;
        }
        println!("Open vSwitch {release}");
        let switch = source::obtain(&cache, release)?;
        let comparison = build::comparison(&switch)?;
        let run = compare::Run {
            packets: arguments.packets,
            seed: arguments.seed,
            from_start: arguments.from_start,
        };
        compare::run(&cache, &switch, &comparison, &run)?;
        if arguments.tests || arguments.suite || arguments.full {
            let library = build::library(&switch)?;
            layout::run(&cache, &switch, &library)?;
            let all = arguments.suite || arguments.full;
            suite::run(&cache, &switch, &library, all, arguments.from_start)?;
        }
        if arguments.speed || arguments.full {
            speed::run(&switch, &comparison)?;
        }
        if arguments.live || arguments.full {
            let library = build::library(&switch)?;
            live::run(&switch, &library)?;
        }
        if arguments.af_xdp || arguments.full {
            af_xdp::run(&cache, &switch)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The environment that a program of the switch, or one linked with it, needs to find its libraries.
fn with_libraries(command: &mut std::process::Command, switch: &Switch) {
    command.env("LD_LIBRARY_PATH", &switch.libraries);
}
