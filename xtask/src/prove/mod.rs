//! Long runs: `cargo xtask prove [--hours H]`. Slices of a few minutes in turn for fuzzing, for the comparison with Open
//! vSwitch, and for forwarding with sequence numbers under faults; what all came to so far is kept in the cache folder and
//! printed after each slice.
//!
//! Each slice is a process of its own with a seed that no slice had before, so a crash ends the slice, not the run, and is
//! counted as a violation. SIGINT, SIGTERM and SIGHUP end the run after they ended the slice; what it had not told counts for nothing.

mod totals;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use ringway::engine::Event;
use ringway::machine::signals::Signals;

use crate::cache::{self, Cache};
use crate::checks::hostile;
use crate::tool;
use totals::{Class, Totals};

/// Classes that the engine with fixed seeds plays, in their turn.
const CLASSES: [&str; 6] =
    ["hostile-ixgbe", "hostile-virtio", "hostile-packets", "soak", "flow-parse", "flow-expand"];
/// Targets of cargo-fuzz, where it is installed.
const TARGETS: [&str; 5] =
    ["hostile_ixgbe", "hostile_virtio", "hostile_packets", "flow_parse", "flow_expand"];
/// The comparison with Open vSwitch goes on by so many packets at a time, a minute or so; a slice has as many of these as
/// its time allows, at least one.
const PACKETS: u64 = 10_000_000;
/// What its packets are made from. One seed for all slices: the comparison itself goes on where it ended.
const COMPARISON_SEED: u64 = 0x0070_726f_7665;
const COMPARISON: &str = "ovs-differential";
const OVS_RELEASE: &str = "4.0";
/// A slice that takes so much longer than it was given hangs.
const GRACE: Duration = Duration::from_secs(600);

/// Arguments of `cargo xtask prove`.
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// For how long; without it until SIGINT
    #[arg(long)]
    hours: Option<f64>,
    /// Minutes of each slice
    #[arg(long, default_value_t = 5.0)]
    slice: f64,
    /// Leaves the comparison with Open vSwitch out, which needs its source
    #[arg(long)]
    without_ovs: bool,
    /// Forgets what earlier runs came to
    #[arg(long)]
    from_start: bool,
}

/// A kind of slice.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    /// A class of the engine with seeds.
    Seeds(&'static str),
    /// A target of cargo-fuzz.
    Fuzz(&'static str),
    /// The comparison with Open vSwitch.
    Compare,
}

/// How a slice ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// By itself; whether it says that all is well.
    Itself(bool),
    /// By a signal to us.
    Signal,
    /// By us, since it took too long.
    Hang,
}

/// Runs slices until the time is over.
pub fn run(arguments: &ProveArgs) -> Result<ExitCode> {
    let root = crate::workspace()?;
    let cache = Cache::open()?;
    let folder = cache.path("prove");
    cache::create_folder(&folder)?;
    let _lock = cache.lock("prove")?;
    let path = folder.join("totals.json");
    if arguments.from_start {
        cache::write_whole(&path, b"{}")?;
    }
    let mut totals = Totals::open(&path)?;
    let before = totals.violations();
    let plan = plan(has_cargo_fuzz(), !arguments.without_ovs);
    let program = tool::timed("built the engine", || hostile::build(&root))?;
    // Before the first slice, so that building counts neither as fuzzing nor as a hang.
    for work in &plan {
        work.prepare(&root, &folder)?;
    }
    let (events, signals) = channel();
    let _listening = Signals::listen(events).context("signals can't be listened to")?;
    let end = arguments.hours.map(|hours| Instant::now() + Duration::from_secs_f64(hours.max(0.0) * 3600.0));
    let left = || end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
    println!("long runs: {} kinds in turn; totals are kept in {}", plan.len(), path.display());
    'all: while !left().is_zero() {
        // The kind that had the least time so far comes next, also of earlier runs.
        let Some(work) = plan.iter().min_by_key(|work| totals.of(&work.name()).seconds) else { break };
        let time = Duration::from_secs_f64((arguments.slice * 60.0).max(1.0))
            .min(left())
            .max(Duration::from_secs(1));
        let class = totals.of(&work.name());
        let slice = Slice { work, root: &root, folder: &folder, program: &program, before: class, time };
        let (came_to, ended) = slice.run(&signals)?;
        totals.add(&work.name(), came_to)?;
        print!("{}", totals.table());
        if ended == End::Signal {
            println!("ended by a signal; the totals are kept");
            break 'all;
        }
    }
    print!("in all\n{}", totals.table());
    let failed = totals.violations() > before;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn has_cargo_fuzz() -> bool {
    tool::run(tool::cargo().args(["fuzz", "--version"])).is_ok_and(|output| output.status.success())
}

/// What is done in turn.
fn plan(has_cargo_fuzz: bool, with_ovs: bool) -> Vec<Work> {
    let mut plan: Vec<Work> = CLASSES.map(Work::Seeds).into();
    if has_cargo_fuzz {
        plan.extend(TARGETS.map(Work::Fuzz));
    } else {
        println!("cargo-fuzz isn't installed (cargo install cargo-fuzz): seeds alone");
    }
    if with_ovs {
        plan.push(Work::Compare);
    }
    plan
}

impl Work {
    fn name(&self) -> String {
        match self {
            Self::Seeds(class) => (*class).to_owned(),
            Self::Fuzz(target) => format!("fuzz-{target}"),
            Self::Compare => COMPARISON.to_owned(),
        }
    }

    /// Adds what a slice said, and how it ended, to its class.
    fn account(&self, class: &mut Class, text: &str, ended: &End) {
        let told = match self {
            Self::Seeds(name) => {
                let totals = text.lines().filter_map(hostile::Totals::of).find(|totals| totals.name == *name);
                let told = totals.is_some();
                if let Some(totals) = totals {
                    (class.cases, class.faults) = (totals.cases, totals.faults);
                    class.violations = totals.violations;
                }
                told
            }
            Self::Fuzz(_) => {
                let runs = text.lines().find_map(fuzz_runs);
                class.cases = runs.unwrap_or(0);
                runs.is_some()
            }
            Self::Compare => {
                class.cases += if *ended == End::Itself(true) { PACKETS } else { 0 };
                true
            }
        };
        // One that fails without saying of what, or hangs, is a violation too; and one that says that all is well but not
        // of how much has shown nothing.
        let failed = match ended {
            End::Itself(well) => !well || !told,
            End::Hang => true,
            End::Signal => false,
        };
        if failed && class.violations == 0 {
            class.violations = 1;
        }
    }

    /// Builds what its slices run.
    fn prepare(&self, root: &Path, folder: &Path) -> Result<()> {
        match self {
            Self::Seeds(_) => Ok(()),
            Self::Fuzz(target) => {
                cache::create_folder(&corpus(folder, target))?;
                cache::create_folder(&folder.join("artifacts"))?;
                let mut command = cargo_fuzz();
                command.args(["build", target]).current_dir(root);
                tool::timed(format!("built {}", self.name()), || tool::output_of(&mut command)).map(drop)
            }
            Self::Compare => {
                let mut command = compare(1, false);
                command.current_dir(root);
                tool::timed(format!("built {}", self.name()), || tool::output_of(&mut command)).map(drop)
            }
        }
    }
}

/// cargo-fuzz, with the stable toolchain allowed to build for it.
fn cargo_fuzz() -> Command {
    let mut command = tool::cargo();
    command.arg("fuzz").env("RUSTC_BOOTSTRAP", "1");
    command
}

/// What a target found to be worth keeping, over all runs; the repository's own corpus is only read.
fn corpus(folder: &Path, target: &str) -> PathBuf {
    folder.join("corpus").join(target)
}

/// The comparison up to a packet.
fn compare(packets: u64, from_start: bool) -> Command {
    let mut command = Command::new(tool::OWN_PROGRAM);
    command.args(["ovs", "--release", OVS_RELEASE, "--packets", &packets.to_string()]);
    command.args(["--seed", &COMPARISON_SEED.to_string()]);
    if from_start {
        command.arg("--from-start");
    }
    command
}

/// One slice.
#[derive(Debug)]
struct Slice<'a> {
    work: &'a Work,
    root: &'a Path,
    folder: &'a Path,
    program: &'a Path,
    /// What its class came to before.
    before: Class,
    time: Duration,
}

impl Slice<'_> {
    /// One that no slice had before.
    fn seed(&self) -> u64 {
        1_000 + self.before.slices
    }

    /// What to run when the slice came to so many cases already.
    fn command(&self, cases: u64) -> Command {
        let seconds = self.time.as_secs().max(1).to_string();
        let seed = self.seed().to_string();
        match self.work {
            Work::Seeds(class) => {
                let mut command = Command::new(self.program);
                command.args([class, "--seconds", &seconds, "--seed", &seed, "--corpus"]);
                command.arg(self.root.join("fuzz/corpus"));
                command
            }
            Work::Fuzz(target) => {
                let mut command = cargo_fuzz();
                command.args(["run", target]).arg(corpus(self.folder, target));
                command.arg(self.root.join("fuzz/corpus").join(target)).arg("--");
                command.args([format!("-max_total_time={seconds}"), format!("-seed={seed}")]);
                command.arg(format!("-artifact_prefix={}/", self.folder.join("artifacts").display()));
                command
            }
            Work::Compare => {
                let done = self.before.cases + cases;
                compare(done + PACKETS, done == 0)
            }
        }
    }

    /// Runs it and says what it came to.
    fn run(&self, signals: &Receiver<Event>) -> Result<(Class, End)> {
        println!("{}: {} s, slice {}", self.work.name(), self.time.as_secs(), self.before.slices + 1);
        let start = Instant::now();
        let mut class = Class { slices: 1, ..Class::default() };
        let ended = loop {
            let mut command = self.command(class.cases);
            let shown = tool::shown(&command);
            // A terminal's SIGINT goes to us alone: we end the slice.
            command.current_dir(self.root).stdin(Stdio::null()).process_group(0);
            let (text, ended) = supervise(command, self.time + GRACE, signals)?;
            self.work.account(&mut class, &text, &ended);
            if class.violations > 0 {
                println!("VIOLATION in {} ({shown}):\n{}", self.work.name(), tool::last_lines(&text, 40));
            }
            let goes_on = *self.work == Work::Compare && ended == End::Itself(true);
            if !goes_on || start.elapsed() >= self.time {
                break ended;
            }
        };
        class.seconds = start.elapsed().as_secs().max(1);
        Ok((class, ended))
    }
}

/// The number in libFuzzer's `Done 1234 runs in 60 second(s)`.
fn fuzz_runs(line: &str) -> Option<u64> {
    line.strip_prefix("Done ")?.split_once(" runs in ")?.0.parse().ok()
}

/// Runs a program, and ends it when a signal asks for the end or its time is over. What it said, and how it ended.
fn supervise(mut command: Command, limit: Duration, signals: &Receiver<Event>) -> Result<(String, End)> {
    let shown = tool::shown(&command);
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut child: Child = command
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {shown}"))?;
    // The command holds the pipe's writing end too; without it, reading ends with the child.
    drop(command);
    let reading = std::thread::spawn(move || {
        let lines = BufReader::new(reader).split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned() + "\n").collect::<String>()
    });
    let deadline = Instant::now() + limit;
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break End::Itself(status.success());
        }
        let asked = signals.recv_timeout(Duration::from_millis(200)).is_ok();
        if asked || Instant::now() > deadline {
            // Its whole group, by the number of its leader, which is ours until it is waited for.
            let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(group) = group {
                // It may have ended by itself just now.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            child.wait()?;
            break if asked { End::Signal } else { End::Hang };
        }
    };
    Ok((reading.join().unwrap_or_default(), ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command
    }

    #[test]
    fn a_slice_ends_by_itself_by_a_signal_or_when_it_hangs() {
        let (events, signals) = channel();
        let long = Duration::from_secs(60);
        let (text, ended) = supervise(shell("echo one; exit 0"), long, &signals).unwrap();
        assert_eq!((text.as_str(), ended), ("one\n", End::Itself(true)));
        assert_eq!(supervise(shell("exit 3"), long, &signals).unwrap().1, End::Itself(false));
        assert_eq!(supervise(shell("sleep 600"), Duration::from_secs(1), &signals).unwrap().1, End::Hang);
        events.send(Event::Signal(2)).unwrap();
        assert_eq!(supervise(shell("sleep 600"), long, &signals).unwrap().1, End::Signal);
    }

    #[test]
    fn a_slice_that_ends_well_without_saying_how_much_it_did_is_a_violation() {
        let came_to = |work: &Work, text: &str, ended: End| {
            let mut class = Class::default();
            work.account(&mut class, text, &ended);
            (class.cases, class.violations)
        };
        let seeds = Work::Seeds("hostile-ixgbe");
        let line = "hostile-ixgbe: 500 cases, 9000 faults raised, 12 errors told, 3 opened, violations 0\n";
        assert_eq!(came_to(&seeds, line, End::Itself(true)), (500, 0));
        assert_eq!(came_to(&seeds, "", End::Itself(true)), (0, 1));
        let other = line.replace("ixgbe", "virtio");
        assert_eq!(came_to(&seeds, &other, End::Itself(true)), (0, 1), "the totals of another class");
        assert_eq!(came_to(&seeds, line, End::Itself(false)), (500, 1), "it fails and doesn't say of what");
        assert_eq!(
            came_to(&seeds, &line.replace("violations 0", "violations 3"), End::Itself(false)),
            (500, 3)
        );
        assert_eq!(came_to(&seeds, "", End::Signal), (0, 0), "ended by us: it had no time to tell");
        assert_eq!(came_to(&seeds, line, End::Hang), (500, 1));
        let fuzz = Work::Fuzz("hostile_ixgbe");
        assert_eq!(came_to(&fuzz, "Done 4711 runs in 61 second(s)\n", End::Itself(true)), (4711, 0));
        assert_eq!(came_to(&fuzz, "#4711 DONE cov: 5\n", End::Itself(true)), (0, 1));
        assert_eq!(came_to(&Work::Compare, "", End::Itself(true)), (PACKETS, 0));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_and_the_fuzzers_line_is_read() {
        let names: std::collections::BTreeSet<String> = plan(true, true).iter().map(Work::name).collect();
        assert_eq!(names.len(), CLASSES.len() + TARGETS.len() + 1);
        assert_eq!(plan(false, false).len(), CLASSES.len());
        assert_eq!(fuzz_runs("Done 4711 runs in 61 second(s)"), Some(4711));
        assert_eq!(fuzz_runs("#4711 DONE cov: 5"), None);
    }

    #[test]
    fn the_comparison_begins_once_and_then_goes_on_where_it_ended() {
        let folder = Path::new("folder");
        let before = |cases| Class { slices: 3, cases, ..Class::default() };
        let shown = |before, cases| {
            let time = Duration::from_secs(60);
            let work = &Work::Compare;
            let slice = Slice { work, root: folder, folder, program: folder, before, time };
            tool::shown(&slice.command(cases))
        };
        assert!(
            shown(before(0), 0).contains("--packets 10000000")
                && shown(before(0), 0).contains("--from-start")
        );
        let later = shown(before(5), PACKETS);
        assert!(later.contains("--packets 20000005") && !later.contains("--from-start"), "{later}");
    }
}
