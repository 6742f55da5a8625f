//! `ringway model`: emulated network cards for virtual machines.
//!
//! Contract: `serve` takes one virtual machine after the other, with a fresh device each, until a signal. What the
//! device is and what it can do is in `ringway-model`.

use super::wire::{self, WireName};
use crate::Error;
use crate::machine::signals;
use clap::{Args, Subcommand, ValueEnum};
use ringway_model::ixgbe::{Options, Personality};
use ringway_model::vfio_user::{Report, Server};
use ringway_port::MacAddress;
use signal_hook::iterator::Signals;
use std::path::PathBuf;

/// What the help text ends with.
pub const EXAMPLES: &str = "\
Example:
  ringway model serve --socket /tmp/nic --wire tap:tap0

  and QEMU 11.1 or newer, its memory shared:

  qemu-system-x86_64 -M q35,memory-backend=ram -m 1G -object memory-backend-memfd,id=ram,size=1G,share=on \\
    -device '{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/tmp/nic\"}}' …";

/// What is asked of `model`.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelCommand {
    /// Serve an emulated network card to virtual machines, over vfio-user
    #[command(after_help = EXAMPLES)]
    Serve(ServeOptions),
}

/// Arguments of `model serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// Where to listen: a UNIX socket, made here
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Which network card
    #[arg(long, value_enum, default_value_t = Device::Fibre82599)]
    pub device: Device,
    /// Its Ethernet address
    #[arg(long, value_name = "ADDRESS", default_value = "02:00:00:82:59:90", value_parser = station)]
    pub mac: MacAddress,
    /// What it is plugged into: tap:NAME (makes that interface), unix:PATH (connects to a SEQPACKET socket), file:IN,OUT
    /// (plays one capture file as the driver makes room, and writes what is sent into the other), stdin (an open TAP or
    /// packet socket, as standard input), none
    #[arg(long, value_name = "WIRE", default_value = "none")]
    pub wire: WireName,
}

/// Which network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// Intel 82599 with an SFP+ module, 8086:10fb
    #[value(name = "82599")]
    Fibre82599,
    /// Intel 82599 on a backplane, 8086:10f7
    #[value(name = "82599-kx4")]
    Backplane82599,
    /// Intel X540, 8086:1528
    #[value(name = "x540")]
    X540,
    /// Intel X550, 8086:1563
    #[value(name = "x550")]
    X550,
}

impl From<Device> for Personality {
    fn from(device: Device) -> Self {
        match device {
            Device::Fibre82599 => Self::Fibre82599,
            Device::Backplane82599 => Self::Backplane82599,
            Device::X540 => Self::X540,
            Device::X550 => Self::X550,
        }
    }
}

/// The address of a single station: no card has another one.
fn station(text: &str) -> Result<MacAddress, String> {
    match text.parse::<MacAddress>() {
        Ok(address) if address.is_unicast() => Ok(address),
        Ok(_) => Err("a card has the address of a single station: 02:00:00:00:00:01, say".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Does what is asked.
///
/// # Errors
/// When the wire or the socket can't be had.
pub fn run(command: &ModelCommand) -> Result<(), Error> {
    let ModelCommand::Serve(options) = command;
    let personality = Personality::from(options.device);
    let name = options.socket.display().to_string();
    let device = Options { name, mac: options.mac.0, personality, ..Options::default() };
    // The socket first: where another server has it, no wire is made and no file emptied.
    let server = Server::bind(&options.socket, device)?;
    let (mut link, closing) = wire::open(&options.wire).inspect_err(|_| {
        // It is ours, and nobody was told of it.
        let _ = std::fs::remove_file(&options.socket);
    })?;
    let stop = server.stop()?;
    let socket = options.socket.clone();
    let mut pending = Signals::new(signals::asking_for_the_end()).map_err(Error::System)?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if pending.forever().next().is_some() {
                stop.stop();
                closing.close();
                // A virtual machine that is connected finds its card gone; the next server finds no socket in its way.
                let _ = std::fs::remove_file(&socket);
                std::process::exit(0);
            }
        })
        .map_err(Error::System)?;
    super::print(&format!(
        "an emulated 8086:{:04x} waits on {}\n",
        personality.device_id(),
        options.socket.display()
    ))?;
    server.serve(link.as_mut(), |outcome| {
        let line = match outcome {
            Ok(report) => summary(&report),
            Err(error) => format!("{error}\n"),
        };
        // Nobody has to read it.
        let _ = super::print(&line);
    })?;
    Ok(())
}

fn summary(report: &Report) -> String {
    format!(
        "a virtual machine has gone: {} frames, {} interrupts; {} pieces of memory mapped, {} refused, {} faults\n",
        report.frames, report.messages, report.mapped, report.refused, report.faults
    )
}
