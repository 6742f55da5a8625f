//! A virtio-net function: virtio 1.2, chapter 2, section 4.1 (PCI) and section 5.1 (network device), split rings.
//!
//! # Registers
//! BAR 4 holds them; the capabilities say where. Accesses are in each register's own width (section 4.1.3.1); others
//! read all ones and are noted.
//!
//! | common configuration | offset | what the device does | section |
//! |---|---|---|---|
//! | device_feature_select | 0 | picks 32 of the bits offered | 4.1.4.3 |
//! | device_feature | 4 | what is offered; 0 from bit 64 on | 2.2, 4.1.4.3.1 |
//! | driver_feature_select | 8 | picks 32 of the bits accepted | 4.1.4.3 |
//! | driver_feature | 12 | what is accepted; fixed by FEATURES_OK | 2.2, 3.1.1 |
//! | config_msix_vector | 16 | vector of configuration changes; 0xffff is none | 4.1.5.1.2 |
//! | num_queues | 18 | two a pair, and the control queue | 4.1.4.3 |
//! | device_status | 20 | progress; 0 resets, and reads 0 when the write returns | 2.1, 2.4 |
//! | config_generation | 21 | moves on when a changed configuration is read | 2.5, 4.1.4.3.1 |
//! | queue_select | 22 | picks the queue of all that follows | 4.1.4.3 |
//! | queue_size | 24 | the most; a smaller power of two may be written; 0: there is no such queue | 4.1.4.3.1 |
//! | queue_msix_vector | 26 | vector of used buffers | 4.1.5.1.2 |
//! | queue_enable | 28 | 1 starts the queue, if its parts are aligned | 2.7, 4.1.4.3.2 |
//! | queue_notify_off | 30 | the queue's index | 4.1.4.4 |
//! | queue_desc, queue_driver, queue_device | 32, 40, 48 | where descriptors, available and used ring are | 4.1.5.1.3 |
//! | queue_notify_data | 56 | the queue's index; NOTIF_CONFIG_DATA is not offered | 4.1.4.3 |
//! | queue_reset | 58 | 1 stops the queue, with RING_RESET; reads 0 when the write returns | 2.6.1 |
//!
//! | elsewhere in BAR 4 | offset | what the device does | section |
//! |---|---|---|---|
//! | ISR status | 0x40 | bit 0: buffers used (without MSI-X); bit 1: configuration changed; reading clears | 4.1.4.5 |
//! | mac | 0x80 | the address, also when it was set by a command | 5.1.4 |
//! | status | 0x86 | bit 0: link up; bit 1: announce yourself | 5.1.4 |
//! | max_virtqueue_pairs | 0x88 | [`Options::queue_pairs`] | 5.1.4 |
//! | mtu | 0x8a | [`Options::mtu`] | 5.1.4 |
//! | speed, duplex | 0x8c, 0x90 | Mbit/s and 1 (full); all ones while the link is down | 5.1.4 |
//! | rss_max_key_size, rss_max_indirection_table_length, supported_hash_types | 0x91, 0x92, 0x94 | 40, 128, the six kinds without extension headers | 5.1.4 |
//! | notifications | 0x1000 | 4 bytes a queue; the queue's index is written | 4.1.4.4, 4.1.5.2 |
//!
//! # When it looks
//! At a queue when it was notified of it, as hardware is (unless [`Options::polls`]), in the next step. At the control
//! queue also when any common or network register is accessed, and before a notification that is written through
//! [`Registers`](ringway_pci::Registers) returns: so a driver can open a device that nobody steps meanwhile.
//!
//! # What it is not
//! No legacy interface, no packed ring: what is not implemented is not offered. Received frames are not delayed, and
//! TCP segments that arrive are not joined: a test hands in what another guest would have sent whole
//! ([`Handle::inject_as`]). Their checksums are looked at where `GUEST_CSUM` was negotiated.

mod backend;
mod chain;
mod common;
mod configuration;
mod control;
mod device;
mod faults;
mod features;
mod filter;
mod frames;
mod handle;
mod header;
mod moderation;
mod net;
mod offload;
mod order;
mod pci;
mod queue;
mod rss;
mod slot;
mod steering;
mod violation;

pub use faults::Faults;
pub use features::Features;
pub use handle::{Handle, Monitor};
pub use header::Header;
pub use order::Order;
pub use violation::{Rule, Violation};

use handle::Shared;
use ringway_dma::AddressSpace;
use ringway_pci::{Backend, Identity};
use std::sync::Arc;

/// The most queue pairs: their vectors and two more fill a table of 4096 bytes.
pub const MAXIMUM_QUEUE_PAIRS: u16 = 127;
/// Section 2.7: the largest queue.
const MAXIMUM_QUEUE_SIZE: u16 = 1 << 15;

/// How a device is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name that errors and statistics carry.
    pub name: String,
    /// Its address.
    pub mac: [u8; 6],
    /// Receive and transmit queue pairs, 1 to [`MAXIMUM_QUEUE_PAIRS`]; more than one is offered as `MQ`.
    pub queue_pairs: u16,
    /// The largest queue size it offers: a power of two from 2 to 32768, or the next one below.
    pub queue_size: u16,
    /// What it offers, as far as it is implemented and consistent.
    pub features: Features,
    /// The MTU that it reports, in bytes, from 68.
    pub mtu: u16,
    /// The speed that it reports while the link is up, in Mbit/s.
    pub speed: u32,
    /// The order in which buffers are used. With `IN_ORDER` negotiated, as given.
    pub order: Order,
    /// Whether it looks at its queues all the time and tells the driver that it needs no notification. Off, it looks
    /// when it was notified: a driver that forgets to is then found out.
    pub polls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "emulated:0".to_owned(),
            mac: [0x02, 0, 0, 0, 0, 0x01],
            queue_pairs: 1,
            queue_size: 1024,
            features: Features::default(),
            mtu: 1500,
            speed: 10_000,
            order: Order::default(),
            polls: false,
        }
    }
}

impl Options {
    /// Brings every value into its range.
    fn normalised(mut self) -> Self {
        self.queue_pairs = self.queue_pairs.clamp(1, MAXIMUM_QUEUE_PAIRS);
        let size = self.queue_size.clamp(2, MAXIMUM_QUEUE_SIZE);
        self.queue_size = 1 << size.ilog2();
        self.mtu = self.mtu.max(68);
        if !self.offered().has(Features::MQ) {
            self.queue_pairs = 1;
        }
        self
    }

    fn offered(&self) -> Features {
        let features = self.features & Features::IMPLEMENTED;
        let features = if self.queue_pairs > 1 { features } else { features.without(Features::MQ) };
        features.with(Features::VERSION_1).consistent()
    }

    /// Section 4.1.5.1.2.1: one for each queue that has packets, one for commands, one for changes.
    fn vectors(&self) -> u16 {
        self.queue_pairs.wrapping_mul(2).wrapping_add(2)
    }
}

/// What a device has counted. Frames are counted as they cross between queue and wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Frames put into receive buffers.
    pub received_frames: u64,
    /// Their bytes, without FCS.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent_frames: u64,
    /// Their bytes, without FCS.
    pub sent_bytes: u64,
    /// Frames that the receive filter dropped.
    pub filtered: u64,
    /// Frames that found no receive buffer, from a wire that doesn't wait, or were in the device at a reset.
    pub missed: u64,
    /// Frames longer than the MTU or the receive buffers allow.
    pub too_long: u64,
    /// Packets whose checksum was filled in.
    pub checksums: u64,
    /// Packets that were cut.
    pub segmented: u64,
    /// Frames that packets became when they were cut.
    pub segments: u64,
    /// Packets that were not sent because their header asks for what was not negotiated, or they hold no frame.
    pub refused: u64,
    /// Packets that went nowhere because the link was down.
    pub link_down: u64,
    /// Commands served.
    pub commands: u64,
    /// Interrupts sent through a vector.
    pub interrupts: u64,
    /// Interrupts not sent because the driver didn't want them.
    pub suppressed: u64,
}

/// A virtio-net function in software.
#[derive(Debug)]
pub enum VirtioNet {}

impl VirtioNet {
    /// Makes a device in `space`: the half that a driver opens (by [`ringway_pci::Function::new`]) and the half that
    /// plays the device. In a space that real hardware translates it reaches no memory.
    pub fn create(space: &AddressSpace, options: Options) -> (Box<dyn Backend>, Handle) {
        let options = options.normalised();
        let identity = Identity {
            name: options.name.clone(),
            vendor: pci::VENDOR,
            device: pci::DEVICE,
            // Section 4.1.2.1: 0x40 or higher for a device without legacy interface.
            subsystem_vendor: pci::VENDOR,
            subsystem: 0x1100,
            revision: pci::REVISION,
            class: pci::CLASS,
            numa_node: None,
        };
        let shared = Shared::new(space, &options, &identity);
        let handle = Handle::new(Arc::clone(&shared), options.name);
        (Box::new(backend::Function::new(shared, identity, space.clone())), handle)
    }
}
