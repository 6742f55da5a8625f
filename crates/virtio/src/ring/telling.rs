//! Who has to be told: the driver's half of the suppression of notifications and of interrupts (virtio 1.2, sections 2.7.7,
//! 2.7.10 and 2.7.13.4).
//!
//! Both sides do the same two things in the same order. Who produces shows its index, and then looks whether the other side
//! wants to be told. Who consumes says that it wants to be told, and then looks once more whether there is something. Between
//! the two stands a full barrier on either side: so at least one of them sees what the other did, and nobody sleeps over work.
//!
//! This file names nothing but `sync`; see there.

use super::sync::{AtomicU16, Ordering, barrier};

/// Ring flags (sections 2.7.6 and 2.7.8).
const AVAIL_NO_INTERRUPT: u16 = 1;
const USED_NO_NOTIFY: u16 = 1;

/// The words of a virtqueue by which the sides tell one another how far they are and what they want to hear of.
///
/// Each is asked for where it is used: a barrier stands between them, over which the compiler moves no load of a pointer.
pub(super) trait Words {
    fn available_index(&self) -> &AtomicU16;
    fn available_flags(&self) -> &AtomicU16;
    fn used_event(&self) -> &AtomicU16;
    fn used_index(&self) -> &AtomicU16;
    fn used_flags(&self) -> &AtomicU16;
    fn available_event(&self) -> &AtomicU16;

    /// Shows the device what was offered from `old` up to `new`. Whether it wants to be told (section 2.7.13.4).
    #[inline(always)]
    fn publish(&self, event_index: bool, old: u16, new: u16) -> bool {
        // Section 2.7.13.3.1: descriptors and entries are seen before the index, also by a device that needs a
        // platform's barriers (section 6.1, ORDER_PLATFORM).
        barrier::before_doorbell();
        self.available_index().store(new, Ordering::Release);
        // Section 2.7.13.4.1: the index is seen before the device's wish is read.
        barrier::full();
        if event_index {
            let event = self.available_event().load(Ordering::Relaxed);
            // Section 2.7.10: the event lies in what was published now.
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.used_flags().load(Ordering::Relaxed) & USED_NO_NOTIFY == 0
        }
    }

    /// Asks for an interrupt when the entry `next` is used.
    #[inline(always)]
    fn ask(&self, event_index: bool, next: u16) {
        if event_index {
            self.used_event().store(next, Ordering::Relaxed);
        } else {
            self.available_flags().store(0, Ordering::Relaxed);
        }
    }

    /// Asks for none. The event is as far away from `next` as can be: section 2.7.7.1 has the flags stay 0 where there are
    /// events.
    #[inline(always)]
    fn ask_not(&self, event_index: bool, next: u16) {
        if event_index {
            self.used_event().store(next.wrapping_sub(1), Ordering::Relaxed);
        } else {
            self.available_flags().store(AVAIL_NO_INTERRUPT, Ordering::Relaxed);
        }
    }

    /// How far the device is; the entries before that are there.
    #[inline(always)]
    fn used(&self) -> u16 {
        self.used_index().load(Ordering::Acquire)
    }

    /// As [`ask`](Self::ask), for a queue that looks at what is [`used`](Self::used) some time later.
    #[inline(always)]
    fn ask_ahead(&self, event_index: bool, next: u16) {
        self.ask(event_index, next);
        // Before that look: either it finds an entry, or the device finds the event.
        barrier::full();
    }

    /// Whether the entry `next` isn't there yet, looked at after what was asked for is seen by the device.
    #[inline(always)]
    fn is_still_waiting(&self, next: u16) -> bool {
        barrier::full();
        self.used() == next
    }
}
