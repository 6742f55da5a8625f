//! Instructions per packet, ours beside the C, counted by callgrind; and nanoseconds, which are printed and not judged.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::source::Switch;
use crate::tool;

/// Passes that the first of two runs makes; the second makes twice as many, and the difference counts.
const PASSES: usize = 100;
const PACKETS: usize = 32;
/// Kinds on which ours may take at most half of the C's instructions.
const HALF: [&str; 8] = [
    "udp-ipv4",
    "tcp-ipv4",
    "vlan-udp-ipv4",
    "vlan-tcp-ipv4",
    "udp-ipv6",
    "tcp-ipv6",
    "vlan-udp-ipv6",
    "vlan-tcp-ipv6",
];

/// Counts, prints a table, and fails where ours takes more than it may.
pub(super) fn run(switch: &Switch, program: &Path) -> Result<()> {
    tool::find("valgrind", "valgrind")?;
    let mut list = Command::new(program);
    super::with_libraries(&mut list, switch);
    let kinds = tool::output_of(list.arg("kinds"))?;
    println!("      {:<24}{:>8}{:>8}{:>8}   instructions per packet", "packet", "C", "ours", "ratio");
    let mut over = Vec::new();
    for kind in kinds.lines().filter(|&kind| kind != "shuffled") {
        let nothing = count(switch, program, kind, "nothing")?;
        // What is printed is judged: a few instructions of a whole run, to and fro, are none of a packet.
        let theirs = (count(switch, program, kind, "c")? - nothing).round();
        let ours = (count(switch, program, kind, "ours")? - nothing).round();
        let ratio = ours / theirs;
        println!("      {kind:<24}{theirs:>8.0}{ours:>8.0}{ratio:>8.2}");
        let limit = if HALF.contains(&kind) { 0.5 } else { 1.0 };
        if ratio > limit {
            over.push(format!("{kind} ({ratio:.2} of {limit})"));
        }
    }
    let mut clock = Command::new(program);
    super::with_libraries(&mut clock, switch);
    let times = tool::output_of(clock.arg("time"))?;
    println!("      nanoseconds per packet: the least of both, and the median of the rounds' ratios");
    times.lines().for_each(|line| println!("      {line}"));
    if !over.is_empty() {
        bail!("more instructions than the budget allows: {}", over.join(", "));
    }
    Ok(())
}

/// Instructions per packet of one side, its measuring loop included.
fn count(switch: &Switch, program: &Path, kind: &str, side: &str) -> Result<f64> {
    let once = total(switch, program, kind, side, PASSES)?;
    let twice = total(switch, program, kind, side, 2 * PASSES)?;
    Ok((twice - once) as f64 / (PASSES * PACKETS) as f64)
}

fn total(switch: &Switch, program: &Path, kind: &str, side: &str, passes: usize) -> Result<u64> {
    let mut command = Command::new("valgrind");
    super::with_libraries(&mut command, switch);
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["repeat", kind, "--side", side, "--times", &passes.to_string()]);
    let output = tool::run(&mut command)?;
    let text = tool::both_streams(&output);
    text.lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, number)| number.trim().parse().ok())
        .with_context(|| format!("callgrind said no number:\n{}", tool::last_lines(&text, 10)))
}
