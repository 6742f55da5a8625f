//! The far end of a port where there is no network: a generator of marked packets and a checker, for whoever plays a wire.
//!
//! ```text
//!   generator ──▶ wire ──▶ device ──▶ the program ──▶ device ──▶ wire ──▶ checker
//! ```
//!
//! Closed loop, the default: a packet is made when the wire asks for one, so none may be lost. Open loop: packets are made
//! at a rate, whether anybody has room for them or not.
//!
//! Contract: one thread has the [`End`] and goes round: [`begin`](End::begin), any number of [`receive`](End::receive) and
//! [`send`](End::send), [`end`](End::end). Any thread looks at it, starts and stops it by its [`Monitor`]; what that shows is
//! as it was after the last round.
//!
//! Not here: what a wire is.

use crate::Error;
use crate::check::{Checker, Totals};
use crate::generator::{Generator, Plan};
use crate::pace::{Pace, Pacer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What an end makes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndOptions {
    /// The packets.
    pub plan: Plan,
    /// When they are made; unlimited: whenever the wire asks.
    pub pace: Pace,
    /// How many in all. `None`: no end.
    pub limit: Option<u64>,
    /// Whether the first one waits for [`Monitor::start`].
    pub held: bool,
}

/// What an end has made, and what has arrived there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Packets that it made.
    pub made: u64,
    /// What its checker found.
    pub totals: Totals,
}

/// A generator and a checker in one hand.
#[derive(Debug)]
pub struct End {
    generator: Generator,
    checker: Checker,
    pace: Pace,
    /// The clock of the packets, and what was made before it began.
    pacer: Option<(Pacer, u64)>,
    limit: u64,
    made: u64,
    /// In this round: when it is, and up to how many may be made.
    now: u64,
    due: u64,
    shared: Arc<Shared>,
}

/// An end from outside.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runs: AtomicBool,
    arrivals: Mutex<Arrivals>,
}

impl End {
    /// An end as `options` say.
    ///
    /// # Errors
    /// When such packets can't be made.
    pub fn new(options: &EndOptions) -> Result<(Self, Monitor), Error> {
        let shared = Arc::new(Shared { runs: AtomicBool::new(!options.held), arrivals: Mutex::default() });
        let end = Self {
            generator: Generator::new(&options.plan)?,
            checker: Checker::default(),
            pace: options.pace,
            pacer: None,
            limit: options.limit.unwrap_or(u64::MAX),
            made: 0,
            now: 0,
            due: 0,
            shared: Arc::clone(&shared),
        };
        Ok((end, Monitor(shared)))
    }

    /// Begins a round, at `now` nanoseconds.
    pub fn begin(&mut self, now: u64) {
        self.now = now;
        self.due = if !self.shared.runs.load(Ordering::Relaxed) {
            // What would have been due meanwhile is not made up for.
            self.pacer = None;
            self.made
        } else if self.pace == Pace::Unlimited {
            self.limit
        } else {
            let (pace, made) = (self.pace, self.made);
            let (pacer, before) = self.pacer.get_or_insert_with(|| (Pacer::new(pace, 1), made));
            before.saturating_add(pacer.due(now)).min(self.limit)
        };
    }

    /// Writes the next packet to the start of `frame` and returns its length. `None`: none is due.
    #[inline]
    pub fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        if self.made >= self.due {
            return None;
        }
        let length = self.generator.next(frame, self.now)?;
        self.made = self.made.wrapping_add(1);
        Some(length)
    }

    /// Takes a frame.
    #[inline]
    pub fn send(&mut self, frame: &[u8]) {
        self.checker.take(frame);
    }

    /// Whether packets wait until there is room for them.
    pub fn waits(&self) -> bool {
        self.pace == Pace::Unlimited
    }

    /// Ends a round: others see what it brought.
    pub fn end(&mut self) {
        let arrivals = Arrivals { made: self.made, totals: self.checker.totals() };
        *self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner) = arrivals;
    }
}

impl Monitor {
    /// What was made and found up to the last round.
    pub fn read(&self) -> Arrivals {
        *self.0.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to make packets, or goes on.
    pub fn start(&self) {
        self.0.runs.store(true, Ordering::Relaxed);
    }

    /// Makes no further packets; those under way still arrive.
    pub fn stop(&self) {
        self.0.runs.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round in which everything that is made is sent back. How many that were.
    fn round(end: &mut End, now: u64) -> usize {
        let mut frame = [0; 1514];
        end.begin(now);
        let count = std::iter::from_fn(|| {
            let length = end.receive(&mut frame)?;
            end.send(&frame[..length]);
            Some(())
        })
        .take(1000)
        .count();
        end.end();
        count
    }

    #[test]
    fn a_closed_loop_makes_what_is_asked_for_up_to_its_limit() {
        let (mut end, monitor) =
            End::new(&EndOptions { limit: Some(1500), ..EndOptions::default() }).unwrap();
        assert!(end.waits());
        assert_eq!([round(&mut end, 1), round(&mut end, 2), round(&mut end, 3)], [1000, 500, 0]);
        let Arrivals { made, totals } = monitor.read();
        assert_eq!((made, totals.received, totals.is_clean()), (1500, 1500, true));
    }

    #[test]
    fn an_open_loop_keeps_its_rate_and_does_not_make_up_for_a_pause() {
        let options = EndOptions { pace: Pace::Constant(1e6), held: true, ..EndOptions::default() };
        let (mut end, monitor) = End::new(&options).unwrap();
        assert!(!end.waits());
        assert_eq!(round(&mut end, 1_000_000), 0, "held");
        monitor.start();
        assert_eq!([round(&mut end, 2_000_000), round(&mut end, 2_010_000)], [0, 10]);
        monitor.stop();
        assert_eq!(round(&mut end, 2_020_000), 0);
        monitor.start();
        assert_eq!([round(&mut end, 9_000_000), round(&mut end, 9_005_000)], [0, 5]);
        assert_eq!(monitor.read().made, 15);
    }
}
