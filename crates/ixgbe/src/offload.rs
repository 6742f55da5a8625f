//! What the device is told of a packet before it sends it: tags, checksums, segmentation (82599 datasheet, sections 7.2.3.2.3,
//! 7.2.4 and 7.2.5).
//!
//! A context descriptor holds lengths, protocols and tag; the device keeps two a queue, and the data descriptors name one.
//! The driver remembers both, so that packets that want the same don't repeat it. What a program asks for is checked
//! against the packet: what doesn't fit is refused, and the packet dropped and counted.

use crate::capabilities::{FCS, LARGEST_FRAME};
use ringway_packet::{Frame, Offload, Protocol};
use ringway_port::Offloads;

/// The context's first word (only its lower half names anything here).
const MAC_LENGTH_SHIFT: u32 = 9;
const VLAN_SHIFT: u32 = 16;
const LONGEST_MAC: usize = 127;
const LONGEST_NETWORK: usize = 511;
/// Its second word.
const TYPE_CONTEXT: u64 = 2 << 20 | 1 << 29;
const IS_IPV4: u64 = 1 << 10;
const IS_TCP: u64 = 1 << 11;
const IS_SCTP: u64 = 2 << 11;
const TRANSPORT_LENGTH_SHIFT: u32 = 40;
const SEGMENT_SHIFT: u32 = 48;
/// Which of the two, in contexts and data descriptors alike.
const INDEX_SHIFT: u32 = 36;
/// The data descriptor's commands and options (section 7.2.3.2.4).
const INSERT_VLAN: u64 = 1 << 30;
const SEGMENT: u64 = 1 << 31;
const INSERT_NETWORK_CHECKSUM: u64 = 1 << 40;
const INSERT_TRANSPORT_CHECKSUM: u64 = 1 << 41;

const ETHERNET: usize = 14;
/// Contexts that the device keeps for a queue.
const CONTEXTS: usize = 2;

/// A context descriptor without its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) number: u32,
    pub(crate) word: u64,
}

/// What a packet asks for, in the device's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    context: Context,
    options: u64,
    /// Bytes of headers that come again in each segment; 0 when the packet goes as it is.
    pub(crate) headers: usize,
    offload: Offload,
}

/// Why a packet isn't sent: what it asks for doesn't fit it, or the port was not opened for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// The protocols, and the shortest headers of each.
const fn protocols(protocol: Protocol) -> (bool, Transport, usize) {
    match protocol {
        Protocol::TcpIpv4 => (true, Transport::Tcp, 20),
        Protocol::TcpIpv6 => (false, Transport::Tcp, 20),
        Protocol::UdpIpv4 => (true, Transport::Udp, 8),
        Protocol::UdpIpv6 => (false, Transport::Udp, 8),
        Protocol::SctpIpv4 => (true, Transport::Sctp, 12),
        Protocol::SctpIpv6 => (false, Transport::Sctp, 12),
    }
}

impl Request {
    /// What the packet, of `total` bytes, asks for; `None` when that is nothing. `possible` is what the port was opened
    /// for.
    pub(crate) fn of(frame: &Frame<'_>, total: usize, possible: Offloads) -> Result<Option<Self>, Unfit> {
        let asked = frame
            .offload()
            .copied()
            .filter(|offload| offload.segment != 0 || offload.network_checksum || offload.transport_checksum);
        let mut request = Self {
            context: Context { number: 0, word: TYPE_CONTEXT },
            options: 0,
            headers: 0,
            offload: asked.unwrap_or_default(),
        };
        let mut mac = ETHERNET;
        if let Some(offload) = asked {
            request.add(&offload, frame.len(), total, possible)?;
            mac = offload.network.into();
        } else if frame.vlan().is_none() {
            return Ok(None);
        }
        request.context.number |= (mac as u32) << MAC_LENGTH_SHIFT;
        if let Some(tag) = frame.vlan() {
            if !possible.contains(Offloads::VLAN_INSERT) {
                return Err(Unfit);
            }
            request.options |= INSERT_VLAN;
            request.context.number |= u32::from(tag) << VLAN_SHIFT;
        }
        Ok(Some(request))
    }

    /// Checksums and segmentation. `first` bytes of the packet's `total` lie in its first buffer, where the driver has to
    /// change some of the headers.
    fn add(
        &mut self,
        offload: &Offload,
        first: usize,
        total: usize,
        possible: Offloads,
    ) -> Result<(), Unfit> {
        let (is_ipv4, transport, shortest) = protocols(offload.protocol);
        let [network, behind, payload] =
            [offload.network, offload.transport, offload.payload].map(usize::from);
        let network_length = behind.checked_sub(network).ok_or(Unfit)?;
        let is_placed = (ETHERNET..=LONGEST_MAC).contains(&network)
            && (if is_ipv4 { 20 } else { 40 }..=LONGEST_NETWORK).contains(&network_length)
            && behind.saturating_add(shortest) <= first;
        if !is_placed {
            return Err(Unfit);
        }
        let wants_network = offload.network_checksum;
        let wants_transport = offload.transport_checksum || offload.segment != 0;
        let mut needed = Offloads::NONE;
        if wants_network {
            needed |= Offloads::IPV4_CHECKSUM;
        }
        if wants_transport {
            let sctp = transport == Transport::Sctp;
            needed |= if sctp { Offloads::SCTP_CHECKSUM } else { Offloads::TCP_UDP_CHECKSUM };
        }
        if offload.segment != 0 {
            let headers = payload.checked_sub(behind).filter(|&length| length >= shortest).ok_or(Unfit)?;
            // Of each segment all must fit the MAC; and headers alone are no packet.
            let longest = payload.saturating_add(offload.segment.into());
            if payload > first
                || total <= payload
                || headers > 255
                || longest > (LARGEST_FRAME - FCS) as usize
            {
                return Err(Unfit);
            }
            needed |= match (transport, is_ipv4) {
                (Transport::Tcp, true) => Offloads::TCP4_SEGMENTATION,
                (Transport::Tcp, false) => Offloads::TCP6_SEGMENTATION,
                (Transport::Udp, _) if headers == 8 => Offloads::UDP_SEGMENTATION,
                _ => return Err(Unfit),
            };
            // The device fills the checksums of segments in: being asked to cut is being asked for that.
            needed = needed - (Offloads::TCP_UDP_CHECKSUM | Offloads::IPV4_CHECKSUM);
            self.headers = payload;
            self.options |= SEGMENT;
            self.context.word |=
                (headers as u64) << TRANSPORT_LENGTH_SHIFT | u64::from(offload.segment) << SEGMENT_SHIFT;
        }
        if !possible.contains(needed) || wants_network && !is_ipv4 {
            return Err(Unfit);
        }
        if wants_network || is_ipv4 && offload.segment != 0 {
            self.options |= INSERT_NETWORK_CHECKSUM;
        }
        if wants_transport {
            self.options |= INSERT_TRANSPORT_CHECKSUM;
        }
        self.context.number |= network_length as u32;
        self.context.word |= match transport {
            Transport::Tcp => IS_TCP,
            Transport::Udp => 0,
            Transport::Sctp => IS_SCTP,
        };
        self.context.word |= if is_ipv4 { IS_IPV4 } else { 0 };
        Ok(())
    }

    /// Makes the headers what the device expects to find: sums that it fills in are zero, and where it cuts, the
    /// pseudo-header's sum has no length, since each segment has its own (section 7.2.4.7.3). To be done once, when the
    /// packet is sure to go.
    pub(crate) fn prepare(&self, frame: &mut Frame<'_>, total: usize) {
        let (_, transport, _) = protocols(self.offload.protocol);
        let behind = usize::from(self.offload.transport);
        let bytes = frame.data_mut();
        if self.options & INSERT_NETWORK_CHECKSUM != 0 {
            put(bytes, usize::from(self.offload.network).saturating_add(10), [0; 2]);
        }
        if self.options & INSERT_TRANSPORT_CHECKSUM == 0 {
            return;
        }
        if transport == Transport::Sctp {
            return put(bytes, behind.saturating_add(8), [0; 4]);
        }
        if self.options & SEGMENT != 0 {
            let field = behind.saturating_add(if transport == Transport::Tcp { 16 } else { 6 });
            let Some(sum) = bytes.get(field..).and_then(<[u8]>::first_chunk::<2>) else { return };
            let length = total.saturating_sub(behind) as u32;
            put(bytes, field, without(u16::from_be_bytes(*sum), length).to_be_bytes());
        }
    }

    /// What goes into the packet's data descriptors, with the context at `index`.
    pub(crate) fn options(&self, index: u64) -> u64 {
        self.options | index << INDEX_SHIFT
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = value;
    }
}

/// A ones' complement sum less a length that was added to it.
fn without(sum: u16, length: u32) -> u16 {
    let folded = (length & 0xffff).wrapping_add(length >> 16);
    let folded = (folded & 0xffff).wrapping_add(folded >> 16);
    let left = u32::from(sum).wrapping_add(!folded & 0xffff);
    ((left & 0xffff).wrapping_add(left >> 16)) as u16
}

/// The contexts that the device keeps for a queue, as they were written.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    known: [Option<Context>; CONTEXTS],
    /// The one that was used longest ago.
    oldest: usize,
}

impl Contexts {
    /// Which of them the request needs; with the descriptor that has to go before it, if the device doesn't know it.
    pub(crate) fn find(&self, request: &Request) -> (u64, Option<Context>) {
        match self.known.iter().position(|known| *known == Some(request.context)) {
            Some(index) => (index as u64, None),
            None => {
                let Context { number, word } = request.context;
                let index = self.oldest as u64;
                (index, Some(Context { number, word: word | index << INDEX_SHIFT }))
            }
        }
    }

    /// The request goes, with the context at `index`.
    pub(crate) fn used(&mut self, index: u64, request: &Request) {
        if let Some(place) = self.known.get_mut(index as usize) {
            *place = Some(request.context);
            self.oldest = CONTEXTS - 1 - index as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_taken_out_of_a_sum() {
        let add = |sum: u16, length: u32| {
            let mut sum = u32::from(sum) + (length & 0xffff) + (length >> 16);
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            sum as u16
        };
        for sum in [1u16, 0x1234, 0x8000, 0xfffe, 0xffff] {
            for length in [20u32, 1480, 0xffff, 0x1_0000, 0x2_7fff] {
                // Both zeros of ones' complement are one.
                assert_eq!(without(add(sum, length), length) % 0xffff, sum % 0xffff, "{sum:x} {length:x}");
            }
        }
    }

    #[test]
    fn contexts_are_remembered_two_at_a_time() {
        let request = |number| Request {
            context: Context { number, word: TYPE_CONTEXT },
            options: 0,
            headers: 0,
            offload: Offload::default(),
        };
        let mut contexts = Contexts::default();
        let mut written = Vec::new();
        for number in [1, 1, 2, 1, 2, 3, 2, 1] {
            let (index, missing) = contexts.find(&request(number));
            written.push(missing.map(|context| (context.number, context.word >> INDEX_SHIFT & 7)));
            contexts.used(index, &request(number));
        }
        assert_eq!(written, [Some((1, 0)), None, Some((2, 1)), None, None, Some((3, 0)), None, Some((1, 0))]);
    }
}
