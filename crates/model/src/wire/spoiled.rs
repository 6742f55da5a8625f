//! A wire on which things happen to frames on their way to the device: lost, doubled, swapped, damaged, delayed.
//!
//! Contract: what happens is said frame by frame, by number from 0, so that a test knows exactly what there is to find.
//! Time is the device's rounds: with a device that is stepped by hand a delay is exact. What the device sends passes as it
//! is.

use super::{MAXIMUM_FRAME, Wire};
use std::collections::VecDeque;
use std::fmt;

/// Frames taken from the wire in a round, and that may wait.
const ROUND: usize = 64;
const WAITING: usize = 65_536;

/// What happens to a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    #[default]
    None,
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Doubled,
    /// It arrives after the next one; if none follows in the next round, by itself.
    Swapped,
    /// Bits of one byte arrive inverted. A byte that isn't there stays whole.
    Damaged {
        /// Which byte, from the frame's start.
        byte: usize,
        /// Which bits.
        bits: u8,
    },
    /// It arrives so many rounds later, and what is behind it not before.
    Delayed(u32),
}

/// A wire with mishaps.
pub struct Spoiled<F> {
    wire: Box<dyn Wire>,
    mishap: F,
    /// Frames taken from the wire, and rounds begun.
    taken: u64,
    round: u64,
    /// Frames under way, and the round from which each may arrive.
    under_way: VecDeque<(u64, Vec<u8>)>,
    /// One that lets the next one pass.
    swapped: Option<Vec<u8>>,
    buffer: Box<[u8]>,
}

impl<F: FnMut(u64) -> Mishap + Send> Spoiled<F> {
    /// What arrives over `wire`, after `mishap` of each frame's number.
    pub fn new(wire: Box<dyn Wire>, mishap: F) -> Self {
        let buffer = vec![0; MAXIMUM_FRAME].into_boxed_slice();
        Self { wire, mishap, taken: 0, round: 0, under_way: VecDeque::new(), swapped: None, buffer }
    }

    fn take(&mut self) -> bool {
        let Some(frame) = self.wire.receive(&mut self.buffer).and_then(|length| self.buffer.get(..length))
        else {
            return false;
        };
        let mut frame = frame.to_vec();
        let mishap = (self.mishap)(self.taken);
        self.taken = self.taken.wrapping_add(1);
        let mut due = self.round;
        match mishap {
            Mishap::Lost => return true,
            Mishap::Swapped if self.swapped.is_none() => {
                self.swapped = Some(frame);
                return true;
            }
            Mishap::None | Mishap::Swapped => {}
            Mishap::Doubled => self.under_way.push_back((due, frame.clone())),
            Mishap::Damaged { byte, bits } => {
                if let Some(byte) = frame.get_mut(byte) {
                    *byte ^= bits;
                }
            }
            Mishap::Delayed(rounds) => due = due.saturating_add(rounds.into()),
        }
        self.under_way.push_back((due, frame));
        if let Some(swapped) = self.swapped.take() {
            self.under_way.push_back((due, swapped));
        }
        true
    }
}

impl<F: FnMut(u64) -> Mishap + Send> Wire for Spoiled<F> {
    fn begin(&mut self) {
        self.wire.begin();
        self.round = self.round.wrapping_add(1);
        let room = WAITING.saturating_sub(self.under_way.len()).min(ROUND);
        let taken = (0..room).take_while(|_| self.take()).count();
        if taken == 0
            && room > 0
            && let Some(swapped) = self.swapped.take()
        {
            self.under_way.push_back((self.round, swapped));
        }
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let (due, waiting) = self.under_way.front()?;
        if *due > self.round {
            return None;
        }
        let length = waiting.len();
        frame.get_mut(..length)?.copy_from_slice(waiting);
        self.under_way.pop_front();
        Some(length)
    }

    fn send(&mut self, frame: &[u8]) {
        self.wire.send(frame);
    }

    fn room(&self) -> usize {
        self.wire.room()
    }

    fn waits(&self) -> bool {
        self.wire.waits()
    }

    fn end(&mut self) {
        self.wire.end();
    }
}

impl<F> fmt::Debug for Spoiled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spoiled")
            .field("wire", &self.wire)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::channel;

    /// What arrives of frames 0, 1, …, round by round.
    fn arriving(frames: u8, rounds: usize, mishap: impl FnMut(u64) -> Mishap + Send) -> Vec<Vec<Vec<u8>>> {
        let (wire, end) = channel(256);
        (0..frames).for_each(|number| end.send(vec![number; 3]).unwrap());
        let mut spoiled = Spoiled::new(Box::new(wire), mishap);
        let mut buffer = [0; 64];
        let mut round = || {
            spoiled.begin();
            std::iter::from_fn(|| spoiled.receive(&mut buffer).map(|length| buffer[..length].to_vec()))
                .collect()
        };
        (0..rounds).map(|_| round()).collect()
    }

    fn numbers(round: &[Vec<u8>]) -> Vec<u8> {
        round.iter().map(|frame| frame[0]).collect()
    }

    #[test]
    fn each_mishap_is_what_it_says_and_the_others_pass() {
        let rounds = arriving(8, 3, |number| match number {
            1 => Mishap::Lost,
            2 => Mishap::Doubled,
            3 => Mishap::Swapped,
            5 => Mishap::Damaged { byte: 2, bits: 0x81 },
            6 => Mishap::Damaged { byte: 3, bits: 1 },
            7 => Mishap::Swapped,
            _ => Mishap::None,
        });
        assert_eq!(numbers(&rounds[0]), [0, 2, 2, 4, 3, 5, 6]);
        assert_eq!(rounds[0][5], [5, 5, 5 ^ 0x81]);
        assert_eq!(rounds[0][6], [6; 3]);
        assert_eq!((numbers(&rounds[1]), rounds[2].len()), (vec![7], 0));
    }

    #[test]
    fn a_delay_is_counted_in_rounds_and_nobody_overtakes() {
        let delay = |number| if number == 1 { Mishap::Delayed(2) } else { Mishap::None };
        let rounds = arriving(3, 4, delay);
        let seen: Vec<Vec<u8>> = rounds.iter().map(|round| numbers(round)).collect();
        assert_eq!(seen, [vec![0], vec![], vec![1, 2], vec![]]);
    }
}
