//! The commands of the comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use ringway_flow::samples::Kind;
use ringway_flow_ovs::differential::speed::{Load, Side, Times};
use ringway_flow_ovs::differential::{
    Case, Comparison, Difference, Named, OVER_READ, compare, compare_expanded, sizes_agree, target_version,
};

#[derive(Parser)]
#[command(about = "Compares the flow parser with Open vSwitch's C")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare: first every truncation of every kind of packet, then random cases.
    Compare {
        /// Random cases.
        #[arg(long, default_value_t = 1_000_000)]
        packets: u64,
        /// What the random cases are made from.
        #[arg(long, default_value_t = 0x0052_696e_6777_6179)]
        seed: u64,
        /// File that keeps how far a run with this seed has come; it goes on from there.
        #[arg(long)]
        state: Option<PathBuf>,
        /// Compare hashes and texts of every n-th case too.
        #[arg(long, default_value_t = 16)]
        expand: u64,
    },
    /// Compare one case again.
    Case {
        /// Its seed.
        #[arg(long)]
        seed: u64,
        /// Its number.
        number: u64,
    },
    /// Extract again and again, for an instruction counter.
    Repeat {
        /// Name of a kind of packet, or "shuffled".
        kind: String,
        /// Who extracts.
        #[arg(long)]
        side: SideName,
        /// How many passes.
        #[arg(long)]
        times: usize,
    },
    /// Nanoseconds per packet of both sides, kind by kind; and of ours called for 32 packets at once.
    Time {
        /// Passes a round.
        #[arg(long, default_value_t = 4_000)]
        times: usize,
        /// Rounds, in each of which both sides run.
        #[arg(long, default_value_t = 50)]
        rounds: usize,
        /// Only this kind of packet, or "shuffled".
        #[arg(long)]
        kind: Option<String>,
    },
    /// The kinds of packets that are measured.
    Kinds,
}

#[derive(Clone, Copy, ValueEnum)]
enum SideName {
    C,
    Ours,
    Batch,
    Nothing,
}

pub(crate) fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Compare { packets, seed, state, expand } => run(packets, seed, state.as_deref(), expand),
        Command::Case { seed, number } => {
            let case = Case::random(seed, number);
            compare(&case).and_then(|_| compare_expanded(&case)).map_err(|difference| difference.to_string())
        }
        Command::Repeat { kind, side, times } => load(&kind).map(|load| {
            let side = match side {
                SideName::C => Side::C,
                SideName::Ours => Side::Ours,
                SideName::Batch => Side::Batch,
                SideName::Nothing => Side::Nothing,
            };
            load.run(times, side);
        }),
        Command::Time { times, rounds, kind } => time(times, rounds, kind.as_deref()),
        Command::Kinds => {
            Kind::MEASURED.iter().for_each(|kind| println!("{}", kind.name()));
            println!("shuffled");
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn load(name: &str) -> Result<Load, String> {
    if name == "shuffled" {
        return Ok(Load::shuffled());
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.map(Load::of_kind).ok_or_else(|| format!("{name}: no such kind; the command \"kinds\" lists them"))
}

fn run(packets: u64, seed: u64, state: Option<&Path>, expand: u64) -> Result<(), String> {
    if !sizes_agree() {
        return Err(String::from(
            "c/oracle.c and src/differential/oracle.rs differ in the size of a structure",
        ));
    }
    named()?;
    let mut over_reads = 0u64;
    let mut check = |case: &Case, expanded: bool| -> Result<(), Difference> {
        if compare(case)? == Comparison::SameAfterOverRead {
            over_reads += 1;
        }
        if expanded { compare_expanded(case) } else { Ok(()) }
    };
    let mut truncations = 0u64;
    for case in Case::truncations() {
        check(&case, truncations.is_multiple_of(expand.max(1)))
            .map_err(|difference| difference.to_string())?;
        truncations += 1;
    }
    let from = state.map_or(0, |path| resume(path, seed));
    for number in from..packets {
        let case = Case::random(seed, number);
        check(&case, number.is_multiple_of(expand.max(1))).map_err(|difference| difference.to_string())?;
        if number % 1_000_000 == 999_999 {
            keep(state, seed, number + 1)?;
        }
    }
    keep(state, seed, packets.max(from))?;
    let version = target_version();
    println!(
        "Open vSwitch {}.{}: {truncations} truncations and cases {from} to {packets} of seed {seed:#x}: no difference",
        version / 100,
        version % 100
    );
    println!("{over_reads} of them: {OVER_READ}");
    Ok(())
}

/// The cases with a name: each has to come out as it is expected to, the known fault of the C included.
fn named() -> Result<(), String> {
    let (mut cases, mut faults) = (0, 0);
    for Named { case, expected } in Named::all() {
        let seen = compare(&case).map_err(|difference| difference.to_string())?;
        compare_expanded(&case).map_err(|difference| difference.to_string())?;
        if seen != expected {
            return Err(format!("{}: expected {expected:?}, not {seen:?}", case.origin));
        }
        cases += 1;
        if seen == Comparison::SameAfterOverRead {
            faults += 1;
            println!("{OVER_READ}: {}", case.origin);
        }
    }
    println!("{cases} cases with a name, on {faults} of them the C reads what isn't there: as expected");
    Ok(())
}

/// How many cases of this seed the file says are done.
fn resume(path: &Path, seed: u64) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut words = text.split_whitespace().map(|word| word.parse::<u64>().ok());
    match (words.next().flatten(), words.next().flatten()) {
        (Some(kept), Some(done)) if kept == seed => done,
        _ => 0,
    }
}

fn keep(path: Option<&Path>, seed: u64, done: u64) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, format!("{seed} {done}\n")).map_err(|error| format!("{}: {error}", path.display()))
}

fn time(times: usize, rounds: usize, kind: Option<&str>) -> Result<(), String> {
    let all = Kind::MEASURED.iter().map(|kind| kind.name()).chain(["shuffled"]);
    let names: Vec<&str> = kind.map_or_else(|| all.collect(), |kind| vec![kind]);
    println!(
        "{:<24}{:>10}{:>10}{:>8}{:>8}{:>10}{:>8}{:>8}",
        "packet", "C ns", "ours ns", "ratio", "median", "batch ns", "ratio", "median"
    );
    for name in names {
        let load = load(name)?;
        // A shuffled pass is far longer than one of a kind.
        let Times { c, ours, batch, ratio, batch_ratio } =
            load.compare((times * 32 / load.packets()).max(1), rounds);
        println!(
            "{name:<24}{c:>10.2}{ours:>10.2}{:>8.2}{ratio:>8.2}{batch:>10.2}{:>8.2}{batch_ratio:>8.2}",
            ours / c,
            batch / c
        );
    }
    Ok(())
}
