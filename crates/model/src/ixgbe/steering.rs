//! Filters that choose a queue before the hash does: EtherTypes, 5-tuples, flow director (datasheet, section 7.1.2).
//!
//! They are asked in that order. The SYN filter and FCoE's redirection don't exist.

use super::director::Director;
use super::headers::{Headers, IPV4, SCTP, TCP, UDP, word};
use super::registers::{
    DAQF, ETQF, ETQF_ENABLE, ETQS, ETQS_ENABLE, FTQF, FTQF_ENABLE, L34TIMIR, SAQF, SDPQF,
};
use super::table::Table;

const TYPES: usize = 8;
const TUPLES: usize = 128;

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// To this queue.
    Queue(usize),
    /// To this queue, by this EtherType filter.
    Type { queue: usize, filter: usize },
    /// Nowhere.
    Drop,
    /// Where its hash says.
    Hash,
}

/// An EtherType filter that is on (8.2.3.7.14 and 15).
#[derive(Clone, Copy, Debug)]
struct Type {
    filter: usize,
    ethertype: u16,
    queue: usize,
}

/// A 5-tuple filter that is on (8.2.3.7.16 to 20). Addresses and ports as they stand in a frame.
#[derive(Clone, Copy, Debug)]
struct Tuple {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    /// 0: TCP, 1: UDP, 2: SCTP, 3: anything else.
    protocol: u32,
    /// Bits of what is not compared: the addresses, the ports, the protocol.
    ignored: u32,
    priority: u32,
    queue: usize,
}

/// The filters, made ready.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    types: Vec<Type>,
    /// By priority, then by number: the first that matches counts.
    tuples: Vec<Tuple>,
    pub(crate) director: Director,
}

impl Steering {
    /// Takes the EtherType filters over from the registers.
    pub(crate) fn refresh_types(&mut self, table: &Table) {
        self.types.clear();
        for filter in 0..TYPES {
            let (what, to) = (table.element(ETQF, filter), table.element(ETQS, filter));
            if what & ETQF_ENABLE != 0 && to & ETQS_ENABLE != 0 {
                let queue = (to >> 16 & 0x7f) as usize;
                self.types.push(Type { filter, ethertype: what as u16, queue });
            }
        }
    }

    /// Takes the 5-tuple filters over.
    pub(crate) fn refresh_tuples(&mut self, table: &Table) {
        self.tuples.clear();
        for filter in 0..TUPLES {
            let control = table.element(FTQF, filter);
            if control & FTQF_ENABLE == 0 {
                continue;
            }
            let [a, b, c, d] = table.element(SDPQF, filter).to_le_bytes();
            self.tuples.push(Tuple {
                source: table.element(SAQF, filter).to_le_bytes(),
                destination: table.element(DAQF, filter).to_le_bytes(),
                source_port: [a, b],
                destination_port: [c, d],
                protocol: control & 3,
                ignored: control >> 25 & 0x1f,
                priority: control >> 2 & 7,
                queue: (table.element(L34TIMIR, filter) >> 21 & 0x7f) as usize,
            });
        }
        self.tuples.sort_by_key(|tuple| std::cmp::Reverse(tuple.priority));
    }

    /// Where the frame goes. Flow director counts what it found.
    #[inline]
    pub(crate) fn choose(&self, table: &mut Table, frame: &[u8], headers: &Headers) -> Choice {
        if let Some(Type { filter, queue, .. }) =
            self.types.iter().find(|filter| filter.ethertype == headers.ethertype)
        {
            return Choice::Type { queue: *queue, filter: *filter };
        }
        if !self.tuples.is_empty()
            && headers.types & IPV4 != 0
            && !headers.fragment
            && let Some(tuple) = self.tuples.iter().find(|tuple| tuple.matches(frame, headers))
        {
            return Choice::Queue(tuple.queue);
        }
        self.director.choose(table, frame, headers)
    }
}

impl Tuple {
    fn matches(&self, frame: &[u8], headers: &Headers) -> bool {
        let is = |bit: u32, at: usize, bytes: &[u8]| {
            self.ignored & bit != 0 || frame.get(at..at.saturating_add(bytes.len())) == Some(bytes)
        };
        let protocol = match headers.types & (TCP | UDP | SCTP) {
            TCP => 0,
            UDP => 1,
            SCTP => 2,
            _ => 3,
        };
        let (network, transport) = (headers.network, headers.transport);
        let compares_ports = self.ignored & 0b01100 != 0b01100;
        is(1, network.saturating_add(12), &self.source)
            && is(1 << 1, network.saturating_add(16), &self.destination)
            && (self.ignored & 1 << 4 != 0 || self.protocol == protocol)
            && (!compares_ports || protocol != 3 && word(frame, transport).is_some())
            && is(1 << 2, transport, &self.source_port)
            && is(1 << 3, transport.saturating_add(2), &self.destination_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::headers::recognise;

    fn udp(source: [u8; 4], ports: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(source);
        frame.extend([10, 0, 0, 2]);
        frame.extend(ports);
        frame.extend([0, 8, 0, 0]);
        frame.resize(60, 0);
        frame
    }

    fn choose(table: &mut Table, frame: &[u8]) -> Choice {
        let mut steering = Steering::default();
        steering.refresh_types(table);
        steering.refresh_tuples(table);
        steering.choose(table, frame, &recognise(frame, 0x8100))
    }

    #[test]
    fn a_tuple_matches_what_is_not_ignored_and_the_higher_priority_wins() {
        let mut table = Table::new();
        // Filter 3: UDP from 10.0.0.1, to queue 20, priority 2. Filter 5: UDP to port 53, to queue 90, priority 6.
        table.set(SAQF + 12, u32::from_le_bytes([10, 0, 0, 1]));
        table.set(FTQF + 12, FTQF_ENABLE | 0b01110 << 25 | 2 << 2 | 1);
        table.set(L34TIMIR + 12, 20 << 21);
        table.set(SDPQF + 20, u32::from_le_bytes([0, 0, 0, 53]));
        table.set(FTQF + 20, FTQF_ENABLE | 0b00111 << 25 | 6 << 2 | 1);
        table.set(L34TIMIR + 20, 90 << 21);
        assert_eq!(choose(&mut table, &udp([10, 0, 0, 1], [1, 2, 3, 4])), Choice::Queue(20));
        assert_eq!(choose(&mut table, &udp([10, 0, 0, 1], [1, 2, 0, 53])), Choice::Queue(90));
        assert_eq!(choose(&mut table, &udp([10, 0, 0, 3], [1, 2, 3, 4])), Choice::Hash);
        let mut fragment = udp([10, 0, 0, 1], [1, 2, 3, 4]);
        fragment[20] = 0x20;
        assert_eq!(choose(&mut table, &fragment), Choice::Hash);
        let mut tcp = udp([10, 0, 0, 1], [1, 2, 0, 53]);
        tcp[23] = 6;
        assert_eq!(choose(&mut table, &tcp), Choice::Hash);
    }

    #[test]
    fn an_ethertype_goes_before_all_else_where_both_its_registers_are_on() {
        let mut table = Table::new();
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&[0x88, 0xf7]);
        table.set(ETQF + 8, ETQF_ENABLE | 0x88f7);
        assert_eq!(choose(&mut table, &frame), Choice::Hash);
        table.set(ETQS + 8, ETQS_ENABLE | 100 << 16);
        assert_eq!(choose(&mut table, &frame), Choice::Type { queue: 100, filter: 2 });
    }
}
