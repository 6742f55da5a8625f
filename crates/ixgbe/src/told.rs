//! What the device says of a received packet, decoded (82599 datasheet, section 7.1.6.2).

use crate::clock::SharedClock;
use crate::devices::Mac;
use ringway_packet::{Checksum, Told};
use ringway_port::Offloads;

/// The first word: what the hash was taken over, which headers there are, and the hash.
const HASH_KIND: u64 = 0xf;
/// The highest kind of hash; above it the word says something else.
const LAST_HASH_KIND: u64 = 9;
const HASH_SHIFT: u32 = 32;
const IS_UDP: u64 = 1 << 9;
/// The second word: status in its lowest 20 bits, errors above.
const VLAN_STRIPPED: u64 = 1 << 3;
const TRANSPORT_CHECKED: u64 = 1 << 5;
const NETWORK_CHECKED: u64 = 1 << 6;
const STAMPED: u64 = 1 << 16;
const TRANSPORT_ERROR: u64 = 1 << 30;
const NETWORK_ERROR: u64 = 1 << 31;
const VLAN_SHIFT: u32 = 48;

/// What is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    vlan: bool,
    hash: bool,
    checksum: bool,
    /// A UDP checksum that is said to be wrong may be one of zero, which is none (82599 specification update).
    doubts_udp: bool,
    time: Option<SharedClock>,
}

impl Wanted {
    /// `None` where nothing was asked for.
    pub(crate) fn new(offloads: Offloads, mac: Mac, clock: &SharedClock) -> Option<Self> {
        let time = offloads.contains(Offloads::TIMESTAMP).then(|| clock.clone());
        Self::with(offloads, mac, time)
    }

    fn with(offloads: Offloads, mac: Mac, time: Option<SharedClock>) -> Option<Self> {
        let wanted = Self {
            vlan: offloads.contains(Offloads::VLAN_STRIP),
            hash: offloads.contains(Offloads::HASH),
            checksum: offloads.contains(Offloads::RECEIVE_CHECKSUM),
            doubts_udp: mac == Mac::I82599,
            time,
        };
        (wanted.vlan || wanted.hash || wanted.checksum || wanted.time.is_some()).then_some(wanted)
    }

    /// What both words of a packet's last descriptor say; `length` is the caller's.
    #[inline(always)]
    pub(crate) fn told(&self, first: u64, second: u64, length: u32) -> Told {
        let has_hash = (1..=LAST_HASH_KIND).contains(&(first & HASH_KIND));
        Told {
            length,
            vlan: (self.vlan && second & VLAN_STRIPPED != 0).then_some((second >> VLAN_SHIFT) as u16),
            hash: (self.hash && has_hash).then_some((first >> HASH_SHIFT) as u32),
            checksum: if self.checksum { self.checksum(first, second) } else { Checksum::Unknown },
            timestamp: self.time.as_ref().filter(|_| second & STAMPED != 0).and_then(SharedClock::stamp),
        }
    }

    /// The errors count only where the device says that it has checked.
    #[inline]
    fn checksum(&self, first: u64, second: u64) -> Checksum {
        let network_checked = second & NETWORK_CHECKED != 0;
        if network_checked && second & NETWORK_ERROR != 0 {
            return Checksum::Bad;
        }
        let unsaid = if network_checked { Checksum::NetworkGood } else { Checksum::Unknown };
        match (second & TRANSPORT_CHECKED != 0, second & TRANSPORT_ERROR != 0) {
            (false, _) => unsaid,
            (true, false) => Checksum::Good,
            (true, true) if self.doubts_udp && first & IS_UDP != 0 => unsaid,
            (true, true) => Checksum::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wanted_that_was_not_asked_for() {
        assert!(Wanted::with(Offloads::NONE, Mac::X540, None).is_none());
        assert!(Wanted::with(Offloads::VLAN_INSERT | Offloads::SCATTER, Mac::X540, None).is_none());
        let wanted = Wanted::with(Offloads::HASH, Mac::X540, None).unwrap();
        let all = (0x1234_5678 << 32 | 1, VLAN_STRIPPED | NETWORK_CHECKED | TRANSPORT_CHECKED | 7 << 48);
        assert_eq!(
            wanted.told(all.0, all.1, 60),
            Told { length: 60, hash: Some(0x1234_5678), ..Told::default() }
        );
    }

    #[test]
    fn a_hash_of_no_kind_is_none() {
        let wanted = Wanted::with(Offloads::HASH, Mac::I82599, None).unwrap();
        for (kind, has) in (0..16).map(|kind| (kind, (1..10).contains(&kind))) {
            assert_eq!(wanted.told(0xabcd << 32 | kind, 0, 60).hash.is_some(), has, "{kind}");
        }
    }

    #[test]
    fn checksums_come_out_as_the_device_checked_them() {
        for (mac, doubted) in [(Mac::I82599, Checksum::NetworkGood), (Mac::X550, Checksum::Bad)] {
            let wanted = Wanted::with(Offloads::RECEIVE_CHECKSUM, mac, None).unwrap();
            let result = |first, second| wanted.told(first, second, 60).checksum;
            assert_eq!(result(0, 0), Checksum::Unknown);
            // Error bits without "checked" say nothing.
            assert_eq!(result(0, NETWORK_ERROR | TRANSPORT_ERROR), Checksum::Unknown);
            assert_eq!(result(0, NETWORK_CHECKED), Checksum::NetworkGood);
            assert_eq!(result(0, NETWORK_CHECKED | TRANSPORT_CHECKED), Checksum::Good);
            assert_eq!(result(0, TRANSPORT_CHECKED), Checksum::Good, "IPv6 has no sum of its own");
            assert_eq!(result(0, NETWORK_CHECKED | NETWORK_ERROR | TRANSPORT_CHECKED), Checksum::Bad);
            let wrong = NETWORK_CHECKED | TRANSPORT_CHECKED | TRANSPORT_ERROR;
            assert_eq!(result(0, wrong), Checksum::Bad);
            assert_eq!(result(IS_UDP, wrong), doubted);
        }
    }
}
