//! What can go wrong with a PCI function.

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device's capability points beyond its BAR.
    #[error(
        "{device}: registers end at byte {length} of the BAR, {wanted} are needed; the device's capabilities are wrong"
    )]
    BarTooShort {
        /// The function.
        device: String,
        /// The end of what was to be used.
        wanted: u64,
        /// The end of what is there.
        length: u64,
    },
    /// The capability list goes round in a circle.
    #[error("{device}: its PCI capability list does not end; the device is faulty or gone")]
    CapabilityLoop {
        /// The function.
        device: String,
    },
    /// More interrupts were asked for than there are.
    #[error("{device}: {wanted} MSI-X vectors are needed, it has {available}: use fewer queues")]
    TooFewVectors {
        /// The function.
        device: String,
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        available: u16,
    },
    /// A device went on with bus mastering off.
    #[error("{device}: it doesn't stop accessing memory; its buffers are kept until the process ends")]
    NotQuiet {
        /// The function.
        device: String,
    },
    /// The kernel gave no event counter for an interrupt.
    #[error(
        "no event counter (eventfd) for an interrupt: {0}; is the limit of open files too low (`ulimit -n`)?"
    )]
    EventCounter(std::io::Error),
}
