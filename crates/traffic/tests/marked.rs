//! Marked packets: what is made is found, and what happens to it on the way is counted exactly.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ringway_traffic::check::{Checker, Totals, Verdict, WINDOW};
use ringway_traffic::frame::{Field, Protocol, Shape, Template};
use ringway_traffic::generator::{Generator, Plan, Sizes};
use std::collections::HashSet;

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Icmp] {
        for vlans in [vec![], vec![5], vec![100, 4094]] {
            let shape = Shape { protocol, vlans, ..Shape::default() };
            shapes.extend([shape.clone(), shape.v6()]);
        }
    }
    shapes
}

fn made(plan: &Plan, count: usize) -> Vec<Vec<u8>> {
    let mut generator = Generator::new(plan).unwrap();
    let mut frame = vec![0; 65_549];
    (0..count)
        .map(|time| {
            let length = generator.next(&mut frame, time as u64).unwrap();
            frame[..length].to_vec()
        })
        .collect()
}

fn totals(frames: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Totals {
    let mut checker = Checker::default();
    for frame in frames {
        checker.take(frame.as_ref());
    }
    checker.totals()
}

const ALL: [Field; 5] =
    [Field::Vlan, Field::SourcePort, Field::DestinationPort, Field::SourceAddress, Field::DestinationAddress];

#[test]
fn packets_of_every_shape_and_flow_carry_right_checksums_and_are_found() {
    for shape in shapes() {
        let shortest = shape.shortest();
        for fields in ALL.map(|field| vec![field]).into_iter().chain([ALL.to_vec()]) {
            if fields == [Field::Vlan] && shape.vlans.is_empty() {
                continue;
            }
            let plan = Plan {
                shape: shape.clone(),
                sizes: Sizes::Range(shortest, shortest + 3),
                flows: 300,
                fields,
                seed: 3,
            };
            let frames = made(&plan, 900);
            let seen = totals(&frames);
            assert_eq!((seen.received, seen.is_clean(), seen.foreign), (900, true, 0), "{plan:?}: {seen:?}");
            // Behind the mark all packets of a flow look alike, and no two flows do.
            let keys: HashSet<String> = frames.iter().map(|frame| key(frame)).collect();
            assert_eq!(keys.len(), 300, "{plan:?}");
        }
    }
}

/// VLANs, addresses and ports, as another's parser reads them.
fn key(frame: &[u8]) -> String {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let addresses = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => (ip.header().source().to_vec(), ip.header().destination().to_vec()),
        NetSlice::Ipv6(ip) => (ip.header().source().to_vec(), ip.header().destination().to_vec()),
        other => panic!("{other:?}"),
    };
    let ports = match packet.transport.as_ref().unwrap() {
        TransportSlice::Udp(udp) => udp.slice()[..4].to_vec(),
        TransportSlice::Tcp(tcp) => tcp.slice()[..4].to_vec(),
        TransportSlice::Icmpv4(icmp) => icmp.slice()[4..8].to_vec(),
        TransportSlice::Icmpv6(icmp) => icmp.slice()[4..8].to_vec(),
        other => panic!("{other:?}"),
    };
    format!("{:?} {addresses:?} {ports:?}", packet.vlan_ids())
}

#[test]
fn every_flipped_bit_behind_the_ethernet_header_is_found_or_makes_the_packet_unreadable() {
    for shape in shapes().into_iter().filter(|shape| shape.vlans.is_empty()) {
        let plan = Plan { sizes: Sizes::Fixed(shape.shortest() + 2), shape, ..Plan::default() };
        let frame = made(&plan, 1).remove(0);
        let v6 = frame[14] >> 4 == 6;
        for bit in 14 * 8..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut checker = Checker::default();
            let verdict = checker.take(&damaged);
            // Class, flow label and hop limit of IPv6 are under no checksum.
            let unprotected =
                v6 && ((14 * 8..14 * 8 + 4).contains(&bit) || [15, 16, 17, 21].contains(&(bit / 8)));
            let expected = matches!(verdict, Verdict::Damaged | Verdict::Foreign);
            assert!(expected || unprotected, "{plan:?}: bit {bit}: {verdict:?}");
            assert_eq!(checker.totals().received, u64::from(!expected));
        }
    }
}

#[test]
fn lost_doubled_late_and_damaged_packets_are_counted_exactly() {
    let plan = Plan { flows: 4, ..Plan::default() };
    let whole = made(&plan, 400);
    let seen = totals(&whole);
    assert!(seen.is_clean());
    assert_eq!((seen.received, seen.bytes), (400, 24_000));

    let mut list = whole.clone();
    let late = list.remove(40);
    let lost = totals(&list);
    assert_eq!((lost.received, lost.lost, lost.is_clean()), (399, 1, false));
    list.push(late.clone());
    let found = totals(&list);
    assert_eq!((found.received, found.lost, found.out_of_order, found.duplicates), (400, 0, 1, 0));
    list.push(late);
    assert_eq!(totals(&list).duplicates, 1);

    let mut list = whole.clone();
    list[7][45] ^= 0x10;
    list.push(vec![0; 60]);
    let seen = totals(&list);
    // The damaged packet leaves a gap in the numbers of its flow.
    assert_eq!((seen.received, seen.damaged, seen.lost, seen.foreign), (399, 1, 1, 1));
}

#[test]
fn a_jump_beyond_the_window_is_counted_whole_and_what_is_later_than_it_is_out_of_order() {
    let frames = made(&Plan::default(), 5000);
    let mut list: Vec<_> = frames[..5].iter().chain(&frames[4000..]).collect();
    assert_eq!(totals(&list).lost, 3995);
    list.push(&frames[5]);
    let seen = totals(&list);
    assert_eq!((seen.lost, seen.out_of_order), (3994, 1));
    // Just inside the window both can be told apart.
    let inside = 5000 - WINDOW as usize;
    list.extend([&frames[inside]]);
    assert_eq!(totals(&list).duplicates, 1);
}

#[test]
fn flows_beyond_the_limit_are_foreign_and_take_no_memory() {
    let frames = made(&Plan { flows: 100, ..Plan::default() }, 100);
    let mut checker = Checker::new(10);
    frames.iter().for_each(|frame| {
        checker.take(frame);
    });
    assert_eq!((checker.totals().received, checker.totals().foreign), (10, 90));
    assert_eq!(checker.flows().count(), 10);
}

#[test]
fn what_is_no_packet_is_refused_by_name() {
    let plan = |change: fn(&mut Plan)| {
        let mut plan = Plan::default();
        change(&mut plan);
        Generator::new(&plan).unwrap_err().to_string()
    };
    for (message, part) in [
        (plan(|plan| plan.sizes = Sizes::Fixed(59)), "60 to"),
        (plan(|plan| plan.sizes = Sizes::Range(100, 90)), "100 to 90"),
        // At once, not after all that are possible have been made.
        (plan(|plan| plan.sizes = Sizes::Range(60, usize::MAX)), "are not possible"),
        (plan(|plan| plan.sizes = Sizes::Fixed(70_000)), "70000"),
        (plan(|plan| plan.shape.protocol = Protocol::Tcp), "72 to"),
        (plan(|plan| plan.shape.vlans = vec![1, 2, 3]), "two are the most"),
        (plan(|plan| plan.shape.vlans = vec![4096]), "4096"),
        (plan(|plan| plan.shape.addresses.1 = "::1".parse().unwrap()), "two versions"),
        (plan(|plan| (plan.flows, plan.fields) = (50_001, vec![Field::SourcePort])), "50000 values"),
        (plan(|plan| (plan.flows, plan.fields) = (50_001, vec![Field::SourcePort; 2])), "50000 values"),
        (plan(|plan| (plan.flows, plan.fields) = (2, vec![Field::Vlan])), "1 values"),
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn imix_has_its_mean_and_captured_packets_keep_their_bytes_but_for_the_mark() {
    let generator = Generator::new(&Plan { sizes: Sizes::Imix, ..Plan::default() }).unwrap();
    assert!((generator.mean() + 4.0 - (7.0 * 64.0 + 4.0 * 594.0 + 1518.0) / 12.0).abs() < 1e-9);
    let shape = Shape::default();
    let mut bytes = shape.template(100).unwrap().bytes().to_vec();
    bytes[90] = 0x55;
    // What is at odds with its checksum stays so.
    let template = Template::of(bytes.clone()).unwrap();
    let small = Template::of(bytes[..42].to_vec());
    assert!(small.is_err() || !small.unwrap().takes_mark());
    let mut generator = Generator::of_templates(vec![template], &Plan::default()).unwrap();
    let mut frame = [0; 200];
    assert_eq!(generator.next(&mut frame, 9), Some(100));
    assert_eq!(frame[60..100], bytes[60..]);
    assert_eq!(frame[..40], bytes[..40]);
}
