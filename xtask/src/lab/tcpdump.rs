//! tcpdump at an end of a wire.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ringway_traffic::capture::Reader;
use rustix::process::{Pid, Signal, kill_process};

use super::fetch::Analysers;
use super::wire::{INTERFACE, Wire};

const LIMIT: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(50);

/// Frames in one direction on a wire's interface, which tcpdump writes into a file. Dropped, it ends.
#[derive(Debug)]
pub struct Tcpdump {
    child: Child,
    file: PathBuf,
    said: PathBuf,
}

impl Tcpdump {
    /// Starts it and waits until it listens. `direction`: `in` or `out`, as the wire's kernel sees it.
    pub fn start(analysers: &Analysers, wire: &Wire, direction: &str, file: &Path) -> Result<Self> {
        let said = file.with_extension("said");
        let log = File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
        let mut command = analysers.tcpdump();
        // Every packet goes to the file at once, and the program stays who it is.
        command.args(["-n", "-U", "--immediate-mode", "-Z", "root", "-i", INTERFACE, "-Q", direction]);
        // Whole frames, and room for thousands: with its own snap length the kernel's ring holds eight.
        command.args(["-s", "2048", "-B", "8192", "-w"]);
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = wire.namespace.within(|| command.spawn().context("cannot start tcpdump"))?;
        let mut tcpdump = Self { child, file: file.to_owned(), said };
        tcpdump.wait("does not listen", |tcpdump| Ok(tcpdump.words().contains("listening on")))?;
        Ok(tcpdump)
    }

    /// Waits until it has written so many frames, and ends it in order.
    pub fn end_with(mut self, frames: u64) -> Result<PathBuf> {
        let what = format!("has not seen {frames} frames");
        self.wait(&what, |tcpdump| Ok(count(&tcpdump.file) >= frames))?;
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::INT).context("cannot end tcpdump")?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("tcpdump ended with {status}: {}", self.words());
        }
        Ok(self.file.clone())
    }

    fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !is_so(self)? {
            if let Some(status) = self.child.try_wait()? {
                bail!("tcpdump ended with {status}: {}", self.words());
            }
            if Instant::now() >= end {
                bail!("tcpdump {what} ({}); it said: {}", count(&self.file), self.words());
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    fn words(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.said);
    }
}

/// Whole frames in a file that is being written.
fn count(file: &Path) -> u64 {
    let Ok(mut reader) = Reader::open(file) else { return 0 };
    while let Ok(Some(_)) = reader.next_frame() {}
    reader.frames()
}
