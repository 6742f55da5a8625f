//! Where each field of Open vSwitch's `struct flow` lies, for each generation of that structure.
//!
//! A flow is an array of 64-bit words; a miniflow is a map of the words that are present followed by those
//! words. The position of a field is therefore a word index, and it depends on one number only: how many
//! OpenFlow registers the release has. What also changed between releases is behaviour in two corners. Both
//! are constants of a type here, so that the parser is compiled once for each release and never asks.
//!
//! This module is not the parser and holds no values.

/// One generation of Open vSwitch's flow layout and extraction.
///
/// Sealed: the implementations are [`V3_1`], [`V3_5`], [`V3_6`] and [`V3_7`].
pub trait Layout: sealed::Sealed + Copy + core::fmt::Debug + Default + Send + Sync + 'static {
    /// `FLOW_WC_SEQ` of the release: 42 or 43.
    const SEQUENCE: u32;
    /// Number of 32-bit OpenFlow registers (`FLOW_N_REGS`).
    const REGISTERS: usize;
    /// Whether later fragments of tracked connections carry the original tuple's ports (since 3.5).
    const CONNECTION_PORTS_ON_LATER_FRAGMENTS: bool;
    /// Whether IGMP packets of tracked connections carry the original tuple's ports (until 3.5).
    const CONNECTION_PORTS_ON_IGMP: bool;
    /// Number of 64-bit words in a whole flow (`FLOW_U64S`).
    const WORDS: usize = At::<Self>::END;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! layouts {
    ($($(#[$doc:meta])* $name:ident: $sequence:literal, $registers:literal, $later:literal, $igmp:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Layout for $name {
            const SEQUENCE: u32 = $sequence;
            const REGISTERS: usize = $registers;
            const CONNECTION_PORTS_ON_LATER_FRAGMENTS: bool = $later;
            const CONNECTION_PORTS_ON_IGMP: bool = $igmp;
        }
    )*};
}

layouts! {
    /// Open vSwitch 3.1 to 3.4: `FLOW_WC_SEQ` 42, 16 registers.
    V3_1: 42, 16, false, true;
    /// Open vSwitch 3.5: `FLOW_WC_SEQ` 42, 16 registers.
    V3_5: 42, 16, true, true;
    /// Open vSwitch 3.6: `FLOW_WC_SEQ` 42, 16 registers.
    V3_6: 42, 16, true, false;
    /// Open vSwitch 3.7 and 4.0: `FLOW_WC_SEQ` 43, 32 registers.
    V3_7: 43, 32, true, false;
}

/// The largest number of words of any layout.
pub const MAX_WORDS: usize = 92;

/// The largest number of words that one packet and its metadata can fill (`FLOW_MAX_PACKET_U64S`).
pub const MAX_PACKET_WORDS: usize = 71;

/// Word index of each field of a flow in the layout `L`.
///
/// The names are those of the first field in the word. Fields that share a word are told apart by the
/// accessors of [`FlowKey`](crate::FlowKey).
#[derive(Clone, Copy, Debug)]
pub struct At<L>(core::marker::PhantomData<L>);

impl<L: Layout> At<L> {
    /// Tunnel addresses, identifier, flags, ports: 9 words.
    pub const TUNNEL: usize = 0;
    /// Tunnel options: presence map or length, table, then 32 words of options.
    pub const TUNNEL_OPTIONS: usize = 9;
    /// OpenFlow metadata.
    pub const METADATA: usize = 43;
    /// OpenFlow registers, two a word.
    pub const REGISTERS: usize = 44;
    /// Priority and packet mark.
    pub const PRIORITY: usize = Self::REGISTERS + L::REGISTERS / 2;
    /// Datapath hash and input port.
    pub const INPUT: usize = Self::PRIORITY + 1;
    /// Recirculation identifier, connection state, original protocol, zone.
    pub const RECIRCULATION: usize = Self::PRIORITY + 2;
    /// Connection mark and packet type.
    pub const PACKET_TYPE: usize = Self::PRIORITY + 3;
    /// Connection label: 2 words.
    pub const CT_LABEL: usize = Self::PRIORITY + 4;
    /// Conjunction identifier and output port of the action set.
    pub const CONJUNCTION: usize = Self::PRIORITY + 6;
    /// Ethernet destination, source and type: 2 words.
    pub const ETHERNET: usize = Self::PRIORITY + 7;
    /// The second of the Ethernet words, which the type is in.
    pub const ETHERNET_TYPE: usize = Self::PRIORITY + 8;
    /// Two VLAN tags.
    pub const VLANS: usize = Self::PRIORITY + 9;
    /// Three MPLS labels: 2 words.
    pub const MPLS: usize = Self::PRIORITY + 10;
    /// IPv4 (or ARP) source and destination.
    pub const IPV4: usize = Self::PRIORITY + 12;
    /// IPv4 source and destination of the connection's original direction.
    pub const CT_IPV4: usize = Self::PRIORITY + 13;
    /// IPv6 source and destination: 4 words.
    pub const IPV6: usize = Self::PRIORITY + 14;
    /// IPv6 source and destination of the connection's original direction: 4 words.
    pub const CT_IPV6: usize = Self::PRIORITY + 18;
    /// IPv6 label, fragment bits, type of service, time to live, protocol.
    pub const NETWORK: usize = Self::PRIORITY + 22;
    /// Target of neighbour discovery: 2 words.
    pub const ND_TARGET: usize = Self::PRIORITY + 23;
    /// Hardware addresses of ARP and neighbour discovery: 2 words.
    pub const ARP: usize = Self::PRIORITY + 25;
    /// TCP flags (the second of the hardware address words).
    pub const TCP_FLAGS: usize = Self::PRIORITY + 26;
    /// Network service header: 3 words.
    pub const NSH: usize = Self::PRIORITY + 27;
    /// Ports, and ports of the connection's original direction.
    pub const TRANSPORT: usize = Self::PRIORITY + 30;
    /// IGMP group, or the reserved word of neighbour discovery.
    pub const IGMP: usize = Self::PRIORITY + 31;
    /// One past the last word.
    pub const END: usize = Self::PRIORITY + 32;
}

/// The map bits of `count` words from `first`.
#[inline(always)]
pub(crate) const fn bits(first: usize, count: usize) -> [u64; 2] {
    let ones = 1u128.wrapping_shl(count as u32).wrapping_sub(1);
    let map = ones.wrapping_shl(first as u32);
    [map as u64, (map >> 64) as u64]
}

/// The union of two maps.
#[inline(always)]
pub(crate) const fn union(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0] | b[0], a[1] | b[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_have_open_vswitchs_sizes() {
        assert_eq!(V3_1::WORDS * 8, 672);
        assert_eq!(V3_7::WORDS * 8, 736);
        assert_eq!(V3_7::WORDS, MAX_WORDS);
    }

    #[test]
    fn the_word_indices_of_sequence_43_are_those_of_struct_flow() {
        type W = At<V3_7>;
        assert_eq!((W::PRIORITY, W::INPUT, W::RECIRCULATION, W::PACKET_TYPE), (60, 61, 62, 63));
        assert_eq!((W::CT_LABEL, W::ETHERNET, W::VLANS, W::MPLS), (64, 67, 69, 70));
        assert_eq!((W::IPV4, W::CT_IPV4, W::IPV6, W::CT_IPV6), (72, 73, 74, 78));
        assert_eq!((W::NETWORK, W::ND_TARGET, W::ARP, W::TCP_FLAGS), (82, 83, 85, 86));
        assert_eq!((W::NSH, W::TRANSPORT, W::IGMP), (87, 90, 91));
    }

    #[test]
    fn a_run_of_bits_may_cross_from_one_map_word_to_the_other() {
        assert_eq!(bits(62, 4), [3 << 62, 3]);
    }
}
