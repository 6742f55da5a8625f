//! What `forward` prints while it runs, and how emulated sources end.

use super::running;
use crate::engine::{Failure, Reception, Sample, Watch};
use crate::output::Console;
use crate::output::live::Live;
use crate::ports::Emulation;
use ringway_port::{Error, Link};
use std::time::{Duration, Instant};

/// Watches a run for a person.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    pub(super) console: Console,
    pub(super) live: Live,
    /// When the program was started, and when the ports were up.
    pub(super) program: Instant,
    pub(super) forwarding: Instant,
    pub(super) first_seen: bool,
    pub(super) emulation: Option<&'a mut Emulation>,
    pub(super) progress: Option<(u64, Instant)>,
}

/// Emulated ports between which nothing arrives for this long after their sources stopped have lost the rest.
const PATIENCE: Duration = Duration::from_secs(2);

impl Watch for Watcher<'_> {
    fn first_packet(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.first_seen, true) {
            running::say_first_packet(self.console, at, self.forwarding, self.program);
        }
    }

    fn sample(&mut self, sample: &Sample) {
        self.live.show(sample);
    }

    fn failed(&mut self, failure: &Failure) {
        self.console.warn(format_args!("{failure}; the ports are given back"));
    }

    fn quieten(&mut self) {
        if let Some(emulation) = &mut self.emulation {
            emulation.stop_sources();
        }
    }

    fn is_quiet(&mut self) -> bool {
        let Some(emulation) = &mut self.emulation else { return true };
        let now = Instant::now();
        let arrived = emulation.progress();
        let since = match self.progress {
            Some((before, since)) if before == arrived => since,
            _ => now,
        };
        self.progress = Some((arrived, since));
        let quiet = emulation.is_quiet() || now.saturating_duration_since(since) >= PATIENCE;
        if quiet {
            emulation.settle();
        }
        quiet
    }

    fn link(&mut self, port: &str, link: &Link) {
        running::say_link(self.console, port, link);
    }

    fn restored(&mut self, port: &str, mode: Reception, result: Result<(), Error>) {
        running::say_restored(self.console, port, mode, result);
    }
}
