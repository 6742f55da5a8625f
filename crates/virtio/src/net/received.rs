//! What a received packet's header says of it (virtio 1.2, section 5.1.6.4.1), as far as it was agreed on.
//!
//! A checksum that is still to be filled in becomes a request to whatever sends the packet on ([`Offload`]), and so does a
//! packet that is longer than a segment: a port that can do it gets the packet as it is, one that can't drops it and
//! counts. What a request has no words for is filled in here.
//!
//! All of it is the device's word. A header that doesn't fit its packet makes the packet none: it is dropped and counted.

use super::header::{self, Header};
use super::layers::{self, Layers, Sum};
use crate::Features;
use ringway_packet::{Batch, Checksum, Frame, MAXIMUM_BATCH, Offload};

/// What of headers was agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    features: Features,
    length: usize,
}

/// Packets that turned out to be none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refused {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// The header says what can't be.
#[derive(Clone, Copy, Debug)]
struct Wrong;

impl Meaning {
    /// `None`: nothing of a header counts.
    pub(super) fn of(features: Features) -> Option<Self> {
        let counts = features.intersects(Features::GUEST_CHECKSUM.and(Features::HASH_REPORT));
        counts.then_some(Self { features, length: header::length(features) as usize })
    }

    /// Notes what the headers say of the packets from `first` on, and drops those that they don't fit.
    #[inline(never)]
    pub(super) fn annotate(self, batch: &mut Batch, first: usize) -> Refused {
        let mut refused = Refused::default();
        let mut wrong = [false; MAXIMUM_BATCH];
        for (mut frame, wrong) in batch.frames().zip(&mut wrong).skip(first) {
            if self.note(&mut frame).is_err() {
                *wrong = true;
                refused.packets = refused.packets.wrapping_add(1);
                refused.bytes = refused.bytes.wrapping_add(frame.total_len() as u64);
            }
        }
        if refused.packets > 0 {
            let mut wrong = wrong.iter();
            batch.retain(|_| !wrong.next().copied().unwrap_or_default());
        }
        refused
    }

    fn note(self, frame: &mut Frame<'_>) -> Result<(), Wrong> {
        let Some(bytes) = frame.prefix(self.length) else { return Err(Wrong) };
        // Read once: what is checked below is what is used.
        let header = Header::read(bytes);
        // Section 5.1.6.4.4: 1 to 9 name what was hashed, 0 says that nothing was.
        if self.features.contains(Features::HASH_REPORT) && (1..=9).contains(&header.hash_report) {
            frame.set_hash(header.hash);
        }
        if !self.features.contains(Features::GUEST_CHECKSUM) {
            return Ok(());
        }
        if header.gso_type & !header::GSO_ECN != header::GSO_NONE {
            return self.note_large(frame, header);
        }
        if header.flags & header::NEEDS_CHECKSUM != 0 {
            return note_partial(frame, header);
        }
        if header.flags & header::DATA_VALID != 0 {
            frame.set_checksum(Checksum::Good);
        }
        Ok(())
    }

    /// A packet that is several segments of TCP.
    fn note_large(self, frame: &mut Frame<'_>, header: Header) -> Result<(), Wrong> {
        let (feature, ipv4) = match header.gso_type & !header::GSO_ECN {
            header::GSO_TCPV4 => (Features::GUEST_TSO4, true),
            header::GSO_TCPV6 => (Features::GUEST_TSO6, false),
            _ => return Err(Wrong),
        };
        let layers = layers::find(frame.data()).ok_or(Wrong)?;
        let is_it = layers::is_tcp(layers.protocol) && layers::is_ipv4(layers.protocol) == ipv4;
        let agrees = header.flags & header::NEEDS_CHECKSUM == 0 || fits(&layers, header);
        let whole = layers::end(frame.data(), &layers) == Some(frame.total_len());
        let is_long_enough = header.gso_size >= SMALLEST_SEGMENT;
        if !self.features.contains(feature) || !is_it || !agrees || !whole || !is_long_enough {
            return Err(Wrong);
        }
        // Whoever cuts it finds the pseudo-header's sum, also where the device had checked the packet's own and left it.
        let length = frame.total_len().checked_sub(layers.transport).ok_or(Wrong)?;
        let sum =
            layers::pseudo_header(frame.data(), layers.network, layers.protocol, length).ok_or(Wrong)?;
        let field = layers::checksum_offset(layers.protocol).ok_or(Wrong)?;
        layers::put(frame.data_mut(), layers.transport.saturating_add(field), sum).ok_or(Wrong)?;
        frame.set_checksum(Checksum::Partial);
        frame.set_offload(Some(Offload {
            segment: header.gso_size,
            network_checksum: ipv4,
            ..offload(&layers)
        }));
        Ok(())
    }
}

/// The shortest payload of a segment that a device is believed: a datagram of 68 bytes passes every network (RFC 791,
/// section 3.2), 40 of them headers. Of one byte each, one packet would become tens of thousands.
const SMALLEST_SEGMENT: u16 = 28;

/// Whether the header's checksum is that of the transport header that is there.
fn fits(layers: &Layers, header: Header) -> bool {
    layers.transport == usize::from(header.checksum_start)
        && layers::checksum_offset(layers.protocol) == Some(usize::from(header.checksum_offset))
}

/// The checksum of a packet's transport header, as a request. The places lie in a buffer, so they have 16 bits.
fn offload(layers: &Layers) -> Offload {
    Offload {
        network: layers.network as u16,
        transport: layers.transport as u16,
        payload: layers.payload as u16,
        segment: 0,
        protocol: layers.protocol,
        network_checksum: false,
        transport_checksum: true,
    }
}

/// A packet whose checksum nobody has filled in: it never left the host.
fn note_partial(frame: &mut Frame<'_>, header: Header) -> Result<(), Wrong> {
    if let Some(layers) = layers::find(frame.data()).filter(|layers| fits(layers, header)) {
        frame.set_checksum(Checksum::Partial);
        frame.set_offload(Some(offload(&layers)));
        return Ok(());
    }
    // Another protocol's, or one in a tunnel.
    let start = usize::from(header.checksum_start);
    let field = start.saturating_add(header.checksum_offset.into());
    let mut skip = start;
    let mut sum = Sum::default();
    for segment in frame.segments() {
        sum = sum.add(segment.get(skip..).unwrap_or_default());
        skip = skip.saturating_sub(segment.len());
    }
    // The field holds the pseudo-header's sum, and so counts. Zero would say that there is none.
    let value = !sum.folded();
    layers::put(frame.data_mut(), field, if value == 0 { u16::MAX } else { value }).ok_or(Wrong)?;
    frame.set_checksum(Checksum::Good);
    Ok(())
}
