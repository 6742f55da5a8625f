//! The whole flow, with every field by name.
//!
//! A [`FlowKey`] is what a miniflow expands to: Open vSwitch's `struct flow` as an array of words, absent
//! fields zero. The accessors give fields as types that can't be confused, in host byte order. It prints in the
//! two syntaxes of Open vSwitch's tools: [`FlowKey::ofctl`] and [`FlowKey::dpctl`].

mod dpctl;
mod fields;
mod ofctl;
mod text;
mod tunnel;

use core::fmt;
use core::marker::PhantomData;
use core::net::IpAddr;

use crate::layout::{Layout, MAX_WORDS};
use crate::metadata::PacketType;
use crate::miniflow::Miniflow;

pub use dpctl::Dpctl;
pub use ofctl::Ofctl;
pub use tunnel::TunnelKey;

/// A 48-bit hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// From its bytes in the order of transmission.
    #[must_use]
    pub const fn new(octets: [u8; 6]) -> Self {
        Mac(octets)
    }

    /// Its bytes in the order of transmission.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether it addresses a group.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vlan {
    /// Tag protocol: 0x8100 or 0x88a8.
    pub protocol: u16,
    /// VLAN identifier, 0 to 4095.
    pub identifier: u16,
    /// Priority, 0 to 7.
    pub priority: u8,
}

/// One MPLS label stack entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MplsLabel(pub(crate) u32);

impl MplsLabel {
    /// The label, 20 bits.
    #[must_use]
    pub const fn label(self) -> u32 {
        self.0 >> 12
    }

    /// Traffic class, 0 to 7.
    #[must_use]
    pub const fn traffic_class(self) -> u8 {
        (self.0 >> 9 & 7) as u8
    }

    /// Whether it is the last of the stack.
    #[must_use]
    pub const fn is_bottom(self) -> bool {
        self.0 >> 8 & 1 != 0
    }

    /// Time to live.
    #[must_use]
    pub const fn time_to_live(self) -> u8 {
        self.0 as u8
    }
}

/// Network service header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceHeader {
    /// Flags: 2 bits.
    pub flags: u8,
    /// Time to live: 6 bits.
    pub time_to_live: u8,
    /// Kind of metadata: 1 has four words of context.
    pub metadata_type: u8,
    /// What comes next: 1 IPv4, 2 IPv6, 3 Ethernet.
    pub next_protocol: u8,
    /// Service path: 24 bits.
    pub path: u32,
    /// Service index.
    pub index: u8,
    /// Context.
    pub context: [u32; 4],
}

/// Who talks to whom: addresses, protocol, ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port of TCP, UDP or SCTP; `None` for other protocols, later fragments and
    /// headers cut short.
    pub ports: Option<(u16, u16)>,
}

/// The whole flow of a packet in the layout `L`.
#[derive(Clone)]
pub struct FlowKey<L: Layout> {
    words: [u64; MAX_WORDS],
    // Whether the transport's word was present: a key can't tell port 0 from no port otherwise.
    has_transport: bool,
    layout: PhantomData<L>,
}

impl<L: Layout> FlowKey<L> {
    /// The flow of an Ethernet frame that arrived at no port in particular.
    ///
    /// ```
    /// let frame = [0u8; 60];
    /// let key = ringway_flow::FlowKey::<ringway_flow::V3_7>::of_frame(&frame);
    /// assert_eq!(key.ethernet_source().to_string(), "00:00:00:00:00:00");
    /// ```
    #[must_use]
    pub fn of_frame(frame: &[u8]) -> Self {
        let mut flow = Miniflow::new();
        let metadata = crate::Metadata::new(0);
        crate::extract(frame, PacketType::ETHERNET, &metadata, crate::VlanLimit::TWO, &mut flow);
        flow.expand()
    }

    /// The words of `struct flow`, in memory order.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        self.words.get(..L::WORDS).unwrap_or(&self.words)
    }

    /// Word `index` (see [`At`](crate::At)), 0 beyond the last.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn has_transport(&self) -> bool {
        self.has_transport
    }

    /// For printing in `ovs-ofctl`'s syntax: `tcp,in_port=1,dl_src=…`.
    #[must_use]
    pub fn ofctl(&self) -> Ofctl<'_, L> {
        Ofctl::new(self)
    }

    /// For printing in `ovs-dpctl`'s syntax: `in_port(1),eth(src=…`.
    #[must_use]
    pub fn dpctl(&self) -> Dpctl<'_, L> {
        Dpctl::new(self)
    }
}

impl<L: Layout> From<&Miniflow<L>> for FlowKey<L> {
    fn from(flow: &Miniflow<L>) -> Self {
        let mut words = [0; MAX_WORDS];
        for (index, word) in flow.words() {
            if let Some(place) = words.get_mut(index) {
                *place = word;
            }
        }
        let index = crate::At::<L>::TRANSPORT;
        let has_transport = flow.map()[index / 64] >> (index % 64) & 1 != 0;
        FlowKey { words, has_transport, layout: PhantomData }
    }
}

impl<L: Layout> PartialEq for FlowKey<L> {
    fn eq(&self, other: &Self) -> bool {
        self.words() == other.words()
    }
}

impl<L: Layout> Eq for FlowKey<L> {}

impl<L: Layout> fmt::Display for FlowKey<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ofctl().fmt(f)
    }
}

impl<L: Layout> fmt::Debug for FlowKey<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowKey({})", self.ofctl())
    }
}
