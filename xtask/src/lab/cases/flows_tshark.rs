//! `ringway flows` and tshark on the same capture files, which Debian packages ship.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::HostCase;
use crate::lab::analysis::{self, Conversation, Counts, End};
use crate::lab::plan::Plan;
use crate::tool;

pub(super) const CASE: HostCase = HostCase {
    name: "flows-tshark",
    shows: "the conversations in capture files of Debian packages are tshark's, with their frames and bytes",
    run,
};

/// Fewer files or conversations than these, and the packages are no longer what they were: nothing would be compared.
const LEAST_FILES: usize = 20;
const LEAST_CONVERSATIONS: usize = 20;

/// Not compared: a MAC address of one byte among an interface's options, which tshark passes over and Ringway's reader does
/// not; and a format of a version that there isn't.
const AGAINST_THE_FORMAT: [&str; 2] = ["test008.pcapng", "test901.pcapng"];

fn run(plan: &Plan) -> Result<()> {
    let mut files = Vec::new();
    capture_files(&plan.captures, &mut files)?;
    files.sort();
    let (mut compared, mut conversations, mut refused) = (0, 0, Vec::new());
    for file in &files {
        let summary = match flows(plan, file)? {
            Ok(summary) => summary,
            Err(reason) => {
                refused.push(reason);
                continue;
            }
        };
        let ours = ours(&summary)?;
        let theirs = analysis::conversations(&plan.analysers, file)?;
        if !agree(&ours, &theirs) {
            bail!(
                "{}: expected tshark's conversations\n{}\n      saw\n{}",
                file.display(),
                shown(&theirs),
                shown(&ours)
            );
        }
        compared += 1;
        conversations += ours.len();
    }
    println!(
        "      {compared} files with {conversations} conversations agree; {} of no Ethernet were refused",
        refused.len()
    );
    if compared < LEAST_FILES || conversations < LEAST_CONVERSATIONS {
        bail!(
            "expected {LEAST_FILES} files and {LEAST_CONVERSATIONS} conversations at least, saw {compared} and \
             {conversations} in {} files; refused: {refused:#?}",
            files.len()
        );
    }
    Ok(())
}

fn capture_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            capture_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng")
            && !AGAINST_THE_FORMAT.iter().any(|name| path.ends_with(name))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// What Ringway makes of a file; why not, where the file holds something else than Ethernet.
fn flows(plan: &Plan, file: &Path) -> Result<Result<Value, String>> {
    let mut command = Command::new(&plan.program);
    command.arg("flows").arg(file).args(["--bidirectional", "--top", "1000000", "--json", "--quiet"]);
    let output = tool::run(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(Ok(serde_json::from_slice(&output.stdout)?)),
        Some(1) if said.contains("not Ethernet") => Ok(Err(said.into_owned())),
        _ => Err(anyhow!("{} ended with {}: {said}", tool::shown(&command), output.status)),
    }
}

/// The flows with ports.
fn ours(summary: &Value) -> Result<BTreeMap<Conversation, Counts>> {
    let mut found = BTreeMap::new();
    for flow in summary["top"].as_array().context("no flows")? {
        let protocol = match flow["protocol"].as_u64() {
            Some(6) => "tcp",
            Some(17) => "udp",
            _ => continue,
        };
        let end = |which: &str| -> Option<End> {
            let port = flow[format!("{which}_port")].as_u64()?;
            Some((flow[which].as_str()?.to_owned(), u16::try_from(port).ok()?))
        };
        // Later fragments have no ports.
        let (Some(source), Some(destination)) = (end("source"), end("destination")) else { continue };
        let count = |direction: &str| -> Result<(u64, u64, u64)> {
            let of = |what: &str| {
                flow[direction][what].as_u64().with_context(|| format!("no {direction} {what}: {flow}"))
            };
            Ok((of("packets")?, of("bytes")?, of("bytes")?))
        };
        analysis::add(&mut found, protocol, (source, destination, [count("forward")?, count("backward")?]));
    }
    Ok(found)
}

/// Whether both have the same ends and frames, and our bytes are what tshark says, as far as it does.
fn agree(ours: &BTreeMap<Conversation, Counts>, theirs: &BTreeMap<Conversation, Counts>) -> bool {
    let counts = |ours: &Counts, theirs: &Counts| {
        ours.iter().zip(theirs).all(|(&(frames, bytes, _), &(seen, least, most))| {
            frames == seen && (least..=most).contains(&bytes)
        })
    };
    ours.len() == theirs.len()
        && ours.iter().all(|(ends, ours)| theirs.get(ends).is_some_and(|theirs| counts(ours, theirs)))
}

fn shown(conversations: &BTreeMap<Conversation, Counts>) -> String {
    let lines: Vec<String> =
        conversations.iter().map(|(ends, counts)| format!("      | {ends:?} {counts:?}")).collect();
    tool::last_lines(&lines.join("\n"), 20)
}
