//! Packets with right checksums, and what is right of those that come back, reckoned the plain way.

use crate::support::OWN;
use ringway_packet::{Offload, Protocol};
use std::net::IpAddr;

/// A packet of a flow.
#[derive(Clone, Debug)]
pub struct Flow {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// 6, 17, 132, or one without ports.
    pub protocol: u8,
    pub ports: (u16, u16),
    /// A tag, in the frame.
    pub tag: Option<u16>,
}

pub const PROTOCOLS: [u8; 4] = [6, 17, 132, 89];

/// Flow `number` of IPv4 or IPv6.
pub fn flow(v6: bool, protocol: u8, number: u32) -> Flow {
    let [_, b, c, d] = number.to_be_bytes();
    let (source, destination): (IpAddr, IpAddr) = if v6 {
        ([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, b, c, d].into(), [0xfd; 16].into())
    } else {
        ([10, b, c, d].into(), [192, 168, 7, 9].into())
    };
    Flow { source, destination, protocol, ports: (1024 + (number % 50_000) as u16, 443), tag: None }
}

impl Flow {
    pub fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }

    pub fn network(&self) -> usize {
        if self.tag.is_some() { 18 } else { 14 }
    }

    pub fn transport(&self) -> usize {
        self.network() + if self.is_v6() { 40 } else { 20 }
    }

    /// Bytes of the transport header.
    pub fn header(&self) -> usize {
        match self.protocol {
            6 => 20,
            17 => 8,
            132 => 12,
            _ => 0,
        }
    }

    pub fn payload(&self) -> usize {
        self.transport() + self.header()
    }

    /// The whole frame, all sums right.
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = OWN.to_vec();
        frame.extend([2, 0, 0, 0, 0, 1]);
        if let Some(tag) = self.tag {
            frame.extend([0x81, 0]);
            frame.extend(tag.to_be_bytes());
        }
        let length = self.header() + payload.len();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0, 0x45, 0]);
                frame.extend((20 + length as u16).to_be_bytes());
                frame.extend([0x12, 0x34, 0x40, 0, 64, self.protocol, 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                let network = self.network();
                let check = !sum(&frame[network..], 0);
                frame[network + 10..network + 12].copy_from_slice(&check.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((length as u16).to_be_bytes());
                frame.extend([self.protocol, 64]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => panic!("both addresses are of one version"),
        }
        let transport = frame.len();
        if self.header() > 0 {
            frame.extend(self.ports.0.to_be_bytes());
            frame.extend(self.ports.1.to_be_bytes());
        }
        match self.protocol {
            6 => frame.extend([0, 0, 3, 0xe8, 0, 0, 0, 1, 0x50, 0x18, 0x20, 0, 0, 0, 0, 0]),
            17 => {
                frame.extend((length as u16).to_be_bytes());
                frame.extend([0, 0]);
            }
            132 => frame.extend([0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0]),
            _ => {}
        }
        frame.extend(payload);
        if let Some(field) = self.field() {
            let right = self.transport_sum(&frame[transport..]);
            frame[field..field + right.len()].copy_from_slice(&right);
        }
        frame
    }

    /// Where the transport checksum stands.
    pub fn field(&self) -> Option<usize> {
        match self.protocol {
            6 => Some(self.transport() + 16),
            17 => Some(self.transport() + 6),
            132 => Some(self.transport() + 8),
            _ => None,
        }
    }

    /// The checksum of a segment, its own field not counted.
    fn transport_sum(&self, segment: &[u8]) -> Vec<u8> {
        let mut segment = segment.to_vec();
        let field = self.field().unwrap() - self.transport();
        if self.protocol == 132 {
            segment[field..field + 4].fill(0);
            return crc32c(&segment).to_le_bytes().to_vec();
        }
        segment[field..field + 2].fill(0);
        let value = !sum(&segment, self.pseudo_sum(segment.len()).into());
        let value = if self.protocol == 17 && value == 0 { 0xffff } else { value };
        value.to_be_bytes().to_vec()
    }

    /// The pseudo-header's sum, of `length` bytes.
    pub fn pseudo_sum(&self, length: usize) -> u16 {
        let octets = |address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let addresses = [octets(self.source), octets(self.destination)].concat();
        sum(&addresses, u32::from(self.protocol) + (length & 0xffff) as u32 + (length >> 16) as u32)
    }

    /// The frame as a program hands it over for the device to fill in: no IPv4 sum, and the pseudo-header's where the
    /// transport's will be.
    pub fn unfinished(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.frame(payload);
        if !self.is_v6() {
            let network = self.network();
            frame[network + 10..network + 12].fill(0xee);
        }
        match (self.protocol, self.field()) {
            (132, Some(field)) => frame[field..field + 4].fill(0xee),
            (_, Some(field)) => {
                let pseudo = self.pseudo_sum(frame.len() - self.transport());
                frame[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
            }
            _ => {}
        }
        frame
    }

    /// What to ask of the device, with segments of `segment` bytes or none.
    pub fn offload(&self, segment: u16) -> Offload {
        Offload {
            network: self.network() as u16,
            transport: self.transport() as u16,
            payload: self.payload() as u16,
            segment,
            protocol: match (self.protocol, self.is_v6()) {
                (6, false) => Protocol::TcpIpv4,
                (6, true) => Protocol::TcpIpv6,
                (17, false) => Protocol::UdpIpv4,
                (17, true) => Protocol::UdpIpv6,
                (132, false) => Protocol::SctpIpv4,
                (132, true) => Protocol::SctpIpv6,
                _ => panic!("{} has no checksum that a device knows", self.protocol),
            },
            network_checksum: !self.is_v6(),
            transport_checksum: true,
        }
    }

    /// Whether all sums of a frame of this flow are right; what pads it doesn't count.
    pub fn is_right(&self, frame: &[u8]) -> bool {
        let (network, transport) = (self.network(), self.transport());
        let word = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
        let (end, header) = if self.is_v6() {
            (transport + word(network + 4), true)
        } else {
            (network + word(network + 2), sum(&frame[network..transport], 0) == 0xffff)
        };
        let segment = &frame[transport..end];
        header
            && self.field().is_none_or(|field| {
                let right = self.transport_sum(segment);
                frame[field..field + right.len()] == right
            })
    }
}

/// The ones' complement sum, byte pair by byte pair.
pub fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Bit by bit (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[test]
fn what_the_tests_send_is_right_and_what_is_spoilt_is_not() {
    for v6 in [false, true] {
        for protocol in PROTOCOLS {
            for tag in [None, Some(42)] {
                let flow = Flow { tag, ..flow(v6, protocol, 7) };
                let mut frame = flow.frame(&[1, 2, 3, 4, 5]);
                assert!(flow.is_right(&frame), "{flow:?}");
                assert_eq!(flow.field().is_some() || !v6, !flow.is_right(&flow.unfinished(&[1, 2, 3, 4, 5])));
                if flow.field().is_some() {
                    *frame.last_mut().unwrap() ^= 1;
                    assert!(!flow.is_right(&frame), "{flow:?}");
                }
            }
        }
    }
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
