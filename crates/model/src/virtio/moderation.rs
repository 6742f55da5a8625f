//! Interrupts that are held back (virtio 1.2, section 5.1.6.5.8): one is sent when so many packets were used since the last
//! one, or when so much time went by.

use super::device::Device;
use std::time::{Duration, Instant};

/// What was set for a queue. `Default`: every interrupt is sent at once.
#[derive(Debug, Default)]
pub(crate) struct Moderation {
    packets: u32,
    interval: Duration,
    last: Option<Instant>,
    held: u32,
}

impl Moderation {
    pub(crate) fn set(&mut self, packets: u32, microseconds: u32) {
        (self.packets, self.interval) = (packets, Duration::from_micros(microseconds.into()));
    }

    /// Whether an interrupt that is wanted now is sent now. If not, it is owed.
    #[inline]
    pub(crate) fn may_interrupt(&mut self) -> bool {
        self.interval.is_zero() || self.is_due(1)
    }

    /// Whether one that is owed is sent now.
    fn is_overdue(&mut self) -> bool {
        self.held > 0 && self.is_due(0)
    }

    #[cold]
    fn is_due(&mut self, more: u32) -> bool {
        self.held = self.held.saturating_add(more);
        let waited = self.last.is_none_or(|last| last.elapsed() >= self.interval);
        let due = waited || self.held >= self.packets;
        if due {
            (self.held, self.last) = (0, Some(Instant::now()));
        }
        due
    }

    /// Whether any time is set.
    fn is_set(&self) -> bool {
        !self.interval.is_zero() || self.held > 0
    }
}

impl Device {
    /// Sends what was held back long enough.
    #[inline]
    pub(crate) fn send_held_interrupts(&mut self) {
        if self.queues.iter().any(|slot| slot.moderation.is_set()) {
            self.send_overdue();
        }
    }

    #[cold]
    fn send_overdue(&mut self) {
        for index in 0..self.queues.len() as u16 {
            let overdue =
                self.queues.get_mut(usize::from(index)).is_some_and(|slot| slot.moderation.is_overdue());
            if overdue {
                self.send_queue_interrupt(index);
            }
        }
    }

    /// How long a queue's interrupts are held back.
    pub(crate) fn moderation(&self, index: u16) -> Option<Duration> {
        self.queues.get(usize::from(index)).map(|slot| slot.moderation.interval)
    }
}
