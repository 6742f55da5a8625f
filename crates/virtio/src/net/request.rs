//! What a packet asks for as it is sent, as the header says it to the device (virtio 1.2, section 5.1.6.2).
//!
//! What the device wasn't opened for, and what doesn't fit the packet, is refused: the packet is dropped and counted, never
//! sent otherwise than it was meant. Two things the driver does itself: an IPv4 header's checksum, which no virtio device
//! fills in, and, of packets that are to be segmented, the sum of the pseudo-header, so that it doesn't matter whether who
//! made the packet counted the length in.

use super::header::{self, Header};
use super::layers::{self, Sum};
use crate::Features;
use ringway_packet::{Frame, Offload, Protocol};

/// The longest packet, with its Ethernet header: IP's 64 KiB, and a tag.
const LONGEST: usize = 65_535 + 18;

/// The request can't be met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Impossible;

/// What the header of a packet says, and the longest that the packet may be, in bytes. Bytes that are written into the
/// packet are the same each time that this is asked.
pub(super) fn header(
    frame: &mut Frame<'_>,
    agreed: Features,
    longest: u32,
) -> Result<(Header, usize), Impossible> {
    // Tags are in the packet, or they aren't at all.
    if frame.vlan().is_some() {
        return Err(Impossible);
    }
    let longest = longest as usize;
    let Some(&request) = frame.offload() else { return Ok((Header::default(), longest)) };
    if request.network_checksum {
        fill_ipv4(frame, &request).ok_or(Impossible)?;
    }
    if request.segment > 0 {
        let header = segmentation(frame, &request, agreed, longest)?;
        return Ok((header, if header.gso_type == header::GSO_NONE { longest } else { LONGEST }));
    }
    if !request.transport_checksum {
        return Ok((Header::default(), longest));
    }
    let offset = layers::checksum_offset(request.protocol).ok_or(Impossible)?;
    let end = usize::from(request.transport).saturating_add(offset).saturating_add(2);
    if !agreed.contains(Features::CHECKSUM) || end > frame.len() {
        return Err(Impossible);
    }
    Ok((checksum(&request, offset), longest))
}

/// Section 5.1.6.2: where the sum starts, and where it goes.
fn checksum(request: &Offload, offset: usize) -> Header {
    Header {
        flags: header::NEEDS_CHECKSUM,
        checksum_start: request.transport,
        checksum_offset: offset as u16,
        ..Header::default()
    }
}

fn segmentation(
    frame: &mut Frame<'_>,
    request: &Offload,
    agreed: Features,
    longest: usize,
) -> Result<Header, Impossible> {
    let (feature, gso_type) = match request.protocol {
        Protocol::TcpIpv4 => (Features::HOST_TSO4, header::GSO_TCPV4),
        Protocol::TcpIpv6 => (Features::HOST_TSO6, header::GSO_TCPV6),
        Protocol::UdpIpv4 | Protocol::UdpIpv6 => (Features::HOST_USO, header::GSO_UDP_L4),
        Protocol::SctpIpv4 | Protocol::SctpIpv6 => return Err(Impossible),
    };
    // Segments are of the packet's own headers: what is asked for must be what is there.
    let found = layers::find(frame.data()).ok_or(Impossible)?;
    let (network, transport, payload) =
        (usize::from(request.network), usize::from(request.transport), usize::from(request.payload));
    let is_so = (found.network, found.transport, found.payload, found.protocol)
        == (network, transport, payload, request.protocol);
    let segment = payload.saturating_add(request.segment.into());
    if !agreed.contains(feature) || !is_so || segment > longest {
        return Err(Impossible);
    }
    let (offset, total) = (layers::checksum_offset(request.protocol).ok_or(Impossible)?, frame.total_len());
    if layers::end(frame.data(), &found) != Some(total) {
        return Err(Impossible);
    }
    let length = total.checked_sub(transport).ok_or(Impossible)?;
    let sum = layers::pseudo_header(frame.data(), network, request.protocol, length).ok_or(Impossible)?;
    layers::put(frame.data_mut(), transport.saturating_add(offset), sum).ok_or(Impossible)?;
    if layers::is_ipv4(request.protocol) {
        fill_ipv4(frame, request).ok_or(Impossible)?;
    }
    let header = checksum(request, offset);
    if total <= segment {
        // One segment is a packet like any other.
        return Ok(header);
    }
    Ok(Header { gso_type, header_length: request.payload, gso_size: request.segment, ..header })
}

/// The IPv4 header's checksum (RFC 791, section 3.1).
fn fill_ipv4(frame: &mut Frame<'_>, request: &Offload) -> Option<()> {
    let network = usize::from(request.network);
    let length = layers::ipv4_length(frame.data(), network)?;
    let header = frame.data_mut().get_mut(network..network.saturating_add(length))?;
    layers::put(header, 10, 0)?;
    let sum = !Sum::default().add(header).folded();
    layers::put(header, 10, sum)
}
