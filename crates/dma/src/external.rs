//! Another process's memory, as a virtual machine shares it with a device that runs outside it (vfio-user).
//!
//! The other side names pieces of memory files and the I/O virtual addresses at which its device finds them, down to
//! single pages. A file is mapped here once, however many pieces of it there are. A [`DeviceView`] reaches exactly the
//! pieces that are mapped now, across their borders too, and writes only where writing is allowed.
//!
//! Nobody in this process has references into such a mapping: every access is a copy or an atomic (see `copy.rs`), so
//! the other process may change the memory at any time. A burst of accesses holds the table; unmapping waits for it.
//! A file that its owner makes shorter ends this process by a signal (SIGBUS) when the lost part is touched: serve
//! only those whom you would let end the server.

use crate::emulated::DeviceView;
use crate::{Error, Fault, Iova, copy};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};
use vm_memory::FileOffset;
use vm_memory::mmap::{MmapRegion, MmapRegionError};

/// The most pieces of one table: 1 GiB in pages of 4 KiB.
const MAXIMUM_PIECES: usize = 1 << 18;

/// The memory that another process shares with a device.
#[derive(Clone, Debug, Default)]
pub struct ExternalMemory {
    table: Arc<RwLock<Table>>,
}

/// Which pieces are mapped, by address; they don't overlap.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pieces: BTreeMap<u64, Piece>,
    /// Files that are mapped, by device, inode and whether they can be written.
    files: BTreeMap<(u64, u64, bool), Weak<MmapRegion>>,
}

#[derive(Clone, Debug)]
struct Piece {
    length: u64,
    memory: Arc<MmapRegion>,
    offset: u64,
    writable: bool,
}

impl ExternalMemory {
    /// No memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `length` bytes of `file` from `offset` on reachable at `iova`. What was mapped there before no longer is.
    ///
    /// # Errors
    /// When the range is empty, wraps or lies outside the file, when there are too many pieces, and when the file
    /// can't be mapped.
    pub fn map(&self, iova: Iova, length: u64, file: File, offset: u64, writable: bool) -> Result<(), Error> {
        let refused = |value, allowed| Error::Size { what: "shared memory", value, allowed };
        if length == 0 || iova.get().checked_add(length).is_none() {
            return Err(refused(length, "a range of addresses that isn't empty and doesn't wrap"));
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.pieces.len() >= MAXIMUM_PIECES {
            return Err(refused(MAXIMUM_PIECES as u64, "fewer pieces"));
        }
        let end = offset.checked_add(length).ok_or_else(|| refused(offset, "a range in its file"))?;
        let memory = table.file(file, end, writable)?;
        table.cut(iova.get(), length);
        table.pieces.insert(iova.get(), Piece { length, memory, offset, writable });
        Ok(())
    }

    /// Makes a range unreachable, also where only parts of it are mapped or of what is mapped are in it. When it
    /// returns, no device is inside any more. Returns how many bytes were mapped there.
    pub fn unmap(&self, iova: Iova, length: u64) -> u64 {
        self.table.write().unwrap_or_else(PoisonError::into_inner).cut(iova.get(), length)
    }

    /// Makes everything unreachable.
    pub fn clear(&self) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Table::default();
    }

    /// How many pieces are mapped, and bytes in them.
    pub fn usage(&self) -> (usize, u64) {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = table.pieces.values().fold(0u64, |bytes, piece| bytes.saturating_add(piece.length));
        (table.pieces.len(), bytes)
    }

    /// The device's side.
    pub fn device_view(&self) -> DeviceView {
        DeviceView::external(Arc::clone(&self.table))
    }
}

impl Table {
    /// The mapping of a whole file that holds at least `end` bytes.
    fn file(&mut self, file: File, end: u64, writable: bool) -> Result<Arc<MmapRegion>, Error> {
        let failed =
            |source: io::Error| Error::Memory { bytes: end as usize, pages: "a shared memory file", source };
        let metadata = file.metadata().map_err(failed)?;
        let key = (metadata.dev(), metadata.ino(), writable);
        if let Some(memory) = self.files.get(&key).and_then(Weak::upgrade)
            && memory.size() as u64 >= end
        {
            return Ok(memory);
        }
        let length = usize::try_from(metadata.len()).ok().filter(|length| *length as u64 >= end).ok_or(
            Error::Size { what: "shared memory", value: end, allowed: "a range that lies in its file" },
        )?;
        let rights = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let memory = MmapRegion::build(Some(FileOffset::new(file, 0)), length, rights, libc::MAP_SHARED);
        let memory = Arc::new(memory.map_err(|error| {
            failed(match error {
                MmapRegionError::Mmap(error) => error,
                other => io::Error::other(other),
            })
        })?);
        self.files.retain(|_, memory| memory.strong_count() > 0);
        self.files.insert(key, Arc::downgrade(&memory));
        Ok(memory)
    }

    /// Takes a range out of whatever is mapped.
    fn cut(&mut self, start: u64, length: u64) -> u64 {
        let end = start.saturating_add(length);
        let mut cut = 0u64;
        while let Some((&at, piece)) = self.pieces.range(..end).next_back()
            && at.saturating_add(piece.length) > start
        {
            let piece_end = at.saturating_add(piece.length);
            let Some(piece) = self.pieces.remove(&at) else { break };
            if piece_end > end {
                let inside = end.saturating_sub(at);
                let rest = Piece {
                    length: piece_end.saturating_sub(end),
                    offset: piece.offset.saturating_add(inside),
                    ..piece.clone()
                };
                self.pieces.insert(end, rest);
            }
            cut = cut.saturating_add(piece_end.min(end).saturating_sub(at.max(start)));
            if at < start {
                self.pieces.insert(at, Piece { length: start.saturating_sub(at), ..piece });
            }
        }
        cut
    }
}

/// The table, held for a burst of accesses.
#[derive(Debug)]
pub(crate) struct Held<'a>(RwLockReadGuard<'a, Table>);

impl<'a> Held<'a> {
    #[inline]
    pub(crate) fn new(table: &'a RwLock<Table>) -> Self {
        Self(table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The place of `iova` in this process, and how many bytes follow it in its piece.
    #[inline]
    fn find(&self, iova: u64, bytes: usize, write: bool) -> Result<(*mut u8, u64), Fault> {
        let fault = Fault::NotMapped { iova: Iova::new(iova), bytes };
        let (&start, piece) = self.0.pieces.range(..=iova).next_back().ok_or(fault)?;
        let inside = iova.wrapping_sub(start);
        let left = piece.length.checked_sub(inside).filter(|left| *left > 0).ok_or(fault)?;
        if write && !piece.writable {
            return Err(Fault::ReadOnly { iova: Iova::new(iova), bytes });
        }
        let offset = usize::try_from(piece.offset.wrapping_add(inside)).map_err(|_| fault)?;
        // SAFETY: `map` checked that the piece lies in its file's mapping, which the piece keeps; `inside` lies in the
        // piece.
        Ok((unsafe { piece.memory.as_ptr().add(offset) }, left))
    }

    /// The place of an access that lies in one piece. It stays mapped while the table is held.
    #[inline]
    pub(crate) fn place(&self, iova: Iova, bytes: usize, write: bool) -> Result<*mut u8, Fault> {
        let (place, left) = self.find(iova.get(), bytes, write)?;
        if (bytes as u64) <= left { Ok(place) } else { Err(Fault::NotMapped { iova, bytes }) }
    }

    /// Reads bytes that may lie in several pieces.
    pub(crate) fn read(&self, iova: Iova, bytes: &mut [u8]) -> Result<(), Fault> {
        self.check(iova, bytes.len(), false)?;
        let (mut at, mut rest) = (iova.get(), bytes);
        while !rest.is_empty() {
            let (place, left) = self.find(at, rest.len(), false)?;
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            // SAFETY: `find` gives the place of that many mapped bytes, and nobody uses them other than by atomics.
            unsafe { copy::load(place, now) };
            at = at.wrapping_add(length as u64);
            rest = later;
        }
        Ok(())
    }

    /// Writes bytes that may lie in several pieces.
    pub(crate) fn write(&self, iova: Iova, bytes: &[u8]) -> Result<(), Fault> {
        self.check(iova, bytes.len(), true)?;
        let (mut at, mut rest) = (iova.get(), bytes);
        while !rest.is_empty() {
            let (place, left) = self.find(at, rest.len(), true)?;
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(length);
            // SAFETY: as in `read`, and the piece is mapped for writing.
            unsafe { copy::store(place, now) };
            at = at.wrapping_add(length as u64);
            rest = later;
        }
        Ok(())
    }

    /// Whether all of an access is allowed: nothing moves if a part of it is not.
    fn check(&self, iova: Iova, bytes: usize, write: bool) -> Result<(), Fault> {
        let fault = Fault::NotMapped { iova, bytes };
        let end = iova.get().checked_add(bytes as u64).ok_or(fault)?;
        let mut at = iova.get();
        while at < end {
            let (_, left) = self.find(at, bytes, write)?;
            at = at.saturating_add(left);
        }
        Ok(())
    }
}

// Not under Miri, which has no memory files.
#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    const PAGE: u64 = 4096;

    fn file(pages: u64) -> File {
        let file = memfd_create(c"guest", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, pages * PAGE).unwrap();
        File::from(file)
    }

    fn at(iova: u64) -> Iova {
        Iova::new(iova)
    }

    #[test]
    fn an_access_crosses_from_one_piece_into_the_next() {
        let memory = ExternalMemory::new();
        let file = file(4);
        // Two pages next to each other for the device, the other way round in the file.
        memory.map(at(0x10000), PAGE, file.try_clone().unwrap(), 3 * PAGE, true).unwrap();
        memory.map(at(0x11000), PAGE, file.try_clone().unwrap(), 0, true).unwrap();
        let mut view = memory.device_view();
        let bytes: Vec<u8> = (0..200).collect();
        view.write(at(0x10fa0), &bytes).unwrap();
        let mut back = vec![0; 200];
        view.read(at(0x10fa0), &mut back).unwrap();
        assert_eq!(back, bytes);
        let mut seen = [0; 104];
        rustix::io::pread(&file, &mut seen, 0).unwrap();
        assert_eq!(seen[..], bytes[96..]);
        assert!(matches!(view.write(at(0x11fff), &[1, 2]), Err(Fault::NotMapped { .. })));
        assert!(matches!(view.load_u32(at(0x10ffe)), Err(Fault::Misaligned { .. })));
        assert_eq!(memory.usage(), (2, 2 * PAGE));
    }

    #[test]
    fn a_write_that_is_partly_forbidden_writes_nothing() {
        let memory = ExternalMemory::new();
        let file = file(2);
        memory.map(at(0), PAGE, file.try_clone().unwrap(), 0, true).unwrap();
        memory.map(at(PAGE), PAGE, file, PAGE, false).unwrap();
        let mut view = memory.device_view();
        assert!(matches!(view.write(at(PAGE - 4), &[9; 8]), Err(Fault::ReadOnly { .. })));
        assert!(matches!(view.store_u64(at(PAGE), 1), Err(Fault::ReadOnly { .. })));
        assert_eq!((view.load_u32(at(PAGE - 4)), view.load_u64(at(PAGE))), (Ok(0), Ok(0)));
    }

    #[test]
    fn unmapping_cuts_pieces_where_it_must() {
        let memory = ExternalMemory::new();
        let file = file(8);
        rustix::io::pwrite(&file, &[7], 5 * PAGE).unwrap();
        memory.map(at(0x100000), 8 * PAGE, file, 0, true).unwrap();
        assert_eq!(memory.unmap(at(0x100000 + 2 * PAGE), 2 * PAGE), 2 * PAGE);
        let mut view = memory.device_view();
        assert!(view.load_u64(at(0x100000 + PAGE)).is_ok());
        assert!(view.load_u64(at(0x100000 + 2 * PAGE)).is_err());
        assert!(view.load_u64(at(0x100000 + 4 * PAGE - 8)).is_err());
        assert_eq!(view.load_u64(at(0x100000 + 5 * PAGE)), Ok(7));
        assert_eq!(memory.unmap(at(0), u64::MAX), 6 * PAGE);
        assert_eq!((memory.unmap(at(0), u64::MAX), memory.usage()), (0, (0, 0)));
    }

    #[test]
    fn a_new_mapping_takes_the_place_of_an_old_one() {
        let memory = ExternalMemory::new();
        let file = file(2);
        rustix::io::pwrite(&file, &[1], 0).unwrap();
        rustix::io::pwrite(&file, &[2], PAGE).unwrap();
        for page in [0, 1] {
            memory.map(at(0x5000), PAGE, file.try_clone().unwrap(), page * PAGE, true).unwrap();
            assert_eq!(memory.device_view().load_u64(at(0x5000)), Ok(page + 1));
        }
        assert_eq!(memory.usage(), (1, PAGE));
    }

    #[test]
    fn a_range_outside_its_file_is_refused() {
        let memory = ExternalMemory::new();
        assert!(memory.map(at(0), 3 * PAGE, file(2), 0, true).is_err());
        assert!(memory.map(at(0), PAGE, file(2), u64::MAX, true).is_err());
        assert!(memory.map(at(u64::MAX), PAGE, file(2), 0, true).is_err());
        assert!(memory.map(at(0), 0, file(2), 0, true).is_err());
        assert_eq!(memory.usage().0, 0);
    }
}
