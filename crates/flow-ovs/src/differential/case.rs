//! One case: a packet and all that is known of it.

use ringway_flow::samples::Kind;

use super::random::Random;
use super::{metadata, mutate};

/// A packet, its metadata, and the state of its `struct dp_packet`.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it came from, for reports.
    pub origin: String,
    /// The packet.
    pub bytes: Vec<u8>,
    /// `struct pkt_metadata`, byte for byte.
    pub metadata: Box<[u8; 512]>,
    /// What the packet starts with, network byte order.
    pub packet_type: u32,
    /// How many VLAN tags are taken apart.
    pub vlan_limit: u32,
    /// Hash of the NIC, if it gave one.
    pub nic_hash: Option<u32>,
    /// Offload bits of the packet.
    pub offloads: u32,
    /// Where checksumming starts and where the checksum goes, 0 if not given.
    pub checksum: (u16, u16),
    /// What buffers hold before.
    pub junk: u64,
    /// Start value of the hashes.
    pub basis: u32,
}

impl Case {
    /// Case `number` of the run with `seed`.
    #[must_use]
    pub fn random(seed: u64, number: u64) -> Case {
        let mut random = Random::new(seed, number);
        let kind = random.pick(&Kind::ALL, Kind::UdpIpv4);
        let mut case = Case::plain(kind, random.word() as u32);
        case.origin = format!("seed {seed:#x} case {number} ({})", kind.name());
        // One in sixteen is random bytes and no more; one in four is left whole.
        if random.once_in(16) {
            case.bytes.resize(random.below(200), 0);
            random.fill(&mut case.bytes);
        } else if !random.once_in(4) {
            mutate::mutate(&mut random, &mut case.bytes);
        }
        case.packet_type = mutate::packet_type(&mut random, &mut case.bytes);
        case.vlan_limit = random.pick(&[0, 1, 1, 2, 2, 2], 2);
        metadata::fill(&mut random, &mut case.metadata);
        case.nic_hash = random.once_in(2).then(|| random.word() as u32);
        if random.once_in(2) {
            case.offloads = random.word() as u32;
        }
        if random.once_in(4) {
            case.checksum = (random.word() as u16 & 0xff, random.pick(&[0, 6, 16], 0));
        }
        case.junk = random.word();
        case.basis = if random.once_in(2) { 0 } else { random.word() as u32 };
        case
    }

    /// The packet of a kind as it comes from a port, its hash given by the NIC.
    #[must_use]
    pub fn plain(kind: Kind, variant: u32) -> Case {
        Case::of_bytes(kind.packet(variant))
    }

    /// Any bytes as they come from a port.
    #[must_use]
    pub fn of_bytes(bytes: Vec<u8>) -> Case {
        let mut case = Case {
            origin: String::from("plain"),
            bytes,
            metadata: Box::new([0; 512]),
            packet_type: 0,
            vlan_limit: 2,
            nic_hash: Some(1),
            offloads: 0,
            checksum: (0, 0),
            junk: 0,
            basis: 0,
        };
        metadata::set_in_port(&mut case.metadata, 1);
        case
    }

    /// Every truncation of every kind of packet, with several states of the metadata.
    pub fn truncations() -> impl Iterator<Item = Case> {
        Kind::ALL.into_iter().enumerate().flat_map(|(index, kind)| {
            let whole = kind.packet(0x1234 + index as u32);
            (0..=whole.len()).flat_map(move |length| {
                let bytes = whole[..length].to_vec();
                (0..8u64).map(move |state| {
                    let mut random = Random::new(state, index as u64);
                    let mut case = Case::of_bytes(bytes.clone());
                    case.origin = format!("{} cut to {length}, state {state}", kind.name());
                    case.junk = 0xaaaa_5555_aaaa_5555;
                    case.nic_hash = (state % 2 == 0).then_some(7);
                    case.vlan_limit = 2 - (state as u32 / 2) % 3;
                    if state > 1 {
                        metadata::fill(&mut random, &mut case.metadata);
                    }
                    case
                })
            })
        })
    }
}
