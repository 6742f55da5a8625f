//! The figures of an earlier run that the repository keeps, what has changed since, and the budgets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ringway_benches::forwarding::{IXGBE, Subject, VIRTIO};

use super::instructions::TOLD;
use crate::cache;

/// Counts by name.
pub(super) type Figures = BTreeMap<String, f64>;

/// What extraction may take beside the parser's own instructions.
const FLOW_EXTRA: f64 = 10.0;
/// What getting a buffer from the pool may take a queue, in bulk, and what putting it back may.
const POOL: f64 = 5.0;

fn place(root: &Path) -> PathBuf {
    root.join("benches/baseline.json")
}

/// The baseline; empty where there is none.
pub(super) fn read(root: &Path) -> Result<Figures> {
    let path = place(root);
    match std::fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("{} is no baseline", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Figures::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes the baseline.
pub(super) fn write(root: &Path, figures: &Figures) -> Result<()> {
    let mut text = serde_json::to_string_pretty(figures)?;
    text.push('\n');
    cache::write_whole(&place(root), text.as_bytes())
}

/// What a figure may be at most, if there is a budget for it.
fn budget(name: &str, figures: &Figures) -> Option<f64> {
    let of = |subject: Subject| -> Option<f64> {
        let (kind, size) = name.strip_prefix(subject.driver)?.strip_prefix('/')?.split_once('/')?;
        let size: usize = size.parse().ok()?;
        match kind {
            "forward" => subject.budget(size).map(|budget| budget as f64),
            "flow" => {
                let plain = figures.get(&format!("{}/forward/{size}", subject.driver))?;
                let parser = figures.get("flow/udp-ipv4")?;
                TOLD.contains(&size).then_some(plain + parser + FLOW_EXTRA)
            }
            _ => None,
        }
    };
    if name.ends_with("/32/pool-get") || name.ends_with("/32/pool-put") {
        return Some(POOL);
    }
    of(IXGBE).or_else(|| of(VIRTIO))
}

/// The budgets that are broken, in words.
pub(super) fn broken(figures: &Figures) -> Vec<String> {
    figures
        .iter()
        .filter_map(|(name, &figure)| {
            let budget = budget(name, figures).filter(|&budget| figure > budget)?;
            Some(format!("{name}: {figure:.1} of {budget:.1}"))
        })
        .collect()
}

/// A table of all figures, what they were, and what they may be.
pub(super) fn comparison(figures: &Figures, before: &Figures) -> String {
    let mut text =
        format!("{:<36}{:>10}{:>10}{:>10}{:>10}\n", "instructions", "now", "baseline", "change", "budget");
    for (name, &figure) in figures {
        let (was, change) = match before.get(name) {
            Some(&was) if was > 0.0 => (format!("{was:.1}"), change(figure, was)),
            Some(&was) => (format!("{was:.1}"), String::new()),
            None => ("-".to_owned(), "new".to_owned()),
        };
        let budget = budget(name, figures).map_or_else(String::new, |budget| format!("{budget:.1}"));
        text.push_str(&format!("{name:<36}{figure:>10.1}{was:>10}{change:>10}{budget:>10}\n"));
    }
    text
}

fn change(now: f64, was: f64) -> String {
    if (now - was).abs() < 0.05 { "=".to_owned() } else { format!("{:+.1} %", (now - was) / was * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs: &[(&str, f64)]) -> Figures {
        pairs.iter().map(|&(name, figure)| (name.to_owned(), figure)).collect()
    }

    #[test]
    fn a_broken_budget_is_named_with_both_figures() {
        let met = figures(&[
            ("ixgbe/forward/32", 60.0),
            ("virtio/forward/8", 110.0),
            ("ixgbe/forward/32/pool-get", 5.0),
        ]);
        assert_eq!(broken(&met), Vec::<String>::new());
        let over = figures(&[
            ("ixgbe/forward/32", 60.1),
            ("ixgbe/forward/64", 99.0),
            ("ixgbe/forward/32/pool-put", 5.1),
        ]);
        assert_eq!(
            broken(&over),
            ["ixgbe/forward/32: 60.1 of 60.0", "ixgbe/forward/32/pool-put: 5.1 of 5.0"]
        );
    }

    #[test]
    fn flow_extraction_may_take_the_parsers_own_and_ten() {
        let mut all =
            figures(&[("ixgbe/forward/32", 50.0), ("flow/udp-ipv4", 78.0), ("ixgbe/flow/32", 138.0)]);
        assert_eq!(broken(&all), Vec::<String>::new());
        all.insert("ixgbe/flow/32".to_owned(), 138.1);
        assert_eq!(broken(&all), ["ixgbe/flow/32: 138.1 of 138.0"]);
    }

    #[test]
    fn the_table_tells_what_changed() {
        let text = comparison(
            &figures(&[("a", 11.0), ("b", 5.0), ("c", 1.0)]),
            &figures(&[("a", 10.0), ("b", 5.0)]),
        );
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["a", "11.0", "10.0", "+10.0", "%"]);
        assert_eq!(lines[2], ["b", "5.0", "5.0", "="]);
        assert_eq!(lines[3], ["c", "1.0", "-", "new"]);
    }
}
