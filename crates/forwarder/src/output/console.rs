//! Notes, warnings and errors for the person who watches.

use crate::cli::OutputOptions;
use std::fmt::Display;
use std::io::{self, Write};

/// Where lines for people go.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    quiet: bool,
    verbose: bool,
}

impl Console {
    /// As the options say.
    pub fn new(options: OutputOptions) -> Self {
        Self { quiet: options.quiet, verbose: options.verbose }
    }

    /// What is good to know.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            line(text);
        }
    }

    /// What only some want to know.
    pub fn detail(&self, text: impl Display) {
        if self.verbose {
            line(text);
        }
    }

    /// What one should know.
    pub fn warn(&self, text: impl Display) {
        line(format_args!("warning: {text}"));
    }
}

/// Says what went wrong.
pub fn error(text: impl Display) {
    line(format_args!("error: {text}"));
}

fn line(text: impl Display) {
    // Nobody reads standard error any more: then nobody misses the line.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
