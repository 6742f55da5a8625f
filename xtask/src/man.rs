//! Manual pages of the program: `cargo xtask man FOLDER`, one page a command.
//!
//! They are made from the command line's own definition, like the help texts. What stands behind the options there, examples
//! and exit status, are sections of their own here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cache;

/// What the pages say they belong to.
const SOURCE: &str = concat!("ringway ", env!("CARGO_PKG_VERSION"));

/// Arguments of `cargo xtask man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where the pages go: made if it isn't there
    folder: PathBuf,
}

/// Writes the pages.
pub fn run(arguments: &ManArgs) -> Result<ExitCode> {
    let pages = pages()?;
    cache::create_folder(&arguments.folder)?;
    for (name, page) in &pages {
        let path = arguments.folder.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{} pages in {}: man -l {}", pages.len(), arguments.folder.display(), shown(&arguments.folder));
    Ok(ExitCode::SUCCESS)
}

fn shown(folder: &Path) -> String {
    folder.join("ringway.1").display().to_string()
}

/// The names of the files, and what is in them.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = ringway::cli::command();
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages)?;
    Ok(pages)
}

/// The page of a command, and those of the commands below it.
fn add(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let behind = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.clone()).source(SOURCE).manual("Ringway");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    sections(&behind).to_writer(&mut page)?;
    pages.push((man.get_filename(), page));
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| add(below, pages))
}

/// What stands behind the options of a help text: its paragraphs as sections.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in text.split("\n\n").map(str::trim_end).filter(|paragraph| !paragraph.is_empty()) {
        let (heading, rest) = match paragraph.split_once(':') {
            // An example goes on.
            _ if paragraph.starts_with(' ') => (None, paragraph),
            Some((heading, rest)) if heading.starts_with("Example") => (Some("EXAMPLES"), rest),
            Some(("Exit status", rest)) => (Some("EXIT STATUS"), rest),
            _ => (Some("NOTES"), paragraph),
        };
        match heading {
            Some(heading) => roff.control("SH", [heading]),
            None => roff.control("PP", []),
        };
        // Lines stay lines: these are commands, and a table.
        roff.control("nf", []);
        for line in rest.lines().filter(|line| !line.trim().is_empty()) {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options_examples_and_exit_status() {
        let pages = pages().unwrap();
        let page = |name: &str| {
            let found = pages.iter().find(|(file, _)| file == name);
            let (_, page) = found.unwrap_or_else(|| panic!("no {name}"));
            String::from_utf8(page.clone()).unwrap()
        };
        for (name, parts) in [
            ("ringway.1", &["ringway ports", "EXIT STATUS", "completions"][..]),
            ("ringway-forward.1", &["EXAMPLES", "ringway forward 0000:03:00.0", "receive\\-ring", "101"]),
            ("ringway-model-serve.1", &["EXAMPLES", "vfio\\-user"]),
            ("ringway-bind.1", &["EXAMPLES", "sudo ringway bind"]),
        ] {
            let page = page(name);
            for part in parts {
                assert!(page.contains(part), "{name}: {part} in {page}");
            }
        }
        for (name, _) in &pages {
            let page = page(name);
            assert!(page.contains(".SH NAME") && page.contains(".SH EXAMPLES"), "{name}: {page}");
        }
    }
}
