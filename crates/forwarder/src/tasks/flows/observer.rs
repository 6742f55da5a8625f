//! One packet after the other through the parser, and into the counts.

use super::Count;
use super::faults::Faults;
use super::mix::{Mix, Network};
use super::table::FlowTable;
use super::tuple::{five_tuple, protocol_of};
use crate::matching::Match;
use ringway_flow::{
    ABSENT, At, Extraction, FlowKey, Metadata, Miniflow, PacketType, Protocols, V3_7, VlanLimit, extract,
};

/// Up to where bytes that a capture left out are made up: more than any IP packet has.
const LONGEST: usize = 70_000;
/// Bytes of the transport header that are looked at: the ports.
const PORTS: usize = 4;

/// Bytes of ARP, the longest network header without a transport header behind it that is looked at.
const ARP: usize = 28;

/// How many packets were seen, and what of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All of them.
    pub all: Count,
    /// Those without a 5-tuple: no IP, or no IP header that makes sense.
    pub without_tuple: Count,
    /// Those with a VLAN tag.
    pub tagged: u64,
    /// Those that make sense as far as they were there.
    pub sound: u64,
    /// Those that are malformed.
    pub malformed: u64,
    /// Of those that make sense, those whose end a capture left out, or that lie in several buffers.
    pub cut: u64,
    /// Those of which so little is there that it can't be told whether they make sense.
    pub cut_in_headers: u64,
    /// Those that aren't meant: they are counted nowhere else.
    pub left_out: u64,
}

/// Looks at packets.
#[derive(Debug)]
pub struct Observer {
    flow: Miniflow<V3_7>,
    metadata: Metadata,
    scratch: Vec<u8>,
    /// Which packets are meant, if not all.
    matching: Option<Match>,
    /// What was counted.
    pub seen: Seen,
    /// The flows.
    pub table: FlowTable,
    /// The protocols.
    pub mix: Mix,
    /// The malformed.
    pub faults: Faults,
}

impl Observer {
    /// One that has seen nothing.
    pub fn new(table: FlowTable) -> Self {
        Self {
            flow: Miniflow::new(),
            metadata: Metadata::new(0),
            scratch: Vec::new(),
            matching: None,
            seen: Seen::default(),
            table,
            mix: Mix::new(),
            faults: Faults::new(),
        }
    }

    /// One that looks only at packets that are meant.
    pub fn of(self, matching: Option<Match>) -> Self {
        Self { matching, ..self }
    }

    /// What follows came at this port, or interface of a file, counted from 1.
    pub fn at_port(&mut self, number: u32) {
        // Nothing else asks for it.
        if self.matching.as_ref().is_some_and(Match::asks_for_port) {
            self.metadata = Metadata::new(number);
        }
    }

    /// Looks at a packet that came at `time` nanoseconds. It had `length` bytes, of which the first ones are there.
    #[inline]
    pub fn look(&mut self, packet: &[u8], length: usize, time: u64) {
        let bytes = length.max(packet.len()) as u64;
        let is_whole = packet.len() >= length;
        let (found, is_cut) =
            if is_whole { (self.extract(packet), false) } else { self.extract_cut(packet, length) };
        if self.matching.as_ref().is_some_and(|matching| !matching.takes(&FlowKey::from(&self.flow))) {
            self.seen.left_out = self.seen.left_out.wrapping_add(1);
            return;
        }
        self.seen.all.add(bytes);
        self.seen.cut = self.seen.cut.wrapping_add(is_cut.into());
        match found.outcome() {
            Ok(()) => self.seen.sound = self.seen.sound.wrapping_add(1),
            Err(malformed) if is_whole => {
                self.seen.malformed = self.seen.malformed.wrapping_add(1);
                self.faults.count(malformed, self.seen.all.packets.wrapping_add(self.seen.left_out));
            }
            Err(_) => self.seen.cut_in_headers = self.seen.cut_in_headers.wrapping_add(1),
        }
        if self.flow.word(At::<V3_7>::VLANS) != 0 {
            self.seen.tagged = self.seen.tagged.wrapping_add(1);
        }
        let recognised = found.protocols();
        let network = if recognised.contains(Protocols::IPV4) {
            Network::V4(protocol_of(&self.flow))
        } else if recognised.contains(Protocols::IPV6) {
            Network::V6(protocol_of(&self.flow))
        } else {
            Network::Other(self.flow.ethernet_type())
        };
        self.mix.count(network, bytes);
        match five_tuple(&self.flow, recognised) {
            Some(tuple) => self.table.count(tuple, bytes, time),
            None => self.seen.without_tuple.add(bytes),
        }
    }

    #[inline]
    fn extract(&mut self, packet: &[u8]) -> Extraction {
        extract(packet, PacketType::ETHERNET, &self.metadata, VlanLimit::TWO, &mut self.flow)
    }

    /// The parser takes a packet whose end is not there for malformed, as its length fields say more. So the end is made
    /// up of zeros; what is then read of them doesn't count. Also whether all that was read was there.
    #[cold]
    fn extract_cut(&mut self, packet: &[u8], length: usize) -> (Extraction, bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(packet);
        scratch.resize(length.min(LONGEST).max(packet.len()), 0);
        let found = self.extract(&scratch);
        self.scratch = scratch;
        let layers = found.layers();
        let read = match (layers.transport, layers.network) {
            (ABSENT, ABSENT) => 0,
            (ABSENT, network) => usize::from(network).saturating_add(ARP),
            (transport, _) => usize::from(transport).saturating_add(PORTS),
        };
        if found.outcome().is_ok() && read <= packet.len() {
            return (found, true);
        }
        (self.extract(packet), false)
    }
}
