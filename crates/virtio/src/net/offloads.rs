//! What a program may ask for, and which of the device's features that stands on (virtio 1.2, section 5.1.3).
//!
//! A feature is accepted only where it is asked for: a device that was given `GUEST_CSUM` may hand out packets without
//! checksums, and one that was given `CTRL_VLAN` keeps VLANs to itself.

use super::configuration::Configuration;
use super::steering;
use crate::{Error, Features};
use ringway_packet::Pool;
use ringway_port::{Capabilities, Offloads, PortOptions};

/// The most further addresses: QEMU's table has as many, and so have the commands here room for.
pub(super) const ADDRESSES: usize = 64;

/// An offload, and what it needs.
#[derive(Debug)]
struct Way {
    offload: Offloads,
    what: &'static str,
    /// All of these, each with what gets it.
    needs: &'static [(Features, &'static str, &'static str)],
    /// And one of these at least.
    either: Features,
}

const CHECKSUM: (Features, &str, &str) = (Features::CHECKSUM, "VIRTIO_NET_F_CSUM", " (QEMU: csum=on)");
const GUEST_CHECKSUM: (Features, &str, &str) =
    (Features::GUEST_CHECKSUM, "VIRTIO_NET_F_GUEST_CSUM", " (QEMU: guest_csum=on)");
const MERGEABLE: (Features, &str, &str) =
    (Features::MERGEABLE_BUFFERS, "VIRTIO_NET_F_MRG_RXBUF", " (QEMU: mrg_rxbuf=on)");
const CONTROL: (Features, &str, &str) =
    (Features::CONTROL_QUEUE, "VIRTIO_NET_F_CTRL_VQ", " (QEMU: ctrl_vq=on)");
const NO_MORE: Features = Features::from_bits(0);

const WAYS: &[Way] = &[
    Way {
        offload: Offloads::VLAN_FILTER,
        what: "filtering VLANs",
        needs: &[CONTROL, (Features::CONTROL_VLAN, "VIRTIO_NET_F_CTRL_VLAN", " (QEMU: ctrl_vlan=on)")],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::RECEIVE_CHECKSUM,
        what: "checking checksums of received packets",
        needs: &[GUEST_CHECKSUM],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::TCP_UDP_CHECKSUM,
        what: "filling in TCP and UDP checksums",
        needs: &[CHECKSUM],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::TCP4_SEGMENTATION,
        what: "segmenting TCP over IPv4",
        needs: &[CHECKSUM, (Features::HOST_TSO4, "VIRTIO_NET_F_HOST_TSO4", " (QEMU: host_tso4=on)")],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::TCP6_SEGMENTATION,
        what: "segmenting TCP over IPv6",
        needs: &[CHECKSUM, (Features::HOST_TSO6, "VIRTIO_NET_F_HOST_TSO6", " (QEMU: host_tso6=on)")],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::UDP_SEGMENTATION,
        what: "segmenting UDP",
        needs: &[CHECKSUM, (Features::HOST_USO, "VIRTIO_NET_F_HOST_USO", " (QEMU: host_uso=on)")],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::LARGE_RECEIVE,
        what: "receiving TCP segments as one packet",
        needs: &[GUEST_CHECKSUM, MERGEABLE],
        either: Features::GUEST_TSO4.and(Features::GUEST_TSO6),
    },
    Way {
        offload: Offloads::SCATTER,
        what: "receiving frames in several buffers",
        needs: &[MERGEABLE],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::GATHER,
        what: "sending packets in several buffers",
        needs: &[],
        either: NO_MORE,
    },
    Way {
        offload: Offloads::HASH,
        what: "giving the flow's hash with each packet",
        needs: &[CONTROL, (Features::HASH_REPORT, "VIRTIO_NET_F_HASH_REPORT", " (QEMU: hash=on)")],
        either: NO_MORE,
    },
];

/// What no virtio network device does.
const NEVER: &[(Offloads, &str, &str)] = &[
    (Offloads::VLAN_STRIP, "stripping VLAN tags", "; they are in the packets"),
    (Offloads::VLAN_INSERT, "inserting VLAN tags", "; write them into the packets"),
    (
        Offloads::IPV4_CHECKSUM,
        "filling in IPv4 header checksums",
        "; the driver does it for packets that ask for it",
    ),
    (Offloads::SCTP_CHECKSUM, "filling in SCTP checksums", "; fill them in before"),
    (Offloads::TIMESTAMP, "taking the time of arrival", ""),
];

/// The features that what is asked for stands on, of those that `offered` has (as far as they are usable).
///
/// # Errors
/// For what the device doesn't offer, and what none does.
pub(super) fn asked(device: &str, offered: Features, options: &PortOptions) -> Result<Features, Error> {
    if let Some(&(_, what, instead)) = NEVER.iter().find(|(one, ..)| options.offloads.intersects(*one)) {
        return Err(Error::NeverOffered { device: device.to_owned(), what, instead });
    }
    let not_offered =
        |what, feature, instead| Error::NotOffered { device: device.to_owned(), what, feature, instead };
    let mut features = Features::from_bits(0);
    for way in WAYS.iter().filter(|way| options.offloads.contains(way.offload)) {
        for &(feature, name, instead) in way.needs {
            if !offered.contains(feature) {
                return Err(not_offered(way.what, name, instead));
            }
            features = features.and(feature);
        }
        if way.either != NO_MORE && !offered.intersects(way.either) {
            return Err(not_offered(
                way.what,
                "VIRTIO_NET_F_GUEST_TSO4 or VIRTIO_NET_F_GUEST_TSO6",
                " (QEMU: guest_tso4=on,guest_tso6=on)",
            ));
        }
        features = features.and(offered.common(way.either));
    }
    if options.scaling.is_some() && !offered.contains(Features::RSS) {
        return Err(not_offered("receive side scaling", "VIRTIO_NET_F_RSS", " (QEMU: rss=on)"));
    }
    if options.scaling.is_some() || options.receive_queues > 1 {
        features = features.and(offered.common(Features::RSS));
    }
    if options.interrupts {
        features = features.and(offered.common(Features::COALESCING.and(Features::QUEUE_COALESCING)));
    }
    Ok(features)
}

/// What the device can do: `offered` is what of its features can be used.
pub(super) fn capabilities(
    offered: Features,
    configuration: &Configuration,
    longest_frame: u32,
) -> Capabilities {
    let has = |feature| offered.contains(feature);
    let possible = |way: &&Way| {
        way.needs.iter().all(|(feature, ..)| has(*feature))
            && (way.either == NO_MORE || offered.intersects(way.either))
    };
    let mut capabilities = Capabilities::default();
    capabilities.receive_queues = configuration.queue_pairs;
    capabilities.transmit_queues = configuration.queue_pairs;
    capabilities.offloads = WAYS.iter().filter(possible).fold(Offloads::NONE, |all, way| all | way.offload);
    capabilities.hash = configuration
        .hash
        .filter(|_| offered.intersects(Features::RSS.and(Features::HASH_REPORT)))
        .map(|hash| steering::limits(hash, configuration.queue_pairs));
    capabilities.addresses = if has(Features::CONTROL_RECEIVE) { ADDRESSES as u16 } else { 0 };
    capabilities.longest_frame = longest_frame;
    capabilities.interrupts = true;
    capabilities.moderation = offered.intersects(Features::COALESCING.and(Features::QUEUE_COALESCING));
    capabilities.queue_reset = has(Features::RING_RESET);
    capabilities
}

/// The longest frame that such a device can be opened for.
pub(super) fn longest_frame(
    offered: Features,
    configuration: &Configuration,
    pool: &Pool,
    longest: u32,
) -> u32 {
    let room = if offered.contains(Features::MERGEABLE_BUFFERS) { longest } else { pool.packet_capacity() };
    configuration.mtu.map_or(room, |mtu| u32::from(mtu).saturating_add(super::start::TAGGED_HEADER)).min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "0000:03:00.0";

    #[test]
    fn every_offload_is_either_possible_or_never_or_neither_is_known() {
        for (one, name) in Offloads::known() {
            let ways = WAYS.iter().filter(|way| way.offload == one).count();
            let nevers = NEVER.iter().filter(|(never, ..)| *never == one).count();
            assert_eq!(ways + nevers, 1, "{name}");
        }
    }

    /// The page's row of an offload says yes where there is a way, and names its features.
    #[test]
    fn the_page_says_of_each_offload_what_is_so() {
        let page = include_str!("../../../../docs/virtio.md");
        for (one, name) in Offloads::known() {
            let start = format!("| `{name}` |");
            let row = page.lines().find(|line| line.starts_with(&start)).unwrap();
            let way = WAYS.iter().find(|way| way.offload == one);
            assert_eq!(row.starts_with(&format!("{start} yes |")), way.is_some(), "{row}");
            for (feature, feature_name, _) in way.iter().flat_map(|way| way.needs) {
                let is_implied = *feature == Features::CONTROL_QUEUE;
                assert!(is_implied || row.contains(feature_name), "{row} lacks {feature_name}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_device_the_feature_and_the_way_out() {
        for (one, name) in Offloads::known().filter(|(one, _)| *one != Offloads::GATHER) {
            let options = PortOptions { offloads: one, ..PortOptions::default() };
            let error = asked(NAME, Features::VERSION_1, &options).unwrap_err().to_string();
            assert!(error.contains(NAME), "{name}: {error}");
            let never = NEVER.iter().any(|(never, ..)| *never == one);
            assert!(never || error.contains("VIRTIO_NET_F_") && error.contains("QEMU:"), "{name}: {error}");
        }
    }

    #[test]
    fn nothing_is_accepted_that_nobody_asked_for() {
        let everything = Features::from_bits(u64::MAX);
        assert_eq!(asked(NAME, everything, &PortOptions::default()).unwrap(), NO_MORE);
        let options = PortOptions { offloads: Offloads::TCP6_SEGMENTATION, ..PortOptions::default() };
        let wanted = asked(NAME, everything, &options).unwrap();
        assert_eq!(wanted, Features::CHECKSUM.and(Features::HOST_TSO6));
    }
}
