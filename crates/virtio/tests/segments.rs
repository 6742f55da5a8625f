//! Packets in several buffers: received merged, sent through tables or as chains.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Random, Rig, batch_of, contents, frame, rings, without};
use ringway_model::virtio::{Features, Options, Order};
use ringway_packet::{Batch, Packet, Pool};
use ringway_port::PortOptions;

/// A device whose frames may be long.
fn jumbo(missing: u64) -> Options {
    Options { mtu: 9_600, ..without(missing) }
}

fn long(receive: u32, transmit: u32) -> PortOptions {
    PortOptions { maximum_frame: 9_618, ..rings(receive, transmit) }
}

/// A packet of these pieces, a buffer each.
fn packet(pool: &Pool, pieces: &[&[u8]]) -> Packet {
    let mut packet = pool.packet_from(pieces[0]).unwrap();
    for piece in &pieces[1..] {
        packet.frame_mut().chain(pool.packet_from(piece).unwrap()).unwrap();
    }
    packet
}

fn cut(frame: &[u8], at: usize) -> Vec<&[u8]> {
    frame.chunks(at).collect()
}

#[test]
fn long_frames_are_received_in_several_buffers_and_sent_on_as_they_are() {
    for missing in [0, Features::INDIRECT_DESC] {
        for order in [Order::AsGiven, Order::Reversed, Order::Shuffled(3)] {
            let mut rig = Rig::new(Options { order, ..jumbo(missing) }, 1024);
            let mut port = rig.open(&long(64, 64));
            let mut batch = Batch::new(&rig.pool, 8);
            let mut random = Random::new(7);
            let mut bytes = 0;
            for round in 0..400u64 {
                let mut sent = Vec::new();
                for number in 0..6 {
                    // Around the ends of buffers too: the first holds 1792 bytes, the others 1804.
                    let length = match random.below(4) {
                        0 => 1792 + random.below(3) - 1,
                        1 => 1792 + 1804 * (1 + random.below(4)) + random.below(3) - 1,
                        2 => 60 + random.below(100),
                        _ => 60 + random.below(9_558),
                    };
                    let frame = frame(round * 6 + number, length);
                    if !rig.device.inject(&frame) {
                        break;
                    }
                    bytes += frame.len() as u64;
                    sent.push(frame);
                }
                assert!(!sent.is_empty(), "round {round}");
                assert_eq!(port.receive[0].receive(&mut batch).unwrap(), sent.len());
                assert_eq!(contents(&mut batch), sent);
                assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), sent.len());
                rig.run();
                for frame in sent {
                    assert_eq!(rig.device.take_sent(), Some(frame));
                }
            }
            let counted = port.control.statistics().unwrap();
            assert_eq!((counted.received().bytes, counted.sent().bytes), (bytes, bytes));
            port.transmit[0].reclaim().unwrap();
            assert_eq!(port.transmit[0].pending(), 0);
            drop((port, batch));
            rig.is_clean();
        }
    }
}

#[test]
fn short_and_long_packets_mix_in_one_batch() {
    for missing in [0, Features::INDIRECT_DESC] {
        let mut rig = Rig::new(jumbo(missing), 1024);
        let mut port = rig.open(&long(64, 128));
        for round in 0..200u64 {
            let frames: Vec<Vec<u8>> = (0..12u64)
                .map(|number| {
                    frame(round * 12 + number, if number % 3 == 0 { 4000 } else { 60 + number as usize })
                })
                .collect();
            let mut batch = Batch::new(&rig.pool, 256);
            for frame in &frames {
                let pieces = cut(frame, if frame.len() > 1000 { 900 } else { 2000 });
                batch.push(packet(&rig.pool, &pieces)).unwrap();
            }
            assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 12, "round {round}");
            rig.run();
            for frame in frames {
                assert_eq!(rig.device.take_sent(), Some(frame));
            }
        }
        drop(port);
        rig.is_clean();
    }
}

#[test]
fn a_chain_that_finds_no_room_has_sent_buffers_taken_back_for_it() {
    for size in [8, 16, 64] {
        let mut rig = Rig::new(jumbo(Features::INDIRECT_DESC), 512);
        let mut port = rig.open(&long(64, size));
        let frame = frame(1, 5 * 100);
        let pieces = cut(&frame, 100);
        for round in 0..100 {
            let mut batch = Batch::new(&rig.pool, 1);
            batch.push(packet(&rig.pool, &pieces)).unwrap();
            assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1, "round {round} of {size}");
            rig.run();
            assert_eq!(rig.device.take_sent().as_deref(), Some(&frame[..]));
        }
        drop(port);
        rig.is_clean();
    }
}

#[test]
fn a_chain_longer_than_what_is_free_stays_whole_in_the_batch() {
    let mut rig = Rig::new(jumbo(Features::INDIRECT_DESC), 512);
    let mut port = rig.open(&long(64, 16));
    rig.device.faults().stall(1, true);
    let mut batch = batch_of(&rig.pool, (0..13).map(|number| frame(number, 60)));
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 13);
    let frame = frame(13, 400);
    batch.push(packet(&rig.pool, &cut(&frame, 100))).unwrap();
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 0);
    assert_eq!(contents(&mut batch), std::slice::from_ref(&frame));
    assert_eq!(port.transmit[0].pending(), 13);
    rig.device.faults().stall(1, false);
    rig.run();
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
    rig.run();
    assert_eq!(std::iter::from_fn(|| rig.device.take_sent()).last(), Some(frame));
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn all_buffers_of_a_packet_count_as_pending() {
    for missing in [0, Features::INDIRECT_DESC] {
        let mut rig = Rig::new(jumbo(missing), 512);
        let mut port = rig.open(&long(64, 64));
        let frame = frame(1, 600);
        let mut batch = Batch::new(&rig.pool, 4);
        batch.push(packet(&rig.pool, &cut(&frame, 100))).unwrap();
        batch.push(packet(&rig.pool, &[&frame])).unwrap();
        assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 2);
        assert_eq!(port.transmit[0].pending(), 7);
        assert_eq!(port.control.statistics().unwrap().sent().bytes, 1200);
        rig.run();
        assert_eq!(port.transmit[0].reclaim().unwrap(), 7);
        assert_eq!(port.transmit[0].pending(), 0);
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn what_can_not_be_sent_is_dropped_and_counted_and_the_rest_goes() {
    for missing in [0, Features::INDIRECT_DESC] {
        let mut rig = Rig::new(Options { mtu: 3000, ..without(missing) }, 512);
        let mut port = rig.open(&rings(64, 8));
        let good = frame(1, 60);
        let small = frame(2, 90);
        let large = frame(3, 3015);
        let mut tagged = frame(4, 3018);
        tagged[12..14].copy_from_slice(&[0x81, 0x00]);
        let mut no_headroom = rig.pool.packet_from(&good[14..]).unwrap();
        no_headroom.frame_mut().prepend(250).unwrap();
        let mut batch = Batch::new(&rig.pool, 256);
        for packet in [
            packet(&rig.pool, &[&good]),
            packet(&rig.pool, &cut(&small, 10)), // nine buffers: more than a table or ring has
            packet(&rig.pool, &[&good[..13]]),   // no Ethernet header
            rig.pool.packet().unwrap(),          // nothing
            packet(&rig.pool, &cut(&large, 1600)), // beyond the MTU
            packet(&rig.pool, &cut(&tagged, 1600)), // with a tag it isn't
            packet(&rig.pool, &[&good[..20], &[], &good[20..]]), // an empty buffer
            no_headroom,
            packet(&rig.pool, &[&small]),
        ] {
            batch.push(packet).unwrap();
        }
        assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 3);
        assert!(batch.is_empty());
        rig.run();
        let sent: Vec<Vec<u8>> = std::iter::from_fn(|| rig.device.take_sent()).collect();
        assert_eq!(sent, [good, tagged, small]);
        assert_eq!(port.control.statistics().unwrap().sent().errors, 6);
        port.transmit[0].reclaim().unwrap();
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn without_mergeable_buffers_a_frame_longer_than_a_buffer_is_asked_for_in_vain() {
    let mut rig = Rig::new(jumbo(Features::MRG_RXBUF), 512);
    let error = rig.try_open(&long(64, 64)).unwrap_err().to_string();
    for part in ["emulated:0", "VIRTIO_NET_F_MRG_RXBUF", "larger buffers"] {
        assert!(error.contains(part), "{error}");
    }
    // Shorter ones it can have; an MTU for which it has no buffers is not accepted (section 5.1.4.2).
    let port = rig.open(&rings(64, 64));
    assert!(!port.control.information().features.contains(&"VIRTIO_NET_F_MTU"));
    assert_eq!(port.control.information().maximum_frame, 1518);
    assert!(rig.device.inject(&frame(1, 1518)));
    drop(port);
    rig.is_clean();
}

#[test]
fn a_device_that_names_the_middle_of_a_chain_is_found_out() {
    let mut rig = Rig::new(jumbo(Features::INDIRECT_DESC), 512);
    let mut port = rig.open(&long(64, 16));
    let frame = frame(1, 400);
    let mut batch = Batch::new(&rig.pool, 4);
    batch.push(packet(&rig.pool, &cut(&frame, 100))).unwrap();
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
    rig.device.faults().wrong_id(1, 2);
    rig.run();
    for _ in 0..2 {
        let error = port.transmit[0].reclaim().unwrap_err().to_string();
        for part in ["emulated:0", "a packet back that it didn't have", "open it again"] {
            assert!(error.contains(part), "{error}");
        }
    }
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn a_device_that_miscounts_a_packets_buffers_is_found_out() {
    // None, more than it gave, and one that belongs to another packet.
    for count in [0, 4, u16::MAX] {
        let mut rig = Rig::new(jumbo(0), 512);
        let mut port = rig.open(&long(64, 64));
        rig.device.faults().wrong_buffer_count(count);
        assert!(rig.device.inject(&frame(1, 5_000)));
        let mut batch = Batch::new(&rig.pool, 4);
        let error = port.receive[0].receive(&mut batch).unwrap_err().to_string();
        assert!(error.contains("emulated:0") && error.contains("buffer"), "{error}");
        assert!(batch.is_empty(), "no part of it reaches the program");
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn a_length_that_no_buffer_has_is_a_counted_drop() {
    let mut rig = Rig::new(jumbo(0), 512);
    let mut port = rig.open(&long(64, 64));
    let mut batch = Batch::new(&rig.pool, 4);
    for excess in [2_000, 0x7fff_ffff, 0u32.wrapping_sub(65), 0u32.wrapping_sub(72)] {
        rig.device.faults().excess_length(0, excess);
        assert!(rig.device.inject(&frame(1, 60)));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0, "{excess:#x}");
    }
    for number in 0..200 {
        assert!(rig.device.inject(&frame(number, 60)));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
        batch.clear();
    }
    assert_eq!(port.control.statistics().unwrap().received().errors, 4);
    drop((port, batch));
    rig.is_clean();
}
