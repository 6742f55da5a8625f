//! The command channel into a guest: scripts go in over its second serial port, exit status and output come
//! back. The other side is `guest/channel.sh`.

use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// What a script in the guest came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit status.
    pub status: i32,
    /// What it wrote on both streams.
    pub output: String,
}

/// The host's end of the channel.
#[derive(Debug)]
pub struct Control {
    input: ChildStdin,
    received: Receiver<Vec<u8>>,
    buffer: Vec<u8>,
    next: u32,
}

impl Control {
    /// Takes the ends of the serial port and starts reading.
    pub fn new(input: ChildStdin, mut output: ChildStdout) -> Result<Self> {
        let (sender, received) = channel();
        std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length) = output.read(&mut chunk) {
                let part = chunk.get(..length).unwrap_or_default();
                if part.is_empty() || sender.send(part.to_vec()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { input, received, buffer: Vec::new(), next: 1 })
    }

    /// Waits until the guest says that it takes commands.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while self.line(end)?.trim() != "READY" {}
        Ok(())
    }

    /// Has the guest run a script, as root, and waits for its answer.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<Answer> {
        let id = self.next;
        self.next += 1;
        let message = format!("RUN {id}\n{}\nEND {id}\n", script.trim_end());
        self.input.write_all(message.as_bytes()).context("the guest is gone: cannot send it a command")?;
        self.input.flush()?;
        let end = Instant::now() + limit;
        loop {
            let line = self.line(end)?;
            let Some(rest) = line.trim().strip_prefix("DONE ") else { continue };
            let numbers: Vec<i64> = rest.split(' ').filter_map(|number| number.parse().ok()).collect();
            let [answered, status, length] = numbers[..] else {
                bail!("the guest's answer can't be read: {line}");
            };
            if answered != i64::from(id) {
                continue;
            }
            let output = self.bytes(usize::try_from(length)?, end)?;
            return Ok(Answer {
                status: i32::try_from(status)?,
                output: String::from_utf8_lossy(&output).into_owned(),
            });
        }
    }

    fn line(&mut self, end: Instant) -> Result<String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.more(end)?;
        }
    }

    fn bytes(&mut self, length: usize, end: Instant) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more(end)?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn more(&mut self, end: Instant) -> Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        match self.received.recv_timeout(left) {
            Ok(part) => {
                self.buffer.extend(part);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(anyhow!("the guest gave no answer in time")),
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("the guest has ended")),
        }
    }
}
