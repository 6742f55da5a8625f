//! What a device's port is plugged into.
//!
//! A [`Wire`] is polled by the device, on the device's thread: it gives the frames that arrive and takes those
//! that were sent. Frames are Ethernet without FCS. A wire's methods must not touch the device that polls them.

mod cable;
mod channel;
mod held;
mod spoiled;

pub use cable::{Cable, cable_pair};
pub use channel::{Channel, ChannelEnd, channel};
pub(crate) use held::Held;
pub use spoiled::{Mishap, Spoiled};

use std::fmt::Debug;

/// The longest frame that any device of this crate handles: 64 KiB of TCP or UDP and an Ethernet header with a VLAN
/// tag (virtio 1.2, section 5.1.6.3: 65550 bytes without the tag).
pub const MAXIMUM_FRAME: usize = 65_554;

/// The far end of a port.
pub trait Wire: Send + Debug {
    /// Called once before a round of [`receive`](Self::receive) and [`send`](Self::send).
    fn begin(&mut self) {}

    /// Puts the next frame that arrives at the start of `frame`, which has [`MAXIMUM_FRAME`] bytes, and returns its
    /// length. `None`: none arrives now.
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize>;

    /// Takes a frame that the device sends.
    fn send(&mut self, frame: &[u8]);

    /// How many frames [`send`](Self::send) takes now; the device leaves more in its ring.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Whether frames wait until there is room for them in the receive ring. If not, those that find none are lost,
    /// as on a real wire, and the device counts them as missed. A frame that waits for one of several receive queues
    /// holds up those behind it.
    fn waits(&self) -> bool {
        true
    }

    /// Called once after the round: what was taken is passed on.
    fn end(&mut self) {}
}
