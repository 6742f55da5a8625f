//! A port on the model that is stepped by hand, and what tests do with it.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod internet;

use ringway_dma::AddressSpace;
use ringway_model::virtio::{Features, Handle, Options, VirtioNet};
use ringway_packet::{Batch, Pool, PoolOptions};
use ringway_pci::{Backend, Error as PciError, Function, Identity, Registers, Width};
use ringway_port::{Opened, PortOptions};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A back end that can be opened again and again, as a bound device can.
#[derive(Clone, Debug)]
pub struct Reopened(Arc<dyn Backend>);

impl Backend for Reopened {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }
    fn address_space(&self) -> &AddressSpace {
        self.0.address_space()
    }
    fn is_emulated(&self) -> bool {
        self.0.is_emulated()
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, PciError> {
        self.0.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), PciError> {
        self.0.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, PciError> {
        self.0.bar(index)
    }
    fn msix_vectors(&self) -> u16 {
        self.0.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), PciError> {
        self.0.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, PciError> {
        self.0.reset()
    }
}

/// A device, and a pool in its address space.
#[derive(Debug)]
pub struct Rig {
    pub space: AddressSpace,
    pub pool: Pool,
    pub device: Handle,
    backend: Reopened,
}

impl Rig {
    pub fn new(options: Options, buffers: u32) -> Self {
        Self::in_space(&AddressSpace::emulated(), options, buffers)
    }

    pub fn in_space(space: &AddressSpace, options: Options, buffers: u32) -> Self {
        let pool = Pool::new(space, PoolOptions { buffers, ..PoolOptions::default() }).unwrap();
        Self::with_pool(space, &pool, options)
    }

    pub fn with_pool(space: &AddressSpace, pool: &Pool, options: Options) -> Self {
        let (backend, device) = VirtioNet::create(space, options);
        Self { space: space.clone(), pool: pool.clone(), device, backend: Reopened(Arc::from(backend)) }
    }

    /// The function, as it is found on each opening.
    pub fn function(&self) -> Function {
        Function::new(Box::new(self.backend.clone())).unwrap()
    }

    pub fn backend(&self) -> Box<dyn Backend> {
        Box::new(self.backend.clone())
    }

    pub fn try_open(&mut self, options: &PortOptions) -> Result<Opened, ringway_virtio::Error> {
        ringway_virtio::open(self.function(), &self.pool, options)
    }

    pub fn open(&mut self, options: &PortOptions) -> Opened {
        self.try_open(options).unwrap()
    }

    /// The device does all that is due.
    pub fn run(&mut self) {
        while self.device.step() > 0 {}
    }

    /// No rule of the specification was broken, and every buffer is free again. To be called when nothing is open.
    pub fn is_clean(&self) {
        assert_eq!(self.device.violations(), []);
        assert_eq!(self.device.monitor().status(), 0, "the device was reset");
        assert_eq!(self.pool.available(), self.pool.buffers());
        assert_eq!(self.pool.lost(), 0);
    }
}

/// Everything but these.
pub fn without(features: u64) -> Options {
    Options { features: Features::default().without(features), ..Options::default() }
}

pub fn rings(receive: u32, transmit: u32) -> PortOptions {
    PortOptions { receive_ring: receive, transmit_ring: transmit, ..PortOptions::default() }
}

/// A frame to the device, with a number in it.
pub fn frame(number: u64, length: usize) -> Vec<u8> {
    let mut frame = vec![0u8; length.max(22)];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame[14..22].copy_from_slice(&number.to_be_bytes());
    for (index, byte) in frame.iter_mut().enumerate().skip(22) {
        *byte = (number as usize).wrapping_add(index) as u8;
    }
    frame
}

/// The number in a frame.
pub fn number(frame: &[u8]) -> u64 {
    u64::from_be_bytes(*frame[14..].first_chunk().unwrap())
}

/// All bytes of each packet in the batch.
pub fn contents(batch: &mut Batch) -> Vec<Vec<u8>> {
    batch.frames().map(|frame| frame.segments().flatten().copied().collect()).collect()
}

/// A batch of frames that the test made, one buffer each.
pub fn batch_of(pool: &Pool, frames: impl IntoIterator<Item = Vec<u8>>) -> Batch {
    let mut batch = Batch::new(pool, 256);
    for frame in frames {
        batch.push(pool.packet_from(&frame).unwrap()).unwrap();
    }
    batch
}

/// Xorshift: repeats for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
