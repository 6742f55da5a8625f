//! docs/dependencies.md beside the manifests: each package that a crate of the workspace names is on the page with its
//! licence, nothing is there that is gone, and what the tree has more than once is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::tool;

const PAGE: &str = "docs/dependencies.md";
const DUPLICATES: &str = "\n## More than once in the tree\n";

/// What `cargo metadata` says.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    license: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
}

/// What the manifests say: names and licences of direct dependencies, and what is there more than once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    direct: BTreeMap<String, String>,
    duplicates: BTreeSet<String>,
}

/// Compares, and says how many there are.
pub(super) fn check(root: &Path) -> Result<String> {
    let text = tool::output_of(tool::cargo().current_dir(root).args(["metadata", "--format-version=1"]))?;
    let facts = facts(&serde_json::from_str(&text)?);
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let faults = faults(&facts, &page);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(format!("{} direct ones, each with its reason in {PAGE}", facts.direct.len()))
}

fn facts(metadata: &Metadata) -> Facts {
    let is_ours = |package: &&Package| metadata.workspace_members.contains(&package.id);
    let ours: Vec<&Package> = metadata.packages.iter().filter(is_ours).collect();
    let names: BTreeSet<&str> = ours.iter().map(|package| package.name.as_str()).collect();
    let licence = |name: &str| {
        let package = metadata.packages.iter().find(|package| package.name == name);
        package.and_then(|package| package.license.clone()).unwrap_or_default()
    };
    let direct = ours
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| !names.contains(dependency.name.as_str()))
        .map(|dependency| (dependency.name.clone(), licence(&dependency.name)))
        .collect();
    let mut seen = BTreeSet::new();
    let duplicates = metadata
        .packages
        .iter()
        .filter(|package| !seen.insert(&package.name))
        .map(|package| package.name.clone());
    Facts { direct, duplicates: duplicates.collect() }
}

/// The rows of a table: the first cell's name, and the second cell.
fn rows(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.strip_suffix('`')?, cells.next()?.trim()))
        })
        .collect()
}

/// Where page and facts differ.
fn faults(facts: &Facts, page: &str) -> Vec<String> {
    let (direct, duplicates) = page.split_once(DUPLICATES).unwrap_or((page, ""));
    let (listed, doubled) = (rows(direct), rows(duplicates));
    let mut faults = Vec::new();
    for (name, licence) in &facts.direct {
        match listed.get(name.as_str()) {
            None => faults.push(format!("{PAGE} doesn't say why {name} ({licence}) is there")),
            Some(said) if said != licence => {
                faults.push(format!("{PAGE} says that {name} is under {said}; it is under {licence}"));
            }
            Some(_) => {}
        }
    }
    let gone = listed.keys().filter(|name| !facts.direct.contains_key(**name));
    faults.extend(gone.map(|name| format!("{PAGE} names {name}, which no crate depends on")));
    let new = facts.duplicates.iter().filter(|name| !doubled.contains_key(name.as_str()));
    faults
        .extend(new.map(|name| format!("{name} is in the tree more than once, and {PAGE} doesn't list it")));
    let single = doubled.keys().filter(|name| !facts.duplicates.contains(**name));
    faults.extend(single.map(|name| format!("{PAGE} lists {name} as doubled, which it no longer is")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "| package | licence | kept by | why |\n|---|---|---|---|\n\
                         | `one` | MIT | a person | it is needed |\n\n## More than once in the tree\n\n\
                         | `two` | 1, 2 | because |\n";

    fn of_one() -> Facts {
        Facts { direct: [("one".to_owned(), "MIT".to_owned())].into(), duplicates: ["two".to_owned()].into() }
    }

    #[test]
    fn a_page_that_says_what_is_so_has_no_fault() {
        assert_eq!(faults(&of_one(), SOUND), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_gone_doubled_or_under_another_licence_is_named() {
        let mut facts = of_one();
        facts.direct.insert("three".to_owned(), "ISC".to_owned());
        facts.duplicates.insert("four".to_owned());
        let found = faults(&facts, &SOUND.replace("MIT", "GPL-3.0"));
        assert_eq!(found.len(), 3, "{found:?}");
        for (fault, part) in
            found.iter().zip(["one is under GPL-3.0", "why three (ISC)", "four is in the tree"])
        {
            assert!(fault.contains(part), "{fault}");
        }
        let found = faults(&Facts::default(), SOUND);
        assert!(found[0].contains("names one") && found[1].contains("lists two"), "{found:?}");
    }

    #[test]
    fn facts_are_what_the_members_name_and_what_is_there_twice() {
        let package = |id: &str, name: &str, dependencies: &[&str]| Package {
            id: id.to_owned(),
            name: name.to_owned(),
            license: Some("MIT".to_owned()),
            dependencies: dependencies.iter().map(|name| Dependency { name: (*name).to_owned() }).collect(),
        };
        let metadata = Metadata {
            packages: vec![
                package("a", "ours", &["one", "ours-too"]),
                package("b", "ours-too", &[]),
                package("c", "one", &["two"]),
                package("d", "two", &[]),
                package("e", "two", &[]),
            ],
            workspace_members: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(facts(&metadata), of_one());
    }
}
