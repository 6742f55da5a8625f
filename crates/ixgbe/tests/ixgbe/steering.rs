//! Filters that send packets to queues, those beyond RSS too, or to nowhere.

use crate::packets::{Flow, flow};
use crate::support::{Port, Setup, frame, open};
use ringway_model::ixgbe::{Options, Personality};
use ringway_packet::PoolOptions;
use ringway_port::{Filter, FilterId, FiveTuple, Matching, PortOptions, Target};
use std::net::IpAddr;

const ALL: [Personality; 3] = [Personality::Fibre82599, Personality::X540, Personality::X550];

fn setup(personality: Personality, queues: u16) -> Setup {
    Setup {
        model: Options { personality, ..Options::default() },
        port: PortOptions { receive_queues: queues, receive_ring: 64, ..PortOptions::default() },
        pool: PoolOptions { buffers: 128 * u32::from(queues) + 1024, ..PoolOptions::default() },
    }
}

/// The queue that a frame comes to; `None`: it doesn't.
fn queue_of(port: &mut Port, frame: &[u8]) -> Option<u16> {
    assert!(port.device.inject(frame));
    let mut batch = port.batch(2);
    let found = port.receive.iter_mut().position(|queue| queue.receive(&mut batch).unwrap() > 0);
    found.map(|queue| queue as u16)
}

fn to_queue(matching: Matching, queue: u16) -> Filter {
    Filter { matching, target: Target::Queue(queue) }
}

/// All that a flow has.
fn tuple(flow: &Flow) -> FiveTuple {
    FiveTuple {
        protocol: Some(flow.protocol),
        source: Some(flow.source),
        destination: Some(flow.destination),
        source_port: Some(flow.ports.0),
        destination_port: Some(flow.ports.1),
    }
}

fn refusal(port: &mut Port, filter: &Filter) -> String {
    port.control.add_filter(filter).unwrap_err().to_string()
}

#[test]
fn an_ethertype_goes_to_its_queue() {
    for personality in ALL {
        let mut port = open(setup(personality, 100));
        let id = port.control.add_filter(&to_queue(Matching::EtherType(0x88b5), 99)).unwrap();
        assert_eq!(queue_of(&mut port, &frame(1, 60)), Some(99));
        let mut other = frame(2, 60);
        other[13] = 0xb6;
        assert_eq!(queue_of(&mut port, &other), Some(0));
        port.control.remove_filter(id).unwrap();
        assert_eq!(queue_of(&mut port, &frame(3, 60)), Some(0));
        port.close();
    }
}

#[test]
fn a_five_tuple_goes_to_its_queue_whatever_of_it_is_compared() {
    for personality in ALL {
        let mut port = open(setup(personality, 80));
        for protocol in [6, 17, 132] {
            let chosen = flow(false, protocol, 77);
            let whole = tuple(&chosen);
            let none = FiveTuple::default();
            for (tuple, also) in [
                (whole, [false, false, false, false, false]),
                (FiveTuple { source: whole.source, ..none }, [false, true, true, true, true]),
                (FiveTuple { destination: whole.destination, ..none }, [true, false, true, true, true]),
                (FiveTuple { source_port: whole.source_port, ..none }, [true, true, false, true, true]),
                (
                    FiveTuple { destination_port: whole.destination_port, ..none },
                    [true, true, true, false, true],
                ),
                (FiveTuple { protocol: whole.protocol, ..none }, [true, true, true, true, false]),
            ] {
                let before = queue_of(&mut port, &chosen.frame(&[]));
                assert!(before.unwrap() < 64);
                let id = port.control.add_filter(&to_queue(Matching::FiveTuple(tuple), 79)).unwrap();
                assert_eq!(queue_of(&mut port, &chosen.frame(&[])), Some(79), "{tuple:?}");
                // One field is another.
                let other_protocol = if protocol == 6 { 17 } else { 6 };
                let others = [
                    Flow { source: "10.1.1.1".parse().unwrap(), ..chosen.clone() },
                    Flow { destination: "10.1.1.1".parse().unwrap(), ..chosen.clone() },
                    Flow { ports: (1, chosen.ports.1), ..chosen.clone() },
                    Flow { ports: (chosen.ports.0, 1), ..chosen.clone() },
                    Flow { protocol: other_protocol, ..chosen.clone() },
                ];
                for (other, also) in others.iter().zip(also) {
                    assert_eq!(
                        queue_of(&mut port, &other.frame(&[])) == Some(79),
                        also,
                        "{tuple:?} {other:?}"
                    );
                }
                let v6 = flow(true, protocol, 77);
                assert_ne!(queue_of(&mut port, &v6.frame(&[])), Some(79), "it compares IPv4 only");
                port.control.remove_filter(id).unwrap();
                assert_eq!(queue_of(&mut port, &chosen.frame(&[])), before);
            }
        }
        port.close();
    }
}

#[test]
fn the_narrower_five_tuple_wins_in_whatever_order_they_were_placed() {
    let chosen = flow(false, 6, 5);
    let narrow = to_queue(Matching::FiveTuple(tuple(&chosen)), 21);
    let wide = to_queue(Matching::FiveTuple(FiveTuple { protocol: Some(6), ..FiveTuple::default() }), 22);
    for order in [[&narrow, &wide], [&wide, &narrow]] {
        let mut port = open(setup(Personality::Fibre82599, 24));
        for filter in order {
            port.control.add_filter(filter).unwrap();
        }
        assert_eq!(queue_of(&mut port, &chosen.frame(&[])), Some(21));
        assert_eq!(queue_of(&mut port, &flow(false, 6, 6).frame(&[])), Some(22));
        port.close();
    }
}

#[test]
fn exact_filters_send_to_queues_and_to_nowhere() {
    for personality in ALL {
        let mut port = open(setup(personality, 127));
        let mut placed = Vec::new();
        for index in 0..300u32 {
            let flow = flow(false, if index % 2 == 0 { 6 } else { 17 }, index * 65_537);
            let target = if index % 5 == 0 { Target::Drop } else { Target::Queue(64 + (index % 63) as u16) };
            let filter = Filter { matching: Matching::Exact(tuple(&flow)), target };
            placed.push((flow, target, port.control.add_filter(&filter).unwrap()));
        }
        let check = |port: &mut Port, flow: &Flow, target: Option<Target>| {
            let queue = queue_of(port, &flow.frame(&[1; 20]));
            match target {
                Some(Target::Queue(expected)) => assert_eq!(queue, Some(expected), "{flow:?}"),
                Some(Target::Drop) => assert_eq!(queue, None, "{flow:?}"),
                None => assert!(queue.is_some_and(|queue| queue < 64), "{flow:?}"),
            }
        };
        for (flow, target, _) in &placed {
            check(&mut port, flow, Some(*target));
            // Each other field makes it another flow.
            check(&mut port, &Flow { ports: (flow.ports.0 ^ 1, flow.ports.1), ..flow.clone() }, None);
            check(&mut port, &Flow { ports: (flow.ports.0, 7), ..flow.clone() }, None);
        }
        // Every other one goes.
        for (_, _, id) in placed.iter().step_by(2) {
            port.control.remove_filter(*id).unwrap();
        }
        for (index, (flow, target, _)) in placed.iter().enumerate() {
            check(&mut port, flow, (index % 2 == 1).then_some(*target));
        }
        port.close();
    }
}

/// The model finds a filter by the hash that the driver reckoned, for every set of fields that can be compared.
#[test]
fn exact_filters_match_under_every_mask() {
    let mut port = open(setup(Personality::Fibre82599, 30));
    for mask in 0..32u32 {
        for protocol in [6u8, 17, 132] {
            let chosen = flow(false, protocol, 1000 + mask * 77);
            let whole = tuple(&chosen);
            let has = |bit: u32| mask >> bit & 1 != 0;
            let tuple = FiveTuple {
                protocol: whole.protocol.filter(|_| has(0)),
                source: whole.source.filter(|_| has(1)),
                destination: whole.destination.filter(|_| has(2)),
                source_port: whole.source_port.filter(|_| has(3)),
                destination_port: whole.destination_port.filter(|_| has(4)),
            };
            let filter = to_queue(Matching::Exact(tuple), 29);
            if !has(0) && (has(3) || has(4)) {
                assert!(refusal(&mut port, &filter).contains("together with a protocol"));
                continue;
            }
            let id = port.control.add_filter(&filter).unwrap();
            assert_eq!(queue_of(&mut port, &chosen.frame(&[])), Some(29), "{tuple:?}");
            let other = Flow {
                source: "10.200.1.1".parse().unwrap(),
                destination: "10.200.1.2".parse().unwrap(),
                protocol: if protocol == 6 { 17 } else { 6 },
                ports: (1, 2),
                ..chosen
            };
            assert_eq!(queue_of(&mut port, &other.frame(&[])) == Some(29), mask == 0, "{tuple:?}");
            port.control.remove_filter(id).unwrap();
        }
    }
    port.close();
}

#[test]
fn what_the_filters_cannot_do_is_refused_by_name() {
    let mut port = open(setup(Personality::Fibre82599, 4));
    let v4 = FiveTuple { protocol: Some(6), source: Some([10, 0, 0, 1].into()), ..FiveTuple::default() };
    let v6 = FiveTuple { source: Some(IpAddr::V6(1.into())), ..v4 };
    let icmp = FiveTuple { protocol: Some(1), ..v4 };
    let drop = |matching| Filter { matching, target: Target::Drop };
    for (filter, said) in [
        (to_queue(Matching::EtherType(0x0800), 1), "0x0800"),
        (to_queue(Matching::EtherType(0x86dd), 1), "0x86dd"),
        (to_queue(Matching::EtherType(1500), 1), "0x05dc"),
        (drop(Matching::EtherType(0x88b5)), "only exact ones can drop"),
        (drop(Matching::FiveTuple(v4)), "only exact ones can drop"),
        (to_queue(Matching::FiveTuple(v4), 4), "no receive queue 4, only 0 to 3"),
        (to_queue(Matching::FiveTuple(v6), 1), "IPv4"),
        (to_queue(Matching::Exact(v6), 1), "IPv4"),
        (to_queue(Matching::FiveTuple(icmp), 1), "protocol 1"),
        (to_queue(Matching::Exact(icmp), 1), "protocol 1"),
    ] {
        let refusal = refusal(&mut port, &filter);
        assert!(refusal.contains(said) && refusal.contains("emulated:0"), "{refusal}");
    }
    let exact = to_queue(Matching::Exact(v4), 1);
    let id = port.control.add_filter(&exact).unwrap();
    assert!(refusal(&mut port, &exact).contains(&format!("filter {} matches the same", id.0)));
    let wider = to_queue(Matching::Exact(FiveTuple { source: None, ..v4 }), 1);
    assert!(refusal(&mut port, &wider).contains("compare the same fields"));
    port.control.remove_filter(id).unwrap();
    port.control.add_filter(&wider).unwrap();
    assert!(port.control.remove_filter(id).unwrap_err().to_string().contains("is not placed"));
    assert!(port.control.remove_filter(FilterId(99)).is_err());
    port.close();
}

#[test]
fn each_kind_has_as_many_filters_as_it_says_and_places_that_are_free_again_are_used_again() {
    let mut port = open(setup(Personality::Fibre82599, 8));
    let limits = port.control.capabilities().filters;
    type Kind = (u32, fn(u32) -> Matching);
    let kinds: [Kind; 3] = [
        (limits.ether_type, |index| Matching::EtherType(0x9000 + index as u16)),
        (limits.five_tuple, |index| Matching::FiveTuple(tuple(&flow(false, 6, index)))),
        (limits.exact, |index| Matching::Exact(tuple(&flow(false, 6, 9000 + index)))),
    ];
    for (count, matching) in kinds {
        let ids: Vec<_> =
            (0..count).map(|index| port.control.add_filter(&to_queue(matching(index), 5)).unwrap()).collect();
        let said = refusal(&mut port, &to_queue(matching(count), 5));
        assert!(said.contains(&count.to_string()) && said.contains("taken"), "{said}");
        port.control.remove_filter(ids[count as usize / 2]).unwrap();
        port.control.add_filter(&to_queue(matching(count), 6)).unwrap();
    }
    assert_eq!((limits.ether_type, limits.five_tuple, limits.exact), (7, 128, 2047));
    assert_eq!(queue_of(&mut port, &flow(false, 6, 128).frame(&[])), Some(6));
    assert_eq!(queue_of(&mut port, &flow(false, 6, 9000 + 2047).frame(&[])), Some(6));
    port.close();
}

#[test]
fn filters_of_the_port_before_are_gone() {
    let setup = setup(Personality::Fibre82599, 4);
    let (space, pool, function, device, watch) = crate::support::device(&setup);
    watch.record().survives_reset = vec![(0x5128, 0x8000_88b5), (0xec00, 0x8003_0000), (0xe600, 1 << 31)];
    let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
    let mut port = Port::new(opened, device, watch, pool, space);
    assert_eq!(queue_of(&mut port, &frame(0, 60)), Some(0));
    assert_eq!((port.watch.read(0x5128), port.watch.read(0xe600)), (0, 0));
    port.close();
}

#[test]
fn a_flow_director_that_does_not_answer_is_an_error_that_names_it() {
    let setup = setup(Personality::Fibre82599, 2);
    let (_space, pool, function, _device, watch) = crate::support::device(&setup);
    watch.record().forced.insert(0xee00, 0);
    let said = ringway_ixgbe::open(function, &pool, &setup.port).unwrap_err().to_string();
    assert!(said.contains("flow director") && said.contains("100 ms"), "{said}");
    let mut port = open(setup);
    port.watch.record().forced.insert(0xee2c, 1);
    let exact = FiveTuple { protocol: Some(6), ..FiveTuple::default() };
    let said = refusal(&mut port, &to_queue(Matching::Exact(exact), 1));
    assert!(said.contains("flow director") && said.contains("10 ms"), "{said}");
    port.close();
}

/// FDIRCMD (section 8.2.3.21.13) stays busy: whether the device has carried the command out is not known.
#[test]
fn a_filter_whose_placing_was_not_confirmed_does_not_stay() {
    const FDIRCMD: u64 = 0xee2c;
    let flow = |index| flow(false, 17, index);
    let exact = |index| to_queue(Matching::Exact(tuple(&flow(index))), 3);
    let mut port = open(setup(Personality::Fibre82599, 4));
    let plain = queue_of(&mut port, &flow(1).frame(&[]));
    assert_ne!(plain, Some(3), "the hash doesn't choose it by itself");
    // It is busy with adding only: the filter is taken away again at once.
    port.watch.record().stuck = Some((FDIRCMD, |last| last & 3 == 1, 1));
    assert!(refusal(&mut port, &exact(1)).contains("flow director"));
    assert_eq!(queue_of(&mut port, &flow(1).frame(&[])), plain);
    // It is busy with everything: the filter is there, and goes before the next one comes.
    port.watch.record().stuck = Some((FDIRCMD, |_| true, 1));
    assert!(refusal(&mut port, &exact(1)).contains("flow director"));
    assert_eq!(queue_of(&mut port, &flow(1).frame(&[])), Some(3), "the model has carried it out");
    assert!(refusal(&mut port, &exact(2)).contains("flow director"), "nothing is placed beside it");
    port.control.add_filter(&to_queue(Matching::EtherType(0x88b5), 2)).unwrap();
    port.watch.record().stuck = None;
    // Other fields than before: were the first one still there, these could not be compared.
    let other = FiveTuple { source: None, ..tuple(&flow(2)) };
    let id = port.control.add_filter(&to_queue(Matching::Exact(other), 2)).unwrap();
    assert_eq!(queue_of(&mut port, &flow(1).frame(&[])), plain);
    assert_eq!(queue_of(&mut port, &flow(2).frame(&[])), Some(2));
    port.control.remove_filter(id).unwrap();
    port.control.add_filter(&exact(1)).unwrap();
    assert_eq!(queue_of(&mut port, &flow(1).frame(&[])), Some(3));
    port.close();
}
