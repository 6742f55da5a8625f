//! The commands `bind`, `unbind`, `status` and `doctor`: arguments and output. What they do is in `ringway-pci`.
//!
//! Contract: a program takes them in as one variant of its own commands (`#[command(flatten)]`) and runs them with a
//! [`Context`] that says how the program is called and what Ringway needs. Errors go to the standard error, with exit
//! status 1; everything else to the standard output.

mod bind;
mod doctor;
mod elevation;
mod size;
mod status;
mod unbind;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::commands;
use crate::machine::signals::asking_for_the_end;
use ringway_pci::kernel::HostKernel;
use ringway_pci::status::Supported;

pub use elevation::Elevation;

/// The functions that Ringway's drivers drive: the drivers' own tables, one after the other.
pub const SUPPORTED: &[Supported] = &{
    const VIRTIO: &[Supported] = ringway_virtio::SUPPORTED;
    const IXGBE: &[Supported] = ringway_ixgbe::SUPPORTED;
    let mut table = [VIRTIO[0]; VIRTIO.len() + IXGBE.len()];
    let mut index = 0;
    while index < table.len() {
        table[index] = if index < VIRTIO.len() { VIRTIO[index] } else { IXGBE[index - VIRTIO.len()] };
        index += 1;
    }
    table
};

/// The commands on binding.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Takes network functions from the kernel and gives them to a user
    Bind(bind::Arguments),
    /// Gives functions back to their drivers
    Unbind(unbind::Arguments),
    /// Lists the network functions of this machine
    Status(status::Arguments),
    /// Checks whether this machine is fit for Ringway, and says what mends it
    Doctor(doctor::Arguments),
}

/// The program that runs a command.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// How the program is called, in what it prints.
    pub program: &'static str,
    /// What to do where root is needed.
    pub elevation: Elevation,
    /// The memory to check for if the user doesn't say, in bytes.
    pub memory: u64,
    /// The functions that have a driver.
    pub supported: &'static [Supported],
}

impl Context {
    /// A context with the needs of `ringway forward` between two ports, by default.
    pub fn new(program: &'static str, elevation: Elevation) -> Self {
        Self { program, elevation, memory: commands::default_memory(), supported: SUPPORTED }
    }
}

impl Command {
    /// Runs the command on this machine.
    pub fn run(&self, context: &Context) -> ExitCode {
        let kernel = HostKernel::new();
        if matches!(self, Self::Bind(_) | Self::Unbind(_)) {
            for signal in asking_for_the_end() {
                // Where it can't be had, the signal ends the program in the midst of a change, as it would without this.
                let _ = signal_hook::flag::register(signal, kernel.interruption());
            }
        }
        let outcome = match self {
            Self::Bind(arguments) => arguments.run(&kernel, context),
            Self::Unbind(arguments) => arguments.run(&kernel, context),
            Self::Status(arguments) => arguments.run(&kernel, context),
            Self::Doctor(arguments) => arguments.run(&kernel, context),
        };
        outcome.unwrap_or_else(|failure| {
            complain(context.said(&failure.to_string()));
            ExitCode::FAILURE
        })
    }
}

impl Context {
    /// A text of the library's in this program's words: it says `ringway bind` where another may say `cargo xtask bind`.
    fn said(&self, text: &str) -> String {
        if self.program == "ringway" {
            return text.to_owned();
        }
        let mut said = text.to_owned();
        for command in ["bind", "unbind", "status", "doctor"] {
            // These programs ask for root by themselves.
            for before in [format!("sudo ringway {command}"), format!("ringway {command}")] {
                said = said.replace(&before, &format!("{} {command}", self.program));
            }
        }
        said
    }
}

/// What ends a command early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The library's refusal or failure.
    #[error(transparent)]
    Pci(#[from] ringway_pci::Error),
    /// Not root, and not to become it.
    #[error("this needs root: {command}")]
    NotRoot {
        /// The command that would do.
        command: String,
    },
    /// Sudo didn't start.
    #[error(
        "this needs root, and sudo can't be run ({source}): install it, or run this in a root shell: {command}"
    )]
    NoSudo {
        /// The command that would do.
        command: String,
        /// The errno.
        source: io::Error,
    },
    /// A driver that binding isn't for.
    #[error(
        "Ringway drives functions on vfio-pci, behind the IOMMU, and on no other driver: leave out '{driver}'. \
         To give a function to a driver of the kernel's: ringway unbind --driver {driver} ADDRESS"
    )]
    OtherDriver {
        /// What was asked for.
        driver: String,
    },
    /// The output can't be written as JSON.
    #[error("the result can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The output can't be written.
    #[error("the output can't be written: {0}")]
    Output(io::Error),
}

/// Prints a line. A reader that has gone (`ringway status | head`) is no failure.
fn say(line: impl Display) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

/// Prints an error. Where that can't be done there is nowhere left to say so.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "error: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_driver_drives_is_supported_once() {
        let drivers = [ringway_virtio::SUPPORTED, ringway_ixgbe::SUPPORTED].concat();
        assert_eq!(SUPPORTED, drivers);
        for (vendor, device, driver) in [(0x1af4, 0x1041, "virtio-net"), (0x8086, 0x10fb, "ixgbe")] {
            assert!(SUPPORTED.contains(&Supported { vendor, device, driver }), "{driver}");
        }
    }

    #[test]
    fn commands_are_told_as_the_program_that_runs_is_called() {
        let text = "ixgbe has it: sudo ringway bind 0000:03:00.0 (`ringway status` lists them)";
        assert_eq!(Context::new("ringway", Elevation::Tell).said(text), text);
        assert_eq!(
            Context::new("cargo xtask", Elevation::Sudo).said(text),
            "ixgbe has it: cargo xtask bind 0000:03:00.0 (`cargo xtask status` lists them)"
        );
    }
}
