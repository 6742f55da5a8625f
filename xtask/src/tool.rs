//! Running other programs: what they were asked, what they said, in one error when they fail.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// This program's own file, even if cargo has meanwhile built another in its place.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Runs a program to its end and returns its standard output; a failure carries the command and what the
/// program said last.
pub fn output_of(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    if !output.status.success() {
        bail!("{} ended with {}\n{}", shown(command), output.status, last_lines(&both_streams(&output), 30));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end with no input and keeps all it says.
pub fn run(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))
}

/// Both streams of a finished program, as text.
pub fn both_streams(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// The last lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

/// Finds a program on the machine, or says which Debian package brings it.
pub fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| anyhow!("`{program}` isn't installed: apt install {package}"))
}

/// Says what is being done, does it, and says how long it took.
pub fn timed<T>(what: impl AsRef<str>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = work().with_context(|| format!("{} failed", what.as_ref()))?;
    println!("      {} ({})", what.as_ref(), seconds(start.elapsed()));
    Ok(result)
}

/// A duration for a person.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The program that cargo wants its own children to run.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
    Command::new(cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_shown_with_its_last_words() {
        let error = output_of(Command::new("sh").args(["-c", "echo out; echo last words >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("sh -c"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("last words"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = find("no-such-program-here", "some-package").unwrap_err().to_string();
        assert!(error.contains("apt install some-package"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 5), "a");
    }
}
