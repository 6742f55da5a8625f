//! Frames between memory and wire: one after the other in one piece of private memory, each behind room for its
//! header. Allocated once.

use super::chain::Chain;
use super::header::ROOM;
use super::violation::{Breach, Rule, breach};
use crate::Memory;
use crate::wire::{MAXIMUM_FRAME, Wire};

/// What one frame may take.
const SLOT: usize = ROOM + MAXIMUM_FRAME;
const BYTES: usize = 4 * SLOT;
/// Frames start on cache lines, so that copies do.
const ALIGNMENT: usize = 64;

/// Frames of one round. `Default` holds none and no memory.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where each starts, its header included, and how long it is.
    places: Vec<(u32, u32)>,
    next: usize,
    end: usize,
    /// The length of the header before each.
    header: usize,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; BYTES], ..Self::default() }
    }

    /// Forgets all frames; those to come have a header of so many bytes.
    pub(crate) fn begin(&mut self, header: usize) {
        self.clear();
        self.header = header;
    }

    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.next = 0;
        self.end = 0;
    }

    /// How many are there, taken ones included.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// Whether none is left to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.next >= self.places.len()
    }

    /// How many are left to take.
    pub(crate) fn left(&self) -> usize {
        self.places.len().saturating_sub(self.next)
    }

    /// Whether the longest frame still fits.
    pub(crate) fn has_room(&self) -> bool {
        self.end.saturating_add(SLOT) <= self.bytes.len()
    }

    fn push(&mut self, length: usize) {
        self.places.push((self.end as u32, length as u32));
        self.end = self.end.wrapping_add(length).next_multiple_of(ALIGNMENT);
    }

    /// Copies a packet, its header first, out of a chain.
    #[inline]
    pub(crate) fn gather(&mut self, memory: &mut Memory<'_>, chain: &Chain) -> Result<(), Breach> {
        if chain.writable_bytes > 0 {
            return Err(breach(Rule::TransmitWritable, format!("{} bytes", chain.writable_bytes)));
        }
        if chain.readable_bytes < self.header as u64 {
            return Err(breach(Rule::TransmitTooShort, format!("{} bytes", chain.readable_bytes)));
        }
        if chain.readable_bytes > (self.header + MAXIMUM_FRAME) as u64 {
            return Err(breach(Rule::TransmitTooLong, format!("{} bytes", chain.readable_bytes)));
        }
        let Some(to) = self.bytes.get_mut(self.end..) else { return Ok(()) };
        let to = to.get_mut(..chain.readable_bytes as usize).unwrap_or_default();
        let length = chain.read(memory, to)?;
        self.push(length);
        Ok(())
    }

    /// Takes the next frame off a wire. `None`: none arrives; else whether `keep` kept it.
    #[inline]
    pub(crate) fn fetch(&mut self, wire: &mut dyn Wire, keep: impl FnOnce(&[u8]) -> bool) -> Option<bool> {
        let room = self.bytes.get_mut(self.end.wrapping_add(self.header)..)?.get_mut(..MAXIMUM_FRAME)?;
        let length = wire.receive(room)?;
        let kept = room.get(..length).is_some_and(keep);
        if kept {
            self.push(length.wrapping_add(self.header));
        }
        Some(kept)
    }

    /// Puts in one frame. Whether it fits.
    pub(crate) fn put(&mut self, frame: &[u8]) -> bool {
        let start = self.end.wrapping_add(self.header);
        let Some(room) = self.bytes.get_mut(start..start.wrapping_add(frame.len())) else { return false };
        room.copy_from_slice(frame);
        self.push(frame.len().wrapping_add(self.header));
        true
    }

    /// The next frame behind its header, if one is left. It stays the next.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<&mut [u8]> {
        let &(start, length) = self.places.get(self.next)?;
        self.bytes.get_mut(start as usize..)?.get_mut(..length as usize)
    }

    /// Goes on to the one after.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.next = self.next.wrapping_add(1);
    }
}
