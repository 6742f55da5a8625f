//! Packets of a given shape, with right checksums.
//!
//! A [`Shape`] says what a packet is made of; a [`Template`] is a packet whose flow and mark can be changed in place,
//! with its checksums kept right (RFC 1624). Headers are built and found by the crate `etherparse`.

use crate::Error;
use crate::mark::{MARK, Mark};
use etherparse::{
    DoubleVlanHeader, EtherType, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, LinkExtSlice, PacketBuilder,
    SingleVlanHeader, SlicedPacket, TransportSlice, VlanHeader, VlanId,
};
use ringway_port::MacAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The shortest frame without FCS (IEEE 802.3, section 3.2.8).
pub const SHORTEST: usize = 60;
/// Time to live, of what a generator sends.
const HOPS: u8 = 64;

/// What lies on top of the Internet protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// UDP (RFC 768).
    #[default]
    Udp,
    /// TCP (RFC 9293), segments of an established connection.
    Tcp,
    /// ICMP echo requests (RFC 792, RFC 4443).
    Icmp,
}

/// What a packet is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The Ethernet address that it comes from.
    pub source: MacAddress,
    /// The Ethernet address that it goes to.
    pub destination: MacAddress,
    /// VLAN ids, the outer one first: none, one (802.1Q) or two (802.1ad outside).
    pub vlans: Vec<u16>,
    /// The Internet addresses that it comes from and goes to, both of one version.
    pub addresses: (IpAddr, IpAddr),
    /// What it carries.
    pub protocol: Protocol,
    /// The ports that it comes from and goes to; the first is an echo request's identifier.
    pub ports: (u16, u16),
}

impl Default for Shape {
    /// UDP over IPv4 in the block for benchmarks (RFC 2544, appendix C.2.2), to the port that discards (RFC 863).
    fn default() -> Self {
        Self {
            source: MacAddress([0x02, 0, 0, 0, 0xff, 0x01]),
            destination: MacAddress([0x02, 0, 0, 0, 0xff, 0x02]),
            vlans: Vec::new(),
            addresses: (Ipv4Addr::new(198, 18, 0, 1).into(), Ipv4Addr::new(198, 19, 0, 1).into()),
            protocol: Protocol::default(),
            ports: (10_000, 9),
        }
    }
}

impl Shape {
    /// The same over IPv6, in the block for benchmarks (RFC 5180, section 8).
    pub fn v6(self) -> Self {
        let address = |last| Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, last).into();
        Self { addresses: (address(1), address(2)), ..self }
    }

    /// Bytes before the payload.
    fn headers(&self) -> usize {
        let internet = if self.addresses.0.is_ipv4() { 20 } else { 40 };
        let transport = if self.protocol == Protocol::Tcp { 20 } else { 8 };
        14usize.saturating_add(self.vlans.len().saturating_mul(4)).saturating_add(internet + transport)
    }

    /// The shortest packet of this shape that has room for a mark, without FCS.
    pub fn shortest(&self) -> usize {
        self.headers().saturating_add(MARK).max(SHORTEST)
    }

    /// A packet of `length` bytes, without FCS.
    ///
    /// # Errors
    /// When there is no room for a mark, it would be longer than IP allows, or the shape is none: addresses of two
    /// versions, more than two VLANs, a VLAN id that there is not.
    pub fn template(&self, length: usize) -> Result<Template, Error> {
        let (ip, vlans) = (self.internet()?, self.vlan_headers()?);
        let (shortest, longest) = (self.shortest(), 65_535 + 14);
        if !(shortest..=longest).contains(&length) {
            return Err(Error::Length { wanted: length, shortest, longest });
        }
        let payload = vec![0; length.saturating_sub(self.headers())];
        let mut bytes = Vec::with_capacity(length);
        let step = PacketBuilder::ethernet2(self.source.0, self.destination.0);
        let step = match vlans {
            Some(vlans) => step.vlan(vlans).ip(ip),
            None => step.ip(ip),
        };
        let (source, destination) = self.ports;
        let built = match (self.protocol, self.addresses.0) {
            (Protocol::Udp, _) => step.udp(source, destination).write(&mut bytes, &payload),
            (Protocol::Tcp, _) => step.tcp(source, destination, 1, 65_535).ack(1).write(&mut bytes, &payload),
            (Protocol::Icmp, IpAddr::V4(_)) => {
                step.icmpv4_echo_request(source, 0).write(&mut bytes, &payload)
            }
            (Protocol::Icmp, IpAddr::V6(_)) => {
                step.icmpv6_echo_request(source, 0).write(&mut bytes, &payload)
            }
        };
        built.map_err(|error| Error::Shape(error.to_string()))?;
        Template::of(bytes)
    }

    fn internet(&self) -> Result<IpHeaders, Error> {
        let next = match self.protocol {
            Protocol::Udp => IpNumber::UDP,
            Protocol::Tcp => IpNumber::TCP,
            Protocol::Icmp if self.addresses.0.is_ipv4() => IpNumber::ICMP,
            Protocol::Icmp => IpNumber::IPV6_ICMP,
        };
        match self.addresses {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header::new(0, HOPS, next, source.octets(), destination.octets());
                let header = header.map_err(|error| Error::Shape(error.to_string()))?;
                Ok(IpHeaders::Ipv4(header, Default::default()))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    hop_limit: HOPS,
                    next_header: next,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                };
                Ok(IpHeaders::Ipv6(header, Default::default()))
            }
            (source, destination) => {
                Err(Error::Shape(format!("{source} and {destination} are of two versions of IP")))
            }
        }
    }

    fn vlan_headers(&self) -> Result<Option<VlanHeader>, Error> {
        let id = |id: u16| VlanId::try_new(id).map_err(|error| Error::Shape(error.to_string()));
        let tag =
            |vlan_id, ether_type| SingleVlanHeader { vlan_id, ether_type, ..SingleVlanHeader::default() };
        match *self.vlans {
            [] => Ok(None),
            [only] => Ok(Some(VlanHeader::Single(tag(id(only)?, EtherType(0))))),
            [outer, inner] => Ok(Some(VlanHeader::Double(DoubleVlanHeader {
                outer: tag(id(outer)?, EtherType::VLAN_TAGGED_FRAME),
                inner: tag(id(inner)?, EtherType(0)),
            }))),
            _ => Err(Error::Shape(format!("{} VLAN tags, where two are the most", self.vlans.len()))),
        }
    }
}

/// Where a packet has what can be changed; all of it in bytes from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    vlan: Option<usize>,
    /// Source and destination, and how many bytes an address has.
    addresses: Option<(usize, usize, usize)>,
    ip_checksum: Option<usize>,
    /// The start of the transport header and the place of its checksum.
    transport: Option<(usize, usize)>,
    /// Whether the transport's checksum covers the addresses.
    covers_addresses: bool,
    ports: Option<(usize, usize)>,
    mark: Option<usize>,
}

/// What tells flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The source port, or an echo request's identifier.
    SourcePort,
    /// The destination port.
    DestinationPort,
    /// The last two bytes of the source address.
    SourceAddress,
    /// The last two bytes of the destination address.
    DestinationAddress,
    /// The outer VLAN id.
    Vlan,
}

impl Field {
    /// How many values it takes.
    pub fn values(self) -> u32 {
        match self {
            Self::SourcePort | Self::DestinationPort => 50_000,
            Self::SourceAddress | Self::DestinationAddress => 65_000,
            Self::Vlan => 4094,
        }
    }
}

/// A packet to be copied, and changed in the copy.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    places: Places,
}

impl Template {
    /// A packet as it was captured or built.
    ///
    /// # Errors
    /// When it is no Ethernet frame that can be read.
    pub fn of(bytes: Vec<u8>) -> Result<Self, Error> {
        let places = Places::of(&bytes)?;
        Ok(Self { bytes, places })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it has room for a mark that a receiver finds.
    pub fn takes_mark(&self) -> bool {
        self.places.mark.is_some()
    }

    /// Whether a field can be changed.
    pub fn has(&self, field: Field) -> bool {
        match field {
            Field::SourcePort | Field::DestinationPort => self.places.ports.is_some(),
            Field::SourceAddress | Field::DestinationAddress => self.places.addresses.is_some(),
            Field::Vlan => self.places.vlan.is_some(),
        }
    }

    /// Writes a copy to the start of `frame`, and returns its length. `None`: `frame` is too short.
    #[inline]
    pub fn copy(&self, frame: &mut [u8]) -> Option<usize> {
        frame.get_mut(..self.bytes.len())?.copy_from_slice(&self.bytes);
        Some(self.bytes.len())
    }

    /// Adds `value` to a field of a copy.
    #[inline]
    pub fn vary(&self, frame: &mut [u8], field: Field, value: u16) {
        let Places { vlan, addresses, ip_checksum, transport, covers_addresses, ports, .. } = self.places;
        let checksum = transport.map(|(_, checksum)| checksum);
        match field {
            Field::Vlan => {
                if let Some(at) = vlan {
                    // The id has 12 bits; 0 and 4095 are none.
                    add(frame, at, &[], |old| {
                        let id = (u32::from(old & 0xfff) + u32::from(value)).wrapping_sub(1) % 4094 + 1;
                        old & 0xf000 | id as u16
                    });
                }
            }
            Field::SourcePort | Field::DestinationPort => {
                if let Some((source, destination)) = ports {
                    let at = if field == Field::SourcePort { source } else { destination };
                    add(frame, at, &[checksum], |old| old.wrapping_add(value));
                }
            }
            Field::SourceAddress | Field::DestinationAddress => {
                if let Some((source, destination, bytes)) = addresses {
                    let at = if field == Field::SourceAddress { source } else { destination };
                    let covered = if covers_addresses { checksum } else { None };
                    let at = at.wrapping_add(bytes).wrapping_sub(2);
                    add(frame, at, &[ip_checksum, covered], |old| old.wrapping_add(value));
                }
            }
        }
    }

    /// Writes a mark into a copy.
    #[inline]
    pub fn mark(&self, frame: &mut [u8], mark: Mark) {
        let (Some(at), transport) = (self.places.mark, self.places.transport) else { return };
        let new = mark.to_bytes();
        let Some(old) = frame.get_mut(at..).and_then(|payload| payload.first_chunk_mut::<MARK>()) else {
            return;
        };
        let change = difference(old, &new);
        *old = new;
        if let Some((_, checksum)) = transport {
            adjust(frame, checksum, change);
        }
    }
}

impl Places {
    fn of(bytes: &[u8]) -> Result<Self, Error> {
        let packet = SlicedPacket::from_ethernet(bytes).map_err(|error| Error::Shape(error.to_string()))?;
        // Slices of one buffer: the distance from its start is the place.
        let place = |slice: &[u8]| slice.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
        let mut places = Self::default();
        if let Some(LinkExtSlice::Vlan(vlan)) = packet.link_exts.first() {
            places.vlan = Some(place(vlan.slice()));
        }
        match &packet.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => {
                let start = place(ip.header().slice());
                places.addresses = Some((start + 12, start + 16, 4));
                places.ip_checksum = Some(start + 10);
            }
            Some(etherparse::NetSlice::Ipv6(ip)) => {
                let start = place(ip.header().slice());
                places.addresses = Some((start + 8, start + 24, 16));
            }
            _ => {}
        }
        let (start, checksum, covers, ports, payload) = match &packet.transport {
            Some(TransportSlice::Udp(udp)) => {
                let start = place(udp.slice());
                // Without a checksum (RFC 768) there is none to keep.
                let checksum = (udp.checksum() != 0).then_some(start + 6);
                (start, checksum, true, Some((start, start + 2)), udp.payload())
            }
            Some(TransportSlice::Tcp(tcp)) => {
                let start = place(tcp.slice());
                (start, Some(start + 16), true, Some((start, start + 2)), tcp.payload())
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                let start = place(icmp.slice());
                (start, Some(start + 2), false, Some((start + 4, start + 6)), icmp.payload())
            }
            Some(TransportSlice::Icmpv6(icmp)) => {
                let start = place(icmp.slice());
                (start, Some(start + 2), true, Some((start + 4, start + 6)), icmp.payload())
            }
            _ => return Ok(places),
        };
        places.transport = checksum.map(|checksum| (start, checksum));
        places.covers_addresses = covers;
        places.ports = ports;
        places.mark = (payload.len() >= MARK).then(|| place(payload));
        Ok(places)
    }
}

/// Changes the word at `at`, and the checksums that cover it.
#[inline]
fn add(frame: &mut [u8], at: usize, checksums: &[Option<usize>], change: impl FnOnce(u16) -> u16) {
    let Some(word) = frame.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut::<2>()) else { return };
    let old = u16::from_be_bytes(*word);
    let new = change(old);
    *word = new.to_be_bytes();
    for checksum in checksums.iter().flatten() {
        adjust(frame, *checksum, u32::from(!old) + u32::from(new));
    }
}

/// What a change of bytes, an even number of them, does to a sum in ones' complement.
#[inline]
fn difference(old: &[u8; MARK], new: &[u8; MARK]) -> u32 {
    let words = |bytes: &[u8; MARK]| -> u32 {
        bytes.as_chunks::<2>().0.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum()
    };
    // Each complement is 0xffff less the word.
    (MARK as u32 / 2) * 0xffff - words(old) + words(new)
}

/// Updates the checksum at `at` (RFC 1624, equation 3).
#[inline]
fn adjust(frame: &mut [u8], at: usize, change: u32) {
    let Some(field) = frame.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut::<2>()) else { return };
    let mut sum = u32::from(!u16::from_be_bytes(*field)).wrapping_add(change);
    sum = (sum & 0xffff).wrapping_add(sum >> 16);
    sum = (sum & 0xffff).wrapping_add(sum >> 16);
    // Zero would say that there is none (RFC 768); its other form means the same.
    let checksum = match !(sum as u16) {
        0 => 0xffff,
        checksum => checksum,
    };
    *field = checksum.to_be_bytes();
}
