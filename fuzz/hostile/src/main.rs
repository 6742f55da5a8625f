//! Runs classes of hostile cases and prints a line for each. The exit status is 1 when a rule was broken.
#![forbid(unsafe_code)]

use clap::Parser;
use ringway_hostile::run::{Class, Limits, mutate, run};
use ringway_hostile::script::Random;
use ringway_hostile::{CLASSES, Violation};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(name = "ringway-hostile", about = "Hostile devices and packets, from fixed seeds")]
struct Arguments {
    /// The classes to run; all of them where none is named
    classes: Vec<String>,
    /// The seed of the scripts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cases of each class
    #[arg(long)]
    cases: Option<u64>,
    /// Seconds for each class
    #[arg(long)]
    seconds: Option<u64>,
    /// The folder with the corpora
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Plays one script, in hexadecimal, and says what it did
    #[arg(long, value_name = "HEXADECIMAL")]
    script: Option<String>,
    /// Writes a corpus of so many scripts for each class that has none, and ends
    #[arg(long, value_name = "COUNT")]
    write_corpus: Option<u64>,
}

fn main() -> ExitCode {
    match work(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn work(arguments: &Arguments) -> Result<bool, Violation> {
    let known = || CLASSES.iter().map(|class| class.name).collect::<Vec<_>>().join(", ");
    if let Some(name) =
        arguments.classes.iter().find(|name| !CLASSES.iter().any(|class| class.name == **name))
    {
        return Err(format!("there is no class {name}; there are {}", known()));
    }
    let chosen = |class: &&Class| {
        arguments.classes.is_empty() || arguments.classes.iter().any(|name| name == class.name)
    };
    let mut passed = true;
    for class in CLASSES.iter().filter(chosen) {
        if let Some(script) = &arguments.script {
            println!("{}: {:?}", class.name, (class.play)(&bytes(script)?));
        } else if let (Some(count), Some(folder)) = (arguments.write_corpus, &arguments.corpus) {
            write_corpus(class, folder, count, arguments.seed)?;
        } else {
            let limits = Limits { cases: arguments.cases, time: arguments.seconds.map(Duration::from_secs) };
            if limits.cases.is_none() && limits.time.is_none() {
                return Err("say for how long: --cases or --seconds".to_owned());
            }
            let report = run(class, arguments.corpus.as_deref(), arguments.seed, limits)
                .map_err(|error| error.to_string())?;
            report.shown.iter().for_each(|violation| eprintln!("{violation}"));
            println!("{report}");
            passed &= report.violations == 0;
        }
    }
    Ok(passed)
}

fn bytes(hexadecimal: &str) -> Result<Vec<u8>, Violation> {
    let digits: Option<Vec<u8>> =
        hexadecimal.trim().chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.ok_or("a script is hexadecimal")?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// Scripts of a seed, a few of them changed: a start for fuzzers, which know nothing of the order of a script's bytes.
fn write_corpus(class: &Class, folder: &Path, count: u64, seed: u64) -> Result<(), Violation> {
    let folder = folder.join(class.corpus);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    if std::fs::read_dir(&folder).map_err(failed)?.next().is_some() {
        return Ok(());
    }
    let mut random = Random::new(seed);
    for number in 0..count {
        let length = class.length / 4 + random.below(class.length / 2);
        let mut script = random.script(length);
        if number % 4 == 0 {
            // A device that tells the truth at the start gets further.
            script.iter_mut().take(24).for_each(|byte| *byte = 0);
        }
        mutate(&mut script, &[], &mut random);
        std::fs::write(folder.join(format!("seed-{number:03}")), script).map_err(failed)?;
    }
    Ok(())
}
