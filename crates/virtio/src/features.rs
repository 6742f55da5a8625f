//! Feature bits, and which of them are agreed on (virtio 1.2, sections 2.2, 5.1.3 and 6).

use crate::Error;

/// A set of feature bits, as the registers carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u64);

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        impl Features {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
        }

        /// Every bit that the driver knows, with the specification's name.
        const NAMES: &[(Features, &str)] = &[$((Features::$name, $text),)*];
    };
}

features! {
    /// The device fills in checksums of sent packets.
    CHECKSUM = 0, "VIRTIO_NET_F_CSUM";
    /// The driver takes packets whose checksum is not filled in, and is told of those that are right.
    GUEST_CHECKSUM = 1, "VIRTIO_NET_F_GUEST_CSUM";
    /// The device says how large packets may be (section 5.1.4).
    MTU = 3, "VIRTIO_NET_F_MTU";
    /// The device has an address of its own.
    MAC = 5, "VIRTIO_NET_F_MAC";
    /// The driver takes TCP over IPv4 that is not cut into segments.
    GUEST_TSO4 = 7, "VIRTIO_NET_F_GUEST_TSO4";
    /// The driver takes TCP over IPv6 that is not cut into segments.
    GUEST_TSO6 = 8, "VIRTIO_NET_F_GUEST_TSO6";
    /// The device cuts TCP over IPv4 into segments.
    HOST_TSO4 = 11, "VIRTIO_NET_F_HOST_TSO4";
    /// The device cuts TCP over IPv6 into segments.
    HOST_TSO6 = 12, "VIRTIO_NET_F_HOST_TSO6";
    /// A packet may arrive in several buffers.
    MERGEABLE_BUFFERS = 15, "VIRTIO_NET_F_MRG_RXBUF";
    /// The device says whether the link is up.
    STATUS = 16, "VIRTIO_NET_F_STATUS";
    /// There is a control queue.
    CONTROL_QUEUE = 17, "VIRTIO_NET_F_CTRL_VQ";
    /// Receive modes can be set.
    CONTROL_RECEIVE = 18, "VIRTIO_NET_F_CTRL_RX";
    /// VLANs can be filtered.
    CONTROL_VLAN = 19, "VIRTIO_NET_F_CTRL_VLAN";
    /// The device asks the driver to announce itself.
    ANNOUNCE = 21, "VIRTIO_NET_F_GUEST_ANNOUNCE";
    /// There are several pairs of queues.
    MULTIQUEUE = 22, "VIRTIO_NET_F_MQ";
    /// The address can be set.
    CONTROL_MAC = 23, "VIRTIO_NET_F_CTRL_MAC_ADDR";
    /// A descriptor may point at a table of descriptors (section 2.7.5.3).
    INDIRECT_DESCRIPTORS = 28, "VIRTIO_F_INDIRECT_DESC";
    /// Each side says at which index it wants to be told (section 2.7.10).
    EVENT_INDEX = 29, "VIRTIO_F_EVENT_IDX";
    /// The device keeps to virtio 1.0 or later.
    VERSION_1 = 32, "VIRTIO_F_VERSION_1";
    /// The device's addresses are those of the platform: the IOMMU translates them (section 6.1).
    ACCESS_PLATFORM = 33, "VIRTIO_F_ACCESS_PLATFORM";
    /// The device needs the barriers of a hardware device (section 6.1).
    ORDER_PLATFORM = 36, "VIRTIO_F_ORDER_PLATFORM";
    /// One queue can be reset while the others work (section 2.6.1).
    RING_RESET = 40, "VIRTIO_F_RING_RESET";
    /// Interrupts of one queue can be held back.
    QUEUE_COALESCING = 52, "VIRTIO_NET_F_VQ_NOTF_COAL";
    /// Interrupts can be held back.
    COALESCING = 53, "VIRTIO_NET_F_NOTF_COAL";
    /// The device cuts UDP into datagrams.
    HOST_USO = 56, "VIRTIO_NET_F_HOST_USO";
    /// The device gives each packet's hash.
    HASH_REPORT = 57, "VIRTIO_NET_F_HASH_REPORT";
    /// The device spreads flows by a hash that the driver sets.
    RSS = 60, "VIRTIO_NET_F_RSS";
    /// The device says how fast the link is (section 5.1.4).
    SPEED_DUPLEX = 63, "VIRTIO_NET_F_SPEED_DUPLEX";
}

impl Features {
    /// From the register's bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As the register takes it.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is in it.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What is in both.
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Without those of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The specification's names of the bits that the driver knows.
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().filter(|(bit, _)| self.contains(*bit)).map(|(_, name)| *name).collect()
    }
}

/// What the driver can't do without.
const REQUIRED: Features = Features::VERSION_1;

/// What it makes use of where it is offered: none of it changes packets, or costs anything while it isn't used.
const WANTED: Features = Features::MTU
    .and(Features::MAC)
    .and(Features::MERGEABLE_BUFFERS)
    .and(Features::STATUS)
    .and(Features::CONTROL_QUEUE)
    .and(Features::CONTROL_RECEIVE)
    .and(Features::MULTIQUEUE)
    .and(Features::INDIRECT_DESCRIPTORS)
    .and(Features::EVENT_INDEX)
    .and(Features::ACCESS_PLATFORM)
    .and(Features::ORDER_PLATFORM)
    .and(Features::ANNOUNCE)
    .and(Features::CONTROL_MAC)
    .and(Features::RING_RESET)
    .and(Features::SPEED_DUPLEX);

/// What stands on the control queue (section 5.1.3.1).
const COMMANDED: Features = Features::CONTROL_RECEIVE
    .and(Features::CONTROL_VLAN)
    .and(Features::ANNOUNCE)
    .and(Features::MULTIQUEUE)
    .and(Features::CONTROL_MAC)
    .and(Features::COALESCING)
    .and(Features::QUEUE_COALESCING)
    .and(Features::HASH_REPORT)
    .and(Features::RSS);

/// What of `offered` can be used (section 5.1.3.1): a device may offer what stands on something that it doesn't.
pub(crate) fn usable(offered: Features) -> Features {
    let mut features = offered;
    if !features.contains(Features::CONTROL_QUEUE) {
        features = features.without(COMMANDED);
    }
    if !features.contains(Features::CHECKSUM) {
        features = features.without(Features::HOST_TSO4.and(Features::HOST_TSO6).and(Features::HOST_USO));
    }
    if !features.contains(Features::GUEST_CHECKSUM) {
        features = features.without(Features::GUEST_TSO4.and(Features::GUEST_TSO6));
    }
    features
}

/// What to accept of what `offered` offers: what the driver always uses, and what is `asked` for. `confined`: real
/// hardware, so the device must go through the IOMMU.
///
/// # Errors
/// When something is missing that the driver can't do without.
pub(crate) fn agree(
    device: &str,
    offered: Features,
    asked: Features,
    confined: bool,
) -> Result<Features, Error> {
    let missing = |features: Features, reason| Error::MissingFeatures {
        device: device.to_owned(),
        missing: features.without(offered).names(),
        reason,
    };
    if !offered.contains(REQUIRED) {
        return Err(missing(REQUIRED, "the driver speaks virtio 1.0 and later (QEMU: disable-modern=off)"));
    }
    if confined && !offered.contains(Features::ACCESS_PLATFORM) {
        return Err(missing(
            Features::ACCESS_PLATFORM,
            "without it the device bypasses the IOMMU and could reach all of the machine's memory (QEMU: \
             iommu_platform=on)",
        ));
    }
    Ok(usable(offered).common(REQUIRED.and(WANTED).and(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Features = Features::from_bits(0);

    #[test]
    fn a_device_that_bypasses_the_iommu_is_refused_with_the_way_out() {
        let error = agree("0000:01:00.0", Features::VERSION_1.and(Features::MAC), NONE, true)
            .unwrap_err()
            .to_string();
        assert!(error.contains("0000:01:00.0"), "{error}");
        assert!(error.contains("VIRTIO_F_ACCESS_PLATFORM") && error.contains("iommu_platform=on"), "{error}");
        assert!(agree("emulated:0", Features::VERSION_1, NONE, false).is_ok());
    }

    #[test]
    fn missing_features_are_named() {
        let error = agree("0000:01:00.0", Features::MAC, NONE, true).unwrap_err().to_string();
        assert!(error.contains("VIRTIO_F_VERSION_1") && !error.contains("VIRTIO_NET_F_MAC"), "{error}");
    }

    #[test]
    fn nothing_unknown_and_nothing_not_offered_is_accepted() {
        let offered = Features::from_bits(u64::MAX);
        let agreed = agree("emulated:0", offered, NONE, false).unwrap();
        assert_eq!(agreed, REQUIRED.and(WANTED));
        assert_eq!(agree("emulated:0", offered, Features::RSS, false).unwrap(), agreed.and(Features::RSS));
    }

    #[test]
    fn what_stands_on_something_that_is_not_offered_is_not_accepted() {
        let few = Features::VERSION_1.and(Features::HOST_TSO4).and(Features::GUEST_TSO6).and(COMMANDED);
        assert_eq!(agree("emulated:0", few, few, false).unwrap(), Features::VERSION_1);
    }
}
