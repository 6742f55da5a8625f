//! Which buffers software devices may reach now, and how the program gets one back from them.
//!
//! Each buffer of an emulated space has a mark, set while it is lent. Program and device are different threads, so
//! a mark alone doesn't do: the device may have looked at it just before it was cleared. Hence each view has an
//! [`Activity`], odd while it is inside a buffer:
//!
//! ```text
//!   program: take back                     device: access
//!     mark := 0                              activity := odd      (release)
//!     full barrier                           full barrier
//!     wait while an activity is odd          mark = 1? then copy, else fault
//!       (acquire)                            activity := even     (release)
//! ```
//!
//! One of the two always sees the other: either the view finds the mark cleared, or the program finds the view
//! inside and waits until it has left. An access is a bounded copy, so the wait is short. Entering releases too,
//! not only leaving: the program may find the activity odd again, from the view's next access, and has to be behind
//! the one before. `tests/loom.rs` tries all interleavings of this file.
//!
//! Not here: rings. Both sides use atomics there at any time.

use crate::sync::{Arc, AtomicU8, AtomicU64, Ordering, PoisonError, RwLock, fence, pause};

/// The views of one emulated address space, as far as taking back is concerned.
#[derive(Debug, Default)]
pub(crate) struct Views(RwLock<Vec<Arc<Activity>>>);

/// Odd while its view is inside a buffer. Only its view writes it.
#[derive(Debug, Default)]
pub(crate) struct Activity(AtomicU64);

impl Views {
    /// A view begins. One that begins while a buffer is taken back finds the mark cleared: the lock orders the two.
    pub(crate) fn join(&self) -> Arc<Activity> {
        let activity = Arc::new(Activity::default());
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&activity));
        activity
    }

    /// A view ends.
    pub(crate) fn leave(&self, activity: &Arc<Activity>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|view| !Arc::ptr_eq(view, activity));
    }

    /// Returns once every access that may have begun before the call has ended.
    fn wait(&self) {
        fence(Ordering::SeqCst);
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for view in views.iter() {
            let seen = view.0.load(Ordering::Acquire);
            let mut turn = 0u32;
            while seen % 2 == 1 && view.0.load(Ordering::Acquire) == seen {
                turn = turn.wrapping_add(1);
                pause(turn);
            }
        }
    }
}

impl Activity {
    /// The view is inside a buffer until the answer is dropped. Look at marks only after this.
    #[inline]
    pub(crate) fn enter(&self) -> Inside<'_> {
        // Odd also when the last access never ended, because its burst was forgotten.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1) | 1, Ordering::Release);
        fence(Ordering::SeqCst);
        Inside(self)
    }
}

/// Ends the access, also when it unwinds.
#[derive(Debug)]
pub(crate) struct Inside<'a>(&'a Activity);

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.0.store(self.0.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}

/// Which buffers of a set are lent, on an emulated address space. Hardware has none: there the IOMMU and the
/// order of operations are what protects.
///
/// Only code that knows who holds a buffer may mark it, so marking is `unsafe`.
#[derive(Debug)]
pub struct LentTable {
    views: Arc<Views>,
    shift: u32,
    marks: Box<[AtomicU8]>,
}

impl LentTable {
    pub(crate) fn new(views: &Arc<Views>, count: u32, shift: u32) -> Self {
        let marks = (0..count).map(|_| AtomicU8::new(0)).collect();
        Self { views: Arc::clone(views), shift, marks }
    }

    /// Marks buffers as lent: devices reach them from now on.
    ///
    /// # Safety
    /// The caller gives the buffers up: nothing in the program reads or writes them until
    /// [`take_back`](Self::take_back).
    #[inline(never)]
    pub unsafe fn lend(&self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            if let Some(mark) = self.marks.get(number as usize) {
                mark.store(1, Ordering::Release);
            }
        }
    }

    /// Takes the marks away. When it returns, no device is inside these buffers.
    #[inline(never)]
    pub fn take_back(&self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            if let Some(mark) = self.marks.get(number as usize) {
                mark.store(0, Ordering::Relaxed);
            }
        }
        self.views.wait();
    }

    /// How many are lent now.
    pub fn count(&self) -> usize {
        self.marks.iter().filter(|mark| mark.load(Ordering::Relaxed) != 0).count()
    }

    /// Whether a view that is [inside](Activity::enter) may touch these bytes of the set: all in one lent buffer.
    #[inline]
    pub(crate) fn allows(&self, offset: usize, bytes: usize) -> bool {
        let first = offset >> self.shift;
        let last = offset.saturating_add(bytes.saturating_sub(1)) >> self.shift;
        first == last && self.marks.get(first).is_some_and(|mark| mark.load(Ordering::Acquire) != 0)
    }
}
