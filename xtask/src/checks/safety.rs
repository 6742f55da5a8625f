//! The list of every `unsafe` in docs/safety.md: made from the source's own `SAFETY:` comments, and compared with it.
//!
//! What counts is the code that is shipped: `src` of the crates. Tests and examples are seen by the compiler's lint only.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Surroundings;

const DOCUMENT: &str = "docs/safety.md";
const BEGIN: &str = "<!-- unsafe: begin (cargo xtask safety --write) -->\n";
const FAULTS: &str = "\n## Faults, each made to happen\n";
const END: &str = "<!-- unsafe: end -->\n";

/// Arguments of `cargo xtask safety`.
#[derive(Debug, Args)]
pub struct SafetyArgs {
    /// Writes the list into docs/safety.md instead of comparing
    #[arg(long)]
    write: bool,
}

/// One `unsafe`.
#[derive(Debug, PartialEq, Eq)]
struct Unsafe {
    /// The function, implementation or trait that it is in or is.
    place: String,
    /// Why it is sound, or for a function what its caller has to see to.
    argument: String,
}

/// Compares the list with the source, or writes it.
pub fn run(arguments: &SafetyArgs) -> Result<ExitCode> {
    let root = crate::workspace()?;
    if arguments.write {
        let (text, before, after) = parts(&root)?;
        let (list, count) = list(&root)?;
        let whole = format!("{before}{BEGIN}{list}{END}{after}");
        if whole != text {
            fs::write(root.join(DOCUMENT), whole).with_context(|| format!("cannot write {DOCUMENT}"))?;
        }
        println!("{DOCUMENT}: {count} uses of `unsafe`");
    } else {
        println!("{}", compare(&root)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The step of the test run.
pub(super) fn check(surroundings: &Surroundings) -> Result<String> {
    compare(&surroundings.root)
}

fn compare(root: &Path) -> Result<String> {
    let (text, before, after) = parts(root)?;
    let (list, count) = list(root)?;
    if text != format!("{before}{BEGIN}{list}{END}{after}") {
        bail!("the list of `unsafe` in {DOCUMENT} is not that of the source: cargo xtask safety --write");
    }
    let tests = tests_named(&text);
    let missing = missing(root, &tests)?;
    if !missing.is_empty() {
        bail!("{DOCUMENT} names tests that are nowhere in crates: {}", missing.join(", "));
    }
    let known: BTreeSet<&str> = crate::lab::case_names();
    let unknown: Vec<&str> = cases_named(&text).into_iter().filter(|case| !known.contains(case)).collect();
    if !unknown.is_empty() {
        bail!("{DOCUMENT} names cases that the lab doesn't have: {}", unknown.join(", "));
    }
    called(&text)?;
    Ok(format!(
        "{count} uses of `unsafe`, each with its argument in {DOCUMENT}; {} tests named there are there",
        tests.len()
    ))
}

/// The tests that the document names before the list: words between backticks that read as a sentence.
fn tests_named(text: &str) -> BTreeSet<&str> {
    let before = text.split(BEGIN).next().unwrap_or_default();
    let quoted = before.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| {
            word.matches('_').count() > 2 && word.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
        })
        .collect()
}

/// What the document calls as witnesses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Witnesses {
    /// Every test that it names.
    pub(super) tests: BTreeSet<String>,
    /// Kinds of faults in their table.
    pub(super) kinds: usize,
    /// Of the tests, those that make a fault happen.
    pub(super) of_faults: BTreeSet<String>,
    /// The lab's cases that make one happen.
    pub(super) cases: BTreeSet<String>,
}

impl Witnesses {
    /// Of the tests, those that are not among these.
    pub(super) fn missing(&self, passed: &BTreeSet<&str>) -> Vec<&str> {
        self.tests.iter().map(String::as_str).filter(|test| !passed.contains(test)).collect()
    }
}

/// The tests and cases that the document names.
pub(super) fn witnesses(root: &Path) -> Result<Witnesses> {
    called(&parts(root)?.0)
}

fn called(text: &str) -> Result<Witnesses> {
    let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let table = text.split_once(FAULTS).map(|(_, rest)| rest.split("\n## ").next().unwrap_or_default());
    let rows = table.with_context(|| format!("{DOCUMENT} has no table of faults"))?.lines();
    let mut witnesses = Witnesses { tests: owned(tests_named(text)), ..Witnesses::default() };
    for row in rows.filter(|line| line.starts_with("| ") && !line.starts_with("| fault")) {
        let (tests, cases) = (owned(tests_named(row)), owned(cases_named(row)));
        if tests.is_empty() && cases.is_empty() {
            bail!("{DOCUMENT}: no test is named in {row}");
        }
        witnesses.kinds += 1;
        witnesses.of_faults.extend(tests);
        witnesses.cases.extend(cases);
    }
    Ok(witnesses)
}

/// The cases of the lab that a text names: `lab: restart-after-panic`.
fn cases_named(text: &str) -> BTreeSet<&str> {
    let before = text.split(BEGIN).next().unwrap_or_default();
    before.split('`').skip(1).step_by(2).filter_map(|word| word.strip_prefix("lab: ")).collect()
}

/// Those of them that no source file of the crates has.
fn missing<'a>(root: &Path, tests: &BTreeSet<&'a str>) -> Result<Vec<&'a str>> {
    let mut files = Vec::new();
    for name in sorted(&root.join("crates"))? {
        collect(&name.join("src"), &mut files)?;
        collect(&name.join("tests"), &mut files)?;
    }
    collect(&root.join("fuzz/hostile/tests"), &mut files)?;
    let mut missing = tests.clone();
    for file in files {
        let source = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        missing.retain(|test| !source.contains(&format!("fn {test}()")));
    }
    Ok(missing.into_iter().collect())
}

/// The document, and what is before and after the list.
fn parts(root: &Path) -> Result<(String, String, String)> {
    let text = fs::read_to_string(root.join(DOCUMENT)).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let found = text.split_once(BEGIN).and_then(|(before, rest)| {
        rest.split_once(END).map(|(_, after)| (before.to_owned(), after.to_owned()))
    });
    let (before, after) =
        found.with_context(|| format!("{DOCUMENT} has no place for the list: {BEGIN}{END}"))?;
    Ok((text, before, after))
}

/// The list in Markdown, and how many there are in it.
fn list(root: &Path) -> Result<(String, usize)> {
    let (mut text, mut count) = (String::new(), 0);
    for name in sorted(&root.join("crates"))? {
        let mut files = Vec::new();
        collect(&name.join("src"), &mut files)?;
        let mut of_crate = String::new();
        let mut in_crate = 0usize;
        for file in files {
            let source =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let shown = file.strip_prefix(root).unwrap_or(&file).display();
            let found = scan(&source).with_context(|| shown.to_string())?;
            if found.is_empty() {
                continue;
            }
            in_crate = in_crate.saturating_add(found.len());
            // Writing to a string doesn't fail.
            let _ = writeln!(of_crate, "\n`{shown}`\n");
            for Unsafe { place, argument } in found {
                let _ = writeln!(of_crate, "- `{place}`: {argument}");
            }
        }
        if in_crate > 0 {
            let title = name.file_name().unwrap_or_default().to_string_lossy();
            let _ = write!(text, "\n### {title}: {in_crate}\n{of_crate}");
            count += in_crate;
        }
    }
    text.push('\n');
    Ok((text, count))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for path in sorted(folder)? {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Every `unsafe` of a source file, up to its tests.
fn scan(source: &str) -> Result<Vec<Unsafe>> {
    let lines: Vec<&str> = source.lines().take_while(|line| line.trim() != "#[cfg(test)]").collect();
    let mut found = Vec::new();
    let mut place = String::from("module");
    let mut in_implementation = false;
    for (index, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(name) = named(code) {
            place = name;
        }
        if code.starts_with(|letter: char| letter.is_alphabetic()) {
            in_implementation = code.contains("impl") && code.contains(" for ");
        }
        // What a trait's function asks of its callers is said there, and once.
        let says_the_trait = in_implementation && code.trim_start().starts_with("unsafe fn ");
        if !uses_unsafe(code) || says_the_trait {
            continue;
        }
        let Some(argument) = argument(lines.get(..index).unwrap_or_default()) else {
            bail!("line {}: `unsafe` without a SAFETY comment above it", index.saturating_add(1));
        };
        found.push(Unsafe { place: place.clone(), argument });
    }
    Ok(found)
}

/// Whether a line begins a block, function, implementation or trait that is `unsafe`.
fn uses_unsafe(code: &str) -> bool {
    let definition = |word: &str| {
        code.trim_start()
            .strip_prefix("pub")
            .map_or(code.trim_start(), |rest| rest.split_once(' ').map_or(rest, |(_, rest)| rest))
            .starts_with(word)
    };
    code.contains("unsafe {")
        || ["unsafe fn ", "unsafe impl", "unsafe trait ", "unsafe extern \"C\" fn "]
            .iter()
            .any(|word| definition(word))
}

/// The name of the function, or the head of the implementation, that begins on a line.
fn named(code: &str) -> Option<String> {
    let code = code.trim();
    if let Some((before, after)) = code.split_once("fn ")
        && before.split_whitespace().all(|word| {
            word.starts_with("pub")
                || word.starts_with("in")
                || ["const", "unsafe", "extern", "\"C\""].contains(&word)
        })
    {
        let end = after.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
        return after.get(..end).filter(|name| !name.is_empty()).map(str::to_owned);
    }
    let head = code.strip_prefix("unsafe ").unwrap_or(code);
    if head.starts_with("impl") || head.starts_with("trait ") || head.starts_with("pub unsafe trait ") {
        return Some(head.split(" {").next().unwrap_or(head).trim().to_owned());
    }
    None
}

/// The argument for what stands below these lines: the comment that says `SAFETY:`, or the section `# Safety`.
fn argument(above: &[&str]) -> Option<String> {
    // The comment may stand above the statement that the block is a part of.
    const LINES_OF_A_STATEMENT: usize = 8;
    let mut end = above.len();
    for _ in 0..=LINES_OF_A_STATEMENT {
        let begin = above
            .get(..end)?
            .iter()
            .rposition(|line| !line.trim_start().starts_with("//"))
            .map_or(0, |last| last.saturating_add(1));
        let comment: Vec<&str> = above.get(begin..end)?.iter().map(|line| line.trim_start()).collect();
        if let Some(text) = safety_of(&comment) {
            return Some(text);
        }
        end = if comment.is_empty() { end.checked_sub(1)? } else { begin.checked_sub(1)? };
    }
    None
}

fn safety_of(comment: &[&str]) -> Option<String> {
    let bare: Vec<&str> = comment.iter().map(|line| line.trim_start_matches('/').trim()).collect();
    let (first, rest) = match bare.iter().position(|line| line.starts_with("SAFETY:")) {
        Some(at) => (bare.get(at)?.strip_prefix("SAFETY:")?.trim(), bare.get(at.saturating_add(1)..)?),
        None => ("", bare.get(bare.iter().position(|line| *line == "# Safety")?.saturating_add(1)..)?),
    };
    let lines = std::iter::once(first).chain(rest.iter().copied().take_while(|line| !line.starts_with("# ")));
    let text: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    (!text.is_empty()).then(|| text.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_functions_and_implementations_are_found_with_their_arguments() {
        let source = r#"
// SAFETY: it holds no reference.
unsafe impl Send for Thing {}

/// Does.
///
/// # Safety
/// The place must be
/// valid.
///
/// # Errors
/// Never.
pub(crate) unsafe fn take(at: *const u8) {
    // SAFETY: the caller says so,
    // in two lines.
    let byte = unsafe { at.read() };
    // SAFETY: above a statement of several lines.
    let other = call(
        byte,
        unsafe { at.read() },
    );
}
"#;
        let found = scan(source).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.place.as_str(), one.argument.as_str())).collect();
        assert_eq!(
            found,
            [
                ("impl Send for Thing", "it holds no reference."),
                ("take", "The place must be valid."),
                ("take", "the caller says so, in two lines."),
                ("take", "above a statement of several lines."),
            ]
        );
    }

    #[test]
    fn tests_are_the_words_between_backticks_that_read_as_a_sentence() {
        let text = format!(
            "`Packet` and `a_length_is_not_believed`, `two_words`\n{BEGIN}`not_in_the_list_of_tests`"
        );
        assert_eq!(tests_named(&text).into_iter().collect::<Vec<_>>(), ["a_length_is_not_believed"]);
    }

    #[test]
    fn one_without_an_argument_is_an_error_and_words_are_none() {
        assert!(scan("fn f() {\n    unsafe { g() };\n}\n").is_err());
        assert!(scan("#![forbid(unsafe_code)]\n// unsafe { }\n").unwrap().is_empty());
    }

    #[test]
    fn a_row_of_the_faults_names_a_test_or_a_case_and_what_did_not_run_is_known() {
        let row = "| one | `a_test_that_is_named_so`, `lab: some-case` |";
        let text = format!(
            "`another_test_that_is_named`\n{FAULTS}\n\n| fault | by |\n|---|---|\n{row}\n\n## Next\n"
        );
        let witnesses = called(&text).unwrap();
        assert_eq!((witnesses.kinds, witnesses.of_faults.len(), witnesses.cases.len()), (1, 1, 1));
        assert_eq!(witnesses.missing(&["a_test_that_is_named_so"].into()), ["another_test_that_is_named"]);
        assert!(called(&text.replace(row, "| one | nothing |")).is_err());
        assert!(called("no table").is_err());
    }
}
