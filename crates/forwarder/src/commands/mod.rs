//! The commands: what each does, with arguments in and an exit status out.

pub mod capture;
pub mod completions;
pub mod echo;
mod features;
pub mod flows;
pub mod forward;
pub mod generate;
mod latency;
mod lines;
pub mod model;
mod needs;
mod one_port;
pub mod ports;
pub mod receive;
pub mod replay;
mod running;
mod steering;
mod watcher;
mod wire;

pub use needs::default_memory;

use crate::Error;
use crate::binding::{Context, Elevation};
use crate::cli::{Command, CommandLine, ForwardOptions, OutputOptions};
use crate::output::console;
use crate::output::csv::{self, Rows};
use serde::Serialize;
use std::process::ExitCode;

/// The exit status of a run that ended as asked: whether packets were lost where none may be.
fn status(lossless: bool) -> ExitCode {
    const LOST: u8 = 3;
    if lossless { ExitCode::SUCCESS } else { ExitCode::from(LOST) }
}

/// Does what the command line asks for.
pub fn run(line: CommandLine) -> ExitCode {
    let result = match line.command {
        None => forward::run(&ForwardOptions::demonstration(line.demonstration)),
        Some(Command::Forward(options)) => forward::run(&options),
        Some(Command::Capture(options)) => capture::run(&options),
        Some(Command::Replay(options)) => replay::run(&options),
        Some(Command::Generate(options)) => generate::run(&options),
        Some(Command::Receive(options)) => receive::run(&options),
        Some(Command::Echo(options)) => echo::run(&options),
        Some(Command::Flows(options)) => flows::run(&options),
        Some(Command::Ports(options)) => ports::run(&options),
        Some(Command::Completions(options)) => completions::run(options),
        Some(Command::Model(command)) => model::run(&command).map(|()| ExitCode::SUCCESS),
        Some(Command::Binding(command)) => Ok(command.run(&Context::new("ringway", Elevation::Tell))),
    };
    result.unwrap_or_else(|error| {
        console::error(&error);
        error.exit_code()
    })
}

/// Writes a result to standard output. A reader who has gone has seen enough.
fn print(text: &str) -> Result<(), Error> {
    use std::io::{ErrorKind, Write};
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// The same, as one JSON object.
fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
    print(&format!("{text}\n"))
}

/// A summary, as the options say: for people, as a JSON object, or as CSV with these rows.
fn print_summary<S: Serialize>(
    output: OutputOptions,
    summary: &S,
    rows: Rows,
    text: impl FnOnce(&S) -> String,
) -> Result<(), Error> {
    if output.json {
        print_json(summary)
    } else if output.csv {
        print(&csv::render(summary, rows).map_err(|reason| Error::Output(std::io::Error::other(reason)))?)
    } else {
        print(&text(summary))
    }
}
