//! What `forward` prints while it runs, and how emulated sources end.

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
            self.console.detail(format_args!(
                "first packet {:.1} ms after the ports were up, {:.1} ms after the start of the program",
                at.saturating_duration_since(self.forwarding).as_secs_f64() * 1e3,
                at.saturating_duration_since(self.program).as_secs_f64() * 1e3,
            ));
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
        if link.is_up() {
            self.console.note(format_args!("{port}: link {link}"));
        } else {
            self.console.warn(format_args!("{port}: link {link}"));
        }
    }

    fn restored(&mut self, port: &str, mode: Reception, result: Result<(), Error>) {
        match result {
            Ok(()) => self.console.note(format_args!("{port}: {mode} off again")),
            Err(error) => self.console.warn(format_args!("{port}: {mode} was not switched off: {error}")),
        }
    }
}
