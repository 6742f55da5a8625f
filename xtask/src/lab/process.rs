//! A process that the lab started, seen by what the kernel says of it.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// For what takes a moment unless something is wrong.
const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);

/// A child that hasn't been waited for.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    descriptor: OwnedFd,
}

impl Process {
    /// That of a child.
    pub fn of(child: &Child) -> Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| anyhow!("a child has no process id"))?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch a child")?;
        Ok(Self { pid, descriptor })
    }

    /// Ends it at once.
    pub fn kill(&self) -> Result<()> {
        self.send(Signal::KILL)
    }

    /// Stops it, and returns when none of its threads runs any more.
    pub fn stop(&self) -> Result<()> {
        self.send(Signal::STOP)?;
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        until("it doesn't stop", || Ok(waitid(WaitId::Pid(self.pid), options)?.is_some()))
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub fn go_on(&self) -> Result<()> {
        self.send(Signal::CONT)
    }

    /// Returns when its main thread waits for a message on a socket.
    pub fn until_it_receives(&self) -> Result<()> {
        let path = format!("/proc/{}/syscall", self.number_in_proc()?);
        let receives = format!("{} ", libc::SYS_recvmsg);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        until("its main thread doesn't wait for a message", || {
            if waitid(WaitId::Pid(self.pid), options)?.is_some() {
                bail!("it has ended by itself");
            }
            let call = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            Ok(call.starts_with(&receives))
        })
    }

    fn send(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.descriptor, signal).context("cannot send a signal to a child")
    }

    /// Its number as `/proc` has it, which belongs to the machine's process namespace and not to the lab's.
    fn number_in_proc(&self) -> Result<u32> {
        let path = format!("/proc/self/fdinfo/{}", self.descriptor.as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        number.ok_or_else(|| anyhow!("{path} names no process: {text}"))
    }
}

fn until(otherwise: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !condition()? {
        if Instant::now() >= end {
            bail!("{otherwise}");
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Ends what a failed assertion would leave.
    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn who_has_ended_is_not_waited_for() {
        let child = Ended(Command::new("true").spawn().unwrap());
        let process = Process::of(&child.0).unwrap();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(process.pid), options).unwrap();
        assert_eq!(process.until_it_receives().unwrap_err().to_string(), "it has ended by itself");
    }

    #[test]
    fn a_process_is_stopped_and_goes_on() {
        let mut child =
            Ended(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
        let process = Process::of(&child.0).unwrap();
        let state = || {
            let text =
                fs::read_to_string(format!("/proc/{}/stat", process.number_in_proc().unwrap())).unwrap();
            text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
        };
        process.stop().unwrap();
        assert_eq!(state(), Some('T'));
        process.go_on().unwrap();
        until("it doesn't go on", || Ok(state() != Some('T'))).unwrap();
        drop(child.0.stdin.take());
        assert!(child.0.wait().unwrap().success());
    }
}
