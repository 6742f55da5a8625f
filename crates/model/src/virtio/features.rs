//! Feature bits (virtio 1.2, sections 5.1.3 and 6).

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// A set of feature bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Features(u64);

macro_rules! features {
    ($($(#[$text:meta])* $name:ident = $bit:literal;)*) => {
        impl Features {
            $($(#[$text])* pub const $name: u64 = 1 << $bit;)*
            const NAMES: &[(u64, &str)] = &[$((1 << $bit, stringify!($name))),*];
        }
    };
}

features! {
    /// The device fills in checksums of sent packets.
    CSUM = 0;
    /// The driver takes packets without their checksum, and is told of those that are right.
    GUEST_CSUM = 1;
    /// The device reports its largest MTU.
    MTU = 3;
    /// The device has an address of its own.
    MAC = 5;
    /// The driver takes TCP over IPv4 that is not cut.
    GUEST_TSO4 = 7;
    /// The driver takes TCP over IPv6 that is not cut.
    GUEST_TSO6 = 8;
    /// The device cuts TCP over IPv4.
    HOST_TSO4 = 11;
    /// The device cuts TCP over IPv6.
    HOST_TSO6 = 12;
    /// A received frame may lie in several buffers.
    MRG_RXBUF = 15;
    /// The link's state is in the configuration.
    STATUS = 16;
    /// There is a control queue.
    CTRL_VQ = 17;
    /// Receive modes and address filters can be set.
    CTRL_RX = 18;
    /// VLANs can be filtered.
    CTRL_VLAN = 19;
    /// More receive modes (section 5.1.6.5.1 uses it, section 5.1.3 forgets to list it).
    CTRL_RX_EXTRA = 20;
    /// The driver announces itself when asked.
    GUEST_ANNOUNCE = 21;
    /// Several queue pairs with automatic steering.
    MQ = 22;
    /// The address can be set.
    CTRL_MAC_ADDR = 23;
    /// Descriptors in tables of their own.
    INDIRECT_DESC = 28;
    /// Notifications suppressed by index.
    EVENT_IDX = 29;
    /// Version 1 of the specification, and not before.
    VERSION_1 = 32;
    /// Addresses are what the platform translates: the IOMMU is not bypassed.
    ACCESS_PLATFORM = 33;
    /// Buffers are used in the order in which they were made available.
    IN_ORDER = 35;
    /// A queue can be reset by itself.
    RING_RESET = 40;
    /// Interrupts of one queue can be held back.
    VQ_NOTF_COAL = 52;
    /// Interrupts can be held back.
    NOTF_COAL = 53;
    /// The device cuts UDP.
    HOST_USO = 56;
    /// The hash comes with each packet.
    HASH_REPORT = 57;
    /// Packets are steered by a hash that the driver sets.
    RSS = 60;
    /// Speed and duplex are in the configuration.
    SPEED_DUPLEX = 63;
}

/// Which bit requires which (section 5.1.3.1).
const REQUIREMENTS: &[(u64, u64)] = &[
    (Features::CTRL_RX, Features::CTRL_VQ),
    (Features::CTRL_RX_EXTRA, Features::CTRL_VQ),
    (Features::CTRL_VLAN, Features::CTRL_VQ),
    (Features::GUEST_ANNOUNCE, Features::CTRL_VQ),
    (Features::MQ, Features::CTRL_VQ),
    (Features::CTRL_MAC_ADDR, Features::CTRL_VQ),
    (Features::NOTF_COAL, Features::CTRL_VQ),
    (Features::VQ_NOTF_COAL, Features::CTRL_VQ),
    (Features::HASH_REPORT, Features::CTRL_VQ),
    (Features::RSS, Features::CTRL_VQ),
    (Features::GUEST_TSO4, Features::GUEST_CSUM),
    (Features::GUEST_TSO6, Features::GUEST_CSUM),
    (Features::HOST_TSO4, Features::CSUM),
    (Features::HOST_TSO6, Features::CSUM),
    (Features::HOST_USO, Features::CSUM),
];

impl Features {
    /// No bit.
    pub const NONE: Self = Self(0);

    /// Every bit that this device implements. Nothing else is ever offered.
    pub const IMPLEMENTED: Self = {
        let mut bits = 0;
        let mut index = 0;
        while index < Self::NAMES.len() {
            bits |= Self::NAMES[index].0;
            index += 1;
        }
        Self(bits)
    };

    /// These bits.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `bits` are in it.
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// This set and `bits`.
    #[must_use]
    pub const fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }

    /// This set less `bits`.
    #[must_use]
    pub const fn without(self, bits: u64) -> Self {
        Self(self.0 & !bits)
    }

    /// This set less what requires a bit that is not in it: a device must not offer such (section 2.2.2).
    #[must_use]
    pub fn consistent(self) -> Self {
        let broken = REQUIREMENTS.iter().filter(|(bit, needs)| self.has(*bit) && !self.has(*needs));
        broken.fold(self, |set, (bit, _)| set.without(*bit))
    }
}

/// Everything implemented but in-order use, which no device in wide use offers, and several queue pairs, which
/// [`Options::queue_pairs`](super::Options::queue_pairs) turns on.
impl Default for Features {
    fn default() -> Self {
        Self::IMPLEMENTED.without(Self::IN_ORDER)
    }
}

impl From<u64> for Features {
    fn from(bits: u64) -> Self {
        Self(bits)
    }
}

impl BitOr<u64> for Features {
    type Output = Self;
    fn bitor(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }
}

impl BitAnd for Features {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The names, `bit N` for a bit without one.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for bit in (0..64).filter(|bit| self.0 >> bit & 1 != 0) {
            f.write_str(separator)?;
            separator = ", ";
            match Self::NAMES.iter().find(|(name, _)| *name == 1 << bit) {
                Some((_, name)) => f.write_str(name)?,
                None => write!(f, "bit {bit}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requires_a_missing_bit_is_not_offered() {
        let features = Features::default().without(Features::CTRL_VQ).consistent();
        assert!(!features.has(Features::CTRL_RX) && !features.has(Features::MQ));
        assert!(features.has(Features::MRG_RXBUF | Features::VERSION_1));
    }

    #[test]
    fn features_print_by_name() {
        assert_eq!(Features::new(Features::MAC | 1 << 9).to_string(), "MAC, bit 9");
    }
}
