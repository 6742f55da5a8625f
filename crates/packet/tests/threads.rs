//! Buffers pass between threads, and devices in other threads try to get at them all the while.
//!
//! Made for thread sanitizer too, which sees into neither the standard library's channels nor the end of a scope:
//! threads are joined by name and hand on what they have through a queue.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod common;

use common::{Bench, buffer_of};
use crossbeam_queue::ArrayQueue;
use ringway_dma::{AddressSpace, DeviceView, Iova};
use ringway_packet::{Batch, Packet, Plain, ReceiveBuffers, TransmitBuffers, Whole};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SLOTS: u32 = 64;

/// One turn of a receive ring: every slot is exchanged.
fn receive(bench: &Bench, buffers: &mut ReceiveBuffers, first: u32, batch: &mut Batch) -> u32 {
    // Slots say again what they are given: all of them are packets of 64 bytes, once a lap is over.
    let all = (64 << 32, Whole { mask: 0, value: 0 });
    buffers.exchange_run(batch, &bench.ring, first, all, |_, _| ()) as u32
}

/// Hands a value on; waits while the queue is full.
fn hand_on<T>(queue: &ArrayQueue<T>, mut value: T) {
    while let Err(back) = queue.push(value) {
        value = back;
        thread::yield_now();
    }
}

/// Takes what was handed on; waits while there is nothing.
fn take<T>(queue: &ArrayQueue<T>) -> T {
    loop {
        match queue.pop() {
            Some(value) => return value,
            None => thread::yield_now(),
        }
    }
}

/// Takes back what was sent a ring's half before, then sends.
fn transmit(bench: &Bench, buffers: &mut TransmitBuffers, first: u32, batch: &mut Batch) -> u32 {
    buffers.take_back(first, SLOTS / 2);
    let plain = Plain { flags: 0, again: 64, shortest: 0 };
    buffers.lend_run(batch, &bench.ring, (first, SLOTS as usize / 2), plain, |_, _| ()) as u32
}

#[test]
fn buffers_go_round_three_threads_and_none_is_lost_or_in_two_places() {
    let space = AddressSpace::emulated();
    let from = Bench::in_space(space.clone(), 512, SLOTS);
    // The other ring is of the same space, and its queue sends from the first one's pool.
    let mut to = Bench::in_space(space, 1, SLOTS);
    to.pool = from.pool.clone();
    let mut receiving = from.receive(0);
    let mut sending = to.transmit();

    let (middle, end) = (ArrayQueue::new(4), ArrayQueue::new(4));
    const TURNS: usize = if cfg!(miri) { 10 } else { 1000 };
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let mut batch = Batch::new(&from.pool, 32);
            let mut next = 0;
            for _ in 0..TURNS {
                next += receive(&from, &mut receiving, next, &mut batch);
                let packets: Vec<Packet> = std::iter::from_fn(|| batch.pop()).collect();
                hand_on(&middle, packets);
            }
        });
        let second = scope.spawn(|| {
            for turn in 0..TURNS {
                let mut packets = take(&middle);
                let mut batch = Batch::new(&from.pool, 32);
                if turn % 3 == 0 {
                    packets.truncate(5);
                }
                for mut packet in packets {
                    packet.frame_mut().data_mut().fill(turn as u8);
                    batch.push(packet).unwrap();
                }
                hand_on(&end, batch);
            }
        });
        let third = scope.spawn(|| {
            let mut next = 0;
            for turn in 0..TURNS {
                let mut batch = take(&end);
                assert!(batch.frames().all(|frame| frame.data().iter().all(|&byte| byte == turn as u8)));
                next += transmit(&to, &mut sending, next, &mut batch);
            }
        });
        [first, second, third].into_iter().for_each(|thread| thread.join().unwrap());
    });
    receiving.release(&from.stopped());
    sending.release(&to.stopped());
    assert_eq!(from.drain([]).len(), 512);
}

#[test]
fn packets_are_taken_and_dropped_by_many_threads_at_once() {
    let bench = Bench::new(200, SLOTS);
    thread::scope(|scope| {
        let threads = [1u8, 2, 3].map(|mark| {
            let bench = &bench;
            scope.spawn(move || {
                for turn in 0..if cfg!(miri) { 12 } else { 300 } {
                    let mut held: Vec<Packet> =
                        (0..turn % 61).filter_map(|_| bench.pool.packet_from(&[mark; 100]).ok()).collect();
                    thread::yield_now();
                    assert!(held.iter().all(|packet| packet.data() == [mark; 100]));
                    let places: HashSet<usize> = held.iter().map(|packet| buffer_of(packet.data())).collect();
                    assert_eq!(places.len(), held.len());
                    // Some alone, some as a batch.
                    let mut batch = Batch::new(&bench.pool, 64);
                    held.drain(..held.len() / 2).for_each(|packet| batch.push(packet).unwrap());
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(bench.pool.available(), 200);
    assert_eq!(bench.drain([]).len(), 200);
}

/// Stops the devices, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes at every address that the ring names, lent or not, until told to stop; counts what was allowed.
fn hammer(view: &mut DeviceView, bench: &Bench, byte: u8, stop: &AtomicBool, allowed: &AtomicU64) {
    let mut bytes = [0; 61];
    while !stop.load(Ordering::Relaxed) {
        for slot in 0..SLOTS {
            let place = Iova::new(bench.ring.at(slot).address.load(Ordering::Acquire));
            let mut count = u64::from(view.write(place, &[byte; 61]).is_ok());
            count += u64::from(view.read(place, &mut bytes).is_ok());
            if let Some(place) = place.checked_add(8) {
                count += u64::from(view.store_u64(place, byte.into()).is_ok());
            }
            allowed.fetch_add(count, Ordering::Relaxed);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "threads that go on until they are stopped are left to thread sanitizer")]
fn a_device_that_never_stops_writing_never_writes_into_what_was_taken_back() {
    let bench = Bench::new(256, SLOTS);
    let mut receiving = bench.receive(12);
    let (stop, allowed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let devices = [0xd1, 0xd2].map(|byte| {
            let (bench, stop, allowed, mut view) = (&bench, &stop, &allowed, bench.view());
            scope.spawn(move || hammer(&mut view, bench, byte, stop, allowed))
        });
        let end = Stop(&stop);
        let mut batch = Batch::new(&bench.pool, 32);
        let deadline = Instant::now() + Duration::from_secs(120);
        // On a busy machine it takes a while until the devices run at all.
        let goes_on =
            |turn: u32| turn < 150 || (allowed.load(Ordering::Relaxed) == 0 && Instant::now() < deadline);
        for turn in (0u32..).take_while(|&turn| goes_on(turn)) {
            let mut round = receiving.receive(&mut batch).unwrap();
            for index in 0..8 {
                let slot = turn.wrapping_mul(8).wrapping_add(index);
                round.exchange(slot, &bench.ring.at(slot).address, 64).unwrap();
                // Being read while the others are still the device's.
                let first = round.last_prefix().to_vec();
                assert_eq!(round.last_prefix(), first);
            }
            drop(round);
            // The program's own bytes stay, however stale the device's addresses are.
            for mut frame in batch.frames() {
                frame.data_mut().fill(turn as u8);
            }
            thread::yield_now();
            assert!(batch.frames().all(|frame| frame.data().iter().all(|&byte| byte == turn as u8)));
            batch.clear();
        }
        drop(end);
        devices.into_iter().for_each(|device| device.join().unwrap());
        assert!(allowed.load(Ordering::Relaxed) > 0, "the devices never got at a buffer that was theirs");
    });
    receiving.release(&bench.stopped());
    assert_eq!(bench.drain([]).len(), 256);
}

#[test]
#[cfg_attr(miri, ignore = "threads that go on until they are stopped are left to thread sanitizer")]
fn memory_comes_and_goes_while_a_device_uses_the_space() {
    let space = AddressSpace::emulated();
    let (stop, allowed) = (AtomicBool::new(false), AtomicU64::new(0));
    let ring = Bench::in_space(space.clone(), 1, SLOTS);
    thread::scope(|scope| {
        let device = scope.spawn(|| hammer(&mut ring.view(), &ring, 0xdd, &stop, &allowed));
        let end = Stop(&stop);
        for turn in 0..60 {
            let bench = Bench::in_space(space.clone(), 64, 16);
            let mut buffers = ReceiveBuffers::new(&bench.pool, SLOTS, 0, &bench.device).unwrap();
            for slot in 0..32 {
                assert!(buffers.fill(slot, &ring.ring.at(slot).address));
            }
            if turn % 2 == 0 {
                buffers.release(&bench.stopped());
            }
            // Otherwise lost, and unmapped with the pool all the same.
        }
        drop(end);
        device.join().unwrap();
    });
    drop(ring);
    assert_eq!(space.usage().mappings, 0);
}
