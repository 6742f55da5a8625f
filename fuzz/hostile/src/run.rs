//! Many cases of a class: scripts from fixed seeds, from a corpus as they are, and from a corpus with changes. On several
//! threads, since a start of an 82599 mostly waits; with a watch that ends the process, and says with which script, when a
//! case hangs.

use crate::Violation;
use crate::case::Seen;
use crate::script::Random;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A case that takes longer hangs. The longest waits of the drivers add up to a third of this.
const HANG: Duration = Duration::from_secs(120);
/// Cases after which memory is looked at for the first time: by then every thread has what it keeps.
const WARM: u64 = 50;
/// What memory may grow by, in KiB: threads and the allocator keep some.
const GROWTH: i64 = 64 << 10;
/// Violations that are kept and shown.
const SHOWN: usize = 5;

/// How scripts become cases.
pub type Play = fn(&[u8]) -> Result<Seen, Violation>;

/// A class of cases.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Its name: `hostile-ixgbe`.
    pub name: &'static str,
    /// The folder of its corpus, below `fuzz/corpus`.
    pub corpus: &'static str,
    /// How long a script is, in bytes.
    pub length: usize,
    /// What plays it.
    pub play: Play,
    /// Threads at once: more than there are processors where cases mostly wait.
    pub threads: usize,
}

/// When a run ends: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After so many cases.
    pub cases: Option<u64>,
    /// After so long; what has begun goes on to its end.
    pub time: Option<Duration>,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The class.
    pub name: String,
    /// Cases played.
    pub cases: u64,
    /// What was seen in them, added up.
    pub faults: u64,
    /// Errors that programs were given.
    pub errors: u64,
    /// How many ports opened.
    pub opened: u64,
    /// How many cases broke a rule.
    pub violations: u64,
    /// Descriptors that were open after the run and not before.
    pub descriptors: i64,
    /// Growth of the process's own memory from the first tenth of a run on, in KiB.
    pub memory: i64,
    /// The first of them, with the script in hexadecimal.
    pub shown: Vec<String>,
}

impl fmt::Display for Report {
    /// The line of the class.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, cases, faults, errors, opened, descriptors, memory, violations, .. } = self;
        write!(
            to,
            "{name}: {cases} cases, {faults} faults raised, {errors} errors told, {opened} opened, \
             {descriptors:+} descriptors, {memory:+} KiB, violations {violations}"
        )
    }
}

/// Runs a class: first each file of its corpus, then as many scripts of the seed as the limits leave.
///
/// # Errors
/// When the corpus can't be read.
pub fn run(class: &Class, corpus: Option<&Path>, seed: u64, limits: Limits) -> std::io::Result<Report> {
    let corpus = match corpus {
        Some(folder) => files(&folder.join(class.corpus))?,
        None => Vec::new(),
    };
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let descriptors = open_descriptors();
    let warm = AtomicI64::new(0);
    let report = Mutex::new(Report { name: class.name.to_owned(), ..Report::default() });
    let busy: Mutex<BTreeMap<usize, (Instant, Vec<u8>)>> = Mutex::default();
    let start = Instant::now();
    let worker = |number: usize| {
        loop {
            let case = next.fetch_add(1, Ordering::Relaxed);
            let is_over = limits.cases.is_some_and(|cases| case >= cases)
                || limits.time.is_some_and(|time| start.elapsed() >= time);
            if is_over {
                return;
            }
            let script = script(class, &corpus, seed, case);
            locked(&busy).insert(number, (Instant::now(), script.clone()));
            let outcome = catch_unwind(AssertUnwindSafe(|| (class.play)(&script)));
            locked(&busy).remove(&number);
            let mut report = locked(&report);
            report.cases += 1;
            if report.cases == WARM {
                warm.store(resident(), Ordering::Relaxed);
            }
            match outcome {
                Ok(Ok(seen)) => {
                    report.faults += seen.faults;
                    report.errors += seen.errors;
                    report.opened += u64::from(seen.opened);
                }
                Ok(Err(violation)) => report.violated(case, &violation, &script),
                Err(panic) => {
                    let said = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied());
                    let violation = format!("a panic: {}", said.unwrap_or("without words"));
                    report.violated(case, &violation, &script);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..class.threads.max(1)).map(|number| scope.spawn(move || worker(number))).collect();
        scope.spawn(|| watch(class.name, &busy, &stop));
        for worker in workers {
            // A worker catches its cases' panics, so there is nothing that it could end with.
            let _ = worker.join();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.descriptors = open_descriptors() - descriptors;
    let warm = warm.into_inner();
    report.memory = if warm > 0 { resident() - warm } else { 0 };
    if report.descriptors > 0 {
        report.leaked(format!("{} descriptors are still open", report.descriptors));
    }
    if report.memory > GROWTH {
        report.leaked(format!("memory grew by {} KiB", report.memory));
    }
    Ok(report)
}

/// Descriptors that this process has open.
fn open_descriptors() -> i64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64)
}

/// This process's memory in KiB, as the kernel counts it.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

impl Report {
    fn leaked(&mut self, what: String) {
        self.violations += 1;
        self.shown.push(format!("{}: {what}", self.name));
    }

    fn violated(&mut self, case: u64, violation: &str, script: &[u8]) {
        self.violations += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(format!(
                "{} case {case}: {violation}\n  script {}",
                self.name,
                hexadecimal(script)
            ));
        }
    }
}

/// Ends the process when a case hangs: nothing else can.
fn watch(name: &str, busy: &Mutex<BTreeMap<usize, (Instant, Vec<u8>)>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Some((_, script)) = locked(busy).values().find(|(since, _)| since.elapsed() > HANG) {
            eprintln!("{name}: a case hangs\n  script {}", hexadecimal(script));
            std::process::abort();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The script of a case: a file of the corpus, one with changes, or one of nothing but chance.
fn script(class: &Class, corpus: &[Vec<u8>], seed: u64, case: u64) -> Vec<u8> {
    if let Some(script) = usize::try_from(case).ok().and_then(|case| corpus.get(case)) {
        return script.clone();
    }
    let mut random = Random::new(seed.wrapping_mul(0x1_0000_0001).wrapping_add(case));
    if corpus.is_empty() || random.below(2) == 0 {
        let length = 1 + random.below(class.length);
        return random.script(length);
    }
    let mut script = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..1 + random.below(8) {
        mutate(&mut script, corpus, &mut random);
    }
    script.truncate(class.length * 2);
    script
}

/// One change, of the kinds that fuzzers make.
pub fn mutate(script: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    if script.is_empty() {
        script.push(random.draw() as u8);
    }
    let at = random.below(script.len());
    match random.below(7) {
        0 => script[at] ^= 1 << random.below(8),
        1 => script[at] = random.draw() as u8,
        2 => script[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        3 => script.insert(at, random.draw() as u8),
        4 => {
            script.remove(at);
        }
        5 => script.truncate(at),
        _ => {
            let other = corpus.get(random.below(corpus.len())).map(Vec::as_slice).unwrap_or_default();
            let from = random.below(other.len());
            let piece = other.get(from..).unwrap_or_default();
            let piece = piece.get(..1 + random.below(32)).unwrap_or(piece);
            script.splice(at..at, piece.iter().copied());
        }
    }
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let named =
        |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(named)?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).map_err(named)).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
