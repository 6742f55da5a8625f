//! TCP and UDP packets for tests, and whether what comes out of a device is right: written for the tests alone.

use ringway_packet::{Offload, Protocol};

/// A kind of packet.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub tcp: bool,
    pub ipv6: bool,
    pub tagged: bool,
}

pub const KINDS: [Kind; 5] = [
    Kind { tcp: true, ipv6: false, tagged: false },
    Kind { tcp: true, ipv6: true, tagged: false },
    Kind { tcp: false, ipv6: false, tagged: false },
    Kind { tcp: false, ipv6: true, tagged: false },
    Kind { tcp: true, ipv6: false, tagged: true },
];

impl Kind {
    pub fn network(self) -> usize {
        if self.tagged { 18 } else { 14 }
    }

    pub fn transport(self) -> usize {
        self.network() + if self.ipv6 { 40 } else { 20 }
    }

    pub fn payload(self) -> usize {
        self.transport() + if self.tcp { 20 } else { 8 }
    }

    pub fn field(self) -> usize {
        if self.tcp { 16 } else { 6 }
    }

    pub fn protocol(self) -> Protocol {
        match (self.tcp, self.ipv6) {
            (true, false) => Protocol::TcpIpv4,
            (true, true) => Protocol::TcpIpv6,
            (false, false) => Protocol::UdpIpv4,
            (false, true) => Protocol::UdpIpv6,
        }
    }

    /// A request for the transport checksum, and for segments if there are to be some.
    pub fn request(self, segment: u16) -> Offload {
        Offload {
            network: self.network() as u16,
            transport: self.transport() as u16,
            payload: self.payload() as u16,
            segment,
            protocol: self.protocol(),
            network_checksum: segment > 0 && !self.ipv6,
            transport_checksum: true,
        }
    }

    /// A packet with so many bytes of payload, its checksums right, from `port`.
    pub fn packet(self, port: u16, length: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];
        if self.tagged {
            frame.extend([0x81, 0, 0, 7]);
        }
        let behind = self.payload() - self.transport() + length;
        let number = if self.tcp { 6 } else { 17 };
        if self.ipv6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((behind as u16).to_be_bytes());
            frame.extend([number, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        } else {
            frame.extend([0x08, 0, 0x45, 0]);
            frame.extend(((20 + behind) as u16).to_be_bytes());
            frame.extend([0x12, 0x34, 0x40, 0, 64, number, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend(port.to_be_bytes());
        frame.extend(5201u16.to_be_bytes());
        if self.tcp {
            frame.extend([0, 0, 0x10, 0, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        } else {
            frame.extend((behind as u16).to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.extend((0..length).map(|index| (index * 31 + usize::from(port)) as u8));
        let network = self.network();
        if !self.ipv6 {
            let sum = !sum(&frame[network..network + 20]);
            frame[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
        }
        let sum = match !sum(&self.summed(&frame)) {
            0 => 0xffff,
            sum => sum,
        };
        self.set_field(&mut frame, sum);
        frame
    }

    /// The same with the pseudo-header's sum alone where the checksum belongs.
    pub fn partial(self, port: u16, length: usize) -> Vec<u8> {
        let mut frame = self.packet(port, length);
        self.set_field(&mut frame, 0);
        let summed = self.summed(&frame);
        let pseudo = summed.len() - (frame.len() - self.transport());
        self.set_field(&mut frame, sum(&summed[..pseudo]));
        frame
    }

    pub fn set_field(self, frame: &mut [u8], value: u16) {
        let at = self.transport() + self.field();
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// The pseudo-header and what follows the network header.
    fn summed(self, frame: &[u8]) -> Vec<u8> {
        let network = self.network();
        let addresses = if self.ipv6 { network + 8..network + 40 } else { network + 12..network + 20 };
        let segment = &frame[self.transport()..];
        let mut bytes = frame[addresses].to_vec();
        bytes.extend((segment.len() as u32).to_be_bytes());
        bytes.extend([0, 0, 0, if self.tcp { 6 } else { 17 }]);
        bytes.extend(segment);
        bytes
    }

    /// Whether all checksums and lengths of a packet are right.
    pub fn is_right(self, frame: &[u8]) -> bool {
        let network = self.network();
        let behind = frame.len() - self.transport();
        let half = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
        let header = if self.ipv6 {
            half(network + 4) == behind
        } else {
            half(network + 2) == 20 + behind && sum(&frame[network..network + 20]) == 0xffff
        };
        header && sum(&self.summed(frame)) == 0xffff
    }

    /// What segments come to, each looked at: the payload of all.
    pub fn joined(self, frames: &[Vec<u8>], segment: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            assert!(self.is_right(frame), "{self:?}: segment {index} of {}", frames.len());
            assert!(frame.len() <= self.payload() + segment);
            if self.tcp {
                let at = self.transport() + 4;
                let sequence = u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
                assert_eq!(sequence as usize, 0x1000 + payload.len());
                let pushed = frame[self.transport() + 13] & 8 != 0;
                assert_eq!(pushed, index + 1 == frames.len(), "PSH is the last one's");
            }
            payload.extend(&frame[self.payload()..]);
        }
        payload
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
