//! Mutations of a packet: what breaks parsers.

use super::random::Random;

/// Ethernet types that mean something to the parser, and some that don't.
const TYPES: [u16; 14] = [
    0x0800, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8848, 0x0806, 0x8035, 0x894f, 0x0000, 0x05ff, 0x0600, 0x05dc,
    0x9100,
];
/// IP protocols and extension headers.
const PROTOCOLS: [u8; 16] = [0, 1, 2, 6, 17, 43, 44, 50, 51, 58, 59, 60, 132, 135, 139, 255];
/// Values that sit at the edges of length fields.
const EDGES: [u8; 14] = [0, 1, 2, 4, 5, 6, 7, 8, 15, 0x40, 0x45, 0x7f, 0xfe, 0xff];

/// Changes the packet in up to eight places.
pub(super) fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(8) {
        let length = bytes.len();
        let at = position(random, length);
        match random.below(16) {
            0 => bytes.truncate(random.below(length + 1)),
            1 => {
                let more = random.below(64);
                let pattern = random.byte();
                bytes.extend((0..more).map(|index| pattern.wrapping_mul(index as u8)));
            }
            2 => put(bytes, 12 + 4 * random.below(3), &random.pick(&TYPES, 0).to_be_bytes()),
            3 => put(bytes, at, &random.pick(&TYPES, 0).to_be_bytes()),
            4 => put(bytes, 20 + 4 * random.below(3), &[random.pick(&PROTOCOLS, 0)]),
            5 => put(bytes, 23 + 4 * random.below(3), &[random.pick(&PROTOCOLS, 0)]),
            6 => put(bytes, 54 + 8 * random.below(8), &[random.pick(&PROTOCOLS, 0)]),
            7 => put(bytes, 55 + 8 * random.below(8), &[random.pick(&EDGES, 0)]),
            8 => put(bytes, at, &[random.pick(&EDGES, 0)]),
            // A 16-bit length that is right or nearly so, counted from anywhere.
            9 => {
                let about = length.saturating_sub(random.below(60)) + random.below(5);
                put(bytes, 16 + random.below(12), &(about as u16).to_be_bytes());
            }
            10 => put(bytes, 20 + 4 * random.below(3), &(random.word() as u16 & 0x3fff).to_be_bytes()),
            11 => {
                let copy: Vec<u8> = bytes.iter().skip(at).take(1 + random.below(24)).copied().collect();
                let place = random.below(length + 1);
                bytes.splice(place..place, copy);
            }
            12 => {
                let end = (at + 1 + random.below(12)).min(length);
                bytes.drain(at.min(end)..end);
            }
            13 => put(bytes, at, &[1 << random.below(8)]),
            14 => {
                let bit = 1 << random.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
            }
            _ => put(bytes, at, &[random.byte()]),
        }
    }
    // Once in a while a packet far longer than an Ethernet frame: padding over 65,535 bytes, offsets that wrap.
    if random.once_in(4096) {
        long(random, bytes);
    }
}

/// Headers lie at the front.
fn position(random: &mut Random, length: usize) -> usize {
    match random.below(4) {
        0 => random.below(length),
        _ => random.below(length.min(96)),
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(room) = bytes.get_mut(at..at + value.len()) {
        room.copy_from_slice(value);
    }
}

fn long(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(3) {
        0 => {
            let around = 65_400 + random.below(400);
            bytes.resize(bytes.len() + around, 0);
        }
        1 => {
            // A label stack that goes on past 65,535 bytes.
            bytes.truncate(12);
            bytes.resize(12, 2);
            bytes.extend([0x88, 0x47]);
            for label in 0..16_000 + random.below(800) {
                bytes.extend([0, label as u8, 0, 64]);
            }
            bytes.extend([0, 1, 1, 64, 0x45, 0, 0, 20]);
        }
        _ => {
            // IPv6 whose destination options reach past offset 65,535.
            bytes.truncate(12);
            bytes.resize(12, 2);
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0xff, 0xff, 60, 64]);
            bytes.extend([7; 32]);
            let headers = 31;
            for index in 0..headers {
                let next = if index + 1 == headers { random.pick(&[6, 17, 58], 17) } else { 60 };
                bytes.extend([next, 255]);
                bytes.resize(bytes.len() + 2046, index as u8);
            }
            bytes.extend([17, 248 + random.byte() % 8]);
            bytes.resize(54 + 65_535 - random.below(8), 0x50);
        }
    }
}

/// What the packet starts with: mostly Ethernet, else the network header with what precedes it taken off.
pub(super) fn packet_type(random: &mut Random, bytes: &mut Vec<u8>) -> u32 {
    if !random.once_in(8) {
        return 0;
    }
    let Some(&[high, low]) = bytes.get(12..14).and_then(|field| field.first_chunk::<2>()) else { return 0 };
    bytes.drain(..14);
    match random.below(8) {
        0 => (random.word() as u32).to_be(),
        1 => u32::from(random.pick(&TYPES, 0)).to_be(),
        _ => u32::from_be_bytes([0, 1, high, low]).to_be(),
    }
}
