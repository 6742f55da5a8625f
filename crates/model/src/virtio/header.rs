//! The header before each packet (virtio 1.2, section 5.1.6), as the device reads and writes it.

use super::features::Features;

/// Section 5.1.6: the header's length, and that with a hash.
const LENGTH: usize = 12;
const LENGTH_WITH_HASH: usize = 20;
/// Room for either.
pub(crate) const ROOM: usize = LENGTH_WITH_HASH;

/// `flags`: the checksum is to be filled in.
pub(crate) const NEEDS_CSUM: u8 = 1;
/// `flags`: the checksum is right.
pub(crate) const DATA_VALID: u8 = 2;
/// `gso_type`.
pub(crate) const GSO_NONE: u8 = 0;
pub(crate) const GSO_TCPV4: u8 = 1;
pub(crate) const GSO_TCPV6: u8 = 4;
pub(crate) const GSO_UDP_L4: u8 = 5;

/// How long the header is with what was negotiated.
pub(crate) fn length(negotiated: Features) -> usize {
    if negotiated.has(Features::HASH_REPORT) { LENGTH_WITH_HASH } else { LENGTH }
}

/// What a header says of its packet, but in how many buffers that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Bit 0: the checksum is to be filled in. Bit 1: it is right.
    pub flags: u8,
    /// 0: one packet; 1: TCP over IPv4, 4: over IPv6, 5: UDP, to be cut.
    pub gso_type: u8,
    /// Bytes of all headers.
    pub header_length: u16,
    /// The payload of each segment, in bytes.
    pub gso_size: u16,
    /// Where the sum starts.
    pub checksum_start: u16,
    /// Where its place is, from there.
    pub checksum_offset: u16,
    /// The hash, and what was hashed; 0: nothing.
    pub hash: u32,
    /// What was hashed (section 5.1.6.4.4).
    pub hash_report: u16,
}

impl Header {
    /// Reads what a driver wrote.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let half = |at: usize| {
            let pair = bytes.get(at..).and_then(<[u8]>::first_chunk::<2>);
            pair.map_or(0, |pair| u16::from_le_bytes(*pair))
        };
        let [flags, gso_type] = half(0).to_le_bytes();
        Self {
            flags,
            gso_type,
            header_length: half(2),
            gso_size: half(4),
            checksum_start: half(6),
            checksum_offset: half(8),
            hash: 0,
            hash_report: 0,
        }
    }

    /// Whether it asks for anything.
    pub(crate) fn asks(&self) -> bool {
        self.flags != 0 || self.gso_type != GSO_NONE
    }

    /// Writes it before a packet that lies in so many buffers.
    #[inline]
    pub(crate) fn write(&self, packet: &mut [u8], length: usize, buffers: u16) {
        let mut bytes = [0u8; ROOM];
        let halves = [self.header_length, self.gso_size, self.checksum_start, self.checksum_offset, buffers];
        let hash = [self.hash as u16, (self.hash >> 16) as u16, self.hash_report];
        let (kind, rest) = bytes.split_at_mut(2);
        kind.copy_from_slice(&[self.flags, self.gso_type]);
        for (place, value) in rest.as_chunks_mut::<2>().0.iter_mut().zip(halves.iter().chain(&hash)) {
            *place = value.to_le_bytes();
        }
        packet.iter_mut().zip(bytes).take(length).for_each(|(to, from)| *to = from);
    }
}
