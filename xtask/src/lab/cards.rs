//! Cards that a process of ours plays for the guest: `ringway model serve`, one process a card.
//!
//! It listens before QEMU starts, gets its wire's TAP as standard input, and is killed when its [`Card`] is dropped.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::configuration::{Configuration, guest_address};
use super::plan::Plan;
use super::wire::Wire;

/// To the first sign of life of a server.
const START: Duration = Duration::from_secs(20);
/// From here on the Ethernet addresses of cards without a wire are counted.
const WITHOUT_WIRE: usize = 0x80;

/// A served card.
#[derive(Debug)]
pub struct Card {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Card {
    /// Where QEMU finds it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends the server at once: the guest's card is gone.
    pub fn kill(&mut self) -> Result<()> {
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
        command.args([
            "model",
            "serve",
            "--device",
            served.device,
            "--mac",
            &guest_address(served.wire.unwrap_or(WITHOUT_WIRE + index)),
            "--socket",
        ]);
        command.arg(&socket).stdout(output.try_clone()?).stderr(output);
        match served.wire.and_then(|wire| wires.get(wire)) {
            Some(wire) => {
                command
                    .args(["--wire", "stdin"])
                    .stdin(Stdio::from(wire.tap().as_fd().try_clone_to_owned()?));
            }
            None => {
                command.args(["--wire", "none"]).stdin(Stdio::null());
            }
        }
        let child = command.spawn().context("cannot start the server of a card")?;
        let mut card = Card { child, socket, log };
        card.wait_until_it_listens()?;
        cards.push(card);
    }
    Ok(cards)
}
