//! The device's side in software: network cards that a driver can't tell from hardware.
//!
//! A model is opened through the same seam as hardware, so the driver that runs on it in a test is the driver that
//! runs on the card. It is written from the specification, never from the driver: the two are independent witnesses,
//! and where they disagree one of them is wrong.
//!
//! ```text
//!        driver                                        whoever plays the device
//!          │ ringway_pci::Function                        │ virtio::Handle
//!          ▼                                              ▼
//!   ┌─────────────┐  registers, doorbells,  ┌──────────────────────────┐     ┌────────────────────┐
//!   │ dyn Backend │◀──────────────────────▶ │ device: registers, rings │◀───▶│ dyn wire::Wire     │
//!   └─────────────┘  interrupts (eventfd)   │ filter, control queue    │     │ a cable, a test,   │
//!          │                                └──────────────────────────┘     │ generator, checker │
//!          ▼                                              │ DeviceView       └────────────────────┘
//!   rings and lent buffers of a ringway_dma::AddressSpace ┘
//! ```
//!
//! A handle is stepped by hand ([`Handle::step`](virtio::Handle::step): one thread, no system call but the signalling
//! of interrupts, the same result each time), or runs on a thread ([`Handle::run`](virtio::Handle::run),
//! [`run_together`]). The device reaches memory through [`ringway_dma::DeviceView`] only, which
//! refuses what is neither ring memory nor a lent buffer: a driver's wrong address is a [`Violation`], not a crash.
//!
//! What a driver does against the rules is kept for a test to read
//! ([`Handle::violations`](virtio::Handle::violations)), and what a broken device does is a knob
//! ([`virtio::Faults`]).
//!
//! # Example
//! A driver's first steps, and a frame that crosses from one device to another. Ringway's driver is elsewhere, so this
//! one is written out: it sends from ring memory, and so needs no packet pool.
//!
//! ```
//! use ringway_dma::{AddressSpace, Descriptor, Placement, RingMemory};
//! use ringway_model::virtio::{Features, Options, VirtioNet};
//! use ringway_pci::{Function, Width};
//! use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let space = AddressSpace::emulated();
//! let (backend, mut device) = VirtioNet::create(&space, Options::default());
//! let (_, mut peer) = VirtioNet::create(&space, Options { name: "emulated:1".into(), ..Options::default() });
//! ringway_model::cable(&mut device, &mut peer);
//!
//! // A driver finds the registers by capabilities; here it knows where they are (virtio 1.2, section 4.1.4.3).
//! let function = Function::new(backend)?;
//! let common = function.bar(4, 0, 60)?;
//! for status in [0, 1, 1 | 2] {
//!     common.write8(20, status); // reset, ACKNOWLEDGE, DRIVER
//! }
//! for (select, bits) in [(0, 0), (1, (Features::VERSION_1 | Features::ACCESS_PLATFORM) >> 32)] {
//!     common.write32(8, select);
//!     common.write32(12, bits as u32);
//! }
//! common.write8(20, 1 | 2 | 8); // FEATURES_OK
//! assert_eq!(common.read8(20), 1 | 2 | 8, "the device agrees");
//!
//! // Queue 1 transmits: eight descriptors, the available ring, the used ring, and a packet of 12 + 64 bytes.
//! let mut memory = RingMemory::allocate(&space, Placement::default(), &[4096])?;
//! let block = memory.block(4096)?;
//! let descriptors = block.ring::<Descriptor>(0, 8)?;
//! let available = block.ring::<AtomicU16>(128, 2)?;
//! let used = block.ring::<AtomicU16>(256, 2)?;
//! let packet = block.ring::<AtomicU64>(1024, 16)?;
//! common.write16(22, 1);
//! common.write16(24, 8);
//! for (register, offset) in [(32, 0), (40, 128), (48, 256)] {
//!     common.write_ring_base(register, register + 4, block.base(offset)?);
//! }
//! common.write16(28, 1);
//! let doorbell = function.bar(4, 0x1000, 4 * 2)?.doorbell("example", 4, Width::Word)?;
//! function.set_bus_master(true)?;
//! common.write8(20, 1 | 2 | 8 | 4); // DRIVER_OK
//!
//! descriptors.at(0).address.point_at(&packet, 0);
//! descriptors.at(0).word.store(12 + 64, Ordering::Relaxed);
//! available.at(1).store(1, Ordering::Release);
//! doorbell.ring(1);
//!
//! assert_eq!(device.step(), 1);
//! assert_eq!(used.at(1).load(Ordering::Acquire), 1, "the device is done with the packet");
//! assert_eq!(device.statistics().sent_bytes, 64);
//! assert_eq!(device.violations(), []);
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//! | device | specification | front |
//! |---|---|---|
//! | [`virtio`]: a virtio-net function, modern PCI, split rings | virtio 1.2 | in process |
//! | [`ixgbe`]: 82599, X540, X550 | Intel 82599 datasheet | in process, and for virtual machines (feature `vfio-user`) |
//!
//! [`Violation`]: virtio::Violation
#![forbid(unsafe_code)]

mod config_space;
mod interrupts;
pub mod ixgbe;
mod running;
#[cfg(feature = "vfio-user")]
pub mod vfio_user;
pub mod virtio;
pub mod wire;

pub use running::{Device, Running, RunningGroup, run_together};

/// Accesses to memory that belong together.
type Memory<'a> = ringway_dma::Burst<'a>;

/// Plugs two devices into each other: what one sends the other receives. Nothing is lost on the way; a device whose
/// peer has no room leaves its frames in its ring.
pub fn cable(one: &mut virtio::Handle, other: &mut virtio::Handle) {
    let (left, right) = wire::cable_pair();
    one.attach(Box::new(left));
    other.attach(Box::new(right));
}
