//! The tunnel in a flow, by name.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::FlowKey;
use crate::layout::{At, Layout};

/// The tunnel that a packet came out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKey {
    /// Identifier (VNI, key).
    pub identifier: u64,
    /// Outer IPv4 source, unspecified if the tunnel isn't IPv4.
    pub ipv4_source: Ipv4Addr,
    /// Outer IPv4 destination, unspecified if the tunnel isn't IPv4.
    pub ipv4_destination: Ipv4Addr,
    /// Outer IPv6 source, unspecified if the tunnel isn't IPv6.
    pub ipv6_source: Ipv6Addr,
    /// Outer IPv6 destination, unspecified if the tunnel isn't IPv6.
    pub ipv6_destination: Ipv6Addr,
    /// Flags (`TUNNEL_OAM` and its like; 16 says that the options are raw).
    pub flags: u16,
    /// Outer type of service.
    pub type_of_service: u8,
    /// Outer time to live.
    pub time_to_live: u8,
    /// Outer source and destination port.
    pub ports: (u16, u16),
    /// Group policy identifier and flags of VXLAN.
    pub group_policy: (u16, u8),
    /// Version, index, direction and hardware identifier of ERSPAN.
    pub erspan: (u8, u32, u8, u8),
    /// Flags and message type of GTP-U.
    pub gtpu: (u8, u8),
}

impl<L: Layout> FlowKey<L> {
    /// The tunnel that the packet came out of.
    #[must_use]
    pub fn tunnel(&self) -> Option<TunnelKey> {
        let mut bytes = [0u8; 72];
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.word(index.wrapping_add(At::<L>::TUNNEL)).to_ne_bytes();
        }
        let tunnel = TunnelKey {
            ipv4_destination: take::<4, 0>(&bytes).into(),
            ipv6_destination: take::<16, 4>(&bytes).into(),
            ipv4_source: take::<4, 20>(&bytes).into(),
            ipv6_source: take::<16, 24>(&bytes).into(),
            identifier: u64::from_be_bytes(take::<8, 40>(&bytes)),
            flags: u16::from_ne_bytes(take::<2, 48>(&bytes)),
            type_of_service: bytes[50],
            time_to_live: bytes[51],
            ports: (u16::from_be_bytes(take::<2, 52>(&bytes)), u16::from_be_bytes(take::<2, 54>(&bytes))),
            group_policy: (u16::from_be_bytes(take::<2, 56>(&bytes)), bytes[58]),
            erspan: (bytes[59], u32::from_ne_bytes(take::<4, 60>(&bytes)), bytes[64], bytes[65]),
            gtpu: (bytes[66], bytes[67]),
        };
        let none = tunnel.ipv4_destination.is_unspecified() && tunnel.ipv6_destination.is_unspecified();
        (!none).then_some(tunnel)
    }

    /// Tunnel options in raw form: the bytes, if there are any.
    #[must_use]
    pub fn raw_tunnel_options(&self) -> Option<([u8; 256], usize)> {
        let raw = self.tunnel().is_some_and(|tunnel| tunnel.flags & 16 != 0);
        let length = usize::from(self.word(At::<L>::TUNNEL_OPTIONS).to_ne_bytes()[0]);
        let mut bytes = [0u8; 256];
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.word(index.wrapping_add(At::<L>::TUNNEL_OPTIONS + 2)).to_ne_bytes();
        }
        (raw && length != 0).then_some((bytes, length))
    }
}

/// `N` bytes from `AT` on.
fn take<const N: usize, const AT: usize>(bytes: &[u8; 72]) -> [u8; N] {
    let mut taken = [0; N];
    for (byte, &given) in taken.iter_mut().zip(bytes.iter().skip(AT)) {
        *byte = given;
    }
    taken
}
