//! From names to open ports: address space, packet pool, driver.
//!
//! Contract: the ports of one call share one address space and one pool, so a packet crosses from any of them to any
//! other without a copy. What fails half-way leaves nothing behind: what was opened is reset and given back.
//!
//! Not here: what is done with the ports.

pub mod drivers;
mod emulated;
mod hardware;

pub use emulated::{Emulation, EmulationOptions, Kind, Stream, Wiring};

use crate::{Error, PortName};
use ringway_dma::{AddressSpace, BufferSize, PageSize, Placement};
use ringway_packet::{Pool, PoolOptions};
use ringway_port::{Offloads, Opened, PortOptions};

/// How ports are opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Rings and queues of each port.
    pub port: PortOptions,
    /// What each port's device shall do to packets, port by port; the last one is also for all that follow. None: nothing.
    pub offloads: Vec<Offloads>,
    /// The pool that all of them share.
    pub buffers: u32,
    /// The size of each buffer.
    pub buffer_size: BufferSize,
    /// The largest pages that its memory is made of.
    pub largest_page: PageSize,
    /// What emulated ports are.
    pub emulation: EmulationOptions,
}

impl OpenOptions {
    /// How the port of this number is opened.
    fn of_port(&self, index: usize) -> PortOptions {
        let offloads = self.offloads.get(index).or(self.offloads.last()).copied().unwrap_or_default();
        PortOptions { offloads, ..self.port.clone() }
    }
}

/// Open ports and what they stand on. Dropped in this order.
#[derive(Debug)]
pub struct OpenPorts {
    /// The ports, in the order of their names.
    pub opened: Vec<Opened>,
    /// What is behind emulated ports.
    pub emulation: Option<Emulation>,
    /// The pool that they share.
    pub pool: Pool,
}

/// Opens the ports of `names`, all of them PCI functions or all of them emulated.
///
/// # Errors
/// For a name that is there twice, for kinds that don't mix, and for whatever keeps a port from being opened.
pub fn open(names: &[PortName], options: &OpenOptions) -> Result<OpenPorts, Error> {
    for (index, name) in names.iter().enumerate() {
        if names.iter().take(index).any(|earlier| earlier == name) {
            return Err(Error::SamePort(*name));
        }
    }
    let mut addresses = Vec::new();
    let mut numbers = Vec::new();
    for &name in names {
        match name {
            PortName::Pci(address) => addresses.push(address),
            PortName::Emulated(number) => numbers.push(number),
        }
    }
    match (addresses.first(), numbers.first()) {
        (Some(&address), Some(&number)) => {
            Err(Error::Mixed { pci: PortName::Pci(address), emulated: PortName::Emulated(number) })
        }
        (None, Some(_)) => emulated::open(&numbers, options),
        _ => hardware::open(&addresses, options),
    }
}

/// The pool of a call: in the ports' address space, on their node.
fn make_pool(space: &AddressSpace, options: &OpenOptions, numa_node: Option<u32>) -> Result<Pool, Error> {
    let placement = Placement { numa_node, largest_page: options.largest_page };
    let options = PoolOptions { buffers: options.buffers, buffer_size: options.buffer_size, placement };
    Ok(Pool::new(space, options)?)
}
