//! `ringway model`: emulated network cards for virtual machines.
//!
//! Contract: `serve` takes one virtual machine after the other, with a fresh device each, until a signal. What the
//! device is and what it can do is in `ringway-model`.

use crate::Error;
use clap::{Args, Subcommand, ValueEnum};
use ringway_model::ixgbe::{Options, Personality};
use ringway_model::vfio_user::{FrameLink, Report, Server};
use ringway_port::MacAddress;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, socketpair};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::str::FromStr;

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
    #[arg(long, value_name = "ADDRESS", default_value = "02:00:00:82:59:90")]
    pub mac: MacAddress,
    /// What it is plugged into: tap:NAME (makes that interface), unix:PATH (connects to a SEQPACKET socket), stdin (an
    /// open TAP or packet socket, as standard input), none
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

/// What the card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireName {
    /// A TAP interface of that name, made here.
    Tap(String),
    /// A SEQPACKET socket that somebody listens on.
    Unix(PathBuf),
    /// Standard input.
    StandardInput,
    /// Nothing: frames go nowhere.
    None,
}

impl FromStr for WireName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("tap", name)) if !name.is_empty() && name.len() < 16 => Ok(Self::Tap(name.to_owned())),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            None if text == "stdin" => Ok(Self::StandardInput),
            None if text == "none" => Ok(Self::None),
            _ => Err("write tap:NAME (up to 15 letters), unix:PATH, stdin or none".to_owned()),
        }
    }
}

/// Does what is asked.
///
/// # Errors
/// When the wire or the socket can't be had.
pub fn run(command: &ModelCommand) -> Result<(), Error> {
    let ModelCommand::Serve(options) = command;
    let link =
        open(&options.wire).map_err(|source| Error::Wire { wire: format!("{:?}", options.wire), source })?;
    let mut link =
        FrameLink::new(link).map_err(|source| Error::Wire { wire: format!("{:?}", options.wire), source })?;
    let personality = Personality::from(options.device);
    let name = options.socket.display().to_string();
    let device = Options { name, mac: options.mac.0, personality, ..Options::default() };
    let server = Server::bind(&options.socket, device)?;
    let stop = server.stop()?;
    let socket = options.socket.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::System)?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                stop.stop();
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
    server.serve(&mut link, |outcome| {
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

fn open(wire: &WireName) -> io::Result<OwnedFd> {
    match wire {
        WireName::Tap(name) => {
            let name = tappers::Interface::new(name)?;
            tappers::Tap::new_named(name)?.as_fd().try_clone_to_owned()
        }
        WireName::Unix(path) => {
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
            Ok(socket)
        }
        WireName::StandardInput => io::stdin().as_fd().try_clone_to_owned(),
        WireName::None => {
            // One end of a pair: what is sent into it is lost once its other end is gone.
            Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_are_named_by_kind_and_place() {
        assert_eq!("tap:tap0".parse(), Ok(WireName::Tap("tap0".to_owned())));
        assert_eq!("unix:/run/x:y".parse(), Ok(WireName::Unix("/run/x:y".into())));
        assert_eq!("stdin".parse(), Ok(WireName::StandardInput));
        assert_eq!("none".parse(), Ok(WireName::None));
        for wrong in ["", "tap:", "tap:0123456789abcdef", "unix:", "tap0", "udp:1"] {
            assert!(wrong.parse::<WireName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wire_that_is_not_there_is_an_error() {
        assert!(open(&WireName::Unix("/nonexistent/wire".into())).is_err());
        assert!(open(&WireName::None).is_ok());
    }
}
