//! Lending: how buffers get into rings, and back.
//!
//! Giving a buffer to a ring is one operation: it writes the descriptor's address word and records the buffer
//! under the descriptor's slot. Taking it back is one operation too. Between the two nobody in the program has
//! the buffer. The records are private memory; a device can lie about what it has done, and what it says is
//! looked up here.
//!
//! A round that is dropped brings the books up to date: until then packets are in neither batch nor stock, so a round
//! that is forgotten loses buffers and doubles none. On an emulated space the marks of what is lent are set then too,
//! in bulk: a driver tells the device of new descriptors only after the round, or a device that is quick faults.
//!
//! What nearly every packet needs takes no round: a run (`exchange_run`, `lend_run`, and those for virtio's rings,
//! `exchange_named` and `lend_prefixed`) does all of it in one call, and leaves the books right.
//!
//! What is not enforced: that the address word is the one of the slot, that it is of a ring of the same device, and
//! that the device is done with a slot that is taken. A driver that errs there makes a device write into buffers that
//! the program holds: other bytes in packets, nothing else; the IOMMU confines it to the address space, and on an
//! emulated space it faults.
//!
//! A driver never sees a buffer's number or an address. It names a slot of its ring and the [`AddressWord`] of
//! the descriptor there; everything else moves inside.
//!
//! [`AddressWord`]: ringway_dma::AddressWord

mod fours;
mod named;
mod receive;
mod receiving;
mod runs;
mod sending;
mod told;
mod transmit;

pub use fours::{Plain, Whole};
pub use receive::ReceiveBuffers;
pub use receiving::{Receiving, Refused};
pub use sending::{Outgoing, Sending};
pub use told::Told;
pub use transmit::TransmitBuffers;

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
