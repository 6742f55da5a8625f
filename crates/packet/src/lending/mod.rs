//! Lending: how buffers get into rings, and back.
//!
//! Giving a buffer to a ring is one operation: it writes the descriptor's address word and records the buffer
//! under the descriptor's slot. Taking it back is one operation too. Between the two nobody in the program has
//! the buffer. The records are private memory; a device can lie about what it has done, and what it says is
//! looked up here.
//!
//! A driver never sees a buffer's number or an address. It names a slot of its ring and the [`AddressWord`] of
//! the descriptor there; everything else moves inside.
//!
//! [`AddressWord`]: ringway_dma::AddressWord

mod receive;
mod transmit;

pub use receive::{ReceiveBuffers, Receiving, Refused};
pub use transmit::{Outgoing, Sending, TransmitBuffers};

use crate::{Error, Pool};
use ringway_dma::Attachment;

/// No buffer is recorded. No pool has this number.
const NONE: u32 = (1 << 24) - 1;

/// The largest ring: what virtio allows (virtio 1.2, section 2.7); the 82599 has fewer.
const MAXIMUM_SLOTS: u32 = 1 << 15;

fn records(slots: u32) -> Result<Box<[u32]>, Error> {
    if !slots.is_power_of_two() || slots > MAXIMUM_SLOTS {
        return Err(Error::RingSize(slots));
    }
    Ok(vec![NONE; slots as usize].into_boxed_slice())
}

/// Addresses mean something in one address space only.
fn in_space(pool: &Pool, device: &Attachment) -> Result<(), Error> {
    if pool.address_space().is_same(device.address_space()) { Ok(()) } else { Err(Error::WrongSpace) }
}
