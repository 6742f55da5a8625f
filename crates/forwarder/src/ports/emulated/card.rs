//! One emulated card: which device it is, its thread's side, and a look at it from outside.

use ringway_dma::AddressSpace;
use ringway_model::ixgbe::{self, Ixgbe, Personality};
use ringway_model::virtio::{self, VirtioNet};
use ringway_model::wire::Wire;
use ringway_pci::Backend;
use ringway_traffic::end::Monitor;

/// What an emulated virtio device offers.
const QUEUE_PAIRS: u16 = 8;

/// Which device an emulated port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of the 82599 family.
    Ixgbe(Personality),
    /// A virtio-net device.
    VirtioNet,
}

impl Default for Kind {
    fn default() -> Self {
        Self::Ixgbe(Personality::default())
    }
}

/// A card from outside, also while it runs.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) wire: WireMonitor,
    device: DeviceMonitor,
}

/// What a card is plugged into, from outside.
#[derive(Debug)]
pub(super) enum WireMonitor {
    /// A generator and a receiver.
    Marked(Monitor),
    /// A cable to another card.
    Cable,
}

#[derive(Debug)]
enum DeviceMonitor {
    Ixgbe(ixgbe::Monitor),
    Virtio(virtio::Monitor, virtio::Faults),
}

/// A card in its three parts.
pub(super) struct Made {
    /// The driver's side.
    pub(super) backend: Box<dyn Backend>,
    /// The device's side.
    pub(super) device: Box<dyn ringway_model::Device>,
    /// The look from outside.
    pub(super) card: Card,
}

/// Makes a card and plugs it in.
pub(super) fn make(
    space: &AddressSpace,
    kind: Kind,
    name: String,
    mac: [u8; 6],
    (plug, wire): (Box<dyn Wire>, WireMonitor),
) -> Made {
    match kind {
        Kind::Ixgbe(personality) => {
            let options = ixgbe::Options { name: name.clone(), mac, personality, ..Default::default() };
            let (backend, mut handle) = Ixgbe::create(space, options);
            handle.attach(plug);
            let device = DeviceMonitor::Ixgbe(handle.monitor());
            Made { backend, device: Box::new(handle), card: Card { name, wire, device } }
        }
        Kind::VirtioNet => {
            let options = virtio::Options {
                name: name.clone(),
                mac,
                polls: true,
                queue_pairs: QUEUE_PAIRS,
                ..Default::default()
            };
            let (backend, mut handle) = VirtioNet::create(space, options);
            handle.attach(plug);
            let device = DeviceMonitor::Virtio(handle.monitor(), handle.faults());
            Made { backend, device: Box::new(handle), card: Card { name, wire, device } }
        }
    }
}

impl Card {
    /// What the card says that the driver did against the rules.
    pub(super) fn violations(&self) -> Vec<String> {
        match &self.device {
            DeviceMonitor::Virtio(device, _) => {
                device.violations().iter().map(|violation| format!("{}: {violation}", self.name)).collect()
            }
            DeviceMonitor::Ixgbe(device) => {
                let said =
                    |fault| format!("{}: {} wrong accesses, the last: {fault}", self.name, device.faults());
                device.last_fault().map(said).into_iter().collect()
            }
        }
    }

    /// Pulls the card out of its slot.
    pub(super) fn remove(&self) {
        match &self.device {
            DeviceMonitor::Ixgbe(device) => device.remove(),
            DeviceMonitor::Virtio(_, faults) => faults.remove(),
        }
    }
}
