//! Licences of everything that is built in: each package's SPDX expression must be satisfied by licences on a
//! short list.

use anyhow::{Result, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use super::Surroundings;
use crate::tool;

/// Permissive licences, none of which asks anything of Ringway but notices.
const ALLOWED: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

pub(super) fn check(surroundings: &Surroundings) -> Result<String> {
    let text = tool::output_of(
        tool::cargo().current_dir(&surroundings.root).args(["metadata", "--format-version=1"]),
    )?;
    let metadata: Metadata = serde_json::from_str(&text)?;
    let faults: Vec<String> = metadata.packages.iter().filter_map(fault).collect();
    if !faults.is_empty() {
        bail!("{}\nallowed are {}", faults.join("\n"), ALLOWED.join(", "));
    }
    let direct = super::dependencies::check(&surroundings.root)?;
    Ok(format!("{} packages; {direct}", metadata.packages.len()))
}

/// What is wrong with a package's licence, if anything.
fn fault(package: &Package) -> Option<String> {
    let name = format!("{} {}", package.name, package.version);
    let Some(text) = &package.license else { return Some(format!("{name} names no licence")) };
    match Expression::parse_mode(text, ParseMode::LAX) {
        Err(error) => Some(format!("{name}: the licence {text:?} can't be read: {}", error.reason)),
        Ok(expression) => {
            let allowed = expression
                .evaluate(|required| required.license.id().is_some_and(|id| ALLOWED.contains(&id.name)));
            (!allowed).then(|| format!("{name}: the licence {text:?} isn't allowed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(license: Option<&str>) -> Option<String> {
        fault(&Package {
            name: "some".to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
        })
    }

    #[test]
    fn one_allowed_alternative_is_enough_and_every_conjunct_is_needed() {
        assert_eq!(of(Some("MIT OR GPL-3.0-only")), None);
        assert_eq!(of(Some("(MIT OR Apache-2.0) AND Unicode-3.0")), None);
        assert_eq!(of(Some("MIT/Apache-2.0")), None);
        assert_eq!(of(Some("Apache-2.0 WITH LLVM-exception OR MIT")), None);
        assert!(of(Some("MIT AND GPL-3.0-only")).unwrap().contains("isn't allowed"));
    }

    #[test]
    fn a_missing_or_unreadable_licence_is_a_fault() {
        assert!(of(None).unwrap().contains("names no licence"));
        assert!(of(Some("my own words")).unwrap().contains("can't be read"));
    }
}
