//! The criterion benchmarks: run, and their estimates read from where criterion leaves them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::document::Document;
use super::programs;
use super::tables::Table;
use crate::tool;

/// What criterion writes about a benchmark.
#[derive(Debug, Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Debug, Deserialize)]
struct Estimate {
    /// Nanoseconds an iteration.
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Debug, Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

#[derive(Debug, Deserialize)]
struct Benchmark {
    full_id: String,
    /// How many things an iteration handles: `{ "Elements": 32 }`.
    throughput: serde_json::Value,
}

/// Nanoseconds a packet: the median, and from where to where it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Time {
    median: f64,
    least: f64,
    most: f64,
}

/// Runs all benchmarks.
pub(super) fn run(root: &Path) -> Result<()> {
    let mut command = tool::cargo();
    command.current_dir(root).args(["bench", "--quiet", "-p", "ringway-benches", "--benches"]);
    tool::timed("ran the criterion benchmarks", || tool::output_of(&mut command).map(drop))
}

/// The estimates of the last run, by the benchmarks' names.
pub(super) fn estimates(root: &Path) -> Result<BTreeMap<String, Time>> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target.join("criterion");
    let mut found = BTreeMap::new();
    collect(&folder, &mut found)?;
    if found.is_empty() {
        bail!("no benchmark left estimates in {}", folder.display());
    }
    Ok(found)
}

/// A benchmark's folder has `new/estimates.json`; groups are folders of folders.
fn collect(folder: &Path, found: &mut BTreeMap<String, Time>) -> Result<()> {
    let new = folder.join("new");
    if new.join("estimates.json").is_file() {
        let (name, time) = read(&new)?;
        found.insert(name, time);
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn read(folder: &Path) -> Result<(String, Time)> {
    fn json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not criterion's", path.display()))
    }
    let estimates: Estimates = json(&folder.join("estimates.json"))?;
    let benchmark: Benchmark = json(&folder.join("benchmark.json"))?;
    let packets = benchmark.throughput["Elements"].as_u64().unwrap_or(1).max(1) as f64;
    let Interval { lower_bound, upper_bound } = estimates.median.confidence_interval;
    let time = Time {
        median: estimates.median.point_estimate / packets,
        least: lower_bound / packets,
        most: upper_bound / packets,
    };
    Ok((benchmark.full_id, time))
}

/// Puts the times into the document.
pub(super) fn tell(document: &mut Document, times: &BTreeMap<String, Time>) -> Result<()> {
    let mut table = Table::new(&["benchmark", "ns a packet", "95 % sure between", "Mpps"]);
    let mut order: Vec<(&String, &Time)> = times.iter().collect();
    // Batch sizes by number.
    order.sort_by_key(|(name, _)| {
        let (group, last) = name.rsplit_once('/').unwrap_or((name, ""));
        (group.to_owned(), last.parse::<u64>().unwrap_or_default(), last.to_owned())
    });
    for (name, &Time { median, least, most }) in order {
        let between = format!("{least:.2} and {most:.2}");
        table.row([name.clone(), format!("{median:.2}"), between, format!("{:.1}", 1e3 / median.max(1e-9))]);
    }
    document.put("criterion", &format!("On {}.\n\n{}", programs::machine(), table.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_found_in_folders_of_folders_and_divided_by_packets() {
        let root = std::env::temp_dir().join(format!("ringway-criterion-{}", std::process::id()));
        let folder = root.join("pool/bulk/32/new");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("estimates.json"),
            r#"{"median":{"confidence_interval":{"confidence_level":0.95,"lower_bound":64.0,"upper_bound":128.0},
                "point_estimate":96.0,"standard_error":1.0}}"#,
        )
        .unwrap();
        std::fs::write(
            folder.join("benchmark.json"),
            r#"{"group_id":"pool/bulk","full_id":"pool/bulk/32","throughput":{"Elements":32}}"#,
        )
        .unwrap();
        let mut found = BTreeMap::new();
        collect(&root, &mut found).unwrap();
        assert_eq!(found["pool/bulk/32"], Time { median: 3.0, least: 2.0, most: 4.0 });
        std::fs::remove_dir_all(root).unwrap();
    }
}
