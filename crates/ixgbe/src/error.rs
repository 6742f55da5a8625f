//! What can go wrong with an 82599.

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a device of the family.
    #[error("{device} is {vendor:04x}:{id:04x}{}, which the ixgbe driver doesn't drive; {instead}", .name.map(|name| format!(" ({name})")).unwrap_or_default())]
    UnknownDevice {
        /// The function.
        device: String,
        /// Its vendor id.
        vendor: u16,
        /// Its device id.
        id: u16,
        /// What it is, where that is known.
        name: Option<&'static str>,
        /// What would work.
        instead: &'static str,
    },
    /// The device doesn't answer in time.
    #[error("{device} didn't {what} within {milliseconds} ms")]
    Timeout {
        /// The function.
        device: String,
        /// What it was asked to do.
        what: &'static str,
        /// How long was waited.
        milliseconds: u64,
    },
    /// The device is gone.
    #[error("{device} is gone: its registers read all ones")]
    Gone {
        /// The function.
        device: String,
    },
    /// More queues than the device has, or than can be used.
    #[error("{device} can be opened with 1 to {available} {direction} queues, not with {wanted}")]
    Queues {
        /// The function.
        device: String,
        /// `receive` or `transmit`.
        direction: &'static str,
        /// How many were asked for.
        wanted: u16,
        /// How many can be used.
        available: u16,
    },
    /// The device, or the driver, can't do what was asked for.
    #[error("{device}: {feature} is not possible: {reason}")]
    Unsupported {
        /// The function.
        device: String,
        /// What was asked for.
        feature: &'static str,
        /// Why not, and what would be possible.
        reason: String,
    },
    /// A ring of that size can't be had.
    #[error("{device}: a ring can't have {wanted} descriptors: use a power of two from 64 to 4096")]
    RingSize {
        /// The function.
        device: String,
        /// What was asked for.
        wanted: u32,
    },
    /// A longest frame that the MAC can't be told.
    #[error("{device}: frames of {wanted} bytes are not possible: use 1514 to 9724, without FCS")]
    FrameSize {
        /// The function.
        device: String,
        /// What was asked for.
        wanted: u32,
    },
    /// All places for addresses are taken.
    #[error("{device} has room for 127 further addresses, and they are taken")]
    AddressesFull {
        /// The function.
        device: String,
    },
    /// A further address that is for no single station.
    #[error(
        "{device}: {address} is a group's address or none: a port's addresses are those of single stations; switch \
         all-multicast on for groups"
    )]
    NoStation {
        /// The function.
        device: String,
        /// The address.
        address: ringway_port::MacAddress,
    },
    /// An address that was not added.
    #[error("{device}: {address} is none of its further addresses")]
    NoSuchAddress {
        /// The function.
        device: String,
        /// The address.
        address: ringway_port::MacAddress,
    },
    /// The pool has too few buffers to fill the receive rings.
    #[error(
        "{device}: its receive rings need {wanted} buffers, the pool had {had} left; make the pool larger"
    )]
    PoolTooSmall {
        /// The function.
        device: String,
        /// What the ring needs.
        wanted: u32,
        /// What was there.
        had: u32,
    },
    /// The EEPROM holds no valid address.
    #[error("{device}: its address {address} is no station's address; the EEPROM is empty or damaged")]
    Address {
        /// The function.
        device: String,
        /// What was read.
        address: ringway_port::MacAddress,
    },
    /// The SFP+ module can't be read.
    #[error("{device}: the SFP+ module doesn't answer on its I2C bus: reseat it")]
    Module {
        /// The function.
        device: String,
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

impl From<Error> for ringway_port::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Gone { device } => Self::Lost { port: device },
            Error::Packet { device, source } => Self::Packet { port: device, source },
            Error::Unsupported { device, feature, reason } => {
                Self::Unsupported { port: device, feature, reason }
            }
            other => Self::Driver(Box::new(other)),
        }
    }
}
