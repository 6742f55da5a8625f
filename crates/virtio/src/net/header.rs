//! The header before every packet (virtio 1.2, section 5.1.6).
//!
//! ```text
//!   0      1         2        4         6           8            10           12          16           18
//!  ┌──────┬─────────┬────────┬─────────┬───────────┬────────────┬────────────┬───────────┬────────────┬─────────┐
//!  │flags │gso_type │hdr_len │gso_size │csum_start │csum_offset │num_buffers │hash_value │hash_report │padding  │
//!  └──────┴─────────┴────────┴─────────┴───────────┴────────────┴────────────┴───────────┴────────────┴─────────┘
//! ```
//!
//! With virtio 1.x it has 12 bytes, and 20 where hashes were agreed on. As long as no offload is agreed on, all of it is
//! zero on the way out, and `num_buffers` is all that counts on the way in.

use crate::Features;

/// Its length in bytes, and that with a hash.
pub(super) const PLAIN: u32 = 12;
const WITH_HASH: u32 = 20;
/// The longest.
pub(super) const LONGEST: usize = WITH_HASH as usize;

/// `flags`: the checksum is to be filled in, from `csum_start` on, `csum_offset` bytes further.
pub(super) const NEEDS_CHECKSUM: u8 = 1;
/// `flags`: the checksum is right.
pub(super) const DATA_VALID: u8 = 2;

/// `gso_type`: one packet.
pub(super) const GSO_NONE: u8 = 0;
/// `gso_type`: segments of TCP over IPv4.
pub(super) const GSO_TCPV4: u8 = 1;
/// `gso_type`: segments of TCP over IPv6.
pub(super) const GSO_TCPV6: u8 = 4;
/// `gso_type`: UDP datagrams.
pub(super) const GSO_UDP_L4: u8 = 5;
/// `gso_type`: besides the type, the first segment alone has CWR.
pub(super) const GSO_ECN: u8 = 0x80;

/// How long it is with these features.
pub(super) fn length(features: Features) -> u32 {
    if features.contains(Features::HASH_REPORT) { WITH_HASH } else { PLAIN }
}

/// A header's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) flags: u8,
    pub(super) gso_type: u8,
    pub(super) header_length: u16,
    pub(super) gso_size: u16,
    pub(super) checksum_start: u16,
    pub(super) checksum_offset: u16,
    pub(super) hash: u32,
    pub(super) hash_report: u16,
}

impl Header {
    /// From its bytes; what is not there is zero.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut whole = [0u8; LONGEST];
        whole.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
        let [flags, gso_type, a, b, c, d, e, f, g, h, _, _, w, x, y, z, i, j, _, _] = whole;
        Self {
            flags,
            gso_type,
            header_length: u16::from_le_bytes([a, b]),
            gso_size: u16::from_le_bytes([c, d]),
            checksum_start: u16::from_le_bytes([e, f]),
            checksum_offset: u16::from_le_bytes([g, h]),
            hash: u32::from_le_bytes([w, x, y, z]),
            hash_report: u16::from_le_bytes([i, j]),
        }
    }

    /// Into the bytes before a packet that is sent.
    pub(super) fn write(self, bytes: &mut [u8]) {
        let [a, b] = self.header_length.to_le_bytes();
        let [c, d] = self.gso_size.to_le_bytes();
        let [e, f] = self.checksum_start.to_le_bytes();
        let [g, h] = self.checksum_offset.to_le_bytes();
        bytes.fill(0);
        if let Some(first) = bytes.first_chunk_mut::<{ PLAIN as usize }>() {
            *first = [self.flags, self.gso_type, a, b, c, d, e, f, g, h, 0, 0];
        }
    }
}

/// In how many buffers a received packet is.
#[inline(always)]
pub(super) fn num_buffers(header: &[u8]) -> u16 {
    match header {
        [_, _, _, _, _, _, _, _, _, _, low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}
