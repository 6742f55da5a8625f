//! The end of the cable while nothing is attached, and what any cable must do.

use std::collections::VecDeque;
use std::fmt::Debug;

/// The longest frame that a wire carries.
pub const MAXIMUM_FRAME: usize = 65_554;

/// The far end of a port.
pub trait Wire: Send + Debug {
    /// Called once before a round.
    fn begin(&mut self) {}
    /// Puts the next frame that arrives at the start of `frame` and returns its length.
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize>;
    /// Takes a frame that the device sends.
    fn send(&mut self, frame: &[u8]);
    /// How many frames it takes now.
    fn room(&self) -> usize {
        usize::MAX
    }
    /// Whether frames wait until there is room for them.
    fn waits(&self) -> bool {
        true
    }
    /// Called once after the round.
    fn end(&mut self) {}
}

/// Frames kept before the device has to wait.
const ROOM: usize = 65_536;

/// A wire that goes nowhere: what is sent is kept until someone asks for it.
#[derive(Debug, Default)]
pub(crate) struct Held(VecDeque<Vec<u8>>);

impl Held {
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front()
    }
}

impl Wire for Held {
    fn receive(&mut self, _frame: &mut [u8]) -> Option<usize> {
        None
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.push_back(frame.to_vec());
    }

    fn room(&self) -> usize {
        ROOM.saturating_sub(self.0.len())
    }
}
