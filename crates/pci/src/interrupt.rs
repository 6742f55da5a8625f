//! Interrupts as a program sees them: event counters that become readable.

use crate::Error;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// An event counter (eventfd) that doesn't block, for [`Function::set_msix`](crate::Function::set_msix).
///
/// # Errors
/// When the process has too many files open.
pub fn event_counter() -> Result<Arc<OwnedFd>, Error> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map(Arc::new)
        .map_err(|errno| Error::EventCounter(errno.into()))
}
