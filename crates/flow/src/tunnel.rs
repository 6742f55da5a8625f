//! The tunnel that a packet came out of, part of its metadata.
//!
//! [`Tunnel`] has the memory layout of Open vSwitch's `struct flow_tnl`. A tunnel counts as present when its
//! destination address is set. Options come in one of two forms: raw Geneve options as they stood in the
//! packet, or options that the switch has sorted by its table.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Words of a tunnel before its options.
pub(crate) const FIXED_WORDS: usize = 9;
/// Flag: the options are raw Geneve options.
const RAW_OPTIONS: u16 = 1 << 4;

/// Tunnel flag: operations and maintenance packet.
pub const TUNNEL_OAM: u16 = 1;
/// Tunnel flag: outer header must not be fragmented.
pub const TUNNEL_DONT_FRAGMENT: u16 = 1 << 1;
/// Tunnel flag: outer checksum present.
pub const TUNNEL_CHECKSUM: u16 = 1 << 2;
/// Tunnel flag: the identifier is present.
pub const TUNNEL_KEY: u16 = 1 << 3;

/// The tunnel that a packet came out of.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub struct Tunnel {
    // The 9 words of addresses, identifier, flags and ports, in memory order.
    fixed: [[u8; 8]; FIXED_WORDS],
    // The presence map (or, in its first byte, the length) and the switch's table, an opaque word.
    present: [[u8; 8]; 2],
    options: [[u8; 8]; 32],
}

/// Byte offset of the options' presence word and the size of [`Tunnel`], for checks against C headers.
pub const TUNNEL_OFFSETS: [usize; 3] =
    [core::mem::offset_of!(Tunnel, present), core::mem::offset_of!(Tunnel, options), size_of::<Tunnel>()];

impl Tunnel {
    /// No tunnel.
    pub const NONE: Tunnel =
        Tunnel { fixed: [[0; 8]; FIXED_WORDS], present: [[0; 8]; 2], options: [[0; 8]; 32] };

    /// A tunnel between two IPv4 addresses.
    #[must_use]
    pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        let mut tunnel = Tunnel::NONE;
        tunnel.put(0, destination.octets());
        tunnel.put(20, source.octets());
        tunnel
    }

    /// A tunnel between two IPv6 addresses.
    #[must_use]
    pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        let mut tunnel = Tunnel::NONE;
        tunnel.put(4, destination.octets());
        tunnel.put(24, source.octets());
        tunnel
    }

    /// With the tunnel's identifier (VNI, key) and the flag that says so.
    #[must_use]
    pub fn with_identifier(mut self, identifier: u64) -> Self {
        self.put(40, identifier.to_be_bytes());
        let flags = self.flags() | TUNNEL_KEY;
        self.put(48, flags.to_ne_bytes());
        self
    }

    /// With further flags (`TUNNEL_OAM` and its like).
    #[must_use]
    pub fn with_flags(mut self, flags: u16) -> Self {
        let flags = self.flags() | (flags & !RAW_OPTIONS);
        self.put(48, flags.to_ne_bytes());
        self
    }

    /// With the outer header's type of service and time to live.
    #[must_use]
    pub fn with_service(mut self, type_of_service: u8, time_to_live: u8) -> Self {
        self.put(50, [type_of_service, time_to_live]);
        self
    }

    /// With the outer ports.
    #[must_use]
    pub fn with_ports(mut self, source: u16, destination: u16) -> Self {
        self.put(52, source.to_be_bytes());
        self.put(54, destination.to_be_bytes());
        self
    }

    /// With the group policy identifier and flags of VXLAN.
    #[must_use]
    pub fn with_group_policy(mut self, identifier: u16, flags: u8) -> Self {
        self.put(56, identifier.to_be_bytes());
        self.put(58, [flags]);
        self
    }

    /// With raw Geneve options as they stood in the packet. At most 252 bytes are kept.
    #[must_use]
    pub fn with_raw_options(mut self, options: &[u8]) -> Self {
        let kept = options.len().min(252);
        let flags = self.flags() | RAW_OPTIONS;
        self.put(48, flags.to_ne_bytes());
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
        let flags = self.flags() & !RAW_OPTIONS;
        self.put(48, flags.to_ne_bytes());
        self.present = [present.to_ne_bytes(), [0; 8]];
        self.options.as_flattened_mut().copy_from_slice(values);
        self
    }

    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(room) = self.fixed.as_flattened_mut().get_mut(at..at + N) {
            room.copy_from_slice(&bytes);
        }
    }

    /// The destination addresses, folded: zero when there is no tunnel.
    #[inline(always)]
    pub(crate) fn destination_bits(&self) -> u64 {
        // Bytes 0-3 IPv4, 4-19 IPv6; the rest of word 2 is the IPv4 source.
        const HALF: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        u64::from_ne_bytes(self.fixed[0])
            | u64::from_ne_bytes(self.fixed[1])
            | (u64::from_ne_bytes(self.fixed[2]) & HALF)
    }

    /// The flags.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u16 {
        u16::from_ne_bytes([self.fixed[6][0], self.fixed[6][1]])
    }

    /// The words before the options.
    #[inline]
    pub(crate) fn fixed_words(&self) -> [u64; FIXED_WORDS] {
        self.fixed.map(u64::from_ne_bytes)
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
