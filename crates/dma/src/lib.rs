//! Memory that a device can reach.
//!
//! ```text
//!   AddressSpace ── one translation table: VFIO, or a software table for models (the trait Iommu)
//!     ├── RingMemory ── Block ── Ring<Descriptor>      atomics; a device reads and writes them at any time
//!     └── Buffers ── numbered packet buffers           plain bytes; a device has them only while they are lent
//!
//!   DeviceView ── the device's side of a software table; reaches rings and lent buffers, and nothing else
//! ```
//!
//! What safe code can't do with these types: write an address into a descriptor from an integer, free memory
//! while a device reaches it, or reach a buffer from the device's side of a software table while the program holds it.
//!
//! ```
//! use ringway_dma::{AddressSpace, Descriptor, Placement, RingMemory};
//! use std::sync::atomic::Ordering;
//!
//! # fn main() -> Result<(), ringway_dma::Error> {
//! let space = AddressSpace::emulated();
//! let mut memory = RingMemory::allocate(&space, Placement::default(), &[512 * 16])?;
//! let block = memory.block(512 * 16)?;
//! let ring = block.ring::<Descriptor>(0, 512)?;
//!
//! // The driver writes a descriptor; the device, told the ring's base, finds it there.
//! ring.at(513).word.store(42, Ordering::Release);
//! let place = block.base(0)?.iova().checked_add(16 + 8);
//! let mut device = space.device_view();
//! if let (Some(device), Some(place)) = (&mut device, place) {
//!     assert_eq!(device.load_u64(place), Ok(42));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The rules that the types uphold are in the repository's `docs/architecture.md`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod allocator;
pub mod barrier;
mod buffers;
mod copy;
mod emulated;
mod error;
mod external;
mod four;
mod iommu;
mod iova;
mod lent;
mod memory;
mod quiesce;
mod region;
mod ring;
mod space;
mod sync;

pub use buffers::{BufferSize, Buffers, MAXIMUM_BUFFERS};
pub use emulated::{Burst, DeviceView};
pub use error::{Error, Fault};
pub use external::ExternalMemory;
pub use four::Four;
pub use iommu::{BackendError, Iommu, Limits, Mapping};
pub use iova::{Iova, IovaRange};
pub use lent::LentTable;
pub use memory::{PageSize, Placement};
pub use quiesce::{Attachment, DeviceId, Keeper, Kept, Park, Quiesced};
pub use ring::{AddressWord, BLOCK_ALIGNMENT, Block, Descriptor, Element, Pair, Ring, RingBase, RingMemory};
pub use space::{AddressSpace, Usage};
