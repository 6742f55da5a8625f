//! What the tests of this crate share: a device that is not there, its ring, and a pool that both reach.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use ringway_dma::{
    AddressSpace, Attachment, Descriptor, DeviceView, Iova, Placement, Quiesced, Ring, RingMemory,
};
use ringway_packet::{Batch, Error, Packet, Pool, PoolOptions, ReceiveBuffers, TransmitBuffers};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// A device without a driver: the tests play the driver.
#[derive(Debug)]
pub struct Bench {
    pub space: AddressSpace,
    pub device: Attachment,
    pub pool: Pool,
    pub ring: Ring<Descriptor>,
}

impl Bench {
    /// A pool of `buffers` and a ring of `slots`, on an emulated space.
    pub fn new(buffers: u32, slots: u32) -> Self {
        Self::in_space(AddressSpace::emulated(), buffers, slots)
    }

    pub fn in_space(space: AddressSpace, buffers: u32, slots: u32) -> Self {
        let bytes = slots as usize * size_of::<Descriptor>();
        let mut memory = RingMemory::allocate(&space, Placement::default(), &[bytes]).unwrap();
        let ring = memory.block(bytes).unwrap().ring(0, slots).unwrap();
        let pool = Pool::new(&space, PoolOptions { buffers, ..PoolOptions::default() }).unwrap();
        Self { device: Attachment::new(space.clone()), space, pool, ring }
    }

    /// Receive buffers with every slot filled.
    pub fn receive(&self, prefix: u32) -> ReceiveBuffers {
        let mut buffers = ReceiveBuffers::new(&self.pool, self.ring.count(), prefix, &self.device).unwrap();
        for slot in 0..self.ring.count() {
            assert!(buffers.fill(slot, &self.ring.at(slot).address), "slot {slot}");
        }
        buffers
    }

    pub fn transmit(&self) -> TransmitBuffers {
        TransmitBuffers::new(std::slice::from_ref(&self.pool), self.ring.count(), &self.device).unwrap()
    }

    /// What the device reads as the address in descriptor `slot`.
    pub fn address(&self, slot: u32) -> Iova {
        Iova::new(self.ring.at(slot).address.load(Ordering::Acquire))
    }

    pub fn view(&self) -> DeviceView {
        self.space.device_view().unwrap()
    }

    /// The proof that the device has stopped.
    pub fn stopped(&self) -> Quiesced {
        // SAFETY: no device is behind the attachment; the tests' views only reach what is marked as lent.
        unsafe { Quiesced::new(self.device.id()) }
    }

    /// Takes every free packet out of the pool, and fails when one comes out twice or is among `held`.
    pub fn drain<'a>(&self, held: impl IntoIterator<Item = &'a mut Batch>) -> Vec<Packet> {
        let mut places = HashSet::new();
        for batch in held {
            for frame in batch.frames() {
                for segment in frame.segments() {
                    assert!(places.insert(buffer_of(segment)), "a buffer is in two places");
                }
            }
        }
        let mut packets = Vec::new();
        loop {
            match self.pool.packet() {
                Ok(packet) => {
                    assert!(places.insert(buffer_of(packet.data())), "a buffer was handed out twice");
                    packets.push(packet);
                }
                Err(Error::Empty { .. }) => return packets,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Which buffer a slice lies in.
pub fn buffer_of(bytes: &[u8]) -> usize {
    bytes.as_ptr().addr() >> 11
}
