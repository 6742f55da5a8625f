//! What the receive unit sees in a frame: its headers, by type and place (datasheet, section 7.1.6.1 and 7.1.10).
//!
//! Every offset handed out lies in the frame; a header that is cut short ends the recognition before it.

/// Types as a descriptor's packet type reports them (7.1.6.2.2, table 7-20).
pub(crate) const IPV4: u16 = 1;
pub(crate) const IPV4_OPTIONS: u16 = 1 << 1;
pub(crate) const IPV6: u16 = 1 << 2;
pub(crate) const IPV6_EXTENSIONS: u16 = 1 << 3;
pub(crate) const TCP: u16 = 1 << 4;
pub(crate) const UDP: u16 = 1 << 5;
pub(crate) const SCTP: u16 = 1 << 6;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A recognised frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// The types found, bits as in the descriptor.
    pub(crate) types: u16,
    /// The VLAN tag's control word, if the frame has one.
    pub(crate) vlan: Option<u16>,
    /// The EtherType after any tag.
    pub(crate) ethertype: u16,
    /// Where the network header starts.
    pub(crate) network: usize,
    /// Where the transport header starts, and the end of the network packet; 0 without one.
    pub(crate) transport: usize,
    pub(crate) end: usize,
    /// An IP fragment: it has no transport header of its own, unless it is the first.
    pub(crate) fragment: bool,
    /// The first fragment, or none at all: the transport header is there.
    pub(crate) first: bool,
}

/// Recognises a frame. `tag` is the EtherType of VLAN tags (VLNCTRL.VET).
#[inline]
pub(crate) fn recognise(frame: &[u8], tag: u16) -> Headers {
    let mut headers = Headers::default();
    let Some(mut ethertype) = word(frame, 12) else { return headers };
    headers.network = 14;
    if ethertype == tag
        && let (Some(control), Some(inner)) = (word(frame, 14), word(frame, 16))
    {
        headers.vlan = Some(control);
        headers.network = 18;
        ethertype = inner;
    }
    headers.ethertype = ethertype;
    match ethertype {
        ETHERTYPE_IPV4 => ipv4(frame, &mut headers),
        ETHERTYPE_IPV6 => ipv6(frame, &mut headers),
        _ => {}
    }
    headers
}

#[inline]
fn ipv4(frame: &[u8], headers: &mut Headers) {
    let at = headers.network;
    let Some(header) = frame.get(at..at.saturating_add(20)) else { return };
    let &[first, _, length_high, length_low, _, _, flags, offset, _, protocol, ..] = header else { return };
    let length = usize::from(first & 0xf).wrapping_mul(4);
    let total = usize::from(u16::from_be_bytes([length_high, length_low]));
    let end = at.saturating_add(total);
    let transport = at.saturating_add(length);
    if first >> 4 != 4 || length < 20 || total < length || end > frame.len() {
        return;
    }
    headers.types = if length > 20 { IPV4 | IPV4_OPTIONS } else { IPV4 };
    let position = u16::from_be_bytes([flags, offset]);
    headers.fragment = position & 0x3fff != 0;
    headers.first = position & 0x1fff == 0;
    headers.end = end;
    headers.transport = transport;
    if headers.first {
        l4(frame, headers, protocol);
    }
}

#[inline]
fn ipv6(frame: &[u8], headers: &mut Headers) {
    let at = headers.network;
    let Some(&[first, _, _, _, high, low, next, ..]) = frame.get(at..at.saturating_add(40)) else { return };
    let end = at.saturating_add(40).saturating_add(usize::from(u16::from_be_bytes([high, low])));
    if first >> 4 != 6 || end > frame.len() {
        return;
    }
    headers.types = IPV6;
    headers.end = end;
    headers.first = true;
    let mut next = next;
    let mut place = at.saturating_add(40);
    // Hop-by-hop, routing, fragment, destination options: each names the next one and says how long it is.
    while matches!(next, 0 | 43 | 44 | 60) {
        let Some(&[following, length, high, low]) = frame.get(place..place.saturating_add(4)) else { return };
        headers.types |= IPV6_EXTENSIONS;
        let bytes = if next == 44 { 8 } else { usize::from(length).saturating_add(1).saturating_mul(8) };
        if next == 44 {
            let position = u16::from_be_bytes([high, low]);
            headers.fragment |= position & 0xfff9 != 0;
            headers.first &= position & 0xfff8 == 0;
        }
        place = place.saturating_add(bytes);
        if place > end {
            return;
        }
        next = following;
    }
    headers.transport = place;
    if headers.first {
        l4(frame, headers, next);
    }
}

#[inline]
fn l4(frame: &[u8], headers: &mut Headers, protocol: u8) {
    let (kind, shortest) = match protocol {
        6 => (TCP, 20),
        17 => (UDP, 8),
        132 => (SCTP, 12),
        _ => return,
    };
    // A fragment's segment is not whole, but its ports are there.
    let enough = headers.end.min(frame.len()) >= headers.transport.saturating_add(shortest);
    if enough {
        headers.types |= kind;
    }
}

/// Two bytes in network order.
#[inline]
pub(crate) fn word(frame: &[u8], at: usize) -> Option<u16> {
    match frame.get(at..at.checked_add(2)?) {
        Some(&[high, low]) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4_frame(options: usize, position: u16, protocol: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45 + (options / 4) as u8, 0]);
        frame.extend(((20 + options + payload) as u16).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(position.to_be_bytes());
        frame.extend([64, protocol]);
        frame.resize(14 + 20 + options + payload, 0);
        frame
    }

    #[test]
    fn types_are_those_of_the_headers_that_are_whole() {
        let types = |frame: &[u8]| recognise(frame, 0x8100).types;
        assert_eq!(types(&ipv4_frame(0, 0, 6, 20)), IPV4 | TCP);
        assert_eq!(types(&ipv4_frame(8, 0, 17, 8)), IPV4 | IPV4_OPTIONS | UDP);
        assert_eq!(types(&ipv4_frame(0, 0, 132, 12)), IPV4 | SCTP);
        assert_eq!(types(&ipv4_frame(0, 0, 6, 19)), IPV4);
        assert_eq!(types(&ipv4_frame(0, 0, 6, 20)[..40]), 0);
        assert_eq!(types(&ipv4_frame(0, 0x2000, 17, 8)), IPV4 | UDP);
        assert_eq!(types(&ipv4_frame(0, 0x00b9, 17, 8)), IPV4);
    }

    #[test]
    fn a_tag_is_looked_through() {
        let mut frame = ipv4_frame(0, 0, 17, 8);
        frame.splice(12..12, [0x81, 0x00, 0x60, 0x2a]);
        let headers = recognise(&frame, 0x8100);
        assert_eq!((headers.vlan, headers.network, headers.transport), (Some(0x602a), 18, 38));
        assert_eq!(recognise(&frame, 0x88a8).vlan, None);
    }

    #[test]
    fn no_length_of_extension_headers_leads_out_of_the_frame() {
        for length in 0..=255u8 {
            for next in [0, 6, 17, 43, 44, 60, 59] {
                let mut frame = vec![0; 12];
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 48, 0, 64]);
                frame.resize(54, 0);
                frame.extend([next, length, 0, 1]);
                frame.resize(54 + 48, 0x2c);
                let headers = recognise(&frame, 0x8100);
                assert!(headers.transport <= frame.len() && headers.end <= frame.len());
                assert_ne!(headers.types & IPV6_EXTENSIONS, 0);
            }
        }
    }

    #[test]
    fn any_cut_of_a_frame_is_recognised_without_fault() {
        let frame = ipv4_frame(40, 0, 6, 60);
        for length in 0..frame.len() {
            assert_eq!(recognise(&frame[..length], 0x8100).types, 0, "{length}");
        }
    }
}
