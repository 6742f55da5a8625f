//! Receive-side scaling: the Toeplitz hash, its types, and the redirection table (datasheet, section 7.1.2.8).

use super::headers::{Headers, IPV4, IPV6, TCP, UDP};
use super::registers::{ERETA, MRQC, RETA, RSSRK};
use super::table::Table;

/// Bits of MRQC that choose what is hashed (8.2.3.7.12).
const TCP_IPV4: u32 = 1 << 16;
const PLAIN_IPV4: u32 = 1 << 17;
const PLAIN_IPV6: u32 = 1 << 20;
const TCP_IPV6: u32 = 1 << 21;
const UDP_IPV4: u32 = 1 << 22;
const UDP_IPV6: u32 = 1 << 23;

/// Bytes of the longest input: two IPv6 addresses and two ports.
const INPUT: usize = 36;

/// A hash, and its type as the descriptor reports it (7.1.6.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) value: u32,
    pub(crate) kind: u8,
}

/// The registers, made ready: for each byte of the input, what each of its values adds to the hash.
#[derive(Debug)]
pub(crate) struct Scaling {
    enabled: bool,
    fields: u32,
    /// The key that `contributions` were made of.
    key: [u8; 40],
    /// 256 words for each byte of the input.
    contributions: Box<[u32]>,
    queues: [u8; 512],
    mask: usize,
}

impl Scaling {
    pub(crate) fn new() -> Self {
        let contributions = vec![0; INPUT * 256].into_boxed_slice();
        Self { enabled: false, fields: 0, key: [0; 40], contributions, queues: [0; 512], mask: 127 }
    }

    /// Takes key, table and mode over from the registers. `wide`: the X550's table of 512 entries of 6 bits.
    pub(crate) fn refresh(&mut self, table: &Table, wide: bool) {
        let mode = table.get(MRQC);
        self.enabled = mode & 0xf == 1;
        self.fields = mode;
        self.mask = if wide { 511 } else { 127 };
        let bits = if wide { 0x3f } else { 0xf };
        for (index, queue) in self.queues.iter_mut().enumerate() {
            let (array, word) =
                if index < 128 { (RETA, index / 4) } else { (ERETA, (index / 4).wrapping_sub(32)) };
            let entry = table.element(array, word) >> ((index % 4).wrapping_mul(8));
            *queue = entry as u8 & bits;
        }
        let mut key = [0u8; 40];
        for (index, bytes) in key.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *bytes = table.element(RSSRK, index).to_le_bytes();
        }
        // The key seldom changes, and it is what takes long.
        if key == self.key {
            return;
        }
        self.key = key;
        for (place, contributions) in self.contributions.as_chunks_mut::<256>().0.iter_mut().enumerate() {
            let window = key_window(&key, place);
            for (value, contribution) in contributions.iter_mut().enumerate() {
                *contribution = (0..8)
                    .filter(|bit| value >> (7 - bit) & 1 != 0)
                    .fold(0, |hash, bit| hash ^ (window >> (8 - bit)) as u32);
            }
        }
    }

    /// Whether packets are spread at all.
    #[inline]
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The hash of a frame; type 0 where nothing of it is hashed.
    #[inline]
    pub(crate) fn hash(&self, frame: &[u8], headers: &Headers) -> Hash {
        let is_tcp = headers.types & TCP != 0 && !headers.fragment;
        let is_udp = headers.types & UDP != 0 && !headers.fragment;
        let (kind, ports, addresses) = if headers.types & IPV4 != 0 {
            let addresses = (headers.network.saturating_add(12), 8);
            match self.fields {
                fields if is_tcp && fields & TCP_IPV4 != 0 => (1, true, addresses),
                fields if is_udp && fields & UDP_IPV4 != 0 => (7, true, addresses),
                fields if fields & PLAIN_IPV4 != 0 => (2, false, addresses),
                _ => return Hash::default(),
            }
        } else if headers.types & IPV6 != 0 {
            let addresses = (headers.network.saturating_add(8), 32);
            match self.fields {
                fields if is_tcp && fields & TCP_IPV6 != 0 => (3, true, addresses),
                fields if is_udp && fields & UDP_IPV6 != 0 => (8, true, addresses),
                fields if fields & PLAIN_IPV6 != 0 => (5, false, addresses),
                _ => return Hash::default(),
            }
        } else {
            return Hash::default();
        };
        let (start, length) = addresses;
        let slice =
            |from: usize, bytes: usize| frame.get(from..from.saturating_add(bytes)).unwrap_or_default();
        let ports = slice(headers.transport, if ports { 4 } else { 0 });
        let input = slice(start, length).iter().chain(ports);
        let value =
            input.zip(self.contributions.as_chunks::<256>().0).fold(0, |hash, (&byte, contributions)| {
                hash ^ contributions.get(usize::from(byte)).copied().unwrap_or(0)
            });
        Hash { value, kind }
    }

    /// The queue of a frame (RETA; 7.1.2.8.1): queue 0 where nothing was hashed.
    #[inline]
    pub(crate) fn queue(&self, hash: Hash) -> usize {
        if hash.kind == 0 {
            return 0;
        }
        self.queues.get(hash.value as usize & self.mask).copied().unwrap_or(0).into()
    }
}

/// The 40 bits of the key that byte `place` of the input meets: 32 for each of its 8 bits.
fn key_window(key: &[u8; 40], place: usize) -> u64 {
    (0..5).fold(0, |window, index| {
        let byte = key.get(place.saturating_add(index)).copied().unwrap_or(0);
        window << 8 | u64::from(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::headers::recognise;

    /// The key of Microsoft's "Verifying the RSS Hash Calculation".
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn scaling() -> Scaling {
        let mut table = Table::new();
        for (index, bytes) in KEY.as_chunks::<4>().0.iter().enumerate() {
            table.set(RSSRK + index as u32 * 4, u32::from_le_bytes(*bytes));
        }
        for word in 0..32 {
            table.set(RETA + word * 4, 0x0302_0100);
        }
        table.set(MRQC, 1 | TCP_IPV4 | PLAIN_IPV4 | PLAIN_IPV6 | TCP_IPV6 | UDP_IPV4 | UDP_IPV6);
        let mut scaling = Scaling::new();
        scaling.refresh(&table, false);
        scaling
    }

    fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, ports: (u16, u16)) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend(source);
        frame.extend(destination);
        frame.extend(ports.0.to_be_bytes());
        frame.extend(ports.1.to_be_bytes());
        frame.resize(60, 0);
        frame
    }

    fn hash(frame: &[u8]) -> Hash {
        scaling().hash(frame, &recognise(frame, 0x8100))
    }

    #[test]
    fn ipv4_hashes_are_those_of_the_verification_suite() {
        let suite = [
            ([66, 9, 149, 187], 2794, [161, 142, 100, 80], 1766, 0x323e_8fc2, 0x51cc_c178),
            ([199, 92, 111, 2], 14230, [65, 69, 140, 83], 4739, 0xd718_262a, 0xc626_b0ea),
            ([24, 19, 198, 95], 12898, [12, 22, 207, 184], 38024, 0xd2d0_a5de, 0x5c2b_394a),
            ([38, 27, 205, 30], 48228, [209, 142, 163, 6], 2217, 0x8298_9176, 0xafc7_327f),
            ([153, 39, 163, 191], 44251, [202, 188, 127, 2], 1303, 0x5d18_09c5, 0x10e8_28a2),
        ];
        for (source, source_port, destination, port, plain, tcp) in suite {
            let ports = (source_port, port);
            assert_eq!(hash(&ipv4(source, destination, 6, ports)), Hash { value: tcp, kind: 1 });
            assert_eq!(hash(&ipv4(source, destination, 17, ports)), Hash { value: tcp, kind: 7 });
            assert_eq!(hash(&ipv4(source, destination, 1, ports)), Hash { value: plain, kind: 2 });
        }
    }

    #[test]
    fn ipv6_hashes_are_those_of_the_verification_suite() {
        let suite = [
            ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc1_8cd5, 0x4020_7d3d),
            ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c_461c, 0xdde5_1bbf),
            (
                "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
                44251,
                "fe80::200:f8ff:fe21:67cf",
                38024,
                0x4b61_e985,
                0x02d1_feef,
            ),
        ];
        for (source, source_port, destination, port, plain, tcp) in suite {
            for (next, expected) in [
                (6u8, Hash { value: tcp, kind: 3 }),
                (17, Hash { value: tcp, kind: 8 }),
                (59, Hash { value: plain, kind: 5 }),
            ] {
                let mut frame = vec![0; 12];
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, next, 64]);
                frame.extend(source.parse::<std::net::Ipv6Addr>().unwrap().octets());
                frame.extend(destination.parse::<std::net::Ipv6Addr>().unwrap().octets());
                frame.extend((source_port as u16).to_be_bytes());
                frame.extend((port as u16).to_be_bytes());
                frame.resize(54 + 20, 0);
                assert_eq!(hash(&frame), expected);
            }
        }
    }

    #[test]
    fn the_table_turns_a_hash_into_a_queue() {
        let scaling = scaling();
        assert_eq!(scaling.queue(Hash { value: 0x51cc_c17a, kind: 1 }), 2);
        assert_eq!(scaling.queue(Hash { value: 0x51cc_c17a, kind: 0 }), 0);
    }

    #[test]
    fn fragments_are_hashed_without_ports() {
        let mut frame = ipv4([66, 9, 149, 187], [161, 142, 100, 80], 17, (2794, 1766));
        frame[20] = 0x20; // more fragments
        assert_eq!(hash(&frame), Hash { value: 0x323e_8fc2, kind: 2 });
    }
}
