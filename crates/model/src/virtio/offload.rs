//! What the device does to packets: fills in checksums, cuts what is too long (virtio 1.2, section 5.1.6.2), and looks at
//! the checksums of what arrives (section 5.1.6.4.1).
//!
//! A driver's request is checked against the packet: what doesn't fit is refused and noted.

use super::features::Features;
use super::header::{GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, Header, NEEDS_CSUM};
use super::violation::Rule;
use crate::ixgbe::checksum::{Verdict, check_transport, pseudo_header, sum};
use crate::ixgbe::headers::{Headers, IPV4, IPV6, TCP, UDP, recognise, word};

/// The tag that is looked through.
const VLAN: u16 = 0x8100;
/// TCP flags that the last segment alone has (FIN, PSH), and those that the first alone has (CWR).
const LAST_ONLY: u8 = 0x09;
const FIRST_ONLY: u8 = 0x80;

/// Why a request was refused.
pub(crate) type Refused = (Rule, String);

fn refused<T>(header: &Header, why: &str) -> Result<T, Refused> {
    Err((Rule::TransmitHeader, format!("{why}: {header:?}")))
}

/// Carries out what a header asks for. `emit` gets the frames that go out, `false` with it if the header's checksum was
/// not that of a pseudo-header.
pub(crate) fn carry_out(
    header: &Header,
    frame: &[u8],
    negotiated: Features,
    mut emit: impl FnMut(Vec<u8>),
) -> Result<(), Refused> {
    if header.flags & !NEEDS_CSUM != 0 {
        return refused(header, "flags that a driver doesn't set");
    }
    if header.flags == 0 {
        if header.gso_type != GSO_NONE {
            return refused(header, "segmentation without a checksum");
        }
        emit(frame.to_vec());
        return Ok(());
    }
    if !negotiated.has(Features::CSUM) {
        return refused(header, "checksums were not negotiated");
    }
    // Filled in over the whole, also of what is cut: that shows whether the pseudo-header's sum was there.
    let start = usize::from(header.checksum_start);
    let field = start.saturating_add(header.checksum_offset.into());
    let mut whole = frame.to_vec();
    let value = !sum(frame.get(start..).unwrap_or_default(), 0);
    let value = if value == 0 { u16::MAX } else { value };
    let Some(place) = whole.get_mut(field..).and_then(<[u8]>::first_chunk_mut::<2>) else {
        return refused(header, "a checksum outside of the packet");
    };
    *place = value.to_be_bytes();
    let headers = recognise(&whole, VLAN);
    if headers.transport == start && check_transport(&whole, &headers) == Verdict::Bad {
        return refused(header, "the field doesn't hold the pseudo-header's sum");
    }
    if header.gso_type == GSO_NONE {
        emit(whole);
        return Ok(());
    }
    segment(header, &whole, &headers, negotiated, emit)
}

fn segment(
    header: &Header,
    frame: &[u8],
    headers: &Headers,
    negotiated: Features,
    mut emit: impl FnMut(Vec<u8>),
) -> Result<(), Refused> {
    let (feature, types) = match header.gso_type {
        GSO_TCPV4 => (Features::HOST_TSO4, IPV4 | TCP),
        GSO_TCPV6 => (Features::HOST_TSO6, IPV6 | TCP),
        GSO_UDP_L4 if headers.types & IPV4 != 0 => (Features::HOST_USO, IPV4 | UDP),
        GSO_UDP_L4 => (Features::HOST_USO, IPV6 | UDP),
        _ => return refused(header, "a kind of segmentation that there isn't"),
    };
    if !negotiated.has(feature) {
        return refused(header, "this segmentation was not negotiated");
    }
    let is_tcp = types & TCP != 0;
    let length = if is_tcp {
        frame.get(headers.transport.saturating_add(12)).map_or(0, |byte| usize::from(byte >> 4) * 4)
    } else {
        8
    };
    let payload = headers.transport.saturating_add(length);
    let expected = (usize::from(header.checksum_start), usize::from(header.checksum_offset));
    let found = (headers.transport, if is_tcp { 16 } else { 6 });
    if headers.types & types != types || expected != found || usize::from(header.header_length) < payload {
        return refused(header, "it doesn't fit the packet's headers");
    }
    let (Some(prefix), Some(data)) = (frame.get(..payload), frame.get(payload..headers.end)) else {
        return refused(header, "it doesn't fit the packet");
    };
    if header.gso_size == 0 || data.len() <= header.gso_size.into() {
        return refused(header, "nothing to cut");
    }
    let count = data.len().div_ceil(header.gso_size.into());
    for (index, part) in data.chunks(header.gso_size.into()).enumerate() {
        let mut out = prefix.to_vec();
        out.extend_from_slice(part);
        adapt(&mut out, headers, index, index.saturating_add(1) == count, usize::from(header.gso_size));
        emit(out);
    }
    Ok(())
}

/// Makes a segment of copied headers: lengths, the IPv4 id, the sequence number, TCP's flags, checksums.
fn adapt(frame: &mut [u8], headers: &Headers, index: usize, last: bool, size: usize) {
    let (network, transport) = (headers.network, headers.transport);
    let (behind, segment) = (frame.len().saturating_sub(network), frame.len().saturating_sub(transport));
    if headers.types & IPV4 != 0 {
        let id = word(frame, network.saturating_add(4)).unwrap_or(0);
        put(frame, network.saturating_add(2), behind as u16);
        put(frame, network.saturating_add(4), id.wrapping_add(index as u16));
        put(frame, network.saturating_add(10), 0);
        let value = !sum(frame.get(network..transport).unwrap_or_default(), 0);
        put(frame, network.saturating_add(10), value);
    } else {
        put(frame, network.saturating_add(4), behind.saturating_sub(40) as u16);
    }
    let (protocol, field) = if headers.types & TCP != 0 { (6, 16) } else { (17, 6) };
    if protocol == 6 {
        let place = frame.get_mut(transport.saturating_add(4)..).and_then(<[u8]>::first_chunk_mut::<4>);
        if let Some(place) = place {
            let number = u32::from_be_bytes(*place).wrapping_add(index.saturating_mul(size) as u32);
            *place = number.to_be_bytes();
        }
        if let Some(flags) = frame.get_mut(transport.saturating_add(13)) {
            *flags &=
                if last { u8::MAX } else { !LAST_ONLY } & if index == 0 { u8::MAX } else { !FIRST_ONLY };
        }
    } else {
        put(frame, transport.saturating_add(4), segment as u16);
    }
    put(frame, transport.saturating_add(field), 0);
    let start = pseudo_header(frame, headers, protocol, segment).unwrap_or(0);
    let value = !sum(frame.get(transport..).unwrap_or_default(), start);
    put(frame, transport.saturating_add(field), if value == 0 { u16::MAX } else { value });
}

/// Whether the transport checksum of a frame that arrives was checked and is right.
pub(crate) fn is_valid(frame: &[u8]) -> bool {
    check_transport(frame, &recognise(frame, VLAN)) == Verdict::Good
}

fn put(frame: &mut [u8], at: usize, value: u16) {
    if let Some(place) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *place = value.to_be_bytes();
    }
}
