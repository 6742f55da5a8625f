//! Makes numbered packets.

use super::TrafficOptions;
use super::packet::{number, template};
use std::time::Instant;

/// A source.
#[derive(Debug)]
pub struct Source {
    template: Vec<u8>,
    /// The next number of each flow, and the flow whose turn it is.
    next: Vec<u64>,
    flow: usize,
    sent: u64,
    limit: u64,
    rate: Option<f64>,
    /// When it began or went on, and what it had made by then.
    start: Option<(Instant, u64)>,
    /// Frames that are due by the clock.
    due: u64,
    stopped: bool,
}

impl Source {
    /// A source as `options` say.
    pub fn new(options: &TrafficOptions) -> Self {
        Self {
            template: template(options),
            next: vec![0; options.flows.max(1).into()],
            flow: 0,
            sent: 0,
            limit: options.limit.unwrap_or(u64::MAX),
            rate: options.rate.filter(|rate| rate.is_finite() && *rate >= 0.0),
            start: None,
            due: 0,
            stopped: false,
        }
    }

    /// Looks at the clock, if frames are made by it.
    pub fn tick(&mut self) {
        if let Some(rate) = self.rate {
            if self.stopped {
                self.start = None;
                return;
            }
            let (start, made) = *self.start.get_or_insert_with(|| (Instant::now(), self.sent));
            self.due = made.saturating_add((start.elapsed().as_secs_f64() * rate) as u64);
        }
    }

    /// Writes the next frame to the start of `frame` and returns its length. `None`: none is due.
    #[inline]
    pub fn next(&mut self, frame: &mut [u8]) -> Option<usize> {
        let end = if self.rate.is_some() { self.due.min(self.limit) } else { self.limit };
        if self.stopped || self.sent >= end {
            return None;
        }
        let length = self.template.len();
        let frame = frame.get_mut(..length)?;
        frame.copy_from_slice(&self.template);
        let next = self.next.get_mut(self.flow)?;
        number(frame, self.flow as u16, *next);
        *next = next.wrapping_add(1);
        self.flow = self.flow.wrapping_add(1);
        if self.flow >= self.next.len() {
            self.flow = 0;
        }
        self.sent = self.sent.wrapping_add(1);
        Some(length)
    }

    /// Stops, or goes on.
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Whether frames are made by the clock.
    pub fn is_open_loop(&self) -> bool {
        self.rate.is_some()
    }

    /// Frames made.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Their bytes, without FCS.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.wrapping_mul(self.template.len() as u64)
    }
}
