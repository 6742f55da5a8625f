//! What can go wrong with a virtio device.

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a virtio network device.
    #[error(
        "{device} is {vendor:04x}:{id:04x}, which the virtio driver doesn't know; it drives 1af4:1041 (virtio-net 1.x) \
         and 1af4:1000 (transitional virtio-net)"
    )]
    UnknownDevice {
        /// The function.
        device: String,
        /// Its vendor id.
        vendor: u16,
        /// Its device id.
        id: u16,
    },
    /// The device speaks only the interface from before virtio 1.0.
    #[error(
        "{device} has no virtio 1.x {what}: it is a legacy device, which bypasses the IOMMU (QEMU: disable-legacy=on,\
         disable-modern=off,iommu_platform=on)"
    )]
    Legacy {
        /// The function.
        device: String,
        /// Which structure is missing.
        what: &'static str,
    },
    /// The device doesn't offer what the driver can't do without.
    #[error("{device} doesn't offer {}: {reason}", .missing.join(", "))]
    MissingFeatures {
        /// The function.
        device: String,
        /// The specification's names.
        missing: Vec<&'static str>,
        /// What the features are for, and how a device gets them.
        reason: &'static str,
    },
    /// The device took back what it offered.
    #[error(
        "{device} refused the features {} although it offers them (virtio 1.2, section 3.1.1): the device is at fault; \
         try another version of it",
        .features.join(", ")
    )]
    FeaturesRefused {
        /// The function.
        device: String,
        /// What was accepted.
        features: Vec<&'static str>,
    },
    /// The device says what the specification doesn't allow.
    #[error(
        "{device}: {what}: the device breaks the virtio specification (1.2, section {section}); try another version of it"
    )]
    Protocol {
        /// The function.
        device: String,
        /// What it did.
        what: String,
        /// Where the specification says otherwise.
        section: &'static str,
    },
    /// The device doesn't answer in time.
    #[error(
        "{device} didn't {what} within {milliseconds} ms; reset it by binding it anew: cargo xtask bind {device}"
    )]
    Timeout {
        /// The function.
        device: String,
        /// What it was asked to do.
        what: &'static str,
        /// How long was waited.
        milliseconds: u64,
    },
    /// The device was live and works no longer.
    #[error("{device}: the device failed: {reason}; close the port and open it again")]
    Failed {
        /// The function.
        device: String,
        /// What it did.
        reason: &'static str,
    },
    /// The device is gone.
    #[error("{device} is gone (its registers read all ones); was it removed, or reset by someone else?")]
    Gone {
        /// The function.
        device: String,
    },
    /// More queues than the device has.
    #[error(
        "{device} has {available} queue pairs, {wanted} are asked for; ask for fewer, or give it more (QEMU: queues= of \
         the network back end, mq=on of the device)"
    )]
    TooFewQueues {
        /// The function.
        device: String,
        /// How many were asked for.
        wanted: u16,
        /// How many there are.
        available: u16,
    },
    /// A ring of that size can't be had.
    #[error(
        "{device}: queue {queue} can't have {wanted} descriptors: use a power of two from 2 to {maximum}"
    )]
    RingSize {
        /// The function.
        device: String,
        /// The queue.
        queue: u16,
        /// What was asked for.
        wanted: u32,
        /// What the device allows.
        maximum: u16,
    },
    /// The pool has too few buffers to fill the receive ring.
    #[error(
        "{device}: a receive ring needs {wanted} buffers, the pool had {had} left; make the pool larger or the ring \
         smaller"
    )]
    PoolTooSmall {
        /// The function.
        device: String,
        /// What the ring needs.
        wanted: u32,
        /// What was there.
        had: u32,
    },
    /// A command on the control queue was not carried out.
    #[error(
        "{device} refused the command {command} although it offers it: the device is at fault, and as it was before"
    )]
    CommandRefused {
        /// The function.
        device: String,
        /// The specification's name.
        command: &'static str,
    },
    /// Something that needs a feature which was not agreed.
    #[error("{device}: {what} needs {feature}, which the device doesn't offer{instead}")]
    NotOffered {
        /// The function.
        device: String,
        /// What was asked for.
        what: &'static str,
        /// The specification's name.
        feature: &'static str,
        /// What helps otherwise.
        instead: &'static str,
    },
    /// Something that no virtio network device does.
    #[error("{device}: {what} is nothing that a virtio network device does{instead}")]
    NeverOffered {
        /// The function.
        device: String,
        /// What was asked for.
        what: &'static str,
        /// What helps otherwise.
        instead: &'static str,
    },
    /// Something that was to be asked for when the port was opened.
    #[error("{device}: {what} was not asked for when the port was opened: {instead}")]
    NotAskedFor {
        /// The function.
        device: String,
        /// What is wanted now.
        what: &'static str,
        /// How it is asked for.
        instead: &'static str,
    },
    /// A value that the device can't have.
    #[error("{device}: {what}")]
    Value {
        /// The function.
        device: String,
        /// Which, and what would be right.
        what: String,
    },
    /// The function can't be reached.
    #[error(transparent)]
    Pci(#[from] ringway_pci::Error),
    /// Memory for the rings.
    #[error("{device}: {source}")]
    Dma {
        /// The function.
        device: String,
        /// What.
        source: ringway_dma::Error,
    },
    /// Buffers for the rings.
    #[error("{device}: {source}")]
    Packet {
        /// The function.
        device: String,
        /// What.
        source: ringway_packet::Error,
    },
}

impl Error {
    pub(crate) fn dma(device: &str) -> impl Fn(ringway_dma::Error) -> Self + '_ {
        move |source| Self::Dma { device: device.to_owned(), source }
    }

    pub(crate) fn packet(device: &str) -> impl Fn(ringway_packet::Error) -> Self + '_ {
        move |source| Self::Packet { device: device.to_owned(), source }
    }
}

impl From<Error> for ringway_port::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Gone { device } => Self::Lost { port: device },
            Error::Protocol { device, what, section } => {
                Self::Failed { port: device, reason: format!("{what} (virtio 1.2, section {section})") }
            }
            Error::Failed { device, reason } => Self::Failed { port: device, reason: reason.to_owned() },
            Error::NotOffered { device, what, feature, instead } => Self::Unsupported {
                port: device,
                feature: what,
                reason: format!("the device doesn't offer {feature}{instead}"),
            },
            Error::NeverOffered { device, what, instead } => Self::Unsupported {
                port: device,
                feature: what,
                reason: format!("no virtio network device does it{instead}"),
            },
            Error::NotAskedFor { device, what, instead } => Self::Unsupported {
                port: device,
                feature: what,
                reason: format!("it was not asked for when the port was opened: {instead}"),
            },
            Error::Packet { device, source } => Self::Packet { port: device, source },
            Error::Timeout { device, what, milliseconds } => {
                Self::Failed { port: device, reason: format!("it didn't {what} within {milliseconds} ms") }
            }
            other => Self::Driver(Box::new(other)),
        }
    }
}
