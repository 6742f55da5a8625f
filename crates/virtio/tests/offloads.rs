//! Checksums and segmentation, both ways: what a packet asks for is done or the packet is dropped and counted, and what a
//! device says of a packet is believed only where it fits.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::internet::{KINDS, Kind};
use common::{Random, Rig, contents, frame, rings, without};
use ringway_model::virtio::{Features, Header, Options};
use ringway_packet::{Batch, Checksum, Offload, Packet, Pool, Protocol};
use ringway_port::{Offloads, Opened, PortOptions};

const SENDING: Offloads = Offloads::TCP_UDP_CHECKSUM;

fn segmenting() -> Offloads {
    SENDING | Offloads::TCP4_SEGMENTATION | Offloads::TCP6_SEGMENTATION | Offloads::UDP_SEGMENTATION
}

fn receiving() -> Offloads {
    Offloads::RECEIVE_CHECKSUM | Offloads::LARGE_RECEIVE
}

fn with(offloads: Offloads) -> PortOptions {
    PortOptions { offloads, ..rings(256, 128) }
}

/// A packet that asks for something, in buffers of at most `piece` bytes.
fn asking(pool: &Pool, frame: &[u8], request: Offload, piece: usize) -> Packet {
    let mut pieces = frame.chunks(piece);
    let mut packet = pool.packet_from(pieces.next().unwrap()).unwrap();
    for piece in pieces {
        packet.frame_mut().chain(pool.packet_from(piece).unwrap()).unwrap();
    }
    packet.frame_mut().set_offload(Some(request));
    packet
}

fn send(rig: &mut Rig, port: &mut Opened, packet: Packet) -> Vec<Vec<u8>> {
    let mut batch = Batch::new(&rig.pool, 4);
    batch.push(packet).unwrap();
    port.transmit[0].transmit(&mut batch).unwrap();
    assert!(batch.is_empty(), "it went or was dropped");
    rig.run();
    port.transmit[0].reclaim().unwrap();
    std::iter::from_fn(|| rig.device.take_sent()).collect()
}

#[test]
fn a_port_says_what_it_can_do_before_anything_is_asked_of_it() {
    for (missing, gone) in [
        (Features::CSUM, segmenting()),
        (Features::HOST_TSO4, Offloads::TCP4_SEGMENTATION),
        (Features::HOST_TSO6, Offloads::TCP6_SEGMENTATION),
        (Features::HOST_USO, Offloads::UDP_SEGMENTATION),
        (Features::GUEST_CSUM, receiving()),
        (Features::GUEST_TSO4, Offloads::NONE),
        (Features::GUEST_TSO4 | Features::GUEST_TSO6, Offloads::LARGE_RECEIVE),
        (Features::MRG_RXBUF, Offloads::LARGE_RECEIVE | Offloads::SCATTER),
        (Features::CTRL_VLAN, Offloads::VLAN_FILTER),
        (Features::HASH_REPORT, Offloads::HASH),
        (Features::CTRL_VQ, Offloads::HASH | Offloads::VLAN_FILTER),
    ] {
        let mut rig = Rig::new(without(missing), 1024);
        let capabilities = rig.open(&rings(64, 64)).control.capabilities();
        let all = segmenting()
            | receiving()
            | Offloads::GATHER
            | Offloads::SCATTER
            | Offloads::HASH
            | Offloads::VLAN_FILTER;
        assert_eq!(capabilities.offloads, all - gone, "without {missing:#x}");
        // What it says it can do, it can be opened for; what not, it says.
        for (one, name) in Offloads::known() {
            match rig.try_open(&PortOptions { offloads: one, ..rings(64, 64) }) {
                Ok(_) => assert!(capabilities.offloads.contains(one), "{name}"),
                Err(error) => {
                    assert!(!capabilities.offloads.contains(one), "{name}: {error}");
                    assert!(error.to_string().contains("emulated:0"), "{error}");
                }
            }
        }
        rig.is_clean();
    }
}

#[test]
fn a_checksum_that_a_packet_asks_for_is_filled_in() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&with(SENDING));
    for kind in KINDS {
        for length in [0, 1, 2, 63, 1400] {
            for piece in [300, 1700] {
                let partial = kind.partial(1000, length);
                let packet = asking(&rig.pool, &partial, kind.request(0), piece);
                let sent = send(&mut rig, &mut port, packet);
                assert_eq!(sent, [kind.packet(1000, length)], "{kind:?}, {length} bytes");
            }
        }
    }
    assert_eq!(rig.device.statistics().checksums, 50);
    drop(port);
    rig.is_clean();
}

#[test]
fn an_ipv4_header_s_checksum_is_filled_in_by_the_driver() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&rings(64, 64));
    let kind = KINDS[0];
    let right = kind.packet(7, 100);
    let mut frame = right.clone();
    frame[24..26].fill(0x77);
    let request = Offload { network_checksum: true, transport_checksum: false, ..kind.request(0) };
    let packet = asking(&rig.pool, &frame, request, 2000);
    assert_eq!(send(&mut rig, &mut port, packet), [right]);
    drop(port);
    rig.is_clean();
}

#[test]
fn a_long_packet_is_cut_into_segments_that_are_right_and_add_up() {
    for missing in [0, Features::INDIRECT_DESC] {
        let mut rig = Rig::new(without(missing), 1024);
        let mut port = rig.open(&with(segmenting()));
        let pool = rig.pool.clone();
        let mut random = Random::new(3);
        let (mut segmented, mut segments) = (0, 0);
        for round in 0..120 {
            let kind = KINDS[round % KINDS.len()];
            let segment = [536, 1000, 1400, 1428][random.below(4)];
            let length = 1 + random.below(if round % 10 == 0 { 64_000 } else { 9_000 });
            let mut long = kind.partial(round as u16, length);
            if round % 2 == 0 {
                // Whatever stands there: the driver knows what belongs there.
                kind.set_field(&mut long, 0x1234);
            }
            let sent = send(&mut rig, &mut port, asking(&pool, &long, kind.request(segment), 1700));
            assert_eq!(sent.len(), length.div_ceil(segment.into()), "{kind:?}: {length} in {segment}");
            assert_eq!(kind.joined(&sent, segment.into()), long[kind.payload()..]);
            segmented += u64::from(sent.len() > 1);
            segments += if sent.len() > 1 { sent.len() as u64 } else { 0 };
        }
        let counted = rig.device.statistics();
        assert_eq!((counted.segmented, counted.segments), (segmented, segments));
        assert_eq!(port.control.statistics().unwrap().sent().errors, 0);
        drop(port);
        rig.is_clean();
    }
}

#[test]
fn what_the_port_was_not_opened_for_is_dropped_and_counted() {
    let all = [SENDING, Offloads::TCP4_SEGMENTATION, Offloads::TCP6_SEGMENTATION, Offloads::UDP_SEGMENTATION];
    for asked in [Offloads::NONE].iter().chain(&all) {
        let mut rig = Rig::new(Options::default(), 1024);
        let mut port = rig.open(&with(*asked));
        let pool = rig.pool.clone();
        let mut refused = 0;
        for kind in KINDS {
            for (segment, needs) in [
                (0, SENDING),
                (
                    1000,
                    match (kind.tcp, kind.ipv6) {
                        (true, false) => Offloads::TCP4_SEGMENTATION,
                        (true, true) => Offloads::TCP6_SEGMENTATION,
                        (false, _) => Offloads::UDP_SEGMENTATION,
                    },
                ),
            ] {
                // Whoever segments fills in checksums too.
                let can = asked.contains(needs) || needs == SENDING && *asked != Offloads::NONE;
                let length = if segment == 0 { 100 } else { 5000 };
                let packet = asking(&pool, &kind.partial(1, length), kind.request(segment), 1700);
                assert_eq!(send(&mut rig, &mut port, packet).is_empty(), !can, "{kind:?} {asked}");
                refused += u64::from(!can);
            }
        }
        assert_eq!(port.control.statistics().unwrap().sent().errors, refused);
        drop(port);
        rig.is_clean();
    }
}

#[test]
fn a_request_that_does_not_fit_its_packet_is_dropped_and_counted() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&with(segmenting()));
    let pool = rig.pool.clone();
    let kind = KINDS[0];
    let good = kind.request(1000);
    let wrong = [
        Offload { transport: 15, ..good },
        Offload { network: 18, ..good },
        Offload { payload: 40, ..good },
        Offload { payload: 60_000, ..good },
        Offload { segment: 1461, ..good }, // a frame longer than the MTU
        Offload { protocol: Protocol::TcpIpv6, ..good },
        Offload { protocol: Protocol::UdpIpv4, ..good },
        Offload { protocol: Protocol::SctpIpv4, ..good },
        Offload { protocol: Protocol::SctpIpv6, segment: 0, ..good },
        Offload { transport: 5_000, segment: 0, ..good },
        Offload { network: 3_000, network_checksum: true, transport_checksum: false, segment: 0, ..good },
    ];
    for request in wrong {
        let packet = asking(&pool, &kind.partial(1, 4000), request, 1700);
        assert_eq!(send(&mut rig, &mut port, packet), Vec::<Vec<u8>>::new(), "{request:?}");
    }
    let mut tagged = pool.packet_from(&frame(1, 60)).unwrap();
    tagged.frame_mut().set_vlan(Some(7));
    assert!(send(&mut rig, &mut port, tagged).is_empty(), "no device puts the tag in");
    assert_eq!(port.control.statistics().unwrap().sent().errors, wrong.len() as u64 + 1);
    let sent = send(&mut rig, &mut port, asking(&pool, &kind.partial(1, 4000), good, 1700));
    assert_eq!(sent.len(), 4);
    drop(port);
    rig.is_clean();
}

#[test]
fn no_request_whatever_it_says_makes_the_driver_break_a_rule() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&with(segmenting()));
    let pool = rig.pool.clone();
    let mut random = Random::new(11);
    let protocols = [
        Protocol::TcpIpv4,
        Protocol::TcpIpv6,
        Protocol::UdpIpv4,
        Protocol::UdpIpv6,
        Protocol::SctpIpv4,
        Protocol::SctpIpv6,
    ];
    for _ in 0..6_000 {
        let kind = KINDS[random.below(KINDS.len())];
        let mut place = |right: u16| if random.once_in(3) { random.next() as u16 % 200 } else { right };
        let right = kind.request(900);
        let request = Offload {
            network: place(right.network),
            transport: place(right.transport),
            payload: place(right.payload),
            segment: place(900),
            protocol: if random.once_in(3) { protocols[random.below(6)] } else { right.protocol },
            network_checksum: random.once_in(2),
            // A sum over the wrong place is a wrong sum, and the model says so.
            transport_checksum: false,
        };
        let length = random.below(3000);
        send(&mut rig, &mut port, asking(&pool, &kind.partial(1, length), request, 1700));
    }
    drop(port);
    rig.is_clean();
}

fn header(kind: Kind, segment: u16) -> Header {
    let gso_type = match (segment, kind.ipv6) {
        (0, _) => 0,
        (_, false) => 1,
        (_, true) => 4,
    };
    Header {
        flags: 1,
        gso_type,
        header_length: kind.payload() as u16,
        gso_size: segment,
        checksum_start: kind.transport() as u16,
        checksum_offset: kind.field() as u16,
        ..Header::default()
    }
}

#[test]
fn what_a_device_found_out_about_checksums_comes_with_the_packet() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&with(Offloads::RECEIVE_CHECKSUM));
    let mut batch = Batch::new(&rig.pool, 8);
    for kind in KINDS {
        let mut wrong = kind.packet(1, 100);
        wrong[kind.payload()] ^= 1;
        assert!(rig.device.inject(&kind.packet(1, 100)));
        assert!(rig.device.inject(&wrong));
        assert!(rig.device.inject(&frame(1, 60)));
        assert!(rig.device.inject_as(&kind.partial(1, 100), header(kind, 0)));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 4);
        let said: Vec<_> = batch.frames().map(|frame| frame.checksum()).collect();
        assert_eq!(said, [Checksum::Good, Checksum::Unknown, Checksum::Unknown, Checksum::Partial]);
        let requests: Vec<_> = batch.frames().map(|frame| frame.offload().copied()).collect();
        assert_eq!(requests, [None, None, None, Some(kind.request(0))]);
        batch.clear();
    }
    drop((port, batch));
    rig.is_clean();
}

/// Two devices in one address space: what one receives, the other sends.
fn forwarded(from: Offloads, to: Offloads, kind: Kind, length: usize, segment: u16) -> (Vec<Vec<u8>>, u64) {
    let mut left = Rig::new(Options::default(), 2048);
    let second = Options { name: "emulated:1".to_owned(), ..Options::default() };
    let mut right = Rig::with_pool(&left.space, &left.pool, second);
    let (mut receiver, mut sender) = (left.open(&with(from)), right.open(&with(to)));
    let mut batch = Batch::new(&left.pool, 8);
    assert!(left.device.inject_as(&kind.partial(9, length), header(kind, segment)));
    assert_eq!(receiver.receive[0].receive(&mut batch).unwrap(), 1);
    assert_eq!(contents(&mut batch), [kind.partial(9, length)]);
    sender.transmit[0].transmit(&mut batch).unwrap();
    assert!(batch.is_empty());
    right.run();
    let sent = std::iter::from_fn(|| right.device.take_sent()).collect();
    let errors = sender.control.statistics().unwrap().sent().errors;
    drop((receiver, sender, batch));
    left.is_clean();
    right.is_clean();
    (sent, errors)
}

#[test]
fn a_packet_without_its_checksum_is_forwarded_with_it_or_not_at_all() {
    for kind in KINDS {
        let (sent, errors) = forwarded(Offloads::RECEIVE_CHECKSUM, SENDING, kind, 200, 0);
        assert_eq!((sent, errors), (vec![kind.packet(9, 200)], 0), "{kind:?}");
        let (sent, errors) = forwarded(Offloads::RECEIVE_CHECKSUM, Offloads::NONE, kind, 200, 0);
        assert_eq!((sent, errors), (vec![], 1), "{kind:?}");
    }
}

#[test]
fn a_large_packet_is_forwarded_in_segments_or_not_at_all() {
    for kind in KINDS.into_iter().filter(|kind| kind.tcp) {
        for length in [1500, 20_000, 65_000] {
            let (sent, errors) = forwarded(receiving(), segmenting(), kind, length, 1400);
            assert_eq!((sent.len(), errors), (length.div_ceil(1400), 0), "{kind:?}");
            assert_eq!(kind.joined(&sent, 1400), kind.packet(9, length)[kind.payload()..]);
            let (sent, errors) = forwarded(receiving(), SENDING, kind, length, 1400);
            assert_eq!((sent, errors), (vec![], 1), "{kind:?}");
        }
    }
}

/// A device may join segments whose checksums it found right, and leave the sum of the whole in the field.
#[test]
fn a_large_packet_whose_checksum_is_there_already_asks_for_it_all_the_same() {
    for kind in KINDS.into_iter().filter(|kind| kind.tcp) {
        let mut rig = Rig::new(Options::default(), 1024);
        let mut port = rig.open(&with(receiving()));
        let mut batch = Batch::new(&rig.pool, 8);
        let said = Header { flags: 0, checksum_start: 0, checksum_offset: 0, ..header(kind, 1400) };
        assert!(rig.device.inject_as(&kind.packet(9, 20_000), said));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
        // Whoever sends it starts from the pseudo-header's sum, as of any packet that asks.
        assert_eq!(contents(&mut batch), [kind.partial(9, 20_000)], "{kind:?}");
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn another_protocol_s_checksum_is_filled_in_on_arrival() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&with(Offloads::RECEIVE_CHECKSUM));
    let mut batch = Batch::new(&rig.pool, 8);
    for length in [60, 61, 1400] {
        let mut unknown = frame(5, length);
        unknown[40..42].fill(0);
        let said = Header { flags: 1, checksum_start: 30, checksum_offset: 10, ..Header::default() };
        assert!(rig.device.inject_as(&unknown, said));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
        let mut received = batch.frame(0).unwrap();
        assert_eq!((received.checksum(), received.offload()), (Checksum::Good, None));
        let mut sum = 0u32;
        for pair in received.data_mut()[30..].chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
        assert_eq!(sum % 0xffff, 0, "ones' complement zero");
        batch.clear();
    }
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn a_header_that_does_not_fit_its_packet_is_a_counted_drop() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&with(receiving()));
    let mut batch = Batch::new(&rig.pool, 8);
    let kind = KINDS[0];
    let good = header(kind, 1400);
    let wrong = [
        Header { gso_size: 0, ..good },
        Header { gso_type: 4, ..good },
        Header { gso_type: 3, ..good },
        Header { gso_type: 5, ..good },
        Header { gso_type: 0x7f, ..good },
        Header { checksum_start: 33, ..good },
        Header { checksum_offset: 6, ..good },
        Header { gso_type: 0, checksum_start: u16::MAX, ..good },
        Header { gso_type: 0, checksum_start: 2000, checksum_offset: u16::MAX, ..good },
    ];
    for (index, said) in wrong.into_iter().enumerate() {
        assert!(rig.device.inject(&frame(1, 60)));
        assert!(rig.device.inject_as(&kind.partial(1, if said.gso_type == 0 { 1000 } else { 3000 }), said));
        assert!(rig.device.inject(&frame(2, 60)));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 2, "{said:?}");
        assert_eq!(contents(&mut batch), [frame(1, 60), frame(2, 60)]);
        let counted = port.control.statistics().unwrap().received();
        assert_eq!((counted.errors, counted.packets), (index as u64 + 1, 2 * index as u64 + 2));
        assert_eq!(counted.bytes, 120 * (index as u64 + 1));
        batch.clear();
    }
    // A frame that is no TCP packet at all.
    assert!(rig.device.inject_as(&frame(1, 3000), good));
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0);
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn whatever_a_header_says_a_forwarder_breaks_no_rule() {
    let mut left = Rig::new(Options::default(), 2048);
    let second = Options { name: "emulated:1".to_owned(), ..Options::default() };
    let mut right = Rig::with_pool(&left.space, &left.pool, second);
    let (mut receiver, mut sender) = (left.open(&with(receiving())), right.open(&with(segmenting())));
    let mut batch = Batch::new(&left.pool, 8);
    let mut random = Random::new(23);
    let (mut received, mut sent) = (0, 0);
    for _ in 0..6_000 {
        let kind = KINDS[random.below(KINDS.len())];
        let right_one = header(kind, if random.once_in(2) { 1000 } else { 0 });
        let mut half = |right: u16| match random.below(6) {
            0 => random.next() as u16,
            1 => random.next() as u16 % 100,
            _ => right,
        };
        let said = Header {
            flags: half(right_one.flags.into()) as u8,
            gso_type: half(right_one.gso_type.into()) as u8,
            header_length: half(right_one.header_length),
            gso_size: half(right_one.gso_size),
            checksum_start: half(right_one.checksum_start),
            checksum_offset: half(right_one.checksum_offset),
            hash: 0,
            hash_report: half(0),
        };
        let mut packet = kind.partial(1, random.below(4000));
        if random.once_in(4) {
            let at = 12 + random.below(kind.payload() - 12);
            packet[at] = random.next() as u8;
        }
        left.device.inject_as(&packet, said);
        received += receiver.receive[0].receive(&mut batch).unwrap();
        sender.transmit[0].transmit(&mut batch).unwrap();
        batch.clear();
        right.run();
        sent += std::iter::from_fn(|| right.device.take_sent()).count();
    }
    assert!(received > 600 && sent > 2_000, "{received} received, {sent} sent");
    assert_eq!(left.device.violations(), []);
    // The sum over a packet that was spoilt may be wrong, which is the packet's; nothing else may be.
    for violation in right.device.violations() {
        assert!(violation.seen.contains("pseudo-header"), "{violation}");
    }
}
