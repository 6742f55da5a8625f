//! What transmit offloads do to a packet: checksums, VLAN tags, segmentation (datasheet, sections 7.2.4 and 7.2.5).
//!
//! Lengths and places come from a driver: where they don't fit the packet, nothing is touched.

use super::checksum::{sctp, sum};
use super::context::{Context, L4};
use super::headers::word;

/// TCP flags.
const FLAGS: usize = 13;

/// Puts a 16-bit word in network order at `at`, if there is room.
fn put(frame: &mut [u8], at: usize, value: u16) {
    if let Some(place) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *place = value.to_be_bytes();
    }
}

/// The IPv4 header checksum (7.2.5.1): over the header as the context measures it.
pub(crate) fn ipv4_checksum(frame: &mut [u8], context: &Context) {
    let (start, end) = (context.mac_length, context.mac_length.saturating_add(context.ip_length));
    if !context.ipv4 || context.ip_length < 20 || end > frame.len() {
        return;
    }
    put(frame, start.saturating_add(10), 0);
    let value = !sum(frame.get(start..end).unwrap_or_default(), 0);
    put(frame, start.saturating_add(10), value);
}

/// The TCP, UDP or SCTP checksum (7.2.5.2 to 7.2.5.4). The driver has put the pseudo-header's sum into the field;
/// SCTP has none.
pub(crate) fn l4_checksum(frame: &mut [u8], context: &Context) {
    let start = context.mac_length.saturating_add(context.ip_length);
    let field = match context.l4 {
        L4::Tcp => 16,
        L4::Udp => 6,
        L4::Sctp => {
            if let Some(segment) = frame.get_mut(start..).filter(|segment| segment.len() >= 12) {
                let value = sctp(segment);
                if let Some(place) = segment.get_mut(8..).and_then(<[u8]>::first_chunk_mut::<4>) {
                    *place = value.to_le_bytes();
                }
            }
            return;
        }
        L4::Reserved => return,
    };
    if let Some(segment) = frame.get(start..) {
        let value = !sum(segment, 0);
        // RFC 768: a sum of zero is sent as all ones.
        let value = if context.l4 == L4::Udp && value == 0 { 0xffff } else { value };
        put(frame, start.saturating_add(field), value);
    }
}

/// A legacy descriptor's checksum (7.2.3.2.2): everything from `start`, stored at `field`.
pub(crate) fn legacy_checksum(frame: &mut [u8], start: usize, field: usize) {
    if let Some(bytes) = frame.get(start..) {
        let value = !sum(bytes, 0);
        put(frame, field, value);
    }
}

/// Inserts a tag after the addresses.
pub(crate) fn insert_tag(frame: &mut Vec<u8>, ethertype: u16, control: u16) {
    if frame.len() >= 12 {
        let ([a, b], [c, d]) = (ethertype.to_be_bytes(), control.to_be_bytes());
        frame.splice(12..12, [a, b, c, d]);
    }
}

/// TCP flags that the first, the middle and the last segment keep (8.2.3.9.3, 8.2.3.9.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptFlags {
    pub(crate) first: u16,
    pub(crate) middle: u16,
    pub(crate) last: u16,
}

/// Cuts a packet into segments (7.2.4.7): headers repeated, IP length and id, sequence number, flags and checksums
/// adapted. `emit` gets each. `false`: the context doesn't fit the packet, and nothing was emitted.
pub(crate) fn segment(
    packet: &[u8],
    context: &Context,
    kept: KeptFlags,
    out: &mut Vec<u8>,
    mut emit: impl FnMut(&mut Vec<u8>),
) -> bool {
    let network = context.mac_length;
    let transport = network.saturating_add(context.ip_length);
    let payload_at = transport.saturating_add(context.l4_length);
    let shortest = if context.l4 == L4::Tcp { 20 } else { 8 };
    let known = matches!(context.l4, L4::Tcp | L4::Udp);
    let network_shortest = if context.ipv4 { 20 } else { 40 };
    if !known
        || context.segment_size == 0
        || context.ip_length < network_shortest
        || context.l4_length < shortest
        || network < 14
    {
        return false;
    }
    let (Some(headers), Some(payload)) = (packet.get(..payload_at), packet.get(payload_at..)) else {
        return false;
    };
    let id = word(headers, network.saturating_add(4)).unwrap_or(0);
    let sequence = headers.get(transport.saturating_add(4)..).and_then(<[u8]>::first_chunk::<4>);
    let sequence = sequence.map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let flags = word(headers, transport.saturating_add(FLAGS).saturating_sub(1)).unwrap_or(0);
    let count = payload.len().div_ceil(context.segment_size).max(1);
    for index in 0..count {
        let start = index.saturating_mul(context.segment_size);
        let end = payload.len().min(start.saturating_add(context.segment_size));
        let part = payload.get(start..end).unwrap_or_default();
        out.clear();
        out.extend_from_slice(headers);
        out.extend_from_slice(part);
        let behind_network = context.ip_length.saturating_add(context.l4_length).saturating_add(part.len());
        if context.ipv4 {
            put(out, network.saturating_add(2), behind_network as u16);
            put(out, network.saturating_add(4), id.wrapping_add(index as u16));
            ipv4_checksum(out, context);
        } else {
            put(out, network.saturating_add(4), behind_network.saturating_sub(40) as u16);
        }
        let l4 = context.l4_length.saturating_add(part.len());
        if context.l4 == L4::Tcp {
            let number = sequence.wrapping_add(start as u32).to_be_bytes();
            if let Some(place) =
                out.get_mut(transport.saturating_add(4)..).and_then(<[u8]>::first_chunk_mut::<4>)
            {
                *place = number;
            }
            let keep = match index {
                _ if count == 1 => u16::MAX,
                0 => kept.first,
                _ if index.saturating_add(1) == count => kept.last,
                _ => kept.middle,
            };
            put(out, transport.saturating_add(FLAGS).saturating_sub(1), flags & (0xf000 | keep));
        } else {
            put(out, transport.saturating_add(4), l4 as u16);
        }
        // The driver's sum is that of the pseudo-header without a length (7.2.4.7.3): the length of each segment is
        // added.
        let field = transport.saturating_add(if context.l4 == L4::Tcp { 16 } else { 6 });
        let seed = word(headers, field).unwrap_or(0);
        let seed = sum(&(l4 as u16).to_be_bytes(), seed);
        put(out, field, seed);
        l4_checksum(out, context);
        emit(out);
    }
    true
}
