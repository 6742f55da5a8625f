//! A question becomes its answer, in the buffer that it came in.

use super::counts::{Answered, Ignored};
use super::request::Request;
use super::station::{ALL_NODES, Station, group_mac};
use etherparse::checksum::Sum16BitWords;
use etherparse::{icmpv4, icmpv6, ip_number};
use ringway_packet::Frame;
use std::net::Ipv6Addr;

/// Hops that an answer may take (RFC 1700, "default TTL").
const HOPS: u8 = 64;
/// Hops of neighbour discovery (RFC 4861, section 4.4).
const LINK_HOPS: u8 = 255;
/// Bytes of an ARP packet about IPv4 over Ethernet (RFC 826).
const ARP: usize = 28;
/// Bytes of an IPv4 header without options (RFC 791, section 3.1).
const V4_HEADER: usize = 20;
/// Bytes of an IPv6 header (RFC 8200, section 3).
const V6_HEADER: usize = 40;
/// Bytes of a neighbour advertisement with the target's Ethernet address (RFC 4861, sections 4.4 and 4.6.1).
const ADVERTISEMENT: usize = 32;

/// Writes the answer over the question.
///
/// # Errors
/// Why there is none: nothing that [`examine`](super::request::examine) found can fail but for the room.
pub(super) fn write(station: &Station, request: Request, frame: &mut Frame<'_>) -> Result<Answered, Ignored> {
    let answered = match request {
        Request::Arp { at } => arp(station, at, frame.data_mut()).map(|()| Answered::Arp),
        Request::EchoV4 { at, header, total } => echo_v4(station, at, header, total, frame.data_mut()),
        Request::EchoV6 { at, message, from } => {
            echo_v6(station, at, message, from, frame.data_mut()).map(|()| Answered::EchoV6)
        }
        Request::Solicitation { at, target } => {
            advertise(station, at, target, frame).map(|()| Answered::Solicitation)
        }
    };
    // The device sends it as it is.
    frame.set_offload(None);
    answered.ok_or(Ignored::Malformed)
}

/// Back to who sent it, or to another Ethernet address.
fn address(frame: &mut [u8], from: [u8; 6], to: Option<[u8; 6]>) -> Option<()> {
    let (destination, source) = frame.first_chunk_mut::<12>()?.split_at_mut(6);
    match to {
        Some(to) => destination.copy_from_slice(&to),
        None => destination.copy_from_slice(source),
    }
    source.copy_from_slice(&from);
    Some(())
}

fn arp(station: &Station, at: usize, frame: &mut [u8]) -> Option<()> {
    let packet = frame.get_mut(at..)?.first_chunk_mut::<ARP>()?;
    // What comes first is the same in request and reply: hardware, protocol and their sizes.
    let (operation, rest) = packet.get_mut(6..)?.split_first_chunk_mut::<2>()?;
    let (sender, target) = rest.split_first_chunk_mut::<10>()?;
    let target = target.first_chunk_mut::<10>()?;
    *operation = [0, 2];
    // Each is an Ethernet and an Internet address: who asked is the target now, and what was asked for the sender.
    std::mem::swap(sender, target);
    *sender.first_chunk_mut()? = station.mac;
    let to = *target.first_chunk()?;
    address(frame, station.mac, Some(to))
}

fn echo_v4(station: &Station, at: usize, header: usize, total: usize, frame: &mut [u8]) -> Option<Answered> {
    let packet = frame.get_mut(at..)?.get_mut(..total)?;
    let options = header.checked_sub(V4_HEADER)?;
    let total = total.checked_sub(options)?;
    if options > 0 {
        packet.copy_within(header.., V4_HEADER);
        packet.get_mut(total..)?.fill(0);
    }
    let (header, message) = packet.get_mut(..total)?.split_first_chunk_mut::<V4_HEADER>()?;
    let [version, _, length_high, length_low, _, _, _, _, hops, _, sum_high, sum_low, addresses @ ..] =
        header;
    *version = 0x45;
    [*length_high, *length_low] = u16::try_from(total).ok()?.to_be_bytes();
    *hops = HOPS;
    let (source, destination) = addresses.split_at_mut(4);
    source.swap_with_slice(destination);
    [*sum_high, *sum_low] = [0, 0];
    let sum = Sum16BitWords::new().add_slice(header).ones_complement().to_ne_bytes();
    *header.get_mut(10..)?.first_chunk_mut()? = sum;

    *message.first_mut()? = icmpv4::TYPE_ECHO_REPLY;
    let sum = message.get_mut(2..)?.first_chunk_mut()?;
    *sum = [0, 0];
    let right = Sum16BitWords::new().add_slice(message).ones_complement().to_ne_bytes();
    *message.get_mut(2..)?.first_chunk_mut()? = right;
    address(frame, station.mac, None)?;
    Some(if options > 0 { Answered::EchoV4WithOptions } else { Answered::EchoV4 })
}

fn echo_v6(station: &Station, at: usize, length: usize, from: Ipv6Addr, frame: &mut [u8]) -> Option<()> {
    let packet = frame.get_mut(at..)?;
    let (header, message) = packet.split_first_chunk_mut::<V6_HEADER>()?;
    let message = message.get_mut(..length)?;
    let to = source_of(header)?;
    write_header(header, length, HOPS, from, to)?;
    *message.first_mut()? = icmpv6::TYPE_ECHO_REPLY;
    write_checksum(message, from, to)?;
    address(frame, station.mac, None)
}

fn advertise(station: &Station, at: usize, target: Ipv6Addr, frame: &mut Frame<'_>) -> Option<()> {
    const OVERRIDE: u8 = 0x20;
    const SOLICITED: u8 = 0x40;
    const TARGET_ETHERNET_ADDRESS: [u8; 2] = [2, 1];
    // The answer is never longer than a question with an option, but some ask without.
    let end = at.checked_add(V6_HEADER)?.checked_add(ADVERTISEMENT)?;
    match frame.len().checked_sub(end) {
        Some(surplus) => frame.trim_end(surplus).ok()?,
        None => frame.append(end.checked_sub(frame.len())?).map(|_| ()).ok()?,
    }
    let packet = frame.data_mut().get_mut(at..)?;
    let (header, message) = packet.split_first_chunk_mut::<V6_HEADER>()?;
    let asker = source_of(header)?;
    // Who has no address yet is told through all nodes (RFC 4861, section 7.2.4).
    let (to, flags) = match asker.is_unspecified() {
        true => (ALL_NODES, OVERRIDE),
        false => (asker, OVERRIDE | SOLICITED),
    };
    write_header(header, ADVERTISEMENT, LINK_HOPS, target, to)?;
    let message = message.first_chunk_mut::<ADVERTISEMENT>()?;
    let (start, rest) = message.split_first_chunk_mut::<8>()?;
    *start = [icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    let (asked, option) = rest.split_first_chunk_mut::<16>()?;
    *asked = target.octets();
    *option.first_chunk_mut()? = TARGET_ETHERNET_ADDRESS;
    *option.last_chunk_mut()? = station.mac;
    write_checksum(message, target, to)?;
    let group = asker.is_unspecified().then(|| group_mac(to));
    address(frame.data_mut(), station.mac, group)
}

fn source_of(header: &[u8; V6_HEADER]) -> Option<Ipv6Addr> {
    header.get(8..)?.first_chunk::<16>().copied().map(Ipv6Addr::from)
}

/// Lengths, hops and addresses; traffic class and flow label stay.
fn write_header(
    header: &mut [u8; V6_HEADER],
    length: usize,
    hops: u8,
    from: Ipv6Addr,
    to: Ipv6Addr,
) -> Option<()> {
    let [_, _, _, _, length_high, length_low, next, limit, addresses @ ..] = header;
    [*length_high, *length_low] = u16::try_from(length).ok()?.to_be_bytes();
    *next = ip_number::IPV6_ICMP.0;
    *limit = hops;
    let (source, destination) = addresses.split_first_chunk_mut::<16>()?;
    *source = from.octets();
    *destination.first_chunk_mut()? = to.octets();
    Some(())
}

/// With the pseudo-header (RFC 8200, section 8.1).
fn write_checksum(message: &mut [u8], from: Ipv6Addr, to: Ipv6Addr) -> Option<()> {
    *message.get_mut(2..)?.first_chunk_mut()? = [0, 0];
    let sum = Sum16BitWords::new()
        .add_16bytes(from.octets())
        .add_16bytes(to.octets())
        .add_4bytes(u32::try_from(message.len()).ok()?.to_be_bytes())
        .add_2bytes([0, ip_number::IPV6_ICMP.0])
        .add_slice(message)
        .ones_complement();
    *message.get_mut(2..)?.first_chunk_mut()? = sum.to_ne_bytes();
    Some(())
}
