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
    /// The device says how large packets may be (section 5.1.4).
    MTU = 3, "VIRTIO_NET_F_MTU";
    /// The device has an address of its own.
    MAC = 5, "VIRTIO_NET_F_MAC";
    /// A packet may arrive in several buffers.
    MERGEABLE_BUFFERS = 15, "VIRTIO_NET_F_MRG_RXBUF";
    /// The device says whether the link is up.
    STATUS = 16, "VIRTIO_NET_F_STATUS";
    /// There is a control queue.
    CONTROL_QUEUE = 17, "VIRTIO_NET_F_CTRL_VQ";
    /// Receive modes can be set.
    CONTROL_RECEIVE = 18, "VIRTIO_NET_F_CTRL_RX";
    /// There are several pairs of queues.
    MULTIQUEUE = 22, "VIRTIO_NET_F_MQ";
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

/// What it makes use of where it is offered.
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
    .and(Features::SPEED_DUPLEX);

/// What to accept of what `offered` offers. `confined`: real hardware, so the device must go through the IOMMU.
///
/// # Errors
/// When something is missing that the driver can't do without.
pub(crate) fn agree(device: &str, offered: Features, confined: bool) -> Result<Features, Error> {
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
    let mut agreed = offered.common(REQUIRED.and(WANTED));
    if !agreed.contains(Features::CONTROL_QUEUE) {
        // Section 5.1.3.1: these need the control queue.
        agreed = agreed.without(Features::CONTROL_RECEIVE.and(Features::MULTIQUEUE));
    }
    Ok(agreed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_bypasses_the_iommu_is_refused_with_the_way_out() {
        let error =
            agree("0000:01:00.0", Features::VERSION_1.and(Features::MAC), true).unwrap_err().to_string();
        assert!(error.contains("0000:01:00.0"), "{error}");
        assert!(error.contains("VIRTIO_F_ACCESS_PLATFORM") && error.contains("iommu_platform=on"), "{error}");
        assert!(agree("emulated:0", Features::VERSION_1, false).is_ok());
    }

    #[test]
    fn missing_features_are_named() {
        let error = agree("0000:01:00.0", Features::MAC, true).unwrap_err().to_string();
        assert!(error.contains("VIRTIO_F_VERSION_1") && !error.contains("VIRTIO_NET_F_MAC"), "{error}");
    }

    #[test]
    fn nothing_unknown_and_nothing_not_offered_is_accepted() {
        let offered = Features::from_bits(u64::MAX);
        let agreed = agree("emulated:0", offered, false).unwrap();
        assert_eq!(agreed, REQUIRED.and(WANTED));
        let few = Features::VERSION_1.and(Features::MULTIQUEUE);
        assert_eq!(agree("emulated:0", few, false).unwrap(), Features::VERSION_1);
    }
}
