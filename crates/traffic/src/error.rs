//! What can't be generated.

/// Why packets can't be made as planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Packets of this length can't carry what they should.
    #[error(
        "packets of {wanted} bytes are not possible: with these headers and the mark a packet has {shortest} to {longest} \
         bytes, without FCS"
    )]
    Length {
        /// What was asked for.
        wanted: usize,
        /// The shortest that is possible.
        shortest: usize,
        /// The longest.
        longest: usize,
    },
    /// A range that ends before it begins.
    #[error("lengths from {first} to {last} bytes: the first is the larger one")]
    Range {
        /// The first length.
        first: usize,
        /// The last.
        last: usize,
    },
    /// The headers don't go together.
    #[error("no such packet: {0}")]
    Shape(String),
    /// More flows than the fields that vary can tell apart.
    #[error("{wanted} flows can't be told apart: what is varied has {possible} values; vary more fields")]
    Flows {
        /// How many were asked for.
        wanted: u32,
        /// How many there can be.
        possible: u64,
    },
    /// No packets to choose from.
    #[error("there is no packet to be sent: the file holds none")]
    NoTemplates,
}
