//! A driver that does everything wrong: faults are counted, nothing hangs, nothing panics.

use crate::driver::*;
use crate::frames::numbered;
use ringway_model::ixgbe::Options;
use std::sync::atomic::Ordering;

/// A generator whose numbers repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn a_tail_outside_the_ring_moves_nothing() {
    let mut port = Port::start(Setup::default());
    port.send(0, &numbered(0));
    for tail in [64, 65, 0xffff] {
        port.write(transmit_block(0) + 0x18, tail);
        port.write(receive_block(0) + 0x18, tail);
        assert_eq!((port.device.step(), port.device.inject(&numbered(0))), (0, false));
    }
    port.ring_transmit(0);
    assert_eq!(port.device.step(), 1);
}

#[test]
fn a_ring_that_is_not_mapped_is_a_fault_and_not_a_hang() {
    let mut port = Port::start(Setup::default());
    port.write(transmit_block(0) + 4, 0x7777);
    port.write(receive_block(0) + 4, 0x7777);
    port.send(0, &numbered(0));
    port.settle();
    port.device.inject(&numbered(0));
    assert_eq!(port.device.faults(), 2);
    port.settle();
    assert_eq!(port.device.faults(), 2, "one fault a queue until its tail moves");
    assert_eq!(port.device.take_sent(), None);
}

#[test]
fn data_out_of_reach_spoils_its_packet_and_no_other() {
    let mut port = Port::start(Setup::default());
    port.push_words(0, 0x7777_0000_0000, data(true) | 60 | 60 << 46);
    port.send(0, &numbered(1));
    port.settle();
    assert_eq!((port.device.take_sent(), port.device.take_sent()), (Some(numbered(1)), None));
    assert_eq!(port.device.faults(), 1);
    assert!(port.is_done(0, 0));
    port.receive[0].words.at(0).store(0x7777_0000_0000, Ordering::Release);
    assert!(port.device.inject(&numbered(2)) && port.device.inject(&numbered(3)));
    assert_eq!(port.device.faults(), 2);
    assert!(port.take(0).is_some(), "a posted write that is lost is not noticed by the device");
    assert_eq!(port.take(0).unwrap().bytes, numbered(3));
}

#[test]
fn a_packet_without_end_never_leaves_and_blocks_no_other_queue() {
    let mut port = Port::start(Setup { queues: 2, ..Setup::default() });
    for _ in 0..1000 {
        port.push(0, &[0; 2000], data(false));
        port.ring_transmit(0);
        port.device.step();
    }
    port.send(1, &numbered(1));
    port.settle();
    assert_eq!((port.device.take_sent(), port.device.take_sent()), (Some(numbered(1)), None));
}

#[test]
fn a_device_whose_memory_is_gone_stops_reaching_for_it() {
    let mut port = Port::start(Setup::default());
    port.send(0, &numbered(0));
    let Port { function, mut device, receive, transmit, scratch, memory, bar, space, .. } = port;
    drop((receive, transmit, scratch, memory));
    assert_eq!(space.usage().mappings, 0);
    device.step();
    device.inject(&numbered(1));
    assert_eq!(device.faults(), 2);
    drop((bar, function));
}

#[test]
fn any_descriptor_is_survived() {
    let mut random = Random(0x1234_5678_9abc_def0);
    let mut port = Port::start(Setup { descriptors: 32, ..Setup::default() });
    let base = port.transmit[0].base;
    for _ in 0..20_000 {
        let place = base.wrapping_add(random.next() % 4096);
        let first = if random.next() & 1 == 0 { random.next() } else { place };
        // Mostly well-formed kinds, all flags and lengths.
        let kind = [2 << 20, 3 << 20, random.next() & 0xf << 20, 0][(random.next() % 4) as usize];
        let extended = if random.next() & 7 == 0 { 0 } else { 1 << 29 };
        port.push_words(0, first, random.next() & !(0xf << 20 | 1 << 29) | kind | extended);
        port.ring_transmit(0);
        port.device.step();
        while port.device.take_sent().is_some() {}
    }
}

#[test]
fn any_register_write_is_survived() {
    let mut random = Random(42);
    for round in 0..20 {
        let mut port = Port::start(Setup { descriptors: 32, queues: 2, ..Setup::default() });
        for _ in 0..2000 {
            let register = match random.next() % 4 {
                0 => receive_block((random.next() % 128) as u32) + random.next() % 16 * 4,
                1 => transmit_block((random.next() % 128) as u32) + random.next() % 16 * 4,
                _ => (random.next() % 0x2_0000) & !3,
            };
            port.write(register, random.next() as u32);
            port.read((random.next() % 0x2_0000) & !3);
            port.device.inject(&numbered(round));
            port.device.step();
        }
    }
}

#[test]
fn any_frame_is_survived() {
    let mut random = Random(7);
    let mut port = Port::start(Setup { jumbo: true, receive_control: 1 << 30, ..Setup::default() });
    for _ in 0..20_000 {
        let length = (random.next() % 200) as usize;
        let mut frame: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        if frame.len() > 24 {
            frame[12..14]
                .copy_from_slice(&[[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]][(random.next() % 3) as usize]);
            frame[14] = [0x45, 0x4f, 0x60, 0x46][(random.next() % 4) as usize];
        }
        assert!(port.device.inject(&frame));
        assert!(port.take(0).is_some());
    }
    assert_eq!(port.device.faults(), 0);
}

#[test]
fn a_function_that_nobody_enabled_takes_no_frame() {
    let (_space, _function, _bar, mut device) = function(Options::default());
    assert!(!device.inject(&numbered(0)));
    assert_eq!(device.step(), 0);
}
