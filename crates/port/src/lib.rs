//! What a NIC is to a program, whichever driver is behind it.
//!
//! Opening a port gives a control handle and its queues. Each queue is owned and can go to a thread of its own;
//! control doesn't stop them. When the last of the handles is dropped, the device is stopped, reset and given back.
//!
//! ```text
//!   driver::open(function, options) ──▶ Opened { control: Box<dyn Port>,
//!                                                receive: Vec<Box<dyn ReceiveQueue>>,
//!                                                transmit: Vec<Box<dyn TransmitQueue>> }
//! ```
//!
//! A forwarder's inner loop, for any two ports:
//!
//! ```
//! use ringway_packet::Batch;
//! use ringway_port::{Error, ReceiveQueue, TransmitQueue};
//!
//! fn forward(from: &mut dyn ReceiveQueue, to: &mut dyn TransmitQueue, batch: &mut Batch) -> Result<usize, Error> {
//!     if from.receive(batch)? == 0 {
//!         to.reclaim()?; // idle: buffers that were sent must not wait for the next packet
//!         return Ok(0);
//!     }
//!     to.transmit(batch)?;
//!     Ok(batch.clear()) // what did not fit is dropped and counted
//! }
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod capabilities;
mod error;
mod failure;
mod link;
mod offload;
mod statistics;
mod steering;

pub use capabilities::{Capabilities, FilterLimits, HashLimits, HashTypes};
pub use error::Error;
pub use failure::Failure;
pub use link::{Link, MacAddress, ParseMacError, Pause};
pub use offload::Offloads;
pub use statistics::{ReceiveCounters, ReceiveStatistics, Statistics, TransmitCounters, TransmitStatistics};
pub use steering::{Filter, FilterId, FiveTuple, Matching, Scaling, Target, VERIFICATION_KEY};

use ringway_packet::{Batch, Pool};
use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Ethernet's longest ordinary frame with a VLAN tag, without FCS, in bytes (IEEE 802.3, clause 3.2.7).
pub const ETHERNET_FRAME: u32 = 1518;

/// How a port is opened.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// How many receive queues, at least 1.
    pub receive_queues: u16,
    /// How many transmit queues, at least 1.
    pub transmit_queues: u16,
    /// Descriptors of each receive ring: a power of two within the device's limits.
    pub receive_ring: u32,
    /// Descriptors of each transmit ring: a power of two within the device's limits.
    pub transmit_ring: u32,
    /// The longest frame to be received, without FCS, in bytes. Frames that one buffer doesn't hold come in several.
    pub maximum_frame: u32,
    /// Whether the receive queues get an interrupt each. Off, nothing but polling finds packets.
    pub interrupts: bool,
    /// What the device shall do to packets. Of what it can't do, opening says so.
    pub offloads: Offloads,
    /// How flows are spread over the receive queues; `None`: evenly, by the driver's own key and table.
    pub scaling: Option<Scaling>,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            receive_queues: 1,
            transmit_queues: 1,
            receive_ring: 512,
            transmit_ring: 512,
            maximum_frame: ETHERNET_FRAME,
            interrupts: false,
            offloads: Offloads::NONE,
            scaling: None,
        }
    }
}

/// An open port: its control handle and its queues.
#[derive(Debug)]
pub struct Opened {
    /// Everything but packets.
    pub control: Box<dyn Port>,
    /// The receive queues, by index.
    pub receive: Vec<Box<dyn ReceiveQueue>>,
    /// The transmit queues, by index.
    pub transmit: Vec<Box<dyn TransmitQueue>>,
}

/// What doesn't change while a port is open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Information {
    /// `0000:03:00.0`, `emulated:0`.
    pub name: String,
    /// The driver: `virtio-net`, `ixgbe`.
    pub driver: &'static str,
    /// The device, as a person calls it.
    pub model: String,
    /// The device's own Ethernet address.
    pub mac: MacAddress,
    /// The NUMA node that it hangs on, where known.
    pub numa_node: Option<u32>,
    /// What was agreed with the device, by its specification's names.
    pub features: Vec<&'static str>,
    /// What is in its EEPROM, as the maker names it, where the device says.
    pub firmware: Option<String>,
    /// The longest frame that can be received, without FCS, in bytes.
    pub maximum_frame: u32,
}

impl Information {
    /// What every driver knows of its port.
    pub fn new(name: String, driver: &'static str, model: String, mac: MacAddress) -> Self {
        Self {
            name,
            driver,
            model,
            mac,
            numa_node: None,
            features: Vec::new(),
            firmware: None,
            maximum_frame: ETHERNET_FRAME,
        }
    }
}

/// A port's control handle.
pub trait Port: Send + Debug {
    /// What doesn't change while the port is open.
    fn information(&self) -> &Information;

    /// The link as it is now.
    ///
    /// # Errors
    /// When the device doesn't answer.
    fn link(&mut self) -> Result<Link, Error>;

    /// All counters, since the port was opened.
    ///
    /// # Errors
    /// When the device doesn't answer.
    fn statistics(&mut self) -> Result<Statistics, Error>;

    /// Whether frames for any address are received.
    fn is_promiscuous(&self) -> bool;

    /// Receives frames for any address, or only those for this port.
    ///
    /// # Errors
    /// When the device can't, or doesn't answer.
    fn set_promiscuous(&mut self, on: bool) -> Result<(), Error>;

    /// Receives all frames for groups, or only broadcasts.
    ///
    /// # Errors
    /// When the device can't, or doesn't answer.
    fn set_all_multicast(&mut self, on: bool) -> Result<(), Error> {
        let _ = on;
        Err(self.unsupported("receiving all multicast frames"))
    }

    /// Receives frames for one more address.
    ///
    /// # Errors
    /// When the device can't, has no room for it, or doesn't answer.
    fn add_address(&mut self, address: MacAddress) -> Result<(), Error> {
        let _ = address;
        Err(self.unsupported("a further address"))
    }

    /// Receives frames for that address no more.
    ///
    /// # Errors
    /// When it was not added, or the device doesn't answer.
    fn remove_address(&mut self, address: MacAddress) -> Result<(), Error> {
        let _ = address;
        Err(self.unsupported("a further address"))
    }

    /// Changes the port's own address; [`information`](Self::information) has the new one.
    ///
    /// # Errors
    /// When the device can't, it is no station's, or the device doesn't answer.
    fn set_address(&mut self, address: MacAddress) -> Result<(), Error> {
        let _ = address;
        Err(self.unsupported("another address"))
    }

    /// Whether the device asks the program to announce itself (it was moved to another network, say): the program then
    /// sends a frame from its address. To be asked when [`link_interrupt`](Self::link_interrupt) says that something has
    /// changed, or now and then. Saying so answers the device.
    ///
    /// # Errors
    /// When the device doesn't answer.
    fn take_announcement(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    /// What the device can do.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// How flows are spread over the receive queues now.
    ///
    /// # Errors
    /// When the device doesn't do it, or doesn't answer.
    fn scaling(&mut self) -> Result<Scaling, Error> {
        Err(self.unsupported("receive side scaling"))
    }

    /// Spreads flows otherwise, while packets come.
    ///
    /// # Errors
    /// When the device can't, the table names a queue that isn't there, or the device doesn't answer. Nothing is changed then.
    fn set_scaling(&mut self, scaling: &Scaling) -> Result<(), Error> {
        let _ = scaling;
        Err(self.unsupported("receive side scaling"))
    }

    /// Places a filter. The narrower kind wins where several match.
    ///
    /// # Errors
    /// When the device has no such filter or none left, the queue isn't there, or the device doesn't answer.
    fn add_filter(&mut self, filter: &Filter) -> Result<FilterId, Error> {
        let _ = filter;
        Err(self.unsupported("a filter to a queue"))
    }

    /// Takes a filter away.
    ///
    /// # Errors
    /// When it isn't placed, or the device doesn't answer.
    fn remove_filter(&mut self, filter: FilterId) -> Result<(), Error> {
        let _ = filter;
        Err(self.unsupported("a filter to a queue"))
    }

    /// Receives this VLAN, 0 to 4095. For ports opened with [`Offloads::VLAN_FILTER`], which begin with none but untagged.
    ///
    /// # Errors
    /// When the port doesn't filter VLANs, or the device doesn't answer.
    fn add_vlan(&mut self, vlan: u16) -> Result<(), Error> {
        let _ = vlan;
        Err(self.unsupported("filtering VLANs"))
    }

    /// Receives this VLAN no more.
    ///
    /// # Errors
    /// When it was not added, or the device doesn't answer.
    fn remove_vlan(&mut self, vlan: u16) -> Result<(), Error> {
        let _ = vlan;
        Err(self.unsupported("filtering VLANs"))
    }

    /// Whether pause frames are obeyed and sent.
    ///
    /// # Errors
    /// When the device doesn't do it, or doesn't answer.
    fn pause(&mut self) -> Result<Pause, Error> {
        Err(self.unsupported("pausing"))
    }

    /// Obeys and sends pause frames, or not.
    ///
    /// # Errors
    /// When the device can't, or doesn't answer.
    fn set_pause(&mut self, pause: Pause) -> Result<(), Error> {
        let _ = pause;
        Err(self.unsupported("pausing"))
    }

    /// The least time between two interrupts of a receive queue.
    ///
    /// # Errors
    /// When the device can't, the port was opened without interrupts, or the device doesn't answer.
    fn set_moderation(&mut self, queue: u16, interval: Duration) -> Result<(), Error> {
        let _ = (queue, interval);
        Err(self.unsupported("holding interrupts back"))
    }

    /// The counter that becomes readable when the link changes, if the port was opened with interrupts and the device says
    /// so by one. To be read by the program, which then asks for [`link`](Self::link).
    fn link_interrupt(&self) -> Option<&Arc<OwnedFd>> {
        None
    }

    /// The device's clock, in nanoseconds: what packets are stamped with.
    ///
    /// # Errors
    /// When it has none, or doesn't answer.
    fn clock(&mut self) -> Result<u64, Error> {
        Err(self.unsupported("a clock"))
    }

    /// Sets the device's clock.
    ///
    /// # Errors
    /// When it has none, or doesn't answer.
    fn set_clock(&mut self, nanoseconds: u64) -> Result<(), Error> {
        let _ = nanoseconds;
        Err(self.unsupported("a clock"))
    }

    /// The device's registers by their names, those that can be read without changing anything.
    ///
    /// # Errors
    /// When there are none to be shown, or the device doesn't answer.
    fn registers(&mut self) -> Result<Vec<(String, u32)>, Error> {
        Err(self.unsupported("a list of registers"))
    }

    /// The whole of the device's EEPROM, in its own order of bytes.
    ///
    /// # Errors
    /// When it has none, or doesn't answer.
    fn eeprom(&mut self) -> Result<Vec<u8>, Error> {
        Err(self.unsupported("reading the EEPROM"))
    }

    /// The memory of the module in the cage: SFF-8472's pages A0h and A2h, or the first alone.
    ///
    /// # Errors
    /// When there is no cage, no module, or it doesn't answer.
    fn module_eeprom(&mut self) -> Result<Vec<u8>, Error> {
        Err(self.unsupported("a module"))
    }

    /// Blinks a light on the card, so that a person finds it, or stops doing so.
    ///
    /// # Errors
    /// When it has none, or doesn't answer.
    fn set_identify(&mut self, on: bool) -> Result<(), Error> {
        let _ = on;
        Err(self.unsupported("blinking a light"))
    }

    /// The error for what this driver doesn't do.
    fn unsupported(&self, feature: &'static str) -> Error {
        let information = self.information();
        Error::Unsupported {
            port: information.name.clone(),
            feature,
            reason: format!("the {} driver doesn't do it", information.driver),
        }
    }

    /// Looks after the device: whether it is still there and well. To be called now and then, about once a second.
    ///
    /// # Errors
    /// When it is gone or failed.
    fn check(&mut self) -> Result<(), Error>;
}

/// A receive queue. It owns its ring, its share of buffers and its counters.
pub trait ReceiveQueue: Send + Debug {
    /// Moves packets that have arrived into the room of `batch`, and says how many. Never waits.
    ///
    /// # Errors
    /// When the batch is of another pool, or the device failed. Packets received before stay in the batch.
    fn receive(&mut self, batch: &mut Batch) -> Result<usize, Error>;

    /// The pool that its packets come from.
    fn pool(&self) -> &Pool;

    /// The counter that becomes readable when a packet arrives after [`enable_interrupt`](Self::enable_interrupt),
    /// if the port was opened with interrupts.
    fn interrupt(&self) -> Option<&Arc<OwnedFd>>;

    /// Asks for an interrupt at the next packet. `false`: packets are there already, so don't wait.
    fn enable_interrupt(&mut self) -> bool;

    /// No interrupts any more, until asked for again.
    fn disable_interrupt(&mut self);

    /// Starts the queue anew while the others go on, also after it failed. Packets that it had not given yet are lost.
    ///
    /// # Errors
    /// When the device can't ([`Capabilities::queue_reset`]), is gone or failed as a whole.
    fn restart(&mut self) -> Result<(), Error> {
        Err(Error::no_restart())
    }
}

/// A transmit queue. It owns its ring and its counters.
pub trait TransmitQueue: Send + Debug {
    /// Moves packets from the front of `batch` to the device, and says how many. What doesn't fit stays in the
    /// batch. Never waits.
    ///
    /// # Errors
    /// When the batch is of a pool that the queue was not opened with, or the device failed.
    fn transmit(&mut self, batch: &mut Batch) -> Result<usize, Error>;

    /// Takes sent buffers back, and says how many. For idle times: sending does it too.
    ///
    /// # Errors
    /// When the device failed.
    fn reclaim(&mut self) -> Result<usize, Error>;

    /// How many buffers the device still has to send.
    fn pending(&self) -> usize;

    /// Starts the queue anew while the others go on, also after it failed. Packets that were not sent yet are lost.
    ///
    /// # Errors
    /// When the device can't ([`Capabilities::queue_reset`]), is gone or failed as a whole.
    fn restart(&mut self) -> Result<(), Error> {
        Err(Error::no_restart())
    }
}
