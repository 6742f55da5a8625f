//! The program `ringway`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ringway::commands::run(ringway::cli::parse())
}
