//! What a device does to packets by itself, if it is asked.
//!
//! What it does to received packets is asked for when the port is opened ([`PortOptions::offloads`]) and found at each
//! packet (`Frame::vlan`, `hash`, `checksum`, `timestamp`). What it shall do to a packet that is sent, the packet says
//! (`Frame::set_vlan`, `set_offload`); of the port it is asked for too, since some devices have to be told.
//!
//! [`PortOptions::offloads`]: crate::PortOptions::offloads

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Sub};

/// A set of offloads.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Offloads(u32);

/// A name for each, in the order of their bits.
const NAMES: [(&str, &str); 15] = [
    ("vlan-strip", "takes the VLAN tag out of received frames"),
    ("vlan-insert", "puts a VLAN tag into sent frames"),
    ("vlan-filter", "receives the chosen VLANs only"),
    ("receive-checksum", "checks IPv4, TCP and UDP checksums of received packets"),
    ("ipv4-checksum", "fills in the IPv4 header's checksum of sent packets"),
    ("tcp-udp-checksum", "fills in the TCP or UDP checksum of sent packets"),
    ("sctp-checksum", "fills in the SCTP checksum of sent packets"),
    ("tcp4-segmentation", "cuts long TCP packets over IPv4 into segments as it sends them"),
    ("tcp6-segmentation", "cuts long TCP packets over IPv6 into segments as it sends them"),
    ("udp-segmentation", "cuts long UDP packets into datagrams as it sends them"),
    ("large-receive", "gives segments of one TCP stream as one long packet"),
    ("scatter", "receives frames that take several buffers"),
    ("gather", "sends packets that lie in several buffers"),
    ("hash", "gives the flow's hash with each packet"),
    ("timestamp", "gives the time at which a packet came"),
];

impl Offloads {
    /// None.
    pub const NONE: Self = Self(0);
    /// Takes the VLAN tag out of received frames; `Frame::vlan` has it.
    pub const VLAN_STRIP: Self = Self(1 << 0);
    /// Puts the tag of `Frame::set_vlan` into sent frames.
    pub const VLAN_INSERT: Self = Self(1 << 1);
    /// Receives the chosen VLANs only ([`Port::add_vlan`](crate::Port::add_vlan)).
    pub const VLAN_FILTER: Self = Self(1 << 2);
    /// Checks the checksums of received packets; `Frame::checksum` has the result.
    pub const RECEIVE_CHECKSUM: Self = Self(1 << 3);
    /// Fills in the IPv4 header's checksum.
    pub const IPV4_CHECKSUM: Self = Self(1 << 4);
    /// Fills in TCP and UDP checksums.
    pub const TCP_UDP_CHECKSUM: Self = Self(1 << 5);
    /// Fills in SCTP checksums.
    pub const SCTP_CHECKSUM: Self = Self(1 << 6);
    /// Cuts TCP over IPv4 into segments.
    pub const TCP4_SEGMENTATION: Self = Self(1 << 7);
    /// Cuts TCP over IPv6 into segments.
    pub const TCP6_SEGMENTATION: Self = Self(1 << 8);
    /// Cuts UDP into datagrams.
    pub const UDP_SEGMENTATION: Self = Self(1 << 9);
    /// Joins TCP segments as they are received.
    pub const LARGE_RECEIVE: Self = Self(1 << 10);
    /// Receives frames in several buffers.
    pub const SCATTER: Self = Self(1 << 11);
    /// Sends packets in several buffers.
    pub const GATHER: Self = Self(1 << 12);
    /// Gives the flow's hash; `Frame::hash` has it.
    pub const HASH: Self = Self(1 << 13);
    /// Gives the time of arrival; `Frame::timestamp` has it, in nanoseconds of the device's clock.
    pub const TIMESTAMP: Self = Self(1 << 14);

    /// Whether all of `others` are in the set.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether any of `others` is in the set.
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in both sets.
    #[must_use]
    pub const fn both(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Each by itself with its name, those not in the set too.
    pub fn known() -> impl Iterator<Item = (Self, &'static str)> {
        (0u32..).zip(NAMES).map(|(bit, (name, _))| (Self(1 << bit), name))
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::known().filter(move |(one, _)| self.contains(*one)).map(|(_, name)| name)
    }

    /// What the one of this name does.
    pub fn meaning(name: &str) -> Option<&'static str> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::known().find(|(_, known)| *known == name).map(|(one, _)| one)
    }
}

impl BitOr for Offloads {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Offloads {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Sub for Offloads {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offloads({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_that_finds_it_again_and_a_meaning() {
        let all: Vec<_> = Offloads::known().collect();
        assert_eq!(all.len(), NAMES.len());
        for (one, name) in all {
            assert_eq!(Offloads::named(name), Some(one));
            assert!(Offloads::meaning(name).is_some());
            assert_eq!(one.names().collect::<Vec<_>>(), [name]);
        }
        assert_eq!(Offloads::named("timestamp"), Some(Offloads::TIMESTAMP));
        assert_eq!(Offloads::named("vlan-strip"), Some(Offloads::VLAN_STRIP));
        assert_eq!(Offloads::named("large-receive"), Some(Offloads::LARGE_RECEIVE));
        assert_eq!(Offloads::named("free-beer"), None);
    }

    #[test]
    fn sets_are_joined_and_parted_and_say_what_is_in_them() {
        let both = Offloads::VLAN_STRIP | Offloads::HASH;
        assert!(both.contains(Offloads::HASH) && !both.contains(Offloads::HASH | Offloads::SCATTER));
        assert!(both.intersects(Offloads::HASH | Offloads::SCATTER));
        assert_eq!(both - Offloads::HASH, Offloads::VLAN_STRIP);
        assert_eq!(both.to_string(), "vlan-strip, hash");
        assert_eq!(Offloads::NONE.to_string(), "none");
    }
}
