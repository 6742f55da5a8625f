//! A generator and a receiver of marked packets on an emulated card's wire.

use super::card::WireMonitor;
use crate::Error;
use crate::machine::clock;
use ringway_model::wire::Wire;
use ringway_port::MacAddress;
use ringway_traffic::check::{Checker, Totals};
use ringway_traffic::frame::Shape;
use ringway_traffic::generator::{Generator, Plan};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What was made on a card's wire, and what arrived there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Packets that the generator put on the wire.
    pub made: u64,
    /// What the receiver found.
    pub totals: Totals,
}

/// A card's wire from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct MarkedMonitor(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    runs: AtomicBool,
    arrivals: Mutex<Arrivals>,
}

impl MarkedMonitor {
    pub(super) fn start(&self) {
        self.0.runs.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.0.runs.store(false, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Arrivals {
        *self.0.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wire's end. The generator waits for room, as all emulated sources do that have no rate.
#[derive(Debug)]
struct MarkedEnd {
    generator: Generator,
    checker: Checker,
    arrivals: Arrivals,
    shared: Arc<Shared>,
    /// Now, in this round; `None` while nothing is to be made.
    now: Option<u64>,
}

/// A generator and a receiver for a card with that address.
pub(super) fn end(mac: [u8; 6]) -> Result<(Box<dyn Wire>, WireMonitor), Error> {
    let shape = Shape { destination: MacAddress(mac), ..Shape::default() };
    let monitor = MarkedMonitor::default();
    let end = MarkedEnd {
        generator: Generator::new(&Plan { shape, ..Plan::default() })?,
        checker: Checker::default(),
        arrivals: Arrivals::default(),
        shared: Arc::clone(&monitor.0),
        now: None,
    };
    Ok((Box::new(end), WireMonitor::Marked(monitor)))
}

impl Wire for MarkedEnd {
    fn begin(&mut self) {
        self.now = self.shared.runs.load(Ordering::Relaxed).then(clock::now);
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let length = self.generator.next(frame, self.now?)?;
        self.arrivals.made = self.arrivals.made.saturating_add(1);
        Some(length)
    }

    fn send(&mut self, frame: &[u8]) {
        self.checker.take(frame);
    }

    fn end(&mut self) {
        self.arrivals.totals = self.checker.totals();
        *self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner) = self.arrivals;
    }
}
