//! What the device says of itself (virtio 1.2, section 5.1.4).

use super::steering::{HashConfiguration, LEAST_KEY, LEAST_TABLE};
use crate::transport::Transport;
use crate::{Error, Features};
use ringway_port::{Link, MacAddress};

/// Offsets of `virtio_net_config`.
const MAC: u64 = 0;
const STATUS: u64 = 6;
const MAX_VIRTQUEUE_PAIRS: u64 = 8;
const MTU: u64 = 10;
const SPEED: u64 = 12;
const RSS_MAX_KEY_SIZE: u64 = 17;
const RSS_MAX_TABLE_LENGTH: u64 = 18;
const SUPPORTED_HASH_TYPES: u64 = 20;

/// `status`: the link is up.
const LINK_UP: u16 = 1;
/// `status`: the driver shall announce itself.
const ANNOUNCE: u16 = 2;
/// `speed`: in Mbit/s up to this; anything else says that it isn't known.
const FASTEST: u32 = 0x7fff_ffff;
/// `max_virtqueue_pairs` (section 5.1.4.1): more pairs, and the control queue behind them would have no index.
const MOST_PAIRS: u16 = 0x7fff;
/// `mtu` (section 5.1.4.1): the least that IPv4 asks for.
const LEAST_MTU: u16 = 68;
/// How often a configuration may change while it is read: it changes with the link, so a hundred times is a fault.
const TRIES: u32 = 100;
/// How far the configuration must go for a feature: to the end of its field.
const FIELDS: [(Features, u64); 7] = [
    (Features::MAC, MAC + 6),
    (Features::STATUS, STATUS + 2),
    (Features::MULTIQUEUE, MAX_VIRTQUEUE_PAIRS + 2),
    (Features::MTU, MTU + 2),
    (Features::SPEED_DUPLEX, SPEED + 4),
    (Features::RSS, SUPPORTED_HASH_TYPES + 4),
    (Features::HASH_REPORT, SUPPORTED_HASH_TYPES + 4),
];

/// The configuration, with what isn't offered filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) mac: MacAddress,
    /// The device has none of its own that a station can have.
    pub(super) mac_is_made_up: bool,
    pub(super) link: Link,
    pub(super) queue_pairs: u16,
    /// The longest packet behind the Ethernet header, in bytes, where the device says.
    pub(super) mtu: Option<u16>,
    /// Whether the driver shall announce itself.
    pub(super) announce: bool,
    /// What it can hash, if it does.
    pub(super) hash: Option<HashConfiguration>,
}

/// Reads it as a whole (section 2.5.1).
pub(super) fn read(transport: &dyn Transport, features: Features) -> Result<Configuration, Error> {
    let broken = |what, section| Error::Protocol { device: transport.name().to_owned(), what, section };
    let length = transport.configuration_length();
    if let Some((feature, end)) =
        FIELDS.iter().find(|(feature, end)| features.contains(*feature) && length < *end)
    {
        let names = feature.names().join(", ");
        return Err(broken(format!("its configuration has {length} bytes, {names} needs {end}"), "5.1.4"));
    }
    for _ in 0..TRIES {
        let before = transport.generation();
        let configuration = read_once(transport, features);
        if transport.generation() != before {
            continue;
        }
        if configuration.queue_pairs == 0 || configuration.queue_pairs > MOST_PAIRS {
            return Err(broken(
                format!("it says that it has {} queue pairs", configuration.queue_pairs),
                "5.1.4.1",
            ));
        }
        if let Some(mtu @ ..LEAST_MTU) = configuration.mtu {
            return Err(broken(format!("it says that its MTU is {mtu}"), "5.1.4.1"));
        }
        if let Some(hash) = configuration.hash.filter(|hash| {
            hash.key < LEAST_KEY || features.contains(Features::RSS) && hash.table < LEAST_TABLE
        }) {
            let what =
                format!("it says that it has keys of {} bytes, {} table entries", hash.key, hash.table);
            return Err(broken(what, "5.1.4.1"));
        }
        return Ok(configuration);
    }
    Err(broken(format!("its configuration changed {TRIES} times while it was read"), "2.5.1"))
}

fn read_once(transport: &dyn Transport, features: Features) -> Configuration {
    let has = |feature| features.contains(feature);
    let mac = has(Features::MAC)
        .then(|| MacAddress(std::array::from_fn(|index| transport.configuration8(MAC + index as u64))))
        .filter(|mac| mac.is_unicast());
    let speed = has(Features::SPEED_DUPLEX)
        .then(|| transport.configuration32(SPEED))
        .filter(|speed| (1..=FASTEST).contains(speed));
    // Section 5.1.4.2: without the field the link is taken to be up.
    let status = if has(Features::STATUS) { transport.configuration16(STATUS) } else { LINK_UP };
    let up = status & LINK_UP != 0;
    let pairs = features.intersects(Features::MULTIQUEUE.and(Features::RSS));
    let queue_pairs = if pairs { transport.configuration16(MAX_VIRTQUEUE_PAIRS) } else { 1 };
    let hashes = features.intersects(Features::RSS.and(Features::HASH_REPORT));
    let hash = hashes.then(|| HashConfiguration {
        key: transport.configuration8(RSS_MAX_KEY_SIZE),
        table: transport.configuration16(RSS_MAX_TABLE_LENGTH),
        types: transport.configuration32(SUPPORTED_HASH_TYPES),
    });
    Configuration {
        mac: mac.unwrap_or_else(|| local_address(transport.name())),
        mac_is_made_up: mac.is_none(),
        link: if up { Link::Up { speed } } else { Link::Down { reason: "the device says so".to_owned() } },
        queue_pairs,
        mtu: has(Features::MTU).then(|| transport.configuration16(MTU)),
        announce: has(Features::ANNOUNCE) && status & ANNOUNCE != 0,
        hash,
    }
}

/// Section 5.1.5: without an address of the device's, or with one that no station can have, the driver makes one up: locally administered, and the same for
/// the same device each time.
fn local_address(name: &str) -> MacAddress {
    // FNV-1a: any spread will do.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let [a, b, c, d, e, ..] = hash.to_le_bytes();
    MacAddress([0x02, a, b, c, d, e])
}
