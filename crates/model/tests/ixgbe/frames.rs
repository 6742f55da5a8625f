//! Frames for the tests, and checksums computed the plain way.

/// An Ethernet header.
pub fn ethernet(destination: [u8; 6], ethertype: u16) -> Vec<u8> {
    let mut frame = destination.to_vec();
    frame.extend([2, 0, 0, 0, 0, 0x99]);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// The ones' complement sum, byte pair by byte pair.
pub fn plain_sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// An IPv4 or IPv6 packet with a TCP or UDP segment, all checksums right.
pub struct Flow {
    pub v6: bool,
    pub tcp: bool,
    pub source: u32,
    pub ports: (u16, u16),
}

impl Flow {
    pub fn network_length(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    pub fn transport_length(&self) -> usize {
        if self.tcp { 20 } else { 8 }
    }

    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = ethernet([2, 0, 0, 0x82, 0x59, 0x90], if self.v6 { 0x86dd } else { 0x0800 });
        let protocol = if self.tcp { 6 } else { 17 };
        let segment = (self.transport_length() + payload.len()) as u16;
        if self.v6 {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(segment.to_be_bytes());
            frame.extend([protocol, 64]);
            let mut address = [0xfd; 16];
            address[12..].copy_from_slice(&self.source.to_be_bytes());
            frame.extend(address);
            frame.extend([0xfe; 16]);
        } else {
            frame.extend([0x45, 0]);
            frame.extend((20 + segment).to_be_bytes());
            frame.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
            frame.extend(self.source.to_be_bytes());
            frame.extend([10, 9, 8, 7]);
            let sum = !plain_sum(&frame[14..34], 0);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        let transport = frame.len();
        frame.extend(self.ports.0.to_be_bytes());
        frame.extend(self.ports.1.to_be_bytes());
        if self.tcp {
            frame.extend(1000u32.to_be_bytes());
            frame.extend([0, 0, 0, 1, 0x50, 0x18, 0x20, 0, 0, 0, 0, 0]);
        } else {
            frame.extend(segment.to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.extend(payload);
        let sum = !plain_sum(&frame[transport..], u32::from(pseudo_sum(&frame, segment)));
        let field = transport + if self.tcp { 16 } else { 6 };
        frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}

/// The pseudo-header's sum of an untagged frame whose segment has `length` bytes (0: without the length).
pub fn pseudo_sum(frame: &[u8], length: u16) -> u16 {
    let v6 = frame[12] == 0x86;
    let (addresses, protocol) = if v6 { (&frame[22..54], frame[20]) } else { (&frame[26..34], frame[23]) };
    plain_sum(addresses, u32::from(protocol) + u32::from(length))
}

/// Whether the checksums of an untagged frame are right.
pub fn is_right(frame: &[u8]) -> bool {
    let v6 = frame[12] == 0x86;
    let (transport, end) = if v6 {
        (54, 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]])))
    } else {
        (34, 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]])))
    };
    let network = v6 || plain_sum(&frame[14..34], 0) == 0xffff;
    let segment = &frame[transport..end];
    let sum = plain_sum(segment, u32::from(pseudo_sum(frame, segment.len() as u16)));
    network && sum == 0xffff
}

/// 64 bytes on the wire, numbered.
pub fn numbered(number: u32) -> Vec<u8> {
    let mut frame = ethernet([2, 0, 0, 0x82, 0x59, 0x90], 0x88b5);
    frame.extend(number.to_be_bytes());
    frame.resize(60, number as u8);
    frame
}
