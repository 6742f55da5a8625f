//! Signals that ask for the end: taken by a thread of their own and passed on as events.
//!
//! From [`Signals::listen`] on, SIGINT, SIGTERM and SIGHUP no longer end the process by themselves: a device is given back
//! first, and a capture written to its end, however often the signal comes.

use crate::engine::Event;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Pending};
use std::io;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

/// The signals that ask for the end. SIGHUP, a terminal's that has gone, isn't one where it was ignored from the start: `nohup`
/// asks for that. (A shell without job control ignores SIGINT for what it puts in the background, where it is meant all the same
/// when somebody sends it.)
pub fn asking_for_the_end() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    if !std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, SIGHUP)) {
        signals.push(SIGHUP);
    }
    signals
}

/// Whether a process with this `/proc/…/status` ignores a signal (proc_pid_status(5), `SigIgn`).
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // Signals are numbered from 1.
    signal > 0 && mask.wrapping_shr(signal.wrapping_sub(1).unsigned_abs()) & 1 != 0
}

/// Listens until it is dropped. After that the signals are ignored: the process is on its way out.
#[derive(Debug)]
pub struct Signals {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Passes each signal that asks for the end on to `events`.
    ///
    /// # Errors
    /// When the handlers or the thread can't be had.
    pub fn listen(events: Sender<Event>) -> io::Result<Self> {
        let mut pending = Pending::new(asking_for_the_end())?;
        let handle = pending.handle();
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in pending.forever() {
                // With nobody listening any more, the end is under way already.
                let _ = events.send(Event::Signal(signal));
            }
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // The thread only forwards numbers: it has nothing to panic about.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_seen_in_the_mask() {
        let status = "Name:\tringway\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004000\n";
        assert_eq!(
            [SIGHUP, SIGINT, SIGTERM, 13].map(|signal| ignores(status, signal)),
            [true, false, false, true]
        );
        assert!(!ignores("", SIGHUP) && !ignores("SigIgn:\tnonsense\n", SIGHUP));
    }
}
