//! Frames in and out of a device that runs on another thread: for tests.

use super::Wire;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// A wire, and its far end in the hands of a test. Each direction holds `frames` frames.
pub fn channel(frames: usize) -> (Channel, ChannelEnd) {
    let queue = || Arc::new(ArrayQueue::new(frames.max(1)));
    let (in_, out) = (queue(), queue());
    (Channel { arriving: Arc::clone(&in_), sent: Arc::clone(&out) }, ChannelEnd { arriving: in_, sent: out })
}

/// The device's end.
#[derive(Debug)]
pub struct Channel {
    arriving: Arc<ArrayQueue<Vec<u8>>>,
    sent: Arc<ArrayQueue<Vec<u8>>>,
}

/// The test's end.
#[derive(Clone, Debug)]
pub struct ChannelEnd {
    arriving: Arc<ArrayQueue<Vec<u8>>>,
    sent: Arc<ArrayQueue<Vec<u8>>>,
}

impl ChannelEnd {
    /// Sends a frame towards the device; gives it back when the wire is full.
    ///
    /// # Errors
    /// The frame, when the wire holds as many as it can.
    pub fn send(&self, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        self.arriving.push(frame)
    }

    /// The next frame that the device sent.
    pub fn receive(&self) -> Option<Vec<u8>> {
        self.sent.pop()
    }

    /// How many frames the device has not taken yet.
    pub fn waiting(&self) -> usize {
        self.arriving.len()
    }
}

impl Wire for Channel {
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let arrived = self.arriving.pop()?;
        frame.get_mut(..arrived.len())?.copy_from_slice(&arrived);
        Some(arrived.len())
    }

    fn send(&mut self, frame: &[u8]) {
        // `room` was asked before, and nobody else fills this queue.
        let _ = self.sent.push(frame.to_vec());
    }

    fn room(&self) -> usize {
        self.sent.capacity().saturating_sub(self.sent.len())
    }
}
