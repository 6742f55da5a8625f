//! The Toeplitz hash that NICs compute for receive-side scaling.

use core::net::IpAddr;

use crate::key::{FiveTuple, FlowKey};
use crate::layout::Layout;

/// The key of Microsoft's specification, which many NICs and drivers have by default.
pub const MICROSOFT_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// A Toeplitz hash with its key.
#[derive(Clone, Copy, Debug)]
pub struct Toeplitz {
    key: [u8; 40],
}

impl Toeplitz {
    /// With the key that the NIC was given.
    #[must_use]
    pub const fn new(key: [u8; 40]) -> Self {
        Toeplitz { key }
    }

    /// The hash of at most 36 bytes; what lies beyond isn't hashed.
    #[must_use]
    pub fn hash(&self, input: &[u8]) -> u32 {
        let [a, b, c, d, ref rest @ ..] = self.key;
        let mut window = u32::from_be_bytes([a, b, c, d]);
        let mut hash = 0;
        for (&byte, &next) in input.iter().zip(rest) {
            for bit in (0..8).rev() {
                if byte >> bit & 1 == 1 {
                    hash ^= window;
                }
                window = window << 1 | u32::from(next >> bit & 1);
            }
        }
        hash
    }

    /// The hash of a conversation: addresses, and ports if there are any.
    #[must_use]
    pub fn hash_five_tuple(&self, tuple: &FiveTuple) -> u32 {
        let mut input = [0u8; 36];
        let addresses = match (tuple.source, tuple.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                input[..4].copy_from_slice(&source.octets());
                input[4..8].copy_from_slice(&destination.octets());
                8
            }
            (source, destination) => {
                input[..16].copy_from_slice(&octets(source));
                input[16..32].copy_from_slice(&octets(destination));
                32
            }
        };
        let Some((source, destination)) = tuple.ports else {
            return self.hash(input.get(..addresses).unwrap_or(&input));
        };
        let ends = source.to_be_bytes().into_iter().chain(destination.to_be_bytes());
        for (byte, port) in input.iter_mut().skip(addresses).zip(ends) {
            *byte = port;
        }
        self.hash(input.get(..addresses.wrapping_add(4)).unwrap_or(&input))
    }
}

impl<L: Layout> FlowKey<L> {
    /// The hash that a NIC with this key gives the packet; `None` for what isn't IP.
    ///
    /// Ports count for TCP, UDP and SCTP, and not in fragments.
    #[must_use]
    pub fn hash_toeplitz(&self, toeplitz: &Toeplitz) -> Option<u32> {
        let mut tuple = self.five_tuple()?;
        if !matches!(tuple.protocol, 6 | 17 | 132) || self.fragment_bits() != 0 {
            tuple.ports = None;
        }
        Some(toeplitz.hash_five_tuple(&tuple))
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    fn tuple(source: IpAddr, destination: IpAddr, ports: Option<(u16, u16)>) -> FiveTuple {
        FiveTuple { source, destination, protocol: 6, ports }
    }

    /// "Verifying the RSS hash calculation" of Microsoft's network driver documentation.
    #[test]
    fn the_specifications_examples_come_out() {
        let toeplitz = Toeplitz::new(MICROSOFT_KEY);
        let destination = IpAddr::V4(Ipv4Addr::new(161, 142, 100, 80));
        let source = IpAddr::V4(Ipv4Addr::new(66, 9, 149, 187));
        assert_eq!(toeplitz.hash_five_tuple(&tuple(source, destination, None)), 0x323e_8fc2);
        let ports = Some((2794, 1766));
        assert_eq!(toeplitz.hash_five_tuple(&tuple(source, destination, ports)), 0x51cc_c178);

        let destination = IpAddr::V6(Ipv6Addr::new(0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1));
        let source = IpAddr::V6(Ipv6Addr::new(0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7));
        assert_eq!(toeplitz.hash_five_tuple(&tuple(source, destination, None)), 0x2cc1_8cd5);
        let ports = Some((2794, 1766));
        assert_eq!(toeplitz.hash_five_tuple(&tuple(source, destination, ports)), 0x4020_7d3d);
    }
}
