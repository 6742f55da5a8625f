//! docs/performance.md: a person writes the text, a run writes what is between markers, and the plots beside it.
//!
//! A part is between `<!-- begin NAME -->` and `<!-- end NAME -->`, each on a line of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache;

/// The document with what was changed so far; on disk it changes when it is written.
#[derive(Debug)]
pub(super) struct Document {
    path: PathBuf,
    plots: PathBuf,
    text: String,
    drawn: Vec<(String, String)>,
}

impl Document {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let path = root.join("docs/performance.md");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, plots: root.join("docs/performance"), text, drawn: Vec::new() })
    }

    /// Puts `content` into a part, and prints it.
    pub(super) fn put(&mut self, part: &str, content: &str) -> Result<()> {
        println!("\n{}\n", content.trim_end());
        self.text = replaced(&self.text, part, content)
            .with_context(|| format!("{} has no part {part}", self.path.display()))?;
        Ok(())
    }

    /// Keeps a plot, and returns what shows it in the text.
    pub(super) fn plot(&mut self, name: &str, shows: &str, svg: String) -> String {
        self.drawn.push((format!("{name}.svg"), svg));
        format!("![{shows}](performance/{name}.svg)\n")
    }

    pub(super) fn write(&self) -> Result<()> {
        cache::create_folder(&self.plots)?;
        for (name, svg) in &self.drawn {
            cache::write_whole(&self.plots.join(name), svg.as_bytes())?;
        }
        cache::write_whole(&self.path, self.text.as_bytes())
    }
}

fn replaced(text: &str, part: &str, content: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- begin {part} -->\n"), format!("<!-- end {part} -->\n"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n{end}{after}", content.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        assert_eq!(replaced(text, "x", "new\n\n").unwrap(), "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n");
        assert_eq!(replaced(text, "y", "new"), None);
    }
}
