//! The program `ringway`.
#![forbid(unsafe_code)]

use clap::Parser;
use ringway::cli::CommandLine;
use std::process::ExitCode;

fn main() -> ExitCode {
    ringway::commands::run(CommandLine::parse())
}
