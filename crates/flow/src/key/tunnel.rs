//! The tunnel in a flow, by name.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::FlowKey;
use crate::layout::{At, Layout};
use crate::tunnel::{Fixed, RAW_OPTIONS};

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
        let index = |word: usize| word.wrapping_add(At::<L>::TUNNEL);
        let fixed = Fixed::from_words(core::array::from_fn(|word| self.word(index(word))));
        let tunnel = TunnelKey {
            identifier: fixed.identifier.get(),
            ipv4_source: fixed.ipv4_source.into(),
            ipv4_destination: fixed.ipv4_destination.into(),
            ipv6_source: fixed.ipv6_source.into(),
            ipv6_destination: fixed.ipv6_destination.into(),
            flags: fixed.flags,
            type_of_service: fixed.type_of_service,
            time_to_live: fixed.time_to_live,
            ports: (fixed.source_port.get(), fixed.destination_port.get()),
            group_policy: (fixed.policy.get(), fixed.policy_flags),
            erspan: (fixed.erspan_version, fixed.erspan_index, fixed.erspan_direction, fixed.erspan_hardware),
            gtpu: (fixed.gtpu_flags, fixed.gtpu_message),
        };
        let none = tunnel.ipv4_destination.is_unspecified() && tunnel.ipv6_destination.is_unspecified();
        (!none).then_some(tunnel)
    }

    /// Tunnel options in raw form: the bytes, if there are any.
    #[must_use]
    pub fn raw_tunnel_options(&self) -> Option<([u8; 256], usize)> {
        let raw = self.tunnel().is_some_and(|tunnel| tunnel.flags & RAW_OPTIONS != 0);
        let length = usize::from(self.word(At::<L>::TUNNEL_OPTIONS).to_ne_bytes()[0]);
        let first = At::<L>::TUNNEL_OPTIONS + 2;
        let words: [u64; 32] = core::array::from_fn(|index| self.word(index.wrapping_add(first)));
        let bytes = zerocopy::transmute!(words);
        (raw && length != 0).then_some((bytes, length))
    }
}
