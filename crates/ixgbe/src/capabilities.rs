//! What each device of the family can do, and what a port may be opened with.
//!
//! Limits are of the device and of this driver together: what the device could do and the driver doesn't is not listed.

use crate::devices::{Device, Mac};
use crate::{Error, director, steering};
use ringway_port::{Capabilities, HashLimits, HashTypes, Offloads, PortOptions};
use std::ops::RangeInclusive;

/// Receive queues, of which RSS reaches the first ones and filters all (section 7.1.2.1). The last of 128 is what flow
/// director drops to.
const RECEIVE_QUEUES: u16 = director::DROP_QUEUE as u16;
/// Transmit queues without traffic classes and virtual machines (section 7.2.1.2.1).
const TRANSMIT_QUEUES: u16 = 64;
/// The most receive queues that have an interrupt each: one of 64 vectors is for the link (section 7.3.4).
const INTERRUPTING_QUEUES: u16 = 63;
/// The rings that the driver makes: the device takes multiples of 8 up to 8192 (section 7.1.9); of these the powers of
/// two that hold a few reports.
pub(crate) const RING_SIZES: RangeInclusive<u32> = 64..=4096;
/// The shortest that a longest frame may be.
const ORDINARY_FRAME: u32 = 1514;
/// What a MAC of the family takes (section 8.2.3.22.13), with FCS.
pub(crate) const LARGEST_FRAME: u32 = 9728;
/// Bytes of the FCS.
pub(crate) const FCS: u32 = 4;

/// Of all devices of the family.
const OFFLOADS: [Offloads; 14] = [
    Offloads::VLAN_STRIP,
    Offloads::VLAN_INSERT,
    Offloads::VLAN_FILTER,
    Offloads::RECEIVE_CHECKSUM,
    Offloads::IPV4_CHECKSUM,
    Offloads::TCP_UDP_CHECKSUM,
    Offloads::SCTP_CHECKSUM,
    Offloads::TCP4_SEGMENTATION,
    Offloads::TCP6_SEGMENTATION,
    Offloads::UDP_SEGMENTATION,
    Offloads::SCATTER,
    Offloads::GATHER,
    Offloads::HASH,
    Offloads::TIMESTAMP,
];

/// Why the driver leaves large receive (receive side coalescing, section 7.11) alone. It is no small thing to add: several
/// packets grow at once, each in descriptors that name one another, while the queues take a packet's descriptors in a row.
const NO_LARGE_RECEIVE: &str = "the device would grow several packets at once, each in buffers all over the ring that name \
                                one another, and the driver takes a packet's buffers in a row only; join segments \
                                in the program";

/// What a packet has to ask for before it is sent; such ports need context descriptors.
pub(crate) const TOLD_TO_THE_DEVICE: [Offloads; 7] = [
    Offloads::VLAN_INSERT,
    Offloads::IPV4_CHECKSUM,
    Offloads::TCP_UDP_CHECKSUM,
    Offloads::SCTP_CHECKSUM,
    Offloads::TCP4_SEGMENTATION,
    Offloads::TCP6_SEGMENTATION,
    Offloads::UDP_SEGMENTATION,
];

pub(crate) fn all(offloads: &[Offloads]) -> Offloads {
    offloads.iter().fold(Offloads::NONE, |all, &one| all | one)
}

/// What the device can do.
pub(crate) fn of(device: Device) -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.receive_queues = RECEIVE_QUEUES;
    capabilities.transmit_queues = TRANSMIT_QUEUES;
    capabilities.offloads = all(&OFFLOADS);
    capabilities.hash = Some(hash(device.mac));
    capabilities.filters = steering::LIMITS;
    capabilities.addresses = 127;
    capabilities.longest_frame = LARGEST_FRAME - FCS;
    capabilities.interrupts = true;
    capabilities.moderation = true;
    capabilities.pause = true;
    capabilities.clock = true;
    capabilities
}

/// Receive side scaling (section 7.1.2.8): entries of 4 bits; the X550's table is four times as long, of 6 bits.
pub(crate) const fn hash(mac: Mac) -> HashLimits {
    let (table, queues) = match mac {
        Mac::I82599 | Mac::X540 => (128, 16),
        Mac::X550 => (512, 64),
    };
    HashLimits { key: 40, table, queues, types: HashTypes::ALL }
}

/// Whether a port can be opened so.
pub(crate) fn check(name: &str, device: Device, options: &PortOptions) -> Result<(), Error> {
    let owned = || name.to_owned();
    for (direction, wanted, available) in [
        ("receive", options.receive_queues, RECEIVE_QUEUES),
        ("transmit", options.transmit_queues, TRANSMIT_QUEUES),
    ] {
        if wanted == 0 || wanted > available {
            return Err(Error::Queues { device: owned(), direction, wanted, available });
        }
    }
    if options.interrupts && options.receive_queues > INTERRUPTING_QUEUES {
        return Err(Error::Unsupported {
            device: owned(),
            feature: "an interrupt for each receive queue",
            reason: format!(
                "there are vectors for {INTERRUPTING_QUEUES}, not for {}; open it with fewer or without interrupts",
                options.receive_queues
            ),
        });
    }
    if !(ORDINARY_FRAME..=LARGEST_FRAME - FCS).contains(&options.maximum_frame) {
        return Err(Error::FrameSize { device: owned(), wanted: options.maximum_frame });
    }
    for wanted in [options.receive_ring, options.transmit_ring] {
        if !wanted.is_power_of_two() || !RING_SIZES.contains(&wanted) {
            return Err(Error::RingSize { device: owned(), wanted });
        }
    }
    let possible = of(device).offloads;
    match (options.offloads - possible).names().next() {
        None => Ok(()),
        Some("large-receive") => Err(Error::Unsupported {
            device: owned(),
            feature: "large-receive",
            reason: NO_LARGE_RECEIVE.to_owned(),
        }),
        Some(feature) => Err(Error::Unsupported {
            device: owned(),
            feature,
            reason: format!("the driver doesn't do it on {}; it does {possible}", device.name),
        }),
    }
}
