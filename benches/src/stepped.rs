//! A port on the model, stepped by hand: for benchmarks that time or count the driver's calls alone.
//!
//! The far end of its wire makes as many packets as it is told to, all alike, and drops what the port sends. Time that the
//! device takes is the caller's to leave out: nothing happens on the device's side but in [`Stepped::device_turn`].

use ringway_dma::AddressSpace;
use ringway_model::wire::Wire;
use ringway_model::{ixgbe, virtio};
use ringway_packet::{Pool, PoolOptions};
use ringway_pci::Function;
use ringway_port::{Opened, PortOptions, ReceiveQueue, TransmitQueue};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors of each ring.
pub const RING: u32 = 512;

/// Which driver, on its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The 82599 family's.
    Ixgbe,
    /// virtio-net's, on split rings.
    Virtio,
}

impl Driver {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ixgbe, Self::Virtio];

    /// The name for a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ixgbe => "ixgbe",
            Self::Virtio => "virtio",
        }
    }
}

/// The far end: makes packets on demand.
#[derive(Debug)]
struct Source {
    frame: Vec<u8>,
    due: Arc<AtomicUsize>,
}

impl Wire for Source {
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let due = self.due.load(Ordering::Relaxed).checked_sub(1)?;
        self.due.store(due, Ordering::Relaxed);
        frame.get_mut(..self.frame.len())?.copy_from_slice(&self.frame);
        Some(self.frame.len())
    }

    fn send(&mut self, _frame: &[u8]) {}
}

#[derive(Debug)]
enum Device {
    Ixgbe(ixgbe::Handle),
    Virtio(virtio::Handle),
}

/// An open port with one queue each way, and its device.
#[derive(Debug)]
pub struct Stepped {
    /// Where packets come from.
    pub receive: Box<dyn ReceiveQueue>,
    /// Where they go.
    pub transmit: Box<dyn TransmitQueue>,
    /// The pool of both.
    pub pool: Pool,
    device: Device,
    due: Arc<AtomicUsize>,
    _control: Box<dyn ringway_port::Port>,
}

impl Stepped {
    /// A port whose device is sent copies of `frame`.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(driver: Driver, frame: &[u8]) -> Result<Self, Box<dyn Error>> {
        let space = AddressSpace::emulated();
        let pool = Pool::new(&space, PoolOptions { buffers: 4096, ..PoolOptions::default() })?;
        let due = Arc::new(AtomicUsize::new(0));
        let wire = Box::new(Source { frame: frame.to_vec(), due: Arc::clone(&due) });
        let options = PortOptions { receive_ring: RING, transmit_ring: RING, ..PortOptions::default() };
        let (opened, device) = match driver {
            Driver::Ixgbe => {
                let (backend, mut device) = ixgbe::Ixgbe::create(&space, ixgbe::Options::default());
                device.attach(wire);
                (ringway_ixgbe::open(Function::new(backend)?, &pool, &options)?, Device::Ixgbe(device))
            }
            Driver::Virtio => {
                let (backend, mut device) = virtio::VirtioNet::create(&space, virtio::Options::default());
                device.attach(wire);
                (ringway_virtio::open(Function::new(backend)?, &pool, &options)?, Device::Virtio(device))
            }
        };
        let Opened { mut control, mut receive, mut transmit, .. } = opened;
        control.set_promiscuous(true)?;
        Ok(Self {
            receive: receive.pop().ok_or("the port has no receive queue")?,
            transmit: transmit.pop().ok_or("the port has no transmit queue")?,
            pool,
            device,
            due,
            _control: control,
        })
    }

    /// The device's part: `count` packets arrive, and all that was given to it is sent.
    pub fn device_turn(&mut self, count: usize) {
        self.due.store(count, Ordering::Relaxed);
        match &mut self.device {
            Device::Ixgbe(device) => while device.step() > 0 {},
            Device::Virtio(device) => while device.step() > 0 {},
        }
    }
}
