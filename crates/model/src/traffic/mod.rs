//! A source of numbered UDP packets and a sink that checks the numbers: the far end of a forwarder's ports when there
//! is no network.
//!
//! ```text
//!   source ──▶ device ──▶ the program ──▶ device ──▶ sink
//!     60 bytes and more, number and check in each        lost, out of order, duplicate, corrupted
//! ```
//!
//! Closed loop, the default: a packet is made when the device has a receive buffer for it, so none may be lost.
//! Open loop: packets are made at a rate, and those that find no buffer are lost at the device, which counts them.
//!
//! This module knows nothing of devices but the trait [`Wire`].

mod packet;
mod sink;
mod source;

pub use packet::MINIMUM_FRAME;
pub use sink::Sink;
pub use source::Source;

use crate::wire::{MAXIMUM_FRAME, Wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a source makes.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficOptions {
    /// The length of each frame, without FCS: 60 (a 64-byte packet as it is usually named) to 65554 bytes.
    pub frame_length: usize,
    /// UDP flows, told apart by their source port, one packet of each in turn.
    pub flows: u16,
    /// Frames a second, whether there is room for them or not. `None`: as many as there is room for.
    pub rate: Option<f64>,
    /// How many frames in all. `None`: no end.
    pub limit: Option<u64>,
    /// Whether the first frame waits for [`TrafficMonitor::start`].
    pub held: bool,
    /// The Ethernet address that frames come from.
    pub source: [u8; 6],
    /// The Ethernet address that frames go to.
    pub destination: [u8; 6],
}

impl Default for TrafficOptions {
    fn default() -> Self {
        Self {
            frame_length: MINIMUM_FRAME,
            flows: 1,
            rate: None,
            limit: None,
            held: false,
            source: [0x02, 0, 0, 0, 0xff, 0x01],
            destination: [0x02, 0, 0, 0, 0, 0x01],
        }
    }
}

/// What a source made and a sink saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Frames that the source made.
    pub sent: u64,
    /// Their bytes, without FCS.
    pub sent_bytes: u64,
    /// Frames of a source that arrived, each counted once.
    pub received: u64,
    /// Their bytes, without FCS.
    pub received_bytes: u64,
    /// Numbers that were skipped and have not arrived since.
    pub lost: u64,
    /// Frames that arrived after one with a higher number of their flow.
    pub out_of_order: u64,
    /// Frames that arrived before.
    pub duplicates: u64,
    /// Frames that carry the mark of a source and are damaged.
    pub corrupted: u64,
    /// Frames of somebody else.
    pub foreign: u64,
}

impl Totals {
    /// Whether every frame that arrived was right and in its place.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.out_of_order == 0 && self.duplicates == 0 && self.corrupted == 0
    }

    /// Of `sent` frames of a source that has stopped, how many did not arrive here.
    pub fn missing_of(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.received)
    }
}

/// A source and a sink on one port.
#[derive(Debug)]
pub struct Traffic {
    source: Source,
    sink: Sink,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    counters: [AtomicU64; 9],
}

/// A look at traffic from another thread.
#[derive(Clone, Debug)]
pub struct TrafficMonitor {
    shared: Arc<Shared>,
}

impl Traffic {
    /// A source as `options` say, and a sink for any source's frames.
    pub fn new(options: &TrafficOptions) -> (Self, TrafficMonitor) {
        let shared = Arc::new(Shared::default());
        shared.stop.store(options.held, Ordering::Relaxed);
        let monitor = TrafficMonitor { shared: Arc::clone(&shared) };
        (Self { source: Source::new(options), sink: Sink::new(), shared }, monitor)
    }

    /// What was made and seen so far.
    pub fn totals(&self) -> Totals {
        Totals { sent: self.source.sent(), sent_bytes: self.source.sent_bytes(), ..self.sink.totals() }
    }
}

impl Wire for Traffic {
    fn begin(&mut self) {
        self.source.set_stopped(self.shared.stop.load(Ordering::Relaxed));
        self.source.tick();
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.source.next(frame)
    }

    fn send(&mut self, frame: &[u8]) {
        self.sink.take(frame);
    }

    fn waits(&self) -> bool {
        !self.source.is_open_loop()
    }

    fn end(&mut self) {
        self.shared.publish(&self.totals());
    }
}

impl Shared {
    /// Stores, not additions: one thread writes them.
    fn publish(&self, totals: &Totals) {
        let Totals {
            sent,
            sent_bytes,
            received,
            received_bytes,
            lost,
            out_of_order,
            duplicates,
            corrupted,
            foreign,
        } = *totals;
        let values =
            [sent, sent_bytes, received, received_bytes, lost, out_of_order, duplicates, corrupted, foreign];
        for (counter, value) in self.counters.iter().zip(values) {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

impl TrafficMonitor {
    /// What was made and seen up to the device's last step; while it runs, the values may be a step apart.
    pub fn totals(&self) -> Totals {
        let [sent, sent_bytes, received, received_bytes, lost, out_of_order, duplicates, corrupted, foreign] =
            self.shared.counters.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        Totals {
            sent,
            sent_bytes,
            received,
            received_bytes,
            lost,
            out_of_order,
            duplicates,
            corrupted,
            foreign,
        }
    }

    /// Begins to make frames, or goes on. A source with a rate doesn't make up for the time that it stood still.
    pub fn start(&self) {
        self.shared.stop.store(false, Ordering::Relaxed);
    }

    /// Makes no further frames; those under way still arrive.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// The longest frame that is made.
const LONGEST: usize = MAXIMUM_FRAME;
