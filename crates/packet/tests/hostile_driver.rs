//! A driver that calls things in any order, forgets rounds and confuses slots can lose buffers, but never gets one
//! twice, and never lets the device into a buffer that the program holds.

mod common;

use common::Bench;
use ringway_dma::Fault;
use ringway_packet::{Batch, Refused};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_forgotten_receiving_round_hands_no_buffer_out_twice() {
    let bench = Bench::new(64, 4);
    let mut buffers = bench.receive(0);
    let mut batch = Batch::new(&bench.pool, 8);
    let mut round = buffers.receive(&mut batch).unwrap();
    for slot in 0..4 {
        round.exchange(slot, &bench.ring.at(slot).address, 60).unwrap();
    }
    std::mem::forget(round);
    // A round after it, and the device's end.
    let mut round = buffers.receive(&mut batch).unwrap();
    for slot in 0..4 {
        let _ = round.exchange(slot, &bench.ring.at(slot).address, 60);
    }
    drop(round);
    buffers.release(&bench.stopped());
    bench.drain([&mut batch]);
}

#[test]
fn a_forgotten_sending_round_hands_no_buffer_out_twice() {
    let bench = Bench::new(64, 4);
    let mut buffers = bench.transmit();
    let mut batch = Batch::new(&bench.pool, 8);
    for _ in 0..3 {
        batch.push(bench.pool.packet_from(&[1; 60]).unwrap()).unwrap();
    }
    let mut round = buffers.send(&mut batch, 0).unwrap();
    assert!(round.lend(0, &bench.ring.at(0).address));
    assert!(round.lend(1, &bench.ring.at(1).address));
    std::mem::forget(round);
    buffers.release(&bench.stopped());
    bench.drain([&mut batch]);
}

#[test]
fn a_slot_exchanged_twice_in_a_round_leaves_the_device_out_of_what_was_taken() {
    let bench = Bench::new(64, 4);
    let mut buffers = bench.receive(0);
    let mut batch = Batch::new(&bench.pool, 8);
    let mut round = buffers.receive(&mut batch).unwrap();
    round.exchange(0, &bench.ring.at(0).address, 60).unwrap();
    round.exchange(0, &bench.ring.at(1).address, 60).unwrap();
    drop(round);
    // Descriptor 0 names the second packet, which the program holds now.
    let mut view = bench.view();
    assert!(matches!(view.write(bench.address(0), &[0xff; 60]), Err(Fault::NotLent { .. })));
    assert!(view.write(bench.address(1), &[0xff; 60]).is_ok());
    assert_eq!(batch.frame(1).unwrap().data(), [0; 60]);
}

#[test]
fn a_buffer_given_and_dropped_in_one_round_is_not_the_devices() {
    let bench = Bench::new(64, 4);
    let mut buffers = bench.receive(0);
    let mut batch = Batch::new(&bench.pool, 8);
    let mut round = buffers.receive(&mut batch).unwrap();
    round.exchange(0, &bench.ring.at(0).address, 60).unwrap();
    round.exchange(0, &bench.ring.at(1).address, 60).unwrap();
    round.drop_last();
    drop(round);
    assert_eq!(batch.len(), 1);
    assert!(matches!(bench.view().read(bench.address(0), &mut [0; 60]), Err(Fault::NotLent { .. })));
    assert!(bench.view().read(bench.address(1), &mut [0; 60]).is_ok());
    buffers.release(&bench.stopped());
    assert_eq!(bench.drain([&mut batch]).len(), 63);
}

#[test]
fn what_the_device_wrote_before_a_packet_stays_as_it_is_while_it_is_read() {
    let bench = Bench::new(64, 4);
    let mut buffers = bench.receive(12);
    let mut batch = Batch::new(&bench.pool, 8);
    let mut view = bench.view();
    let address = bench.address(0);
    view.write(address, &[7; 12]).unwrap();
    let mut round = buffers.receive(&mut batch).unwrap();
    round.take(0, 60).unwrap();
    let prefix = round.last_prefix();
    assert_eq!(prefix, [7; 12]);
    assert!(matches!(view.write(address, &[8; 12]), Err(Fault::NotLent { .. })));
    assert_eq!(prefix, [7; 12]);
}

#[test]
fn a_packet_sent_in_part_leaves_the_ring_what_it_was_lent_and_the_pool_the_rest() {
    let bench = Bench::new(64, 4);
    let mut buffers = bench.transmit();
    let mut batch = Batch::new(&bench.pool, 8);
    let mut packet = bench.pool.packet_from(b"one").unwrap();
    packet.frame_mut().chain(bench.pool.packet_from(b"two").unwrap()).unwrap();
    packet.frame_mut().chain(bench.pool.packet_from(b"three").unwrap()).unwrap();
    batch.push(packet).unwrap();
    batch.push(bench.pool.packet_from(b"next").unwrap()).unwrap();

    let mut round = buffers.send(&mut batch, 0).unwrap();
    assert!(round.lend(0, &bench.ring.at(0).address));
    assert!(round.lend(1, &bench.ring.at(1).address));
    assert!(!round.drop_front(), "part of it is gone");
    drop(round);

    let mut bytes = [0; 3];
    bench.view().read(bench.address(1), &mut bytes).unwrap();
    assert_eq!(&bytes, b"two");
    assert_eq!(buffers.held(), 2);
    assert_eq!(batch.len(), 1);
    assert_eq!(batch.frame(0).unwrap().data(), b"next");
    assert_eq!(buffers.take_back(0, 2), 2);
    assert!(bench.view().read(bench.address(1), &mut bytes).is_err());
    drop(buffers);
    assert_eq!(bench.drain([&mut batch]).len(), 63);
}

#[test]
fn a_panic_in_retain_keeps_what_was_not_dropped() {
    let bench = Bench::new(64, 4);
    let mut batch = Batch::new(&bench.pool, 8);
    for number in 0..6u8 {
        batch.push(bench.pool.packet_from(&[number]).unwrap()).unwrap();
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        batch.retain(|frame| match frame.data() {
            [3] => panic!("on purpose"),
            [number] => number % 2 == 0,
            _ => false,
        });
    }));
    assert!(outcome.is_err());
    let left: Vec<u8> = batch.frames().filter_map(|frame| frame.data().first().copied()).collect();
    assert_eq!(left, [0, 2, 3, 4, 5]);
    assert_eq!(bench.drain([&mut batch]).len(), 64 - 5);
}

#[test]
fn slots_and_words_of_any_number_are_refused_or_stay_inside() {
    let bench = Bench::new(64, 4);
    let mut buffers = bench.receive(0);
    let mut batch = Batch::new(&bench.pool, 2);
    let mut round = buffers.receive(&mut batch).unwrap();
    assert_eq!(round.exchange(0, &bench.ring.at(0).address, u32::MAX), Err(Refused::TooLong));
    round.take(u32::MAX, 60).unwrap();
    assert_eq!(round.take(3, 60), Err(Refused::Empty));
    assert!(!round.give(2, &bench.ring.at(2).address), "slot 2 is not empty");
    assert!(!round.relend(3, &bench.ring.at(3).address), "slot 3 is empty");
    assert!(round.give(3, &bench.ring.at(3).address));
    round.take(3, 60).unwrap();
    assert_eq!(round.take(0, 60), Err(Refused::NoRoom));
    drop(round);
    assert!(!buffers.fill(2, &bench.ring.at(2).address));
    assert!(buffers.fill(7, &bench.ring.at(7).address), "slot 3 again");
    buffers.release(&bench.stopped());
    assert_eq!(bench.drain([&mut batch]).len(), 62);
}
