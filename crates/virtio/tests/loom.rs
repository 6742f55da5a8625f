//! Every interleaving of the suppression of notifications and interrupts: `src/ring/telling.rs` itself, compiled against
//! loom's atomics, with a device on another thread that does its half as the specification has it.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ringway-virtio --release --test loom`; without the flag there is nothing here.
//!
//! What has to hold: nobody sleeps over work. Whoever fell asleep has seen everything, or was told after he last looked. And
//! no entry is read before it is written: entries are ordered by nothing but the indices.

#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a test that fails shall say so")]

/// What `src/ring/sync.rs` is to the library.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU16, Ordering};

    /// The barriers of `ringway-dma`, for loom. Its doorbell's is a release fence (and more, on processors that loom doesn't know).
    pub(super) mod barrier {
        use loom::sync::atomic::{Ordering, fence};

        pub(crate) fn before_doorbell() {
            fence(Ordering::Release);
        }

        pub(crate) fn full() {
            fence(Ordering::SeqCst);
        }
    }
}

#[path = "../src/ring/telling.rs"]
mod telling;

use loom::sync::Arc;
use loom::thread;
use sync::{AtomicU16, Ordering, barrier};
use telling::Words;

/// Ring flags, from the specification (sections 2.7.6 and 2.7.8).
const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;
/// Where the indices begin: they pass their end in the run.
const FIRST: u16 = u16::MAX;
const ENTRIES: u16 = 2;

/// What an entry holds: nothing that it holds before.
fn mark(index: u16) -> u16 {
    index.wrapping_sub(FIRST).wrapping_add(7)
}

/// What driver and device share.
struct Queue {
    available_index: AtomicU16,
    available_flags: AtomicU16,
    used_event: AtomicU16,
    used_index: AtomicU16,
    used_flags: AtomicU16,
    available_event: AtomicU16,
    /// Stand for the entries of the ring in question.
    entries: [AtomicU16; ENTRIES as usize],
    /// The doorbell or the interrupt: 1 from being told until the other side takes note.
    told: AtomicU16,
}

impl Queue {
    /// As it is while the consumer works: it wants to be told of nothing.
    fn new() -> Arc<Self> {
        let far = FIRST.wrapping_sub(1);
        Arc::new(Self {
            available_index: AtomicU16::new(FIRST),
            available_flags: AtomicU16::new(NO_INTERRUPT),
            used_event: AtomicU16::new(far),
            used_index: AtomicU16::new(FIRST),
            used_flags: AtomicU16::new(NO_NOTIFY),
            available_event: AtomicU16::new(far),
            entries: Default::default(),
            told: AtomicU16::new(0),
        })
    }

    fn entry(&self, index: u16) -> &AtomicU16 {
        &self.entries[index.wrapping_sub(FIRST) as usize]
    }

    fn write_entry(&self, index: u16) {
        self.entry(index).store(mark(index), Ordering::Relaxed);
    }

    fn read_entries(&self, from: u16, to: u16) {
        for index in (0..to.wrapping_sub(from)).map(|entry| from.wrapping_add(entry)) {
            assert_eq!(self.entry(index).load(Ordering::Relaxed), mark(index), "read before it was written");
        }
    }

    /// Rings the doorbell, or interrupts. (Loom takes a plain store beside the other side's swap for one that may be lost.)
    fn tell(&self) {
        self.told.swap(1, Ordering::AcqRel);
    }

    /// Takes note of having been told, as who wakes up does. Whether there was something to take note of.
    fn wakes(&self) -> bool {
        self.told.swap(0, Ordering::AcqRel) != 0
    }

    /// Whoever slept at `seen` doesn't sleep over work.
    fn nobody_sleeps_over_work(&self, seen: u16) {
        let told = self.told.load(Ordering::Acquire) != 0;
        assert!(seen == FIRST.wrapping_add(ENTRIES) || told, "asleep at {seen}, and nobody said a word");
    }
}

impl Words for Queue {
    fn available_index(&self) -> &AtomicU16 {
        &self.available_index
    }

    fn available_flags(&self) -> &AtomicU16 {
        &self.available_flags
    }

    fn used_event(&self) -> &AtomicU16 {
        &self.used_event
    }

    fn used_index(&self) -> &AtomicU16 {
        &self.used_index
    }

    fn used_flags(&self) -> &AtomicU16 {
        &self.used_flags
    }

    fn available_event(&self) -> &AtomicU16 {
        &self.available_event
    }
}

/// The device's half, as section 2.7.13.4 has the driver's: shows its index, then looks whether it is to interrupt.
fn device_produces(queue: &Queue, event_index: bool) {
    for index in (0..ENTRIES).map(|entry| FIRST.wrapping_add(entry)) {
        queue.write_entry(index);
        let new = index.wrapping_add(1);
        queue.used_index.store(new, Ordering::Release);
        barrier::full();
        let wanted = if event_index {
            // One entry at a time: the event is this entry's, or not.
            queue.used_event.load(Ordering::Relaxed) == index
        } else {
            queue.available_flags.load(Ordering::Relaxed) & NO_INTERRUPT == 0
        };
        if wanted {
            queue.tell();
        }
    }
}

/// The device's half of section 2.7.10: consumes, asks to be told, looks once more, and sleeps when nothing came, until it is
/// told. Where it got to.
fn device_consumes(queue: &Queue, event_index: bool) -> u16 {
    let mut seen = FIRST;
    loop {
        let index = queue.available_index.load(Ordering::Acquire);
        queue.read_entries(seen, index);
        seen = index;
        if event_index {
            queue.available_event.store(seen, Ordering::Relaxed);
        } else {
            queue.used_flags.store(0, Ordering::Relaxed);
        }
        barrier::full();
        if queue.available_index.load(Ordering::Acquire) == seen && !queue.wakes() {
            return seen;
        }
        if !event_index {
            queue.used_flags.store(NO_NOTIFY, Ordering::Relaxed);
        }
    }
}

/// The same for a device that wants to be told of two entries at once, and not of one.
fn patient_device_consumes(queue: &Queue, _: bool) -> u16 {
    let mut seen = FIRST;
    loop {
        queue.available_event.store(FIRST.wrapping_add(1), Ordering::Relaxed);
        barrier::full();
        let index = queue.available_index.load(Ordering::Acquire);
        if index.wrapping_sub(FIRST) >= 2 {
            queue.read_entries(seen, index);
            seen = index;
        }
        if seen != FIRST || !queue.wakes() {
            return seen;
        }
    }
}

fn driver_produces(queue: &Queue, event_index: bool) {
    for index in (0..ENTRIES).map(|entry| FIRST.wrapping_add(entry)) {
        queue.write_entry(index);
        if queue.publish(event_index, index, index.wrapping_add(1)) {
            queue.tell();
        }
    }
}

/// As a queue does that sleeps when it is idle: reads, asks, looks once more, and sleeps when nothing came, until it is told.
fn driver_consumes(queue: &Queue, event_index: bool) -> u16 {
    let mut seen = FIRST;
    loop {
        let index = queue.used();
        queue.read_entries(seen, index);
        seen = index;
        queue.ask(event_index, seen);
        if queue.is_still_waiting(seen) && !queue.wakes() {
            return seen;
        }
        queue.ask_not(event_index, seen);
    }
}

/// As one does that goes on listening while it reads.
fn listening_driver_consumes(queue: &Queue, event_index: bool) -> u16 {
    let mut seen = FIRST;
    queue.ask(event_index, seen);
    if !queue.is_still_waiting(seen) {
        // One is there already; whether it was told of can't be known.
        queue.wakes();
    }
    loop {
        let index = queue.used();
        queue.read_entries(seen, index);
        if index == seen && !queue.wakes() {
            return seen;
        }
        seen = index;
        queue.ask_ahead(event_index, seen);
    }
}

fn in_every_order(
    event_index: bool,
    produces: impl Fn(&Queue, bool) + Send + Sync + 'static,
    consumes: impl Fn(&Queue, bool) -> u16 + Send + Sync + 'static,
) {
    let both = std::sync::Arc::new((produces, consumes));
    loom::model(move || {
        let queue = Queue::new();
        let producer = {
            let (queue, both) = (Arc::clone(&queue), std::sync::Arc::clone(&both));
            thread::spawn(move || both.0(&queue, event_index))
        };
        let seen = both.1(&queue, event_index);
        producer.join().unwrap();
        queue.nobody_sleeps_over_work(seen);
    });
}

#[test]
fn a_device_that_sleeps_is_told_of_what_is_published() {
    for event_index in [false, true] {
        in_every_order(event_index, driver_produces, device_consumes);
    }
}

#[test]
fn a_driver_that_sleeps_is_told_of_what_is_used() {
    for event_index in [false, true] {
        in_every_order(event_index, device_produces, driver_consumes);
    }
}

#[test]
fn a_driver_that_goes_on_listening_is_told_of_what_is_used() {
    for event_index in [false, true] {
        in_every_order(event_index, device_produces, listening_driver_consumes);
    }
}

/// Both entries published at once: the event is one of the two, or past them.
#[test]
fn a_device_whose_event_lies_in_a_batch_is_told() {
    let batch = |queue: &Queue, event_index: bool| {
        (0..ENTRIES).for_each(|entry| queue.write_entry(FIRST.wrapping_add(entry)));
        if queue.publish(event_index, FIRST, FIRST.wrapping_add(ENTRIES)) {
            queue.tell();
        }
    };
    for event_index in [false, true] {
        in_every_order(event_index, batch, device_consumes);
    }
    in_every_order(true, batch, patient_device_consumes);
}
