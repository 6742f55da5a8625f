//! What the device says of itself (virtio 1.2, section 5.1.4).

use crate::transport::Transport;
use crate::{Error, Features};
use ringway_port::{Link, MacAddress};

/// Offsets of `virtio_net_config`.
const MAC: u64 = 0;
const STATUS: u64 = 6;
const MAX_VIRTQUEUE_PAIRS: u64 = 8;
const MTU: u64 = 10;
const SPEED: u64 = 12;

/// `status`: the link is up.
const LINK_UP: u16 = 1;
/// `speed`: not known.
const SPEED_UNKNOWN: u32 = 0xffff_ffff;
/// How often a configuration may change while it is read: it changes with the link, so a hundred times is a fault.
const TRIES: u32 = 100;
/// Ethernet's own: header, tag and 1500 bytes.
const ETHERNET_FRAME: u32 = 1518;
/// The header with a VLAN tag.
const ETHERNET_HEADER: u32 = 18;

/// The configuration, with what isn't offered filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) mac: MacAddress,
    pub(super) link: Link,
    pub(super) queue_pairs: u16,
    pub(super) maximum_frame: u32,
}

/// Reads it as a whole (section 2.5.1).
pub(super) fn read(transport: &dyn Transport, features: Features) -> Result<Configuration, Error> {
    for _ in 0..TRIES {
        let before = transport.generation();
        let configuration = read_once(transport, features);
        if transport.generation() == before {
            return Ok(configuration);
        }
    }
    Err(Error::Protocol {
        device: transport.name().to_owned(),
        what: format!("its configuration changed {TRIES} times while it was read"),
        section: "2.5.1",
    })
}

fn read_once(transport: &dyn Transport, features: Features) -> Configuration {
    let mac = if features.contains(Features::MAC) {
        MacAddress(std::array::from_fn(|index| transport.configuration8(MAC + index as u64)))
    } else {
        local_address(transport.name())
    };
    let speed = features
        .contains(Features::SPEED_DUPLEX)
        .then(|| transport.configuration32(SPEED))
        .filter(|&speed| speed != SPEED_UNKNOWN && speed != 0);
    // Section 5.1.4.2: without the field the link is taken to be up.
    let up = !features.contains(Features::STATUS) || transport.configuration16(STATUS) & LINK_UP != 0;
    let queue_pairs = if features.contains(Features::MULTIQUEUE) {
        transport.configuration16(MAX_VIRTQUEUE_PAIRS).max(1)
    } else {
        1
    };
    let maximum_frame = if features.contains(Features::MTU) {
        u32::from(transport.configuration16(MTU)).saturating_add(ETHERNET_HEADER)
    } else {
        ETHERNET_FRAME
    };
    Configuration {
        mac,
        link: if up { Link::Up { speed } } else { Link::Down { reason: "the device says so".to_owned() } },
        queue_pairs,
        maximum_frame,
    }
}

/// Section 5.1.5: without an address of the device's, the driver makes one up: locally administered, and the same for
/// the same device each time.
fn local_address(name: &str) -> MacAddress {
    // FNV-1a: any spread will do.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let [a, b, c, d, e, ..] = hash.to_le_bytes();
    MacAddress([0x02, a, b, c, d, e])
}
