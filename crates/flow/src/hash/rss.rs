//! The software substitute of a NIC's hash: what Open vSwitch computes during extraction for TCP and UDP when
//! the NIC has given none.

use super::HashKind;
use super::five_tuple::END;
use crate::bytes::{half, word};
use crate::outcome::{Extraction, Protocols};

impl Extraction {
    /// The hash of the packet that this is the extraction of, if that is TCP or UDP over IP.
    ///
    /// It is taken from the packet's bytes: over IPv6 the protocol is the first next header, even where
    /// extension headers come before TCP or UDP.
    #[inline]
    #[must_use]
    pub fn rss_hash<H: HashKind>(&self, packet: &[u8]) -> Option<u32> {
        if self.protocols().bits() & (Protocols::TCP.bits() | Protocols::UDP.bits()) == 0 {
            return None;
        }
        let network = packet.get(usize::from(self.layers().network)..)?;
        let ports = packet.get(usize::from(self.layers().transport)..)?.first_chunk::<4>()?;
        let mut hash = 0;
        let protocol = if self.protocols().contains(Protocols::IPV4) {
            let header = network.first_chunk::<20>()?;
            let [source, destination] = [12, 16].map(|at| half(header, at));
            hash = H::add(H::add(hash, source), destination);
            header[9]
        } else {
            let header = network.first_chunk::<40>()?;
            for at in [8, 16, 24, 32] {
                hash = H::add_wide(hash, word(header, at));
            }
            header[6]
        };
        hash = H::add(hash, u32::from(protocol));
        hash = H::add(hash, u32::from_ne_bytes(*ports));
        Some(H::finish(hash, END))
    }
}
