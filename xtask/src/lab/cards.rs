//! Cards that a process of ours plays for the guest: `ringway model serve`, one process a card.
//!
//! It listens before QEMU starts, gets its wire's TAP as standard input, and is killed when its [`Card`] is dropped.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::configuration::{Configuration, Plug, guest_address, guest_octets};
use super::plan::Plan;
use super::process::Process;
use super::traffic::frames;
use super::wire::Wire;

/// To the first sign of life of a server.
const START: Duration = Duration::from_secs(20);
/// From here on the Ethernet addresses of cards without a wire are counted.
const WITHOUT_WIRE: usize = 0x80;

/// A served card.
#[derive(Debug)]
pub struct Card {
    child: Child,
    /// What it plays and what it writes, if it does.
    files: Option<Files>,
    socket: PathBuf,
    log: PathBuf,
}

/// The capture files of a card.
#[derive(Clone, Debug)]
pub struct Files {
    /// The frames that the card receives, and that are in the file that it plays.
    pub played: Vec<Vec<u8>>,
    /// What it sends is written here.
    pub written: PathBuf,
}

impl Card {
    /// Its capture files, where it has some.
    pub fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// Where QEMU finds it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends the server at once when it has answered all that it was asked, by a guest that stands still: its card is gone.
    pub fn kill_when_idle(&mut self) -> Result<()> {
        Process::of(&self.child)?.until_it_receives().context("the server of a card doesn't come to rest")?;
        self.child.kill().context("cannot kill the server of a card")?;
        self.child.wait()?;
        Ok(())
    }

    /// What the server has said so far.
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let end = Instant::now() + START;
        while !self.socket.exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server of a card ended with {status}; it said:\n{}", self.said());
            }
            if Instant::now() >= end {
                bail!("the server of a card doesn't listen; it said:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Starts the servers of a configuration. `name` names their logs.
pub fn start(plan: &Plan, configuration: Configuration, wires: &[Wire], name: &str) -> Result<Vec<Card>> {
    let mut cards = Vec::new();
    for (index, served) in configuration.served().into_iter().enumerate() {
        // A socket's path has 108 bytes at most, which a deep workspace exceeds.
        let socket = std::env::temp_dir().join(format!("ringway-{}-{index}.card", std::process::id()));
        let log = plan.logs.join(format!("{name}.card{index}"));
        let output = File::create(&log)?;
        let mut command = Command::new(&plan.program);
        let number = match served.plug {
            Plug::Wire(wire) => wire,
            Plug::Files | Plug::Nothing => WITHOUT_WIRE + index,
        };
        let address = guest_address(number);
        command.args(["model", "serve", "--device", served.device, "--mac", &address, "--socket"]);
        command.arg(&socket).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut files = None;
        match served.plug {
            Plug::Wire(wire) => {
                let wire = wires.get(wire).context("a card on a wire that isn't there")?;
                let tap = wire.tap().as_fd().try_clone_to_owned()?;
                command.args(["--wire", "stdin"]).stdin(Stdio::from(tap));
            }
            Plug::Files => {
                let playing = plan.logs.join(format!("{name}.card{index}.played.pcap"));
                let written = plan.logs.join(format!("{name}.card{index}.written.pcapng"));
                let played = frames::addressed_to(guest_octets(number), index as u64 + 1);
                std::fs::write(&playing, frames::as_pcap(&played))?;
                command.args(["--wire", &format!("file:{},{}", playing.display(), written.display())]);
                files = Some(Files { played, written });
            }
            Plug::Nothing => {
                command.args(["--wire", "none"]);
            }
        }
        let child = command.spawn().context("cannot start the server of a card")?;
        let mut card = Card { child, files, socket, log };
        card.wait_until_it_listens()?;
        cards.push(card);
    }
    Ok(cards)
}
