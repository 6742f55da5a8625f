//! A wire that goes nowhere: what is sent is kept until someone asks for it.

use super::Wire;
use std::collections::VecDeque;

/// Frames kept before the device has to wait.
const ROOM: usize = 65_536;

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
