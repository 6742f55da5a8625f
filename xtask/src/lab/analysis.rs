//! What others see in capture files: tshark, asked in ways that cases share.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::fetch::Analysers;
use crate::tool;

/// What a frame must not be for tshark: malformed, or with a wrong checksum.
const FAULTS: &str = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || \
                      udp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0";
/// It looks at checksums only if it is asked to.
const CHECKED: [&str; 6] =
    ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];

/// One end of a conversation: address and port.
pub type End = (String, u16);

/// A conversation: its protocol and both ends, the smaller first.
pub type Conversation = (&'static str, End, End);

/// What was sent from the first end, and from the second: frames, and the bounds of bytes. tshark rounds what is more
/// than some kilobytes.
pub type Counts = [(u64, u64, u64); 2];

/// Runs tshark on a file. What it says on standard error is a failure, too.
fn tshark(analysers: &Analysers, file: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = analysers.tshark();
    command.arg("-r").arg(file).args(["-n"]).args(arguments);
    let output = tool::run(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    // As root it says so.
    let complaint = said.lines().find(|line| !line.is_empty() && !line.starts_with("Running as user"));
    if !output.status.success() || complaint.is_some() {
        bail!("tshark has something against {} ({}): {said}", file.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Demands that tshark reads a file without complaint and finds no frame in it malformed, or with a wrong checksum.
pub fn is_sound(analysers: &Analysers, file: &Path) -> Result<()> {
    let arguments: Vec<&str> = CHECKED.into_iter().chain(["-Y", FAULTS]).collect();
    let faulty = tshark(analysers, file, &arguments)?;
    if !faulty.is_empty() {
        bail!("tshark finds faults in {}:\n{}", file.display(), tool::last_lines(&faulty, 10));
    }
    Ok(())
}

/// The frames of a file that a filter takes, as tshark shows them, byte for byte. It looks at each fragment by itself.
pub fn frames(analysers: &Analysers, file: &Path, filter: &str) -> Result<Vec<String>> {
    let text =
        tshark(analysers, file, &["-o", "ip.defragment:FALSE", "-Y", filter, "-x", "--hexdump", "noascii"])?;
    Ok(text.split("\n\n").map(str::trim).filter(|frame| !frame.is_empty()).map(str::to_owned).collect())
}

/// The names of the interfaces that frames were captured on, with how many of each.
pub fn interfaces(analysers: &Analysers, file: &Path) -> Result<BTreeMap<String, u64>> {
    let text = tshark(analysers, file, &["-T", "fields", "-e", "frame.interface_name"])?;
    let mut names = BTreeMap::new();
    for line in text.lines() {
        *names.entry(line.to_owned()).or_insert(0) += 1;
    }
    Ok(names)
}

/// The conversations of TCP and UDP in a file. Those of the same ends count as one.
pub fn conversations(analysers: &Analysers, file: &Path) -> Result<BTreeMap<Conversation, Counts>> {
    let mut found = BTreeMap::new();
    for protocol in ["tcp", "udp"] {
        let statistics = format!("conv,{protocol}");
        let text = tshark(analysers, file, &["-q", "-z", &statistics])?;
        for line in text.lines().filter(|line| line.contains("<->")) {
            let parsed = conversation(line).with_context(|| format!("tshark's line {line:?}"))?;
            add(&mut found, protocol, parsed);
        }
    }
    Ok(found)
}

/// Adds what was counted to a conversation, whichever end comes first.
pub fn add(
    to: &mut BTreeMap<Conversation, Counts>,
    protocol: &'static str,
    (first, second, counts): (End, End, Counts),
) {
    let [there, back] = counts;
    let (ends, counts) =
        if first <= second { ((first, second), [there, back]) } else { ((second, first), [back, there]) };
    let sums = to.entry((protocol, ends.0, ends.1)).or_default();
    for (sum, (frames, least, most)) in sums.iter_mut().zip(counts) {
        sum.0 += frames;
        sum.1 += least;
        sum.2 += most;
    }
}

/// `10.0.0.1:5000 <-> 10.0.0.2:80  2 120 bytes  30 55 kB  32 55 kB …`: towards the first end, then from it.
fn conversation(line: &str) -> Result<(End, End, Counts)> {
    let (first, rest) = line.split_once("<->").context("no two ends")?;
    let mut words = rest.split_whitespace();
    let second = words.next().context("no second end")?;
    let mut direction = || -> Result<(u64, u64, u64)> {
        let mut word = || words.next().context("too few numbers");
        let number = |word: &str| word.parse::<u64>().with_context(|| format!("no number: {word:?}"));
        let (frames, size, unit) = (number(word()?)?, number(word()?)?, word()?);
        let (bytes, rounded) = match unit {
            "bytes" => (size, 0),
            "kB" => (size * 1000, 999),
            "MB" => (size * 1_000_000, 999_999),
            unit => bail!("no unit: {unit:?}"),
        };
        Ok((frames, bytes.saturating_sub(rounded), bytes + rounded))
    };
    let (towards, from) = (direction()?, direction()?);
    Ok((end(first.trim())?, end(second)?, [from, towards]))
}

fn end(text: &str) -> Result<End> {
    let (address, port) = text.rsplit_once(':').context("no port")?;
    Ok((address.trim_matches(['[', ']']).to_owned(), port.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_of_a_conversation_are_told_apart_whichever_end_is_first() {
        let line = "10.0.0.2:80   <-> 10.0.0.1:5000   2 120 bytes   3 55 kB   5 55 kB   0.000   0.1";
        let parsed = conversation(line).unwrap();
        let (first, second) = (("10.0.0.2".to_owned(), 80), ("10.0.0.1".to_owned(), 5000));
        assert_eq!(parsed, (first, second, [(3, 54_001, 55_999), (2, 120, 120)]));
        let mut found = BTreeMap::new();
        add(&mut found, "tcp", parsed.clone());
        add(&mut found, "tcp", (parsed.1, parsed.0, [(1, 60, 60), (0, 0, 0)]));
        let key = ("tcp", ("10.0.0.1".to_owned(), 5000), ("10.0.0.2".to_owned(), 80));
        assert_eq!(found, BTreeMap::from([(key, [(3, 180, 180), (3, 54_001, 55_999)])]));
        assert!(conversation("10.0.0.2:80 <-> 10.0.0.1:5000 2 1.2 kB 1 60 bytes").is_err());
        assert_eq!(end("fd00::1:443").unwrap(), ("fd00::1".to_owned(), 443));
    }
}
