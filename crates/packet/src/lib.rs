//! Packet buffers, batches and the pool that they come from.
//!
//! ```text
//!            magazines of 32 (crossbeam)                  lending: one operation each way
//!   Pool ═══════════════════════════▶ stock ── ReceiveBuffers ──▶ descriptor ──▶ device
//!    ▲ ▲                                             │
//!    │ ║ magazines                                   ▼
//!    │ ╚════════════════════════════ returns    the program: Batch, Packet
//!    │                                  ▲            │      │
//!    │                                  └── TransmitBuffers │ ──▶ descriptor ──▶ device
//!    └───────────────────────────── dropped anywhere ───────┘
//! ```
//!
//! A packet is owned by the program or by exactly one ring. It moves; it is never cloned. In a batch it is one
//! 8-byte word; its buffer's place is base + number × size.
//!
//! ```
//! use ringway_dma::AddressSpace;
//! use ringway_packet::{Batch, Pool, PoolOptions};
//!
//! # fn main() -> Result<(), ringway_packet::Error> {
//! let space = AddressSpace::emulated();
//! let pool = Pool::new(&space, PoolOptions { buffers: 64, ..PoolOptions::default() })?;
//!
//! let mut packet = pool.packet_from(b"payload")?;
//! packet.frame_mut().prepend(8)?.copy_from_slice(b"header: ");
//! assert_eq!(packet.data(), b"header: payload");
//!
//! let mut batch = Batch::new(&pool, 32);
//! let _ = batch.push(packet);
//! for mut frame in batch.frames() {
//!     frame.trim_front(8)?;
//! }
//! drop(batch);
//! assert_eq!(pool.available(), 64);
//! # Ok(())
//! # }
//! ```

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod batch;
mod cache;
mod error;
mod frame;
mod lending;
mod metadata;
mod packet;
mod pool;
mod supply;
mod word;

pub use batch::{Batch, MAXIMUM_BATCH};
pub use error::Error;
pub use frame::Frame;
pub use lending::{
    Outgoing, Plain, ReceiveBuffers, Receiving, Refused, Sending, Told, TransmitBuffers, Whole,
};
pub use metadata::{Checksum, Offload, Protocol};
pub use packet::Packet;
pub use pool::{HEADROOM, MAGAZINE, Pool, PoolOptions};
pub use supply::Supply;
