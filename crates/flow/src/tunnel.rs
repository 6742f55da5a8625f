//! The tunnel that a packet came out of, part of its metadata.
//!
//! [`Tunnel`] has the memory layout of Open vSwitch's `struct flow_tnl`. A tunnel counts as present when its
//! destination address is set. Options come in one of two forms: raw Geneve options as they stood in the
//! packet, or options that the switch has sorted by its table.

use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, transmute};

/// Words of a tunnel before its options.
pub(crate) const FIXED_WORDS: usize = 9;
/// Flag: the options are raw Geneve options.
pub(crate) const RAW_OPTIONS: u16 = 1 << 4;

/// Tunnel flag: operations and maintenance packet.
pub const TUNNEL_OAM: u16 = 1;
/// Tunnel flag: outer header must not be fragmented.
pub const TUNNEL_DONT_FRAGMENT: u16 = 1 << 1;
/// Tunnel flag: outer checksum present.
pub const TUNNEL_CHECKSUM: u16 = 1 << 2;
/// Tunnel flag: the identifier is present.
pub const TUNNEL_KEY: u16 = 1 << 3;

/// A tunnel without its options, as it lies in a packet's metadata and in a flow: the first part of `struct flow_tnl`.
/// Addresses, identifier, ports and policy are in network byte order, the rest is the machine's own.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Fixed {
    pub(crate) ipv4_destination: [u8; 4],
    pub(crate) ipv6_destination: [u8; 16],
    pub(crate) ipv4_source: [u8; 4],
    pub(crate) ipv6_source: [u8; 16],
    pub(crate) identifier: U64,
    pub(crate) flags: u16,
    pub(crate) type_of_service: u8,
    pub(crate) time_to_live: u8,
    pub(crate) source_port: U16,
    pub(crate) destination_port: U16,
    pub(crate) policy: U16,
    pub(crate) policy_flags: u8,
    pub(crate) erspan_version: u8,
    pub(crate) erspan_index: u32,
    pub(crate) erspan_direction: u8,
    pub(crate) erspan_hardware: u8,
    pub(crate) gtpu_flags: u8,
    pub(crate) gtpu_message: u8,
    padding: [u8; 4],
}

impl Fixed {
    const NONE: Fixed = transmute!([0u64; FIXED_WORDS]);

    /// From a flow's words.
    pub(crate) fn from_words(words: [u64; FIXED_WORDS]) -> Self {
        transmute!(words)
    }
}

/// The tunnel that a packet came out of.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub struct Tunnel {
    fixed: Fixed,
    // The presence map (or, in its first byte, the length) and the switch's table, an opaque word.
    present: [[u8; 8]; 2],
    options: [[u8; 8]; 32],
}

/// Byte offset of the options' presence word and the size of [`Tunnel`], for checks against C headers.
pub const TUNNEL_OFFSETS: [usize; 3] =
    [core::mem::offset_of!(Tunnel, present), core::mem::offset_of!(Tunnel, options), size_of::<Tunnel>()];

impl Tunnel {
    /// No tunnel.
    pub const NONE: Tunnel = Tunnel { fixed: Fixed::NONE, present: [[0; 8]; 2], options: [[0; 8]; 32] };

    /// A tunnel between two IPv4 addresses.
    #[must_use]
    pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        let mut tunnel = Tunnel::NONE;
        (tunnel.fixed.ipv4_source, tunnel.fixed.ipv4_destination) = (source.octets(), destination.octets());
        tunnel
    }

    /// A tunnel between two IPv6 addresses.
    #[must_use]
    pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        let mut tunnel = Tunnel::NONE;
        (tunnel.fixed.ipv6_source, tunnel.fixed.ipv6_destination) = (source.octets(), destination.octets());
        tunnel
    }

    /// With the tunnel's identifier (VNI, key) and the flag that says so.
    #[must_use]
    pub fn with_identifier(mut self, identifier: u64) -> Self {
        self.fixed.identifier = U64::new(identifier);
        self.fixed.flags |= TUNNEL_KEY;
        self
    }

    /// With further flags (`TUNNEL_OAM` and its like).
    #[must_use]
    pub fn with_flags(mut self, flags: u16) -> Self {
        self.fixed.flags |= flags & !RAW_OPTIONS;
        self
    }

    /// With the outer header's type of service and time to live.
    #[must_use]
    pub fn with_service(mut self, type_of_service: u8, time_to_live: u8) -> Self {
        (self.fixed.type_of_service, self.fixed.time_to_live) = (type_of_service, time_to_live);
        self
    }

    /// With the outer ports.
    #[must_use]
    pub fn with_ports(mut self, source: u16, destination: u16) -> Self {
        (self.fixed.source_port, self.fixed.destination_port) = (U16::new(source), U16::new(destination));
        self
    }

    /// With the group policy identifier and flags of VXLAN.
    #[must_use]
    pub fn with_group_policy(mut self, identifier: u16, flags: u8) -> Self {
        (self.fixed.policy, self.fixed.policy_flags) = (U16::new(identifier), flags);
        self
    }

    /// With raw Geneve options as they stood in the packet. At most 252 bytes are kept.
    #[must_use]
    pub fn with_raw_options(mut self, options: &[u8]) -> Self {
        let kept = options.len().min(252);
        self.fixed.flags |= RAW_OPTIONS;
        self.present = [[0; 8]; 2];
        self.present[0][0] = kept as u8;
        self.options = [[0; 8]; 32];
        for (byte, &option) in self.options.as_flattened_mut().iter_mut().zip(&options[..kept]) {
            *byte = option;
        }
        self
    }

    /// With options sorted by the switch's table: one bit of `present` an option, and their values.
    #[must_use]
    pub fn with_sorted_options(mut self, present: u64, values: &[u8; 256]) -> Self {
        self.fixed.flags &= !RAW_OPTIONS;
        self.present = [present.to_ne_bytes(), [0; 8]];
        self.options.as_flattened_mut().copy_from_slice(values);
        self
    }

    /// The destination addresses, folded: zero when there is no tunnel.
    #[inline(always)]
    pub(crate) fn destination_bits(&self) -> u64 {
        // Bytes 0-3 IPv4, 4-19 IPv6; the rest of word 2 is the IPv4 source.
        const HALF: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let [first, second, third, ..] = self.fixed_words();
        first | second | (third & HALF)
    }

    /// The flags.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.fixed.flags
    }

    /// The words before the options.
    #[inline]
    pub(crate) fn fixed_words(&self) -> [u64; FIXED_WORDS] {
        transmute!(self.fixed)
    }

    /// Whether the options are raw.
    #[inline]
    pub(crate) fn has_raw_options(&self) -> bool {
        self.flags() & RAW_OPTIONS != 0
    }

    /// The presence word: a map of options, or the length of the raw ones in the first byte.
    pub(crate) fn presence(&self) -> u64 {
        u64::from_ne_bytes(self.present[0])
    }

    /// Length of the raw options in bytes.
    pub(crate) fn raw_length(&self) -> usize {
        usize::from(self.present[0][0])
    }

    /// All the words of the options: presence, table, values.
    #[inline]
    pub(crate) fn option_words(&self) -> impl Iterator<Item = u64> + '_ {
        self.present.iter().chain(&self.options).map(|&word| u64::from_ne_bytes(word))
    }

    /// The words of the raw options alone.
    #[inline]
    pub(crate) fn raw_words(&self) -> impl Iterator<Item = u64> + '_ {
        self.options.iter().take(self.raw_length().div_ceil(8)).map(|&word| u64::from_ne_bytes(word))
    }
}
