//! What can be done with a packet, wherever it is held.
//!
//! A [`Frame`] borrows a packet from a [`Batch`](crate::Batch) or a [`Packet`](crate::Packet). Its bytes lie in a
//! buffer with headroom before and tailroom behind; headers are added and removed by moving the edges. Bytes that
//! come into view are zeroed: what an earlier packet left is never seen.

use crate::metadata::{Checksum, Metadata, Offload};
use crate::pool::Inner;
use crate::word::{Word, flag};
use crate::{Error, Packet};
use std::marker::PhantomData;

/// A borrowed packet.
#[derive(Debug)]
pub struct Frame<'a> {
    pool: &'a Inner,
    word: &'a mut Word,
    /// The bytes are lent like a `&mut [u8]`.
    _bytes: PhantomData<&'a mut [u8]>,
}

impl<'a> Frame<'a> {
    /// # Safety
    /// `word` keeps the invariant of `word.rs` and is of `pool`, and the borrow of it is the packet's only one.
    #[inline(always)]
    pub(crate) unsafe fn new(pool: &'a Inner, word: &'a mut Word) -> Self {
        Self { pool, word, _bytes: PhantomData }
    }

    /// The length of the first segment in bytes: of the packet, if it is in one buffer.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty, reason = "an empty packet is nothing that one asks for")]
    pub fn len(&self) -> usize {
        self.word.length() as usize
    }

    /// The bytes of the first segment.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: `offset + length` is inside the buffer, and the packet is borrowed (invariant of `word.rs`).
        unsafe { std::slice::from_raw_parts(self.pool.place(*self.word), self.len()) }
    }

    /// The bytes of the first segment.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pool.place(*self.word), self.len()) }
    }

    /// Free bytes before the packet.
    #[inline(always)]
    pub fn headroom(&self) -> usize {
        self.word.offset(self.pool.shift()) as usize
    }

    /// Free bytes behind the first segment.
    #[inline(always)]
    pub fn tailroom(&self) -> usize {
        self.size().wrapping_sub(self.headroom()).wrapping_sub(self.len())
    }

    #[inline(always)]
    fn size(&self) -> usize {
        self.pool.size() as usize
    }

    /// Moves both edges, inside the buffer.
    #[inline(always)]
    fn set(&mut self, offset: usize, length: usize) {
        let size = self.size();
        // A packet that was trimmed to nothing may have its start behind the buffer's last byte: the next buffer's
        // first, that would be.
        let offset = offset.min(size.wrapping_sub(1)) as u64;
        let start = self.word.position() & !(size as u64).wrapping_sub(1);
        *self.word = self.word.moved(start | offset, length as u32);
    }

    /// The `count` bytes before the packet, which belong to its buffer: where a device puts what it says of a
    /// packet, and a driver what it says to a device. `None` where the headroom is shorter.
    #[inline(always)]
    pub fn prefix(&self, count: usize) -> Option<&[u8]> {
        if count > self.headroom() {
            return None;
        }
        // SAFETY: there are that many bytes of the buffer before the packet's first.
        Some(unsafe { std::slice::from_raw_parts(self.pool.place(*self.word).sub(count), count) })
    }

    /// The same, to be written.
    #[inline(always)]
    pub fn prefix_mut(&mut self, count: usize) -> Option<&mut [u8]> {
        if count > self.headroom() {
            return None;
        }
        // SAFETY: as in `prefix`, and the borrow is exclusive.
        Some(unsafe { std::slice::from_raw_parts_mut(self.pool.place(*self.word).sub(count), count) })
    }

    /// Adds `count` zeroed bytes before the packet and gives them to be filled.
    ///
    /// # Errors
    /// When the headroom is shorter; the packet is as before.
    pub fn prepend(&mut self, count: usize) -> Result<&mut [u8], Error> {
        let room = self.headroom();
        let offset = room.checked_sub(count).ok_or(Error::NoRoom { place: "before", wanted: count, room })?;
        self.set(offset, self.len().wrapping_add(count));
        let added = self.data_mut().get_mut(..count).unwrap_or_default();
        added.fill(0);
        Ok(added)
    }

    /// Adds `count` zeroed bytes behind the first segment and gives them to be filled.
    ///
    /// # Errors
    /// When the tailroom is shorter; the packet is as before.
    pub fn append(&mut self, count: usize) -> Result<&mut [u8], Error> {
        let (room, length) = (self.tailroom(), self.len());
        if count > room {
            return Err(Error::NoRoom { place: "behind", wanted: count, room });
        }
        self.set(self.headroom(), length.wrapping_add(count));
        let added = self.data_mut().get_mut(length..).unwrap_or_default();
        added.fill(0);
        Ok(added)
    }

    /// Takes `count` bytes away at the front of the first segment.
    ///
    /// # Errors
    /// When there are fewer; the packet is as before.
    pub fn trim_front(&mut self, count: usize) -> Result<(), Error> {
        let length = self.len();
        let left =
            length.checked_sub(count).ok_or(Error::NoRoom { place: "in", wanted: count, room: length })?;
        self.set(self.headroom().wrapping_add(count), left);
        Ok(())
    }

    /// Takes `count` bytes away at the end of the first segment.
    ///
    /// # Errors
    /// When there are fewer; the packet is as before.
    pub fn trim_end(&mut self, count: usize) -> Result<(), Error> {
        let length = self.len();
        let left =
            length.checked_sub(count).ok_or(Error::NoRoom { place: "in", wanted: count, room: length })?;
        self.set(self.headroom(), left);
        Ok(())
    }

    /// The bytes of all segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(*self.word);
        std::iter::from_fn(move || {
            let word = next?;
            next = if word.has(flag::SEGMENTED) {
                // SAFETY: the packet is borrowed, and its chain with it.
                Some(unsafe { (*self.pool.metadata(word)).next })
            } else {
                None
            };
            // SAFETY: as in `data`; each word of the chain keeps the invariant.
            Some(unsafe { std::slice::from_raw_parts(self.pool.place(word), word.length() as usize) })
        })
    }

    /// The length of all segments in bytes.
    #[inline]
    pub fn total_len(&self) -> usize {
        if self.word.has(flag::SEGMENTED) { self.segments().map(<[u8]>::len).sum() } else { self.len() }
    }

    /// Puts another packet's segments behind this one's.
    ///
    /// # Errors
    /// When it is of another pool; it comes back with the error.
    pub fn chain(&mut self, other: Packet) -> Result<(), (Error, Packet)> {
        if !std::ptr::eq(&*other.pool().inner, self.pool) {
            return Err((Error::WrongPool, other));
        }
        // SAFETY: the packet is borrowed exclusively; `other` owned its word, and this packet does now.
        unsafe { self.pool.link(self.word, other.into_word()) };
        Ok(())
    }

    #[inline(always)]
    fn metadata(&self) -> &Metadata {
        // SAFETY: the buffer, and so its metadata, belongs to the borrowed packet.
        unsafe { &*self.pool.metadata(*self.word) }
    }

    #[inline(always)]
    fn metadata_mut(&mut self, valid: u64) -> &mut Metadata {
        self.word.0 |= valid;
        // SAFETY: as in `metadata`, and the borrow is exclusive.
        unsafe { &mut *self.pool.metadata(*self.word) }
    }

    fn known(&self, which: u64) -> Option<&Metadata> {
        self.word.has(which).then(|| self.metadata())
    }

    /// The VLAN tag (tag control information) that a device stripped, or shall insert.
    pub fn vlan(&self) -> Option<u16> {
        self.known(flag::VLAN).map(|metadata| metadata.vlan)
    }

    /// Sets or takes away the VLAN tag that a device stripped, or shall insert.
    pub fn set_vlan(&mut self, tag: Option<u16>) {
        match tag {
            Some(tag) => self.metadata_mut(flag::VLAN).vlan = tag,
            None => self.word.0 &= !flag::VLAN,
        }
    }

    /// The hash that a device computed.
    pub fn hash(&self) -> Option<u32> {
        self.known(flag::HASH).map(|metadata| metadata.hash)
    }

    /// Notes a device's hash.
    pub fn set_hash(&mut self, hash: u32) {
        self.metadata_mut(flag::HASH).hash = hash;
    }

    /// What a device found out about checksums.
    pub fn checksum(&self) -> Checksum {
        self.known(flag::CHECKSUM).map_or(Checksum::Unknown, |metadata| metadata.checksum)
    }

    /// Notes what a device found out about checksums.
    pub fn set_checksum(&mut self, result: Checksum) {
        self.metadata_mut(flag::CHECKSUM).checksum = result;
    }

    /// When the packet came, in nanoseconds of the device's clock, where the device takes the time.
    pub fn timestamp(&self) -> Option<u64> {
        self.known(flag::TIMESTAMP).map(|metadata| metadata.timestamp)
    }

    /// Notes when the packet came.
    pub fn set_timestamp(&mut self, nanoseconds: u64) {
        self.metadata_mut(flag::TIMESTAMP).timestamp = nanoseconds;
    }

    /// What the sending device shall do.
    pub fn offload(&self) -> Option<&Offload> {
        self.known(flag::OFFLOAD).map(|metadata| &metadata.offload)
    }

    /// Asks the sending device for checksums or segmentation, or for neither.
    pub fn set_offload(&mut self, request: Option<Offload>) {
        match request {
            Some(request) => self.metadata_mut(flag::OFFLOAD).offload = request,
            None => self.word.0 &= !flag::OFFLOAD,
        }
    }
}
