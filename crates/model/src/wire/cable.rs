//! Two ports plugged into each other.
//!
//! Frames cross in bundles: one atomic operation and no allocation for a round of frames, since emptied bundles
//! come back. A device whose peer doesn't take its frames leaves them in its ring, so a cable loses nothing.

use super::Wire;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// Bundles under way in each direction.
const BUNDLES: usize = 16;
/// Frames in one bundle.
const FRAMES: usize = 64;

/// Frames, one after the other.
#[derive(Debug, Default)]
struct Bundle {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
}

/// One end of a cable.
#[derive(Debug)]
pub struct Cable {
    out: Direction,
    in_: Direction,
    filling: Bundle,
    /// What arrived, and how far it has been taken.
    emptying: Option<Bundle>,
    frame: usize,
    byte: usize,
}

#[derive(Clone, Debug)]
struct Direction {
    full: Arc<ArrayQueue<Bundle>>,
    empty: Arc<ArrayQueue<Bundle>>,
}

/// A cable's two ends.
pub fn cable_pair() -> (Cable, Cable) {
    let direction =
        || Direction { full: Arc::new(ArrayQueue::new(BUNDLES)), empty: Arc::new(ArrayQueue::new(BUNDLES)) };
    let (there, back) = (direction(), direction());
    let end = |out: &Direction, in_: &Direction| Cable {
        out: out.clone(),
        in_: in_.clone(),
        filling: Bundle::default(),
        emptying: None,
        frame: 0,
        byte: 0,
    };
    (end(&there, &back), end(&back, &there))
}

impl Wire for Cable {
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        loop {
            if self.emptying.is_none() {
                self.emptying = Some(self.in_.full.pop()?);
                (self.frame, self.byte) = (0, 0);
            }
            let bundle = self.emptying.as_ref()?;
            if let Some(&length) = bundle.lengths.get(self.frame) {
                let length = length as usize;
                let end = self.byte.wrapping_add(length);
                frame.get_mut(..length)?.copy_from_slice(bundle.bytes.get(self.byte..end)?);
                self.frame = self.frame.wrapping_add(1);
                self.byte = end;
                return Some(length);
            }
            if let Some(mut bundle) = self.emptying.take() {
                bundle.bytes.clear();
                bundle.lengths.clear();
                let _ = self.in_.empty.push(bundle); // a surplus one is dropped
            }
        }
    }

    fn send(&mut self, frame: &[u8]) {
        self.filling.bytes.extend_from_slice(frame);
        self.filling.lengths.push(frame.len() as u32);
    }

    fn room(&self) -> usize {
        // Only this end fills the queue, so what is free stays free.
        if self.out.full.is_full() { 0 } else { FRAMES.saturating_sub(self.filling.lengths.len()) }
    }

    fn end(&mut self) {
        if self.filling.lengths.is_empty() || self.out.full.is_full() {
            return;
        }
        let next = self.out.empty.pop().unwrap_or_default();
        let _ = self.out.full.push(std::mem::replace(&mut self.filling, next));
    }
}
