//! The program `ringway`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringway::binding;

#[derive(Debug, Parser)]
#[command(name = "ringway", about = "Drives network cards from user space", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Binding(binding::Command),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Binding(command) => command.run(&binding::Context::new("ringway", binding::Elevation::Tell)),
    }
}
