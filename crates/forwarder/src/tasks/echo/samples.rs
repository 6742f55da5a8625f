//! Questions, written byte by byte, with a checksum of their own: a second witness beside the crate that reads them.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const OURS: [u8; 6] = [0x02, 0, 0, 0, 0x01, 0x07];
pub(super) const THEIRS: [u8; 6] = [0x02, 0, 0, 0, 0x02, 0x01];
pub(super) const OUR_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const THEIR_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const OUR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xab, 0xcdef);
pub(super) const THEIR_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The group and the Ethernet address that RFC 4291 and RFC 2464 make of [`OUR_V6`].
pub(super) const OUR_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xffab, 0xcdef);
pub(super) const OUR_GROUP_MAC: [u8; 6] = [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef];

/// The Internet checksum (RFC 1071), the plain way.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub(super) fn ethernet(to: [u8; 6], tags: &[[u8; 4]], protocol: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &THEIRS, &tags.concat(), &protocol.to_be_bytes(), payload].concat()
}

pub(super) fn arp(operation: u16, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let fixed = [0, 1, 0x08, 0, 6, 4];
    let operation = operation.to_be_bytes();
    let mut packet = [&fixed[..], &operation, &THEIRS, &sender.octets(), &[0; 6], &target.octets()].concat();
    packet.resize(46, 0);
    packet
}

/// An ICMP message with its checksum.
pub(super) fn icmp(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], rest].concat();
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Identifier, number and data of an echo request.
pub(super) fn echo_data(length: usize) -> Vec<u8> {
    [0x12, 0x34, 0, 7].into_iter().chain((0..length).map(|index| index as u8)).collect()
}

pub(super) fn v4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = 20 + options.len();
    let total = ((length + payload.len()) as u16).to_be_bytes();
    let start = [0x40 | (length / 4) as u8, 0, total[0], total[1], 0x77, 0x01, 0x40, 0, 63, protocol, 0, 0];
    let mut header = [&start[..], &from.octets(), &to.octets(), options].concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, payload.to_vec()].concat()
}

/// An ICMPv6 message with its checksum.
pub(super) fn icmp6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], rest].concat();
    let length = (message.len() as u32).to_be_bytes();
    let sum = checksum(&[&from.octets(), &to.octets(), &length, &[0, 0, 0, 58], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

pub(super) fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let start = [0x60, 0x01, 0x23, 0x45, length[0], length[1], next, hops];
    [&start[..], &from.octets(), &to.octets(), payload].concat()
}

pub(super) fn arp_request() -> Vec<u8> {
    ethernet([0xff; 6], &[], 0x0806, &arp(1, THEIR_V4, OUR_V4))
}

pub(super) fn ping4(tags: &[[u8; 4]], options: &[u8], data: usize) -> Vec<u8> {
    let message = icmp(8, 0, &echo_data(data));
    ethernet(OURS, tags, 0x0800, &v4(THEIR_V4, OUR_V4, 1, options, &message))
}

pub(super) fn ping6(tags: &[[u8; 4]], to: Ipv6Addr, data: usize) -> Vec<u8> {
    let message = icmp6(THEIR_V6, to, 128, &echo_data(data));
    ethernet(OURS, tags, 0x86dd, &v6(THEIR_V6, to, 58, 64, &message))
}

/// A neighbour solicitation for [`OUR_V6`], with options.
pub(super) fn solicitation(from: Ipv6Addr, to: Ipv6Addr, hops: u8, options: &[u8]) -> Vec<u8> {
    let body = [&[0; 4], &OUR_V6.octets()[..], options].concat();
    let message = icmp6(from, to, 135, &body);
    ethernet(OUR_GROUP_MAC, &[], 0x86dd, &v6(from, to, 58, hops, &message))
}

/// The option that says the asker's Ethernet address.
pub(super) const SAYS_HARDWARE: [u8; 8] = [1, 1, 0x02, 0, 0, 0, 0x02, 0x01];
