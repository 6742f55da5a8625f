//! Internet checksums (RFC 1071) and the two CRCs that the device computes: of a frame (IEEE 802.3) and of SCTP
//! (RFC 9260, appendix A).

use super::headers::{Headers, IPV4, IPV6, SCTP, TCP, UDP};

/// The ones' complement sum of `bytes` in network order, folded to 16 bits, on top of `start`.
#[inline]
pub(crate) fn sum(bytes: &[u8], start: u16) -> u16 {
    // The sum of 64-bit words is congruent to that of 16-bit words modulo 0xffff; the byte order cancels out.
    let mut total = u128::from(start.to_be());
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        total = total.wrapping_add(u128::from(u64::from_ne_bytes(*word)));
    }
    let mut last = [0u8; 8];
    for (to, &from) in last.iter_mut().zip(rest) {
        *to = from;
    }
    total = total.wrapping_add(u128::from(u64::from_ne_bytes(last)));
    while total > 0xffff {
        total = (total & 0xffff).wrapping_add(total >> 16);
    }
    (total as u16).to_be()
}

/// The pseudo-header's sum (RFC 9293, section 3.1; RFC 8200, section 8.1), for `length` bytes of `protocol`.
pub(crate) fn pseudo_header(frame: &[u8], headers: &Headers, protocol: u8, length: usize) -> Option<u16> {
    let (from, bytes) = if headers.types & IPV4 != 0 { (12, 8) } else { (8, 32) };
    let start = headers.network.checked_add(from)?;
    let addresses = frame.get(start..start.checked_add(bytes)?)?;
    let length = length as u32;
    let words = [0, protocol, (length >> 24) as u8, (length >> 16) as u8, (length >> 8) as u8, length as u8];
    Some(sum(&words, sum(addresses, 0)))
}

/// How a checksum came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not looked at: none there, or none that the device can check.
    Unchecked,
    Good,
    Bad,
}

/// The IPv4 header's checksum (7.1.11).
#[inline]
pub(crate) fn check_ipv4(frame: &[u8], headers: &Headers) -> Verdict {
    if headers.types & IPV4 == 0 {
        return Verdict::Unchecked;
    }
    match frame.get(headers.network..headers.transport) {
        Some(header) if sum(header, 0) == 0xffff => Verdict::Good,
        _ => Verdict::Bad,
    }
}

/// The transport checksum (7.1.11): not of fragments, and a UDP checksum of zero means that there is none.
#[inline]
pub(crate) fn check_transport(frame: &[u8], headers: &Headers) -> Verdict {
    if headers.fragment || headers.types & (TCP | UDP | SCTP) == 0 || headers.types & (IPV4 | IPV6) == 0 {
        return Verdict::Unchecked;
    }
    let Some(segment) = frame.get(headers.transport..headers.end) else { return Verdict::Unchecked };
    if headers.types & SCTP != 0 {
        return check_sctp(segment);
    }
    let protocol = if headers.types & TCP != 0 { 6 } else { 17 };
    if protocol == 17 && segment.get(6..8) == Some(&[0, 0]) {
        return Verdict::Unchecked;
    }
    match pseudo_header(frame, headers, protocol, segment.len()) {
        Some(start) if sum(segment, start) == 0xffff => Verdict::Good,
        _ => Verdict::Bad,
    }
}

fn check_sctp(segment: &[u8]) -> Verdict {
    let (Some(before), Some(&stored), Some(after)) =
        (segment.get(..8), segment.get(8..).and_then(<[u8]>::first_chunk::<4>), segment.get(12..))
    else {
        return Verdict::Unchecked;
    };
    let crc = [before, &[0; 4], after].iter().fold(!0, |crc, part| crc32(&CASTAGNOLI, part, crc));
    if (!crc).to_le_bytes() == stored { Verdict::Good } else { Verdict::Bad }
}

/// SCTP's checksum, with the field itself taken as zero.
pub(crate) fn sctp(segment: &[u8]) -> u32 {
    let before = segment.get(..8).unwrap_or_default();
    let after = segment.get(12..).unwrap_or_default();
    !crc32(&CASTAGNOLI, after, crc32(&CASTAGNOLI, &[0; 4], crc32(&CASTAGNOLI, before, !0)))
}

/// The frame check sequence, as it stands on the wire, least significant byte first.
pub(crate) fn frame_check(frame: &[u8]) -> [u8; 4] {
    (!crc32(&ETHERNET, frame, !0)).to_le_bytes()
}

static ETHERNET: [u32; 256] = table(0xedb8_8320);
static CASTAGNOLI: [u32; 256] = table(0x82f6_3b78);

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 != 0 { value >> 1 ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

fn crc32(table: &[u32; 256], bytes: &[u8], start: u32) -> u32 {
    bytes.iter().fold(start, |crc, &byte| {
        let index = usize::from(crc as u8 ^ byte);
        table.get(index).copied().unwrap_or(0) ^ crc >> 8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_rfc_1071() {
        // RFC 1071, section 3: the example's sum is 2ddf0 before folding.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0), 0xddf2);
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 37 + 11) as u8).collect();
            let mut plain = 0x1234u32;
            for pair in bytes.chunks(2) {
                plain += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            }
            while plain > 0xffff {
                plain = (plain & 0xffff) + (plain >> 16);
            }
            assert_eq!(sum(&bytes, 0x1234), plain as u16, "{length} bytes");
        }
    }

    #[test]
    fn both_crcs_give_their_check_values() {
        assert_eq!(frame_check(b"123456789"), 0xcbf4_3926u32.to_le_bytes());
        assert_eq!(!crc32(&CASTAGNOLI, b"123456789", !0), 0xe306_9283);
    }
}
