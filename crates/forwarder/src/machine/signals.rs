//! Signals that ask for the end: taken by a thread of their own and passed on as events.
//!
//! From [`Signals::listen`] on, SIGINT and SIGTERM no longer end the process by themselves: a device is given back
//! first, however often the signal comes.

use crate::engine::Event;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Pending};
use std::io;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

/// Listens until it is dropped. After that the signals are ignored: the process is on its way out.
#[derive(Debug)]
pub struct Signals {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Passes each SIGINT and SIGTERM on to `events`.
    ///
    /// # Errors
    /// When the handlers or the thread can't be had.
    pub fn listen(events: Sender<Event>) -> io::Result<Self> {
        let mut pending = Pending::new([SIGINT, SIGTERM])?;
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

/// A signal's name.
pub fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        _ => "a signal",
    }
}
