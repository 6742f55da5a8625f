//! The packets of a source: UDP over IPv4, a mark, a flow, a number, a check over both, and a pattern.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 14 | Ethernet header |
//! | 14 | 20 | IPv4 header (RFC 791), without options |
//! | 34 | 8 | UDP header (RFC 768), without checksum |
//! | 42 | 4 | the mark |
//! | 46 | 2 | flow |
//! | 48 | 8 | number in its flow, from 0 |
//! | 56 | 4 | check |
//! | 60 | rest | each byte is its distance from here, modulo 256 |

use super::TrafficOptions;

/// The shortest frame: everything but a pattern. With FCS it is the 64 bytes that Ethernet asks for.
pub const MINIMUM_FRAME: usize = 60;

const ETHERNET: usize = 14;
const MARK: [u8; 4] = *b"RGWY";
const MARK_AT: usize = 42;
const FLOW_AT: usize = 46;
const SOURCE_PORT_AT: usize = 34;
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 50_000;
/// Discard (RFC 863), should such a packet ever get out.
const DESTINATION_PORT: u16 = 9;

static PATTERN: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut index = 0;
    while index < 256 {
        bytes[index] = index as u8;
        index += 1;
    }
    bytes
};

/// A frame with flow 0 and number 0.
pub(super) fn template(options: &TrafficOptions) -> Vec<u8> {
    let length = options.frame_length.clamp(MINIMUM_FRAME, super::LONGEST);
    let total = (length - ETHERNET).min(usize::from(u16::MAX)) as u16;
    let mut frame = Vec::with_capacity(length);
    frame.extend(options.destination);
    frame.extend(options.source);
    frame.extend([0x08, 0x00]);
    let [high, low] = total.to_be_bytes();
    let mut ip = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 19, 0, 1];
    let [high, low] = internet_checksum(&ip).to_be_bytes();
    [ip[10], ip[11]] = [high, low];
    frame.extend(ip);
    frame.extend(FIRST_PORT.to_be_bytes());
    frame.extend(DESTINATION_PORT.to_be_bytes());
    frame.extend(total.saturating_sub(20).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(MARK);
    frame.resize(MINIMUM_FRAME, 0);
    frame.extend((MINIMUM_FRAME..length).map(|at| (at - MINIMUM_FRAME) as u8));
    frame
}

/// Writes flow, number and check into a copy of the template.
#[inline]
pub(super) fn number(frame: &mut [u8], flow: u16, number: u64) {
    if let Some(port) = frame.get_mut(SOURCE_PORT_AT..).and_then(|bytes| bytes.first_chunk_mut::<2>()) {
        *port = FIRST_PORT.wrapping_add(flow % PORTS).to_be_bytes();
    }
    if let Some(bytes) = frame.get_mut(FLOW_AT..).and_then(|bytes| bytes.first_chunk_mut::<14>()) {
        let (f, n, c) = (flow.to_le_bytes(), number.to_le_bytes(), check(flow, number).to_le_bytes());
        *bytes = [f[0], f[1], n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], c[0], c[1], c[2], c[3]];
    }
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A source's, as it was made.
    Numbered {
        /// Its flow.
        flow: u16,
        /// Its number in the flow.
        number: u64,
    },
    /// A source's, damaged.
    Damaged,
    /// Somebody else's.
    Foreign,
}

/// Reads a frame. Ethernet addresses may have been changed on the way; nothing else may.
#[inline]
pub(super) fn read(frame: &[u8]) -> Kind {
    let Some((head, pattern)) = frame.split_first_chunk::<MINIMUM_FRAME>() else { return Kind::Foreign };
    let Some((_, own)) = head.split_first_chunk::<MARK_AT>() else { return Kind::Foreign };
    let Some(&[m0, m1, m2, m3, f0, f1, n0, n1, n2, n3, n4, n5, n6, n7, c0, c1, c2, c3]) =
        own.first_chunk::<18>()
    else {
        return Kind::Foreign;
    };
    if [m0, m1, m2, m3] != MARK {
        return Kind::Foreign;
    }
    let flow = u16::from_le_bytes([f0, f1]);
    let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let whole = u32::from_le_bytes([c0, c1, c2, c3]) == check(flow, number)
        && headers_are_right(head, flow, frame.len())
        && pattern.chunks(256).all(|chunk| PATTERN.get(..chunk.len()) == Some(chunk));
    if whole { Kind::Numbered { flow, number } } else { Kind::Damaged }
}

#[inline]
fn headers_are_right(head: &[u8; MINIMUM_FRAME], flow: u16, length: usize) -> bool {
    let total = ((length - ETHERNET).min(usize::from(u16::MAX)) as u16).to_be_bytes();
    let udp = (u16::from_be_bytes(total).saturating_sub(20)).to_be_bytes();
    let port = FIRST_PORT.wrapping_add(flow % PORTS).to_be_bytes();
    let Some((_, behind)) = head.split_first_chunk::<12>() else { return false };
    let Some(&[t0, t1, version, _, l0, l1, _, _, _, _, _, protocol]) = behind.first_chunk::<12>() else {
        return false;
    };
    let Some((_, behind)) = head.split_first_chunk::<SOURCE_PORT_AT>() else { return false };
    let Some(&[p0, p1, _, _, u0, u1]) = behind.first_chunk::<6>() else { return false };
    [t0, t1, version, protocol] == [0x08, 0x00, 0x45, 17]
        && [l0, l1] == total
        && [u0, u1] == udp
        && [p0, p1] == port
}

/// Any mixing function serves.
#[inline]
fn check(flow: u16, number: u64) -> u32 {
    let mixed = (number ^ u64::from(flow) << 48 ^ 0x5269_6e67).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0u32, |sum, pair| {
        sum + (u32::from(*pair.first().unwrap_or(&0)) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = template(&TrafficOptions { frame_length: length, ..TrafficOptions::default() });
        number(&mut frame, 7, 0x0102_0304_0506_0708);
        frame
    }

    #[test]
    fn a_frame_is_read_as_it_was_made() {
        for length in [60, 61, 315, 316, 317, 1514, 9000] {
            let frame = frame(length);
            assert_eq!(frame.len(), length);
            assert_eq!(read(&frame), Kind::Numbered { flow: 7, number: 0x0102_0304_0506_0708 });
        }
    }

    #[test]
    fn the_ip_header_has_a_right_checksum() {
        assert_eq!(internet_checksum(frame(60).get(14..34).unwrap()), 0);
    }

    #[test]
    fn each_damaged_byte_behind_the_addresses_is_seen() {
        // Not looked at: type of service, identification, fragment, time to live, checksum, IP addresses (15,
        // 18 to 22, 24 to 33), destination port and UDP checksum (36, 37, 40, 41).
        let checked = (12..15).chain(16..18).chain([23]).chain(34..36).chain(38..40).chain(46..400);
        for at in checked {
            let mut frame = frame(400);
            frame[at] ^= 0x10;
            assert_eq!(read(&frame), Kind::Damaged, "byte {at}");
        }
        let mut short = frame(400);
        short.pop();
        assert_eq!(read(&short), Kind::Damaged);
    }

    #[test]
    fn what_has_no_mark_is_somebody_elses() {
        assert_eq!(read(&[0; 60]), Kind::Foreign);
        assert_eq!(read(&[0; 59]), Kind::Foreign);
        assert_eq!(read(&[]), Kind::Foreign);
    }
}
