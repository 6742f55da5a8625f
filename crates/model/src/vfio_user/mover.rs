//! The thread that moves a served device: it sleeps until the driver, the wire or a moderated interrupt calls.

use super::function::Function;
use super::link::Link;
use crate::ixgbe::Shared;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long it sleeps while interrupts wait for their moment, and otherwise at most.
const MODERATED: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000 };
const IDLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Frames that are let go between two looks at what else there is: a flood holds nothing up.
const LET_GO: usize = 1024;

/// What the thread works on.
#[derive(Debug)]
pub(crate) struct Mover {
    shared: Arc<Shared>,
    kick: Arc<OwnedFd>,
    stopped: AtomicBool,
}

impl Mover {
    pub(crate) fn new(function: &Function) -> io::Result<Self> {
        Ok(Self { shared: function.shared(), kick: function.kick(), stopped: AtomicBool::new(false) })
    }

    /// Ends [`run`](Self::run).
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        kick(&self.kick);
    }

    /// Moves the device. Returns frames moved.
    pub(crate) fn run(&self, link: &mut dyn Link) -> u64 {
        let mut frames = 0u64;
        let mut spare = vec![0; crate::wire::MAXIMUM_FRAME];
        while !self.stopped.load(Ordering::Acquire) {
            // Before the look, so that a kick after it isn't lost.
            let mut counter = [0; 8];
            let _ = rustix::io::read(&self.kick, &mut counter);
            link.begin();
            let (moved, wants, pending) = {
                let mut device = self.shared.lock_to_move();
                let moved = device.turn(link, true);
                (moved, device.wants_frames(), device.core.interrupts.is_pending())
            };
            link.end();
            frames = frames.wrapping_add(moved as u64);
            if moved > 0 {
                continue;
            }
            let listens = match wants {
                Wants::Frames => true,
                Wants::Nothing => false,
                // The receiver is off: what arrives is lost.
                Wants::Silence if link.keeps() => false,
                Wants::Silence => {
                    let mut frames = 0..LET_GO;
                    while frames.next().is_some() && link.receive(&mut spare).is_some() {}
                    true
                }
            };
            self.sleep(if listens { Some(&*link) } else { None }, if pending { &MODERATED } else { &IDLE });
        }
        frames
    }

    fn sleep(&self, link: Option<&dyn Link>, limit: &Timespec) {
        let kick = PollFd::new(&*self.kick, PollFlags::IN);
        // An error can only be a signal: then it looks once more than it had to.
        let _ = match link.and_then(Link::readable) {
            Some(file) => poll(&mut [kick, PollFd::from_borrowed_fd(file, PollFlags::IN)], Some(limit)),
            None => poll(&mut [kick], Some(limit)),
        };
    }
}

/// What a device does with arriving frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// It takes them.
    Frames,
    /// One waits for room already.
    Nothing,
    /// It isn't receiving.
    Silence,
}

/// Wakes the thread.
pub(crate) fn kick(counter: &OwnedFd) {
    // The only failure is a counter that is full, and that wakes it too.
    let _ = rustix::io::write(counter, &1u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::Options;
    use crate::wire::Wire;
    use std::os::fd::BorrowedFd;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A wire on which there is always another frame; it tells of the first.
    #[derive(Debug)]
    struct Flood(Option<Sender<()>>);

    impl Wire for Flood {
        fn receive(&mut self, _frame: &mut [u8]) -> Option<usize> {
            if let Some(first) = self.0.take() {
                first.send(()).unwrap();
            }
            Some(60)
        }
        fn send(&mut self, _frame: &[u8]) {}
    }

    impl Link for Flood {
        fn readable(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }

    #[test]
    fn a_flood_before_the_receiver_is_on_does_not_keep_the_thread_from_ending() {
        let function = Function::new(Options::default()).unwrap();
        let mover = Arc::new(Mover::new(&function).unwrap());
        let ((first, flooded), (ended, end)) = (channel(), channel());
        let moving = Arc::clone(&mover);
        std::thread::spawn(move || ended.send(moving.run(&mut Flood(Some(first)))));
        flooded.recv_timeout(LIMIT).unwrap();
        mover.stop();
        assert_eq!(end.recv_timeout(LIMIT), Ok(0));
    }
}
