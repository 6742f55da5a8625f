//! What a frame asks, or why it is not answered.
//!
//! Headers are read by the crate `etherparse`; what is decided here is whether they ask us something. Nothing is
//! changed.

use super::counts::Ignored;
use super::station::{Station, solicited_node};
use etherparse::checksum::Sum16BitWords;
use etherparse::icmpv6::{NdpOptionSlice, NeighborSolicitationPayloadSlice};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType, Ethernet2Slice, Icmpv4Slice, Icmpv6Slice,
    Ipv4Slice, Ipv6Slice, LenSource, SingleVlanSlice, ether_type, icmpv4, icmpv6, ip_number,
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The hop limit that neighbour discovery has, so that it can't have come from another link (RFC 4861, section 7.1.1).
const FROM_THIS_LINK: u8 = 255;

/// A question that is answered. Places are bytes from the start of the frame; lengths have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Who has our IPv4 address: the ARP packet is at `at`.
    Arp {
        /// Where the ARP packet starts.
        at: usize,
    },
    /// An ICMP echo request.
    EchoV4 {
        /// Where the IPv4 header starts.
        at: usize,
        /// The header's length, options included.
        header: usize,
        /// The length of all of it.
        total: usize,
    },
    /// An ICMPv6 echo request, right behind the IPv6 header.
    EchoV6 {
        /// Where the IPv6 header starts.
        at: usize,
        /// The length of the message.
        message: usize,
        /// The address to answer from, which was asked or is in the group that was asked.
        from: Ipv6Addr,
    },
    /// A neighbour solicitation, right behind the IPv6 header.
    Solicitation {
        /// Where the IPv6 header starts.
        at: usize,
        /// What is asked for.
        target: Ipv6Addr,
    },
}

/// What the frame asks of the station.
pub(super) fn examine(station: &Station, frame: &[u8]) -> Result<Request, Ignored> {
    let malformed = |_| Ignored::Malformed;
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).map_err(malformed)?;
    let (to, from) = (ethernet.destination(), ethernet.source());
    if to != station.mac && !is_group(to) {
        return Err(Ignored::OtherStation);
    }
    if is_group(from) || from == station.mac {
        return Err(Ignored::Unanswerable);
    }
    let (mut protocol, mut payload) = (ethernet.ether_type(), ethernet.payload_slice());
    while is_tag(protocol) {
        let tag = SingleVlanSlice::from_slice(payload).map_err(malformed)?;
        (protocol, payload) = (tag.ether_type(), tag.payload_slice());
    }
    // The payload is the frame's end.
    let at = frame.len().saturating_sub(payload.len());
    match protocol {
        ether_type::ARP => arp(station, at, payload),
        ether_type::IPV4 => v4(station, at, payload),
        ether_type::IPV6 => v6(station, at, payload),
        _ => Err(Ignored::OtherProtocol),
    }
}

fn is_group([first, ..]: [u8; 6]) -> bool {
    first & 1 != 0
}

fn is_tag(protocol: EtherType) -> bool {
    matches!(
        protocol,
        ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING | ether_type::VLAN_DOUBLE_TAGGED_FRAME
    )
}

/// RFC 826; RFC 5227 for those who say that they have our address.
fn arp(station: &Station, at: usize, payload: &[u8]) -> Result<Request, Ignored> {
    let packet = ArpPacketSlice::from_slice(payload).map_err(|_| Ignored::Malformed)?;
    if packet.hw_addr_type() != ArpHardwareId::ETHERNET
        || packet.proto_addr_type() != ether_type::IPV4
        || (packet.hw_addr_size(), packet.proto_addr_size()) != (6, 4)
    {
        return Err(Ignored::OtherMessage);
    }
    let address = |bytes: &[u8]| bytes.first_chunk().copied().map(Ipv4Addr::from).ok_or(Ignored::Malformed);
    let sender = address(packet.sender_protocol_addr())?;
    if station.has_v4(sender) {
        return Err(Ignored::ClaimsOurAddress);
    }
    if packet.operation() != ArpOperation::REQUEST {
        return Err(Ignored::OtherMessage);
    }
    if !station.has_v4(address(packet.target_protocol_addr())?) {
        return Err(Ignored::OtherAddress);
    }
    match packet.sender_hw_addr().first_chunk() {
        Some(&hardware) if !is_group(hardware) => Ok(Request::Arp { at }),
        _ => Err(Ignored::Unanswerable),
    }
}

/// RFC 792, and RFC 1122, section 3.2.2.6.
fn v4(station: &Station, at: usize, payload: &[u8]) -> Result<Request, Ignored> {
    let packet = Ipv4Slice::from_slice(payload).map_err(|_| Ignored::Malformed)?;
    let header = packet.header();
    if Sum16BitWords::new().add_slice(header.slice()).ones_complement() != 0 {
        return Err(Ignored::WrongChecksum);
    }
    if !station.has_v4(header.destination_addr()) {
        return Err(Ignored::OtherAddress);
    }
    if packet.is_payload_fragmented() {
        return Err(Ignored::Fragment);
    }
    if header.protocol() != ip_number::ICMP {
        return Err(Ignored::OtherMessage);
    }
    let message = Icmpv4Slice::from_slice(packet.payload().payload).map_err(|_| Ignored::Malformed)?;
    if Sum16BitWords::new().add_slice(message.slice()).ones_complement() != 0 {
        return Err(Ignored::WrongChecksum);
    }
    if (message.type_u8(), message.code_u8()) != (icmpv4::TYPE_ECHO_REQUEST, 0) {
        return Err(Ignored::OtherMessage);
    }
    let source = header.source_addr();
    if source.is_unspecified()
        || source.is_broadcast()
        || source.is_multicast()
        || source.is_loopback()
        || station.has_v4(source)
    {
        return Err(Ignored::Unanswerable);
    }
    Ok(Request::EchoV4 { at, header: header.slice().len(), total: header.total_len().into() })
}

/// RFC 4443, section 4.1, and RFC 4861, section 7.1.1.
fn v6(station: &Station, at: usize, payload: &[u8]) -> Result<Request, Ignored> {
    let packet = Ipv6Slice::from_slice(payload).map_err(|_| Ignored::Malformed)?;
    let header = packet.header();
    // Without a length it would be a jumbogram, which Ethernet doesn't have.
    if packet.payload().len_source == LenSource::Slice {
        return Err(Ignored::Malformed);
    }
    let (source, destination) = (header.source_addr(), header.destination_addr());
    let to_group = station.is_in_group(destination);
    if !station.has_v6(destination) && !to_group {
        return Err(Ignored::OtherAddress);
    }
    if packet.is_payload_fragmented() {
        return Err(Ignored::Fragment);
    }
    if packet.payload().ip_number != ip_number::IPV6_ICMP {
        return Err(Ignored::OtherMessage);
    }
    if header.next_header() != ip_number::IPV6_ICMP {
        return Err(Ignored::ExtensionHeaders);
    }
    let message = Icmpv6Slice::from_slice(packet.payload().payload).map_err(|_| Ignored::Malformed)?;
    if !message.is_checksum_valid(source.octets(), destination.octets()) {
        return Err(Ignored::WrongChecksum);
    }
    match (message.type_u8(), message.code_u8()) {
        (icmpv6::TYPE_ECHO_REQUEST, 0) => {
            if source.is_unspecified()
                || source.is_multicast()
                || source.is_loopback()
                || station.has_v6(source)
            {
                return Err(Ignored::Unanswerable);
            }
            let from = if to_group { station.first_v6() } else { Some(destination) };
            let from = from.ok_or(Ignored::OtherAddress)?;
            Ok(Request::EchoV6 { at, message: message.slice().len(), from })
        }
        (icmpv6::TYPE_NEIGHBOR_SOLICITATION, 0) => {
            if header.hop_limit() != FROM_THIS_LINK {
                return Err(Ignored::Malformed);
            }
            let target = solicited(&message, source, destination)?;
            if !station.has_v6(target) {
                return Err(Ignored::OtherAddress);
            }
            if station.has_v6(source) {
                return Err(Ignored::ClaimsOurAddress);
            }
            if source.is_multicast() || source.is_loopback() {
                return Err(Ignored::Unanswerable);
            }
            Ok(Request::Solicitation { at, target })
        }
        _ => Err(Ignored::OtherMessage),
    }
}

/// The target of a solicitation, if all of it is as it must be.
fn solicited(
    message: &Icmpv6Slice<'_>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Ipv6Addr, Ignored> {
    let malformed = Ignored::Malformed;
    let body = NeighborSolicitationPayloadSlice::from_slice(message.payload()).map_err(|_| malformed)?;
    let target = body.target_address();
    let mut says_hardware = false;
    for option in body.options_iterator() {
        says_hardware |= matches!(option, Ok(NdpOptionSlice::SourceLinkLayerAddress(_)));
        option.map_err(|_| malformed)?;
    }
    // Who has no address yet asks whether anyone has the one it would take.
    let detects_duplicates = source.is_unspecified();
    if target.is_multicast() || detects_duplicates && (says_hardware || destination != solicited_node(target))
    {
        return Err(malformed);
    }
    Ok(target)
}
