//! What is counted, against what a slower and simpler way counts; and that everything adds up.

use super::tuple::{five_tuple, hash, normalised, reversed};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use ringway_flow::samples::Kind;
use ringway_flow::{
    FiveTuple, FlowKey, Metadata, Miniflow, Murmur, PacketType, Protocols, V3_7, VlanLimit, extract,
};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// A packet of any kind, from few flows, now and then with damage or cut short.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop_oneof![
        4 => Just(None),
        1 => (any::<usize>(), any::<u8>()).prop_map(Some),
    ];
    let cut = prop_oneof![6 => Just(None), 1 => any::<usize>().prop_map(Some)];
    (0..Kind::ALL.len(), 0..6u32, damage, cut).prop_map(|(kind, variant, damage, cut)| {
        let mut packet = Kind::ALL[kind].packet(variant);
        if let Some((at, byte)) = damage {
            let at = at % packet.len();
            packet[at] = byte;
        }
        if let Some(length) = cut {
            packet.truncate(length % (packet.len() + 1));
        }
        packet
    })
}

fn observer(limit: u32, both_directions: bool) -> Observer {
    Observer::new(FlowTable::new(limit, both_directions).unwrap())
}

/// The miniflow of a packet, and what was found.
fn extracted(packet: &[u8]) -> (Miniflow<V3_7>, ringway_flow::Extraction) {
    let mut flow = Miniflow::new();
    let found = extract(packet, PacketType::ETHERNET, &Metadata::new(0), VlanLimit::TWO, &mut flow);
    (flow, found)
}

fn sum(counts: impl IntoIterator<Item = Count>) -> Count {
    counts.into_iter().fold(Count::default(), Count::plus)
}

/// Everything that was seen is somewhere, once.
fn adds_up(observer: &Observer) {
    let seen = &observer.seen;
    assert_eq!(sum(observer.mix.entries().into_iter().map(|entry| entry.count)), seen.all);
    let flows = observer.table.flows().iter().map(Flow::both);
    assert_eq!(sum(flows.chain([observer.table.unlisted(), seen.without_tuple])), seen.all);
    assert_eq!(seen.sound + seen.malformed + seen.cut_in_headers, seen.all.packets);
    let faults: u64 = observer.faults.entries().iter().map(|fault| fault.packets).sum();
    assert_eq!(faults, seen.malformed);
    assert!(observer.table.flows().len() <= observer.table.limit() as usize);
}

proptest! {
    #[test]
    fn everything_that_was_seen_is_counted_once(
        packets in vec((packet(), 0..200usize), 0..200),
        limit in 1..40u32,
        both_directions: bool,
    ) {
        let mut observer = observer(limit, both_directions);
        let mut bytes = 0;
        for (time, (packet, longer)) in packets.iter().enumerate() {
            // Every other packet is whole.
            let length = packet.len() + if longer % 2 == 0 { 0 } else { *longer };
            bytes += length as u64;
            observer.look(packet, length, time as u64);
        }
        prop_assert_eq!(observer.seen.all, Count { packets: packets.len() as u64, bytes });
        adds_up(&observer);
    }

    #[test]
    fn flows_are_those_of_the_whole_keys_and_a_table_with_room_holds_all(packets in vec(packet(), 0..200)) {
        let mut expected: HashMap<FiveTuple, Count> = HashMap::new();
        let mut observer = observer(1000, false);
        for packet in &packets {
            let (flow, found) = extracted(packet);
            let protocols = found.protocols();
            if protocols.contains(Protocols::IPV4) || protocols.contains(Protocols::IPV6) {
                let tuple = flow.expand().five_tuple().unwrap();
                expected.entry(tuple).or_default().add(packet.len() as u64);
            }
            observer.look(packet, packet.len(), 0);
        }
        let counted: HashMap<FiveTuple, Count> =
            observer.table.flows().iter().map(|flow| (flow.tuple, flow.forward)).collect();
        prop_assert_eq!(counted.len(), observer.table.flows().len(), "no flow twice");
        prop_assert_eq!(counted, expected);
        prop_assert_eq!(observer.table.unlisted(), Count::default());
    }

    #[test]
    fn a_tuple_from_the_miniflow_is_that_of_the_key_and_hashes_as_the_parser_does(
        packet in packet(),
        basis: u32,
    ) {
        let (flow, found) = extracted(&packet);
        if let Some(tuple) = five_tuple(&flow, found.protocols()) {
            prop_assert_eq!(Some(tuple), FlowKey::<V3_7>::of_frame(&packet).five_tuple());
            prop_assert_eq!(reversed(reversed(tuple)), tuple);
            prop_assert_eq!(normalised(reversed(tuple)), normalised(tuple));
            if matches!(tuple.protocol, 6 | 17 | 132) {
                prop_assert_eq!(hash(&tuple, basis), flow.hash_five_tuple::<Murmur>(basis));
            }
        }
    }
}

fn tuple(source: u8, destination: u8, ports: (u16, u16)) -> FiveTuple {
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    FiveTuple { source: address(source), destination: address(destination), protocol: 17, ports: Some(ports) }
}

#[test]
fn a_conversation_is_two_flows_or_one_with_both_directions_as_asked() {
    let (there, back) = (tuple(1, 2, (1000, 53)), tuple(2, 1, (53, 1000)));
    for both_directions in [false, true] {
        let mut table = FlowTable::new(10, both_directions).unwrap();
        for (tuple, bytes, time) in [(back, 70, 5), (there, 60, 9), (back, 80, 7), (there, 61, 2)] {
            table.count(tuple, bytes, time);
        }
        let flow = |tuple, forward, backward, first, last| Flow {
            tuple,
            forward: Count { packets: 2, bytes: forward },
            backward: Count { packets: if backward == 0 { 0 } else { 2 }, bytes: backward },
            first,
            last,
        };
        let expected = if both_directions {
            vec![flow(back, 150, 121, 2, 9)]
        } else {
            vec![flow(back, 150, 0, 5, 7), flow(there, 121, 0, 2, 9)]
        };
        assert_eq!(table.flows(), expected);
    }
}

#[test]
fn to_itself_a_station_has_one_direction() {
    let mut table = FlowTable::new(10, true).unwrap();
    table.count(tuple(1, 1, (5, 5)), 60, 0);
    table.count(tuple(1, 1, (5, 5)), 60, 1);
    assert_eq!(table.flows().len(), 1);
    assert_eq!((table.flows()[0].forward.packets, table.flows()[0].backward.packets), (2, 0));
}

#[test]
fn a_full_table_goes_on_counting_what_it_knows_and_says_what_it_does_not() {
    let mut table = FlowTable::new(1000, false).unwrap();
    let memory = table.room();
    assert!(memory.0 >= 1000 && memory.1 >= 1000);
    for round in 0..3 {
        for port in 0..1500 {
            table.count(tuple(1, 2, (port, 53)), 60, round);
        }
    }
    assert_eq!(table.flows().len(), 1000);
    assert!(table.flows().iter().all(|flow| flow.forward == Count { packets: 3, bytes: 180 }));
    assert_eq!(table.unlisted(), Count { packets: 1500, bytes: 90_000 });
    assert_eq!(table.room(), memory, "nothing was allocated");
    let taken = memory.0 * size_of::<Flow>();
    assert!(table.memory() >= taken as u64 && table.memory() < 2 * taken as u64 + 100_000);
}

#[test]
fn a_table_that_no_memory_holds_is_refused() {
    // Where addresses are plenty the system may promise it all the same: then it is a table.
    if let Err(error) = FlowTable::new(u32::MAX, false) {
        assert!(error.to_string().contains("4294967295 flows"), "{error}");
    }
}

#[test]
fn the_largest_come_first_and_equals_in_their_order() {
    let mut table = FlowTable::new(100, false).unwrap();
    for (port, packets) in [(1u16, 5), (2, 9), (3, 5), (4, 1), (5, 9)] {
        for _ in 0..packets {
            table.count(tuple(1, 2, (port, 53)), 100 / u64::from(port), 0);
        }
    }
    let ports = |count, size: fn(&Flow) -> u64| -> Vec<u16> {
        table.largest(count, size).iter().filter_map(|flow| flow.tuple.ports).map(|(port, _)| port).collect()
    };
    let packets = |flow: &Flow| flow.both().packets;
    assert_eq!(ports(3, packets), [2, 5, 1]);
    assert_eq!(ports(10, packets), [2, 5, 1, 3, 4]);
    assert_eq!(ports(2, |flow| flow.both().bytes), [1, 2]);
    assert_eq!(ports(0, packets), [0u16; 0]);
}

#[test]
fn frames_that_a_capture_cut_behind_the_headers_count_as_the_whole_ones_do() {
    for kind in [Kind::UdpIpv4, Kind::TcpIpv4, Kind::VlanTcpIpv4, Kind::TcpIpv6, Kind::IcmpIpv4, Kind::Arp] {
        let mut frame = kind.packet(3);
        let whole_length = frame.len();
        // More payload than the header says is padding: make it real by asking for the same frame, cut.
        let (mut whole, mut cut) = (observer(10, false), observer(10, false));
        whole.look(&frame, whole_length, 0);
        // Behind the ports (or ICMP's first words, or ARP's last) and, of TCP, the data offset.
        let needed = match kind {
            Kind::UdpIpv4 => 14 + 20 + 8,
            Kind::VlanTcpIpv4 => 18 + 20 + 20,
            Kind::TcpIpv6 => 14 + 40 + 20,
            Kind::IcmpIpv4 | Kind::Arp => 14 + 28,
            _ => 14 + 20 + 20,
        };
        if needed == whole_length {
            continue;
        }
        frame.truncate(needed);
        cut.look(&frame, whole_length, 0);
        assert_eq!(cut.table.flows(), whole.table.flows(), "{kind:?}");
        assert_eq!(cut.mix.entries(), whole.mix.entries(), "{kind:?}");
        assert_eq!((cut.seen.cut, cut.seen.sound, cut.seen.malformed), (1, 1, 0), "{kind:?}");
        adds_up(&cut);
        // Within the headers nothing can be told, and nothing is made up.
        let mut short = observer(10, false);
        frame.truncate(20);
        short.look(&frame, whole_length, 0);
        assert_eq!((short.seen.cut, short.seen.cut_in_headers, short.seen.malformed), (0, 1, 0), "{kind:?}");
        assert_eq!(short.seen.all.bytes, whole_length as u64);
        assert!(short.table.flows().is_empty());
        adds_up(&short);
    }
}

#[test]
fn what_is_no_ip_is_counted_by_its_ethernet_type_and_what_is_malformed_by_its_reason() {
    let mut observer = observer(10, false);
    for kind in [Kind::Arp, Kind::Arp, Kind::MplsOne, Kind::UdpIpv4] {
        let packet = kind.packet(1);
        observer.look(&packet, packet.len(), 0);
    }
    let mut short = Kind::UdpIpv4.packet(1);
    short.truncate(30);
    observer.look(&short, 30, 0);
    observer.look(&[1, 2, 3], 3, 0);
    let entries: Vec<(Network, u64)> =
        observer.mix.entries().into_iter().map(|entry| (entry.network, entry.count.packets)).collect();
    assert_eq!(entries.first(), Some(&(Network::Other(0x0806), 2)));
    for other in [Network::V4(17), Network::Other(0x8847), Network::Other(0x0800), Network::Other(0)] {
        assert!(entries.contains(&(other, 1)), "{other:?} in {entries:?}");
    }
    assert_eq!(observer.faults.of(ringway_flow::Reason::Ipv4Truncated), 1);
    assert_eq!(observer.faults.of(ringway_flow::Reason::EthernetTruncated), 1);
    let fault = observer.faults.entries().into_iter().find(|fault| fault.first_packet == 5).unwrap();
    assert_eq!((fault.first.offset, fault.packets), (14, 1));
    adds_up(&observer);
}
