//! Every interleaving of the lending protocol: `src/lent.rs` itself, compiled against loom's atomics and locks.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ringway-dma --release --test loom`; without the flag there is nothing here.
//!
//! A buffer is a cell that loom watches: two threads in it at once, or one after the other with nothing that orders
//! them, fail the run. Loom knows our own atomics only; the queues between threads are crossbeam's and proven there.

#![cfg(loom)]
#![allow(dead_code, reason = "the module is compiled whole")]

/// What `src/sync.rs` is to the library.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Arc, RwLock};
    pub(crate) use std::sync::PoisonError;

    pub(crate) fn pause(_turn: u32) {
        loom::thread::yield_now();
    }
}

#[path = "../src/lent.rs"]
mod lent;

use lent::{Activity, LentTable, Views};
use loom::cell::UnsafeCell;
use loom::thread;
use sync::Arc;

const SHIFT: u32 = 11;

/// Buffers and their marks.
struct Set {
    views: Arc<Views>,
    table: LentTable,
    bytes: Vec<UnsafeCell<u32>>,
}

// SAFETY: what is to be shown: marks and activities keep two threads out of one cell.
unsafe impl Sync for Set {}
// SAFETY: as above.
unsafe impl Send for Set {}

impl Set {
    fn new(count: u32) -> Arc<Self> {
        let views = Arc::new(Views::default());
        let table = LentTable::new(&views, count, SHIFT);
        Arc::new(Self { views, table, bytes: (0..count).map(|_| UnsafeCell::new(0)).collect() })
    }

    /// The program's own access to a buffer that it holds.
    fn hold(&self, number: usize) -> u32 {
        self.bytes[number].with_mut(|cell| {
            // SAFETY: loom watches the cell.
            unsafe {
                *cell += 1;
                *cell
            }
        })
    }

    fn lend(&self, number: u32) {
        // SAFETY: the tests hold the buffer again only after `take_back`.
        unsafe { self.table.lend(std::iter::once(number)) };
    }

    /// What a view does; whether it was let in.
    fn access(&self, activity: &Activity, number: usize) -> bool {
        let _inside = activity.enter();
        let allowed = self.table.allows(number << SHIFT, 1);
        if allowed {
            self.hold(number);
        }
        allowed
    }
}

#[test]
fn a_buffer_taken_back_is_the_programs_alone() {
    loom::model(|| {
        let set = Set::new(1);
        let activity = set.views.join();
        set.hold(0);
        set.lend(0);
        let device = {
            let set = Arc::clone(&set);
            thread::spawn(move || set.access(&activity, 0))
        };
        set.table.take_back(std::iter::once(0));
        let seen = set.hold(0);
        // The access came before or not at all.
        let accessed = device.join().unwrap();
        assert_eq!(seen, if accessed { 3 } else { 2 });
        assert_eq!(set.table.count(), 0);
    });
}

/// The view is in again, in another buffer, when the program looks: it must still be behind the first access.
#[test]
fn a_view_that_goes_on_elsewhere_has_left_the_buffer() {
    loom::model(|| {
        let set = Set::new(2);
        let activity = set.views.join();
        set.lend(0);
        set.lend(1);
        let device = {
            let set = Arc::clone(&set);
            thread::spawn(move || {
                set.access(&activity, 0);
                set.access(&activity, 1);
            })
        };
        set.table.take_back(std::iter::once(0));
        set.hold(0);
        device.join().unwrap();
    });
}

#[test]
fn a_view_that_begins_while_a_buffer_is_taken_back_stays_out() {
    loom::model(|| {
        let set = Set::new(1);
        set.lend(0);
        let device = {
            let set = Arc::clone(&set);
            thread::spawn(move || {
                let activity = set.views.join();
                set.access(&activity, 0);
                set.views.leave(&activity);
            })
        };
        set.table.take_back(std::iter::once(0));
        set.hold(0);
        device.join().unwrap();
    });
}

#[test]
fn a_buffer_lent_again_carries_what_the_program_wrote() {
    loom::model(|| {
        let set = Set::new(1);
        let activity = set.views.join();
        set.lend(0);
        let device = {
            let set = Arc::clone(&set);
            thread::spawn(move || set.access(&activity, 0))
        };
        set.table.take_back(std::iter::once(0));
        set.hold(0);
        set.lend(0);
        device.join().unwrap();
        set.table.take_back(std::iter::once(0));
        set.hold(0);
    });
}
