//! Packet buffers as a device and a pool see them: one region cut into numbered pieces of equal size.
//!
//! A buffer's place is base + number × size, for the program and for the device: nothing to look up, nothing
//! that a device could overwrite. Who holds which number is the pool's business (`ringway-packet`).

use crate::region::Region;
use crate::{AddressSpace, Error, LentTable, PageSize, Placement};
use std::ptr::NonNull;
use std::sync::Arc;

/// The most buffers of one set: their numbers have 24 bits, and the highest number means "none".
pub const MAXIMUM_BUFFERS: u32 = (1 << 24) - 1;

/// How large each buffer of a set is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BufferSize {
    /// 2048 bytes: a standard Ethernet frame and its headroom.
    #[default]
    Bytes2048,
    /// 4096 bytes: fewer segments for jumbo frames.
    Bytes4096,
}

impl BufferSize {
    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        1 << self.shift()
    }

    /// The size as a power of two.
    pub const fn shift(self) -> u32 {
        match self {
            Self::Bytes2048 => 11,
            Self::Bytes4096 => 12,
        }
    }
}

/// A set of numbered buffers in one mapping, aligned to their size.
#[derive(Debug)]
pub struct Buffers {
    region: Region,
    lent: Option<Arc<LentTable>>,
    count: u32,
    size: BufferSize,
}

impl Buffers {
    /// `count` zeroed buffers of `size`, reachable for the devices of `space`.
    ///
    /// # Errors
    /// For a count of zero or above [`MAXIMUM_BUFFERS`], and when memory or addresses are short.
    pub fn allocate(
        space: &AddressSpace,
        count: u32,
        size: BufferSize,
        placement: Placement,
    ) -> Result<Self, Error> {
        if count == 0 || count > MAXIMUM_BUFFERS {
            return Err(Error::Size {
                what: "number of buffers",
                value: count.into(),
                allowed: "1 to 16777215",
            });
        }
        let bytes = u64::from(count) << size.shift();
        let bytes = usize::try_from(bytes).map_err(|_| Error::Size {
            what: "bytes of buffers",
            value: bytes,
            allowed: "what a process can address",
        })?;
        let lent = space.lent_table(count, size.shift());
        let region = Region::allocate(space, bytes, placement, lent.clone())?;
        Ok(Self { region, lent, count, size })
    }

    /// The first byte of buffer 0.
    #[inline(always)]
    pub fn base(&self) -> NonNull<u8> {
        self.region.base()
    }

    /// The first byte of buffer 0, as the devices call it.
    #[inline(always)]
    pub fn base_iova(&self) -> u64 {
        self.region.iova().get()
    }

    /// How many there are. Numbers run from 0.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How large each is.
    #[inline(always)]
    pub fn size(&self) -> BufferSize {
        self.size
    }

    /// The pages that they lie in.
    pub fn pages(&self) -> PageSize {
        self.region.pages()
    }

    /// Bytes mapped, whole pages.
    pub fn bytes(&self) -> usize {
        self.region.length()
    }

    /// The address space that they are in.
    pub fn space(&self) -> &AddressSpace {
        self.region.space()
    }

    /// The marks of what is lent, where software is the device.
    #[inline(always)]
    pub fn lent_table(&self) -> Option<&LentTable> {
        self.lent.as_deref()
    }
}
