//! Packets through rings, many laps, in every form that descriptors have.

use crate::driver::*;
use crate::frames::numbered;
use ringway_model::wire::{cable_pair, channel};
use std::sync::atomic::Ordering;

#[test]
fn many_laps_in_both_directions_lose_and_reorder_nothing() {
    let mut port = Port::start(Setup { descriptors: 8, ..Setup::default() });
    let (mut received, mut sent) = (0u32, 0u32);
    for number in 0..10_000u32 {
        assert!(port.device.inject(&numbered(number)), "{number}");
        port.send(0, &numbered(number));
        port.settle();
        while let Some(packet) = port.take(0) {
            assert_eq!(packet.bytes, numbered(received));
            received += 1;
        }
        while let Some(frame) = port.device.take_sent() {
            assert_eq!(frame, numbered(sent));
            sent += 1;
        }
    }
    assert_eq!((received, sent, port.device.faults()), (10_000, 10_000, 0));
}

#[test]
fn a_full_ring_refuses_one_more_frame_and_takes_it_later() {
    let mut port = Port::start(Setup { descriptors: 8, ..Setup::default() });
    for number in 0..7 {
        assert!(port.device.inject(&numbered(number)));
    }
    assert!(!port.device.inject(&numbered(7)));
    assert!(port.take(0).is_some());
    assert!(port.device.inject(&numbered(7)));
    assert_eq!(port.read(MPC), 0, "who waits misses nothing");
}

#[test]
fn only_descriptors_that_ask_are_reported() {
    let mut port = Port::start(Setup::default());
    for number in 0..4u32 {
        let report = if number == 3 { data(true) } else { data(true) & !(1 << 27) };
        port.push(0, &numbered(number), report | 60 << 46);
    }
    port.ring_transmit(0);
    port.settle();
    assert!(!port.is_done(0, 0) && !port.is_done(0, 2) && port.is_done(0, 3));
    assert_eq!(port.read(transmit_block(0) + 0x10), 4, "the head");
    assert_eq!(std::iter::from_fn(|| port.device.take_sent()).count(), 4);
}

#[test]
fn the_head_can_be_written_back_instead() {
    let mut port = Port::start(Setup::default());
    let (low, high) = port.scratch_base;
    port.write(transmit_block(0) + 0x3c, high);
    port.write(transmit_block(0) + 0x38, low | 1);
    port.send(0, &numbered(0));
    port.send(0, &numbered(1));
    port.settle();
    assert_eq!(port.scratch.at(0).load(Ordering::Acquire) as u32, 2);
    assert!(!port.is_done(0, 1));
}

#[test]
fn a_packet_in_pieces_is_sent_whole_when_its_end_has_come() {
    let mut port = Port::start(Setup::default());
    let whole: Vec<u8> = numbered(1).into_iter().chain((0..200).map(|byte| byte as u8)).collect();
    port.push(0, &whole[..10], data(false) | (whole.len() as u64) << 46);
    port.push(0, &whole[10..100], data(false));
    port.ring_transmit(0);
    port.settle();
    assert_eq!(port.device.take_sent(), None);
    port.push(0, &whole[100..], data(true));
    port.ring_transmit(0);
    port.settle();
    assert_eq!(port.device.take_sent(), Some(whole));
}

#[test]
fn a_long_frame_fills_several_buffers_and_ends_in_the_last() {
    let mut port = Port::start(Setup { jumbo: true, ..Setup::default() });
    let frame: Vec<u8> = numbered(9).into_iter().chain((0..8940u32).map(|byte| byte as u8)).collect();
    assert!(port.device.inject(&frame));
    let words: Vec<u64> =
        (0..5).map(|index| port.receive[0].ring.at(index).word.load(Ordering::Acquire)).collect();
    assert!(words[..4].iter().all(|word| word & 3 == 1 && word >> 32 & 0xffff == 2048));
    assert_eq!((words[4] & 3, words[4] >> 32 & 0xffff), (3, 9000 - 4 * 2048));
    assert_eq!(port.take(0).unwrap().bytes, frame);
}

#[test]
fn a_frame_that_fills_its_buffer_exactly_needs_no_second() {
    let mut port = Port::start(Setup { jumbo: true, ..Setup::default() });
    assert!(port.device.inject(&vec![0x55; 2048]));
    assert_eq!(port.take(0).unwrap().bytes.len(), 2048);
    assert_eq!(port.read(receive_block(0) + 0x10), 1);
}

#[test]
fn the_check_sequence_comes_along_when_it_is_not_stripped() {
    let mut port = Port::start(Setup::default());
    port.write(HLREG0, port.read(HLREG0) & !2);
    assert!(port.device.inject(&numbered(5)));
    let packet = port.take(0).unwrap();
    assert_eq!((packet.bytes.len(), &packet.bytes[..60]), (64, &numbered(5)[..]));
    assert_ne!(packet.bytes[60..], [0; 4]);
}

#[test]
fn short_packets_are_padded_on_their_way_out() {
    let mut port = Port::start(Setup::default());
    port.send(0, &numbered(1)[..20]);
    port.settle();
    let frame = port.device.take_sent().unwrap();
    assert_eq!((frame.len(), &frame[..20]), (60, &numbered(1)[..20]));
    assert!(frame[20..].iter().all(|byte| *byte == 0));
}

#[test]
fn legacy_descriptors_serve_both_directions() {
    let mut port = Port::start(Setup { split_control: 0, ..Setup::default() });
    assert!(port.device.inject(&numbered(3)));
    let word = port.receive[0].ring.at(0).word.load(Ordering::Acquire);
    assert_eq!((word & 0xffff, word >> 32 & 3), (60, 3));
    assert_eq!(port.receive[0].bytes(0, 60), numbered(3));
    // EOP, IFCS, RS.
    port.push(0, &numbered(4), 0b1011 << 24);
    port.ring_transmit(0);
    port.settle();
    assert_eq!(port.device.take_sent(), Some(numbered(4)));
    assert!(port.is_done(0, 0));
}

#[test]
fn nothing_moves_without_bus_mastering_or_link_or_enable() {
    let mut port = Port::start(Setup::default());
    port.send(0, &numbered(0));
    port.function.set_bus_master(false).unwrap();
    assert_eq!((port.device.step(), port.device.inject(&numbered(0))), (0, false));
    port.function.set_bus_master(true).unwrap();
    port.device.set_link(false);
    assert_eq!((port.device.step(), port.device.inject(&numbered(0))), (0, false));
    port.device.set_link(true);
    port.write(0x3000, 0);
    assert!(!port.device.inject(&numbered(0)));
    port.write(0x3000, 1);
    port.write(receive_block(0) + 0x28, 0);
    assert!(!port.device.inject(&numbered(0)));
    assert_eq!(port.device.step(), 1, "the packet that waited");
}

#[test]
fn two_ports_on_a_cable_pass_frames_while_threads_move_them() {
    let mut ports = [Port::start(Setup::default()), Port::start(Setup::default())];
    let (left, right) = cable_pair();
    ports[0].device.attach(Box::new(left));
    ports[1].device.attach(Box::new(right));
    let running: Vec<_> = ports
        .iter_mut()
        .map(|port| {
            let (_space, _function, _bar, other) = function(Default::default());
            std::mem::replace(&mut port.device, other).run()
        })
        .collect();
    let (mut sent, mut received) = (0u32, 0u32);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while received < 2000 {
        assert!(std::time::Instant::now() < deadline, "{received} of {sent} in a minute");
        let free = sent < 2000 && (sent < 60 || ports[0].is_done(0, sent - 60));
        if free {
            ports[0].send(0, &numbered(sent));
            sent += 1;
        }
        match ports[1].take(0) {
            Some(packet) => {
                assert_eq!(packet.bytes, numbered(received));
                received += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    for device in running {
        assert_eq!(device.stop().faults(), 0);
    }
}

#[test]
fn a_wire_without_room_keeps_packets_in_the_ring() {
    let mut port = Port::start(Setup::default());
    let (near, far) = channel(2);
    port.device.attach(Box::new(near));
    for number in 0..5 {
        port.send(0, &numbered(number));
    }
    port.settle();
    assert_eq!(port.read(transmit_block(0) + 0x10), 2);
    assert_eq!(far.receive(), Some(numbered(0)));
    port.settle();
    assert_eq!(port.read(transmit_block(0) + 0x10), 3);
}
