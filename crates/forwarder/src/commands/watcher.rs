//! What `forward` prints while it runs, and how emulated sources end.

use super::latency::Ends;
use super::one_port::Up;
use super::running;
use crate::engine::{Failure, Reception, Sample, Watch};
use crate::output::Say;
use crate::output::live::Live;
use crate::ports::Emulation;
use ringway_port::{Error, Link};
use std::time::{Duration, Instant};

/// Watches a run for a person.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    pub(super) live: Live,
    /// When the program was started, and when the ports were up.
    pub(super) program: Instant,
    pub(super) forwarding: Instant,
    pub(super) first_seen: bool,
    pub(super) emulation: Option<&'a mut Emulation>,
    /// The ends between which latency is measured.
    pub(super) ends: Option<Ends>,
    pub(super) progress: Option<(u64, Instant)>,
}

/// Ports between which nothing arrives for this long after the sources stopped have lost the rest.
const PATIENCE: Duration = Duration::from_secs(2);

impl<'a> Watcher<'a> {
    /// Of a run on one port.
    pub(super) fn of(up: Up<'a>, live: Live) -> Self {
        let Up { program, up, emulation } = up;
        Self { live, program, forwarding: up, first_seen: false, emulation, ends: None, progress: None }
    }
}

impl Watch for Watcher<'_> {
    fn first_packet(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.first_seen, true) {
            running::say_first_packet(&mut self.live, at, self.forwarding, self.program);
        }
    }

    fn sample(&mut self, sample: &Sample) {
        self.live.show(sample);
    }

    fn failed(&mut self, failure: &Failure) {
        self.live.warn(format_args!("{failure}; the ports are given back"));
    }

    fn stood_still(&mut self, port: &str, packets: u64) {
        self.live.warn(format_args!(
            "{port}: its transmit queue stood still with {packets} packets, which are lost; it is started anew"
        ));
    }

    fn quieten(&mut self) {
        if let Some(emulation) = &mut self.emulation {
            emulation.stop_sources();
        }
        if let Some(ends) = &self.ends {
            ends.stop();
        }
    }

    fn is_quiet(&mut self) -> bool {
        let (emulation, ends) = (self.emulation.as_ref(), self.ends.as_ref());
        if emulation.is_none() && ends.is_none() {
            return true;
        }
        let now = Instant::now();
        let arrived = emulation
            .map_or(0, |emulation| emulation.progress())
            .wrapping_add(ends.map_or(0, |ends| ends.progress()));
        let all_there =
            emulation.is_none_or(|emulation| emulation.is_quiet()) && ends.is_none_or(|ends| ends.is_quiet());
        let since = match self.progress {
            Some((before, since)) if before == arrived => since,
            _ => now,
        };
        self.progress = Some((arrived, since));
        let quiet = all_there || now.saturating_duration_since(since) >= PATIENCE;
        if quiet {
            self.emulation.iter_mut().for_each(|emulation| emulation.settle());
            self.ends.iter_mut().for_each(|ends| ends.settle());
        }
        quiet
    }

    fn link(&mut self, port: &str, link: &Link) {
        running::say_link(&mut self.live, port, link);
    }

    fn restored(&mut self, port: &str, mode: Reception, result: Result<(), Error>) {
        running::say_restored(&mut self.live, port, mode, result);
    }
}
