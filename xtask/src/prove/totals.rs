//! What long runs came to so far, by class: kept in the cache folder, so that a run that is interrupted goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cache;

/// What one class came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Class {
    /// Slices of time that were spent on it.
    pub(super) slices: u64,
    /// Seconds in all.
    pub(super) seconds: u64,
    /// Cases, packets for the comparison.
    pub(super) cases: u64,
    /// Faults raised in them.
    pub(super) faults: u64,
    /// Broken rules.
    pub(super) violations: u64,
}

/// All classes, and where they are kept.
#[derive(Debug)]
pub(super) struct Totals {
    path: PathBuf,
    classes: BTreeMap<String, Class>,
}

impl Totals {
    /// Those that are kept, or none.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let classes = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("{} can't be understood: remove it to begin again", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path: path.to_owned(), classes })
    }

    /// What a class came to so far.
    pub(super) fn of(&self, class: &str) -> Class {
        self.classes.get(class).copied().unwrap_or_default()
    }

    /// Adds what a slice came to, and keeps it.
    pub(super) fn add(&mut self, class: &str, slice: Class) -> Result<()> {
        let total = self.classes.entry(class.to_owned()).or_default();
        total.slices += slice.slices;
        total.seconds += slice.seconds;
        total.cases += slice.cases;
        total.faults += slice.faults;
        total.violations += slice.violations;
        cache::write_whole(&self.path, &serde_json::to_vec_pretty(&self.classes)?)
    }

    /// Broken rules in all.
    pub(super) fn violations(&self) -> u64 {
        self.classes.values().map(|class| class.violations).sum()
    }

    /// A table for a person.
    pub(super) fn table(&self) -> String {
        let mut text =
            String::from("class               slices    minutes          cases         faults  violations\n");
        for (name, class) in &self.classes {
            let minutes = class.seconds as f64 / 60.0;
            let Class { slices, cases, faults, violations, .. } = class;
            text.push_str(&format!(
                "{name:<18}{slices:>8}{minutes:>11.1}{cases:>15}{faults:>15}{violations:>12}\n"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_go_on_where_an_earlier_run_ended() {
        let folder = std::env::temp_dir().join(format!("ringway-prove-{}", std::process::id()));
        cache::create_folder(&folder).unwrap();
        let path = folder.join("totals.json");
        let slice = Class { slices: 1, seconds: 60, cases: 100, faults: 7, violations: 0 };
        Totals::open(&path).unwrap().add("soak", slice).unwrap();
        let mut again = Totals::open(&path).unwrap();
        assert_eq!(again.of("soak"), slice);
        again.add("soak", Class { violations: 2, ..slice }).unwrap();
        assert_eq!((again.of("soak").cases, again.violations()), (200, 2));
        let table = again.table();
        assert!(table.contains("soak") && table.contains(" 2.0 ") && table.contains(" 200 "), "{table}");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(Totals::open(&path).unwrap_err().to_string().contains("remove it to begin again"));
        cache::remove_folder(&folder).unwrap();
    }
}
