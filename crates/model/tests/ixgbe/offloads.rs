//! Transmit offloads against checksums and segments computed the plain way.

use crate::driver::*;
use crate::frames::{Flow, is_right, plain_sum, pseudo_sum};

/// A context descriptor's words.
fn context(flow: &Flow, vlan: u16, segment: u16, slot: u64) -> (u64, u64) {
    let first = flow.network_length() as u64 | 14 << 9 | u64::from(vlan) << 16;
    let kind = if flow.v6 { 0 } else { 1 << 10 } | if flow.tcp { 1 << 11 } else { 0 };
    let lengths = (flow.transport_length() as u64) << 40 | u64::from(segment) << 48;
    (first, kind | 2 << 20 | 1 << 29 | slot << 36 | lengths)
}

fn field(flow: &Flow) -> usize {
    14 + flow.network_length() + if flow.tcp { 16 } else { 6 }
}

#[test]
fn inserted_checksums_are_those_of_the_packet() {
    let mut port = Port::start(Setup::default());
    for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        for length in [0usize, 1, 33, 1400] {
            let flow = Flow { v6, tcp, source: 0x0a01_0203, ports: (1000, 2000) };
            let right = flow.frame(&vec![0x3c; length]);
            let mut frame = right.clone();
            let segment = (frame.len() - 14 - flow.network_length()) as u16;
            let seed = pseudo_sum(&frame, segment);
            frame[field(&flow)..field(&flow) + 2].copy_from_slice(&seed.to_be_bytes());
            if !v6 {
                frame[24..26].fill(0xee);
            }
            let slot = u64::from(tcp);
            let (first, second) = context(&flow, 0, 0, slot);
            port.push_words(0, first, second);
            let options = 1 << 39 | slot << 36 | 1 << 41 | if v6 { 0 } else { 1 << 40 };
            port.push(0, &frame, data(true) | options | (frame.len() as u64) << 46);
            port.ring_transmit(0);
            port.settle();
            let mut right = right;
            right.resize(right.len().max(60), 0);
            assert_eq!(port.device.take_sent(), Some(right), "v6 {v6}, tcp {tcp}, {length}");
        }
    }
}

#[test]
fn a_tag_is_inserted_from_the_context() {
    let mut port = Port::start(Setup::default());
    let flow = Flow { v6: false, tcp: true, source: 1, ports: (1, 2) };
    let frame = flow.frame(&[7; 100]);
    let (first, second) = context(&flow, 0x602a, 0, 0);
    port.push_words(0, first, second);
    port.push(0, &frame, data(true) | 1 << 30 | (frame.len() as u64) << 46);
    // And from a legacy descriptor.
    port.push(0, &frame, 0b0100_1011 << 24 | 0x0007 << 48);
    port.ring_transmit(0);
    port.settle();
    for control in [0x602a_u16, 7] {
        let mut expected = frame.clone();
        let [high, low] = control.to_be_bytes();
        expected.splice(12..12, [0x81, 0x00, high, low]);
        assert_eq!(port.device.take_sent(), Some(expected));
    }
}

#[test]
fn a_large_packet_is_cut_into_segments_that_add_up() {
    for v6 in [false, true] {
        for (total, size) in
            [(5000usize, 1448u16), (1448, 1448), (1449, 1448), (2896, 1448), (60_000, 1460), (3, 1)]
        {
            let mut port = Port::start(Setup::default());
            let flow = Flow { v6, tcp: true, source: 0x0a01_0203, ports: (80, 81) };
            let payload: Vec<u8> = (0..total).map(|index| (index * 31 / 7) as u8).collect();
            let mut packet = flow.frame(&payload);
            let headers = 14 + flow.network_length() + 20;
            packet[headers - 7] = 0x19; // FIN, PSH, ACK
            let seed = pseudo_sum(&packet, 0);
            packet[field(&flow)..field(&flow) + 2].copy_from_slice(&seed.to_be_bytes());
            let (first, second) = context(&flow, 0x0005, size, 0);
            port.push_words(0, first, second);
            let word = 1 << 31 | 1 << 30 | 1 << 41 | if v6 { 0 } else { 1 << 40 } | (total as u64) << 46;
            let pieces: Vec<&[u8]> = packet.chunks(2000).collect();
            for (index, piece) in pieces.iter().enumerate() {
                port.push(0, piece, data(index + 1 == pieces.len()) | word);
            }
            port.ring_transmit(0);
            port.settle();
            let mut joined = Vec::new();
            let mut count = 0;
            let expected = total.div_ceil(size.into());
            while let Some(mut frame) = port.device.take_sent() {
                assert_eq!(frame[12..16], [0x81, 0, 0, 5]);
                frame.drain(12..16);
                assert!(is_right(&frame), "segment {count} of {expected}");
                let sequence = u32::from_be_bytes(frame[headers - 16..headers - 12].try_into().unwrap());
                assert_eq!(sequence as usize, 1000 + joined.len());
                let end = if v6 {
                    54 + usize::from(u16::from_be_bytes([frame[18], frame[19]]))
                } else {
                    assert_eq!(u16::from_be_bytes([frame[18], frame[19]]), 0x1234 + count as u16);
                    14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]))
                };
                joined.extend_from_slice(&frame[headers..end]);
                count += 1;
                let flags = frame[headers - 7];
                assert_eq!(
                    flags,
                    if count == expected { 0x19 } else { 0x10 },
                    "FIN and PSH stand in the last"
                );
            }
            assert_eq!((count, joined == payload), (expected, true), "{total} by {size}, v6 {v6}");
        }
    }
}

#[test]
fn a_legacy_checksum_covers_what_it_is_told() {
    let mut port = Port::start(Setup::default());
    let mut frame: Vec<u8> = (0..100).collect();
    frame[50..52].fill(0);
    // EOP, IFCS, IC, RS; start at 34, store at 50.
    port.push(0, &frame, 50 << 16 | 0b1111 << 24 | 34 << 40);
    port.ring_transmit(0);
    port.settle();
    let sent = port.device.take_sent().unwrap();
    assert_eq!(plain_sum(&sent[34..], 0), 0xffff);
    assert_eq!(sent[..50], frame[..50]);
}
