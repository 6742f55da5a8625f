//! Watches a run that has lines of its own to print.

use super::one_port::Up;
use super::running;
use crate::engine::{Failure, Reception, Sample, Watch};
use crate::output::Say;
use crate::output::live::Live;
use crate::ports::Emulation;
use ringway_port::{Error, Link};
use std::fmt;
use std::time::Instant;

/// Prints what `line` tells of each sample, and what else happens. What a port still sends to itself at the end is not
/// waited for.
pub(super) struct Lines<'a, F> {
    pub(super) live: Live,
    /// When the program was started.
    pub(super) program: Instant,
    /// When the ports were up.
    pub(super) up: Instant,
    pub(super) first_seen: bool,
    pub(super) emulation: Option<&'a mut Emulation>,
    pub(super) line: F,
}

impl<'a, F: FnMut(&Sample, &mut Live)> Lines<'a, F> {
    /// Of a run on one port.
    pub(super) fn of(up: Up<'a>, live: Live, line: F) -> Self {
        let Up { program, up, emulation } = up;
        Self { live, program, up, first_seen: false, emulation, line }
    }
}

impl<F> fmt::Debug for Lines<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("up", &self.up).finish_non_exhaustive()
    }
}

impl<F: FnMut(&Sample, &mut Live)> Watch for Lines<'_, F> {
    fn first_packet(&mut self, at: Instant) {
        if !std::mem::replace(&mut self.first_seen, true) {
            running::say_first_packet(&mut self.live, at, self.up, self.program);
        }
    }

    fn sample(&mut self, sample: &Sample) {
        (self.line)(sample, &mut self.live);
    }

    fn failed(&mut self, failure: &Failure) {
        self.live.warn(format_args!("{failure}; the ports are given back"));
    }

    fn quieten(&mut self) {
        if let Some(emulation) = &mut self.emulation {
            emulation.stop_sources();
        }
    }

    fn link(&mut self, port: &str, link: &Link) {
        running::say_link(&mut self.live, port, link);
    }

    fn restored(&mut self, port: &str, mode: Reception, result: Result<(), Error>) {
        running::say_restored(&mut self.live, port, mode, result);
    }
}
