//! What can go wrong with packets.

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The memory for a pool could not be had.
    #[error("no memory for the packet pool: {0}")]
    Memory(#[from] ringway_dma::Error),
    /// No buffer is free.
    #[error("the packet pool is empty: all of its {buffers} buffers are in use; make it larger")]
    Empty {
        /// How many buffers the pool has.
        buffers: u32,
    },
    /// There is no room before or behind the packet's bytes.
    #[error("{wanted} bytes don't fit {place} the packet: {room} are free there")]
    NoRoom {
        /// `before`, `behind` or `in`.
        place: &'static str,
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        room: usize,
    },
    /// Packets of one pool were given to what works with another.
    #[error("packets of one pool were given to a queue of another: start the queue with the pool it may use")]
    WrongPool,
    /// A transmit queue was given no pool, or more than its records can tell apart.
    #[error("a transmit queue can't send from {0} pools: give it 1 to 255")]
    Pools(usize),
    /// A pool and a device are in different address spaces.
    #[error(
        "the device doesn't reach the packet pool: make the pool in the address space that the device was opened in"
    )]
    WrongSpace,
    /// A ring's size is not possible.
    #[error("a ring of {0} descriptors is not possible: use a power of two up to 32768")]
    RingSize(u32),
}
