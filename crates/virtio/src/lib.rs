//! A driver for virtio network devices: virtio 1.x over PCI, split virtqueues.
//!
//! ```text
//!   open(Function) ─▶ transport   features, status, queue set-up      (control, cold)
//!                     ring        indices, notifications               (packet path)
//!                     net         receive, transmit, control queue
//! ```
//!
//! The same code drives QEMU's device behind VFIO, and a model in the same process:
//!
//! ```
//! use ringway_dma::AddressSpace;
//! use ringway_model::virtio::{Options, VirtioNet};
//! use ringway_packet::{Batch, Pool, PoolOptions};
//! use ringway_pci::Function;
//! use ringway_port::PortOptions;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let space = AddressSpace::emulated();
//! let pool = Pool::new(&space, PoolOptions::default())?;
//! let (backend, mut device) = VirtioNet::create(&space, Options::default());
//!
//! let mut port = ringway_virtio::open(Function::new(backend)?, &pool, &PortOptions::default())?;
//! device.inject(&[0xff; 60]);
//! device.step();
//!
//! let mut batch = Batch::new(&pool, 32);
//! assert_eq!(port.receive[0].receive(&mut batch)?, 1);
//! assert_eq!(port.transmit[0].transmit(&mut batch)?, 1);
//! device.step();
//! assert_eq!(device.take_sent().as_deref(), Some(&[0xff; 60][..]));
//! # Ok(())
//! # }
//! ```
//!
//! What a device writes is believed in nothing: used indices may not jump, ids are looked up in private records, and
//! lengths are checked. A device that lies is an error that names it, or a counted drop.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod error;
mod features;
mod net;
mod ring;
mod transport;

pub use error::Error;
pub use features::Features;

use ringway_packet::Pool;
use ringway_pci::Function;
use ringway_pci::status::Supported;
use ringway_port::{Opened, PortOptions};
use std::sync::Arc;
use transport::ModernPci;

/// The virtio PCI vendor (virtio 1.2, section 4.1.2).
const VENDOR: u16 = 0x1af4;
/// Network devices: virtio 1.x, and transitional.
const DEVICES: [u16; 2] = [0x1041, 0x1000];

/// The devices that this driver drives. It knows transitional ones too ([`knows`]), but they go around the IOMMU.
pub const SUPPORTED: &[Supported] = &[Supported { vendor: VENDOR, device: DEVICES[0], driver: "virtio-net" }];

/// Whether this driver knows a device by its ids: it drives it, or [`open`] says why not.
pub fn knows(vendor: u16, device: u16) -> bool {
    vendor == VENDOR && DEVICES.contains(&device)
}

/// Takes a virtio network device over and starts it. Packets are received into buffers of `pool` and sent from there;
/// the pool must be in the function's address space.
///
/// Virtio has pairs of queues: the larger number of receive and transmit queues counts for both, since the device may
/// deliver a packet to any pair that is in use.
///
/// # Errors
/// When the device is no virtio network device, doesn't offer what is needed, breaks the specification or doesn't answer;
/// and when pool or memory are too small. The device is then reset and nothing of it remains.
pub fn open(function: Function, pool: &Pool, options: &PortOptions) -> Result<Opened, Error> {
    let identity = function.identity();
    if !knows(identity.vendor, identity.device) {
        return Err(Error::UnknownDevice {
            device: identity.name.clone(),
            vendor: identity.vendor,
            id: identity.device,
        });
    }
    net::open(Arc::new(ModernPci::new(function)?), pool, options)
}
