//! Notes, warnings and errors for the person who watches.

use crate::cli::OutputOptions;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// What lines for people can be said to.
pub trait Say {
    /// What is good to know.
    fn note(&mut self, text: impl Display);

    /// What only some want to know.
    fn detail(&mut self, text: impl Display);

    /// What one should know.
    fn warn(&mut self, text: impl Display);
}

/// Where lines for people go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console {
    quiet: bool,
    verbose: bool,
    live: bool,
}

impl Console {
    /// As the options say.
    pub fn new(options: OutputOptions) -> Self {
        let OutputOptions { quiet, verbose, json, csv, plain, .. } = options;
        let wanted = !(quiet || json || csv || plain);
        let able = || std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb");
        Self { quiet, verbose, live: wanted && able() && io::stdout().is_terminal() }
    }

    /// Whether what happens is shown on a terminal's own screen.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether what is good to know is said, and what only some want to know.
    pub(super) fn says(&self) -> (bool, bool) {
        (!self.quiet, self.verbose)
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

impl Say for Console {
    fn note(&mut self, text: impl Display) {
        Self::note(self, text);
    }

    fn detail(&mut self, text: impl Display) {
        Self::detail(self, text);
    }

    fn warn(&mut self, text: impl Display) {
        Self::warn(self, text);
    }
}

/// Says what went wrong.
pub fn error(text: impl Display) {
    line(format_args!("error: {text}"));
}

/// One line on standard error.
pub(super) fn line(text: impl Display) {
    // Nobody reads standard error any more: then nobody misses the line.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
