//! What runs promise: the same by fours as slot by slot, up to the end of whatever is shortest, and books that are right behind
//! them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod common;

use common::Bench;
use ringway_dma::{BufferSize, Pair, Placement, Ring, RingMemory};
use ringway_packet::{Batch, Plain, Pool, PoolOptions, ReceiveBuffers, Told, TransmitBuffers, Whole};
use std::sync::atomic::Ordering;

/// Packets of any length.
const PLAIN: Plain = Plain { flags: 0, again: 64, shortest: 0 };
/// The lowest bit says that there is a packet.
const WHOLE: Whole = Whole { mask: 1, value: 1 };

/// `count` packets of 60 bytes, each full of its place in the batch, counted from `first`.
fn numbered(pool: &Pool, first: u8, count: u8) -> Batch {
    let mut batch = Batch::new(pool, 32);
    (first..first + count).for_each(|n| batch.push(pool.packet_from(&[n; 60]).unwrap()).unwrap());
    batch
}

#[test]
fn a_run_ends_where_one_slot_would_be_refused() {
    let bench = Bench::new(200, 8);
    let mut receive = bench.receive(0);
    let mut batch = Batch::new(&bench.pool, 32);
    receive.receive(&mut batch).unwrap().take(5, 60).unwrap();
    for (slot, length) in [60, 1792, 1793, 60, 60, 60, 60, 60].into_iter().enumerate() {
        bench.ring.at(slot as u32).word.store(length << 32 | 1, Ordering::Release);
    }
    let mut run =
        |batch: &mut Batch, first| receive.exchange_run(batch, &bench.ring, first, (7, WHOLE), |_, _| ());
    assert_eq!(run(&mut batch, 0), 2, "slot 2 is too long");
    assert_eq!(bench.ring.at(1).word.load(Ordering::Relaxed), 7);
    assert_eq!(bench.ring.at(2).word.load(Ordering::Relaxed), 1793 << 32 | 1);
    assert_eq!(run(&mut batch, 3), 2, "slot 5 is empty");
    assert_eq!(run(&mut batch, 6 + 8), 2, "the ring ends");
    let lengths: Vec<usize> = batch.frames().map(|frame| frame.len()).collect();
    assert_eq!(lengths, [60, 60, 1792, 60, 60, 60, 60]);
    assert_eq!(receive.held(), 7);
}

/// Fours and ones are told apart by nothing that a driver sees.
#[test]
fn a_run_takes_every_packet_up_to_the_first_that_is_none() {
    let bench = Bench::new(200, 16);
    let mut receive = bench.receive(0);
    let mut transmit = bench.transmit();
    for whole in 0..=16 {
        let mut batch = Batch::new(&bench.pool, 32);
        for slot in 0..16 {
            let said = if slot < whole { u64::from(60 + slot) << 32 | 1 } else { 0 };
            bench.ring.at(slot).word.store(said, Ordering::Release);
        }
        let mut told = None;
        let note = |count, bytes| told = Some((count as u32, bytes));
        let taken = receive.exchange_run(&mut batch, &bench.ring, 0, (0, WHOLE), note);
        assert_eq!(taken as u32, whole);
        let bytes = (0..whole).map(|slot| u64::from(60 + slot)).sum();
        assert_eq!(told, (whole > 0).then_some((whole, bytes)));
        let lengths: Vec<u32> = batch.frames().map(|frame| frame.len() as u32).collect();
        assert_eq!(lengths, (60..60 + whole).collect::<Vec<_>>());
        assert_eq!((receive.held(), batch.len()), (16, whole as usize));
        // The same number is sent, up to one that is too short.
        let shortest = Plain { flags: 1 << 32, again: 40, shortest: 60 };
        if let Some(mut frame) = batch.frame(13) {
            frame.trim_end(30).unwrap();
        }
        let sent = transmit.lend_run(&mut batch, &bench.ring, (0, 16), shortest, |count, bytes| {
            assert_eq!(bytes, (0..count as u64).map(|slot| 60 + slot).sum::<u64>());
        });
        assert_eq!(sent as u32, whole.min(13));
        for slot in 0..sent as u32 {
            let length = u64::from(60 + slot);
            assert_eq!(bench.ring.at(slot).word.load(Ordering::Relaxed), length | length << 40 | 1 << 32);
        }
        assert_eq!(transmit.take_back(0, 16), sent as u32);
        // What was sent overwrote the addresses that receiving slots had: they get theirs again.
        drop(batch);
        let mut again = Batch::new(&bench.pool, 16);
        let mut round = receive.receive(&mut again).unwrap();
        (0..16).for_each(|slot| assert!(round.relend(slot, &bench.ring.at(slot).address)));
    }
    receive.release(&bench.stopped());
    drop(transmit);
    assert_eq!((bench.pool.available(), bench.pool.lost()), (200, 0));
}

#[test]
fn a_panic_in_a_run_leaves_the_books_right() {
    let bench = Bench::new(64, 8);
    let mut receive = bench.receive(0);
    let mut transmit = bench.transmit();
    let mut batch = Batch::new(&bench.pool, 8);
    let mut left = 3;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        receive.receive(&mut batch).unwrap().exchange_told(&bench.ring, 0, 1 | 60 << 32, |_, _| {
            left -= 1;
            if left == 0 { panic!("on purpose") } else { Some(Told { length: 60, ..Told::default() }) }
        })
    }));
    assert!(outcome.is_err());
    assert_eq!((batch.len(), receive.held()), (2, 8));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        receive.exchange_run(&mut batch, &bench.ring, 0, (0, WHOLE), |_, _| panic!("on purpose"))
    }));
    assert!(outcome.is_err());
    assert_eq!((batch.len(), receive.held()), (4, 8));
    receive.release(&bench.stopped());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        transmit.lend_run(&mut batch, &bench.ring, (0, 3), PLAIN, |_, _| panic!("on purpose"))
    }));
    assert!(outcome.is_err());
    assert_eq!((batch.len(), transmit.held()), (1, 3));
    transmit.release(&bench.stopped());
    assert_eq!(bench.drain([&mut batch]).len(), 63);
}

/// The records of the second pool say that they are of the second, also those that a four made.
#[test]
fn fours_of_each_of_a_queues_pools_come_back_to_their_own() {
    let bench = Bench::new(64, 16);
    let buffer_size = BufferSize::Bytes4096;
    let other =
        Pool::new(&bench.space, PoolOptions { buffers: 40, buffer_size, ..PoolOptions::default() }).unwrap();
    let pools = [bench.pool.clone(), other.clone()];
    let mut transmit = TransmitBuffers::new(&pools, 16, &bench.device).unwrap();
    let header = (&[0xa5; 12], (14, 1500));
    for (index, pool) in (0..).zip(&pools) {
        let mut batch = numbered(pool, index * 6, 6);
        let first = u32::from(index) * 6;
        assert_eq!(transmit.lend_run(&mut batch, &bench.ring, (first, 6), PLAIN, |_, _| ()), 6);
        let mut batch = numbered(pool, 12 + index * 2, 2);
        let first = 12 + u32::from(index) * 2;
        assert_eq!(transmit.lend_prefixed(&mut batch, &bench.ring, first, header, |_, _| ()), 2);
    }
    for slot in 0..16u8 {
        let mut expected = vec![slot; 60];
        if slot >= 12 {
            expected.splice(0..0, [0xa5; 12]);
        }
        let mut seen = vec![0; expected.len()];
        bench.view().read(bench.address(slot.into()), &mut seen).unwrap();
        assert_eq!(seen, expected, "slot {slot}");
    }
    assert_eq!((bench.pool.available(), other.available()), (64 - 8, 40 - 8));
    assert_eq!(transmit.take_back(0, 16), 16);
    drop(transmit);
    assert_eq!((bench.pool.available(), other.available()), (64, 40));
    for pool in &pools {
        let mut whole: Vec<_> = std::iter::from_fn(|| pool.packet().ok()).collect();
        whole.sort_by_key(|packet| packet.data().as_ptr());
        whole.dedup_by_key(|packet| packet.data().as_ptr());
        assert_eq!(whole.len(), pool.buffers() as usize);
    }
}

/// Prefixed ones by fours, too, of both pools.
#[test]
fn fours_behind_a_prefix_come_back_to_their_own_pool() {
    let bench = Bench::new(64, 16);
    let other = Pool::new(&bench.space, PoolOptions { buffers: 40, ..PoolOptions::default() }).unwrap();
    let pools = [bench.pool.clone(), other.clone()];
    let mut transmit = TransmitBuffers::new(&pools, 16, &bench.device).unwrap();
    for (first, pool) in [(0, &pools[0]), (8, &pools[1])] {
        let mut batch = numbered(pool, 0, 8);
        let header = (&[0xa5; 12], (14, 1500));
        assert_eq!(transmit.lend_prefixed(&mut batch, &bench.ring, first, header, |_, _| ()), 8);
    }
    assert_eq!(transmit.take_back(0, 16), 16);
    drop(transmit);
    assert_eq!((bench.pool.available(), other.available()), (64, 40));
}

#[test]
fn a_run_ends_with_the_shortest_of_ring_records_and_what_is_said() {
    for bits in 0..8 {
        let [ring, records, says] = [0, 1, 2].map(|bit| if bits >> bit & 1 == 0 { 4u32 } else { 16 });
        let bench = Bench::new(128, ring);
        let mut memory = RingMemory::allocate(&bench.space, Placement::default(), &[128]).unwrap();
        let block = memory.block(128).unwrap();
        let said: Ring<Pair> = block.ring(0, says).unwrap();
        // What lies behind it would be an entry, too.
        let behind: Ring<Pair> = block.ring(0, 16).unwrap();
        let (records_and_ring, all) = (records.min(ring), records.min(ring).min(says));
        let pools = std::slice::from_ref(&bench.pool);
        let mut transmit = TransmitBuffers::new(pools, records, &bench.device).unwrap();
        let mut receive = ReceiveBuffers::new(&bench.pool, records, 0, &bench.device).unwrap();
        // Slots behind the ring's end or the records' are those at the start again, so their addresses are, too.
        (0..records).for_each(|slot| assert!(receive.fill(slot, &bench.ring.at(slot).address)));
        let left = |least: u32, first: u32| (least - first % least) as usize;
        let sizes = format!("ring {ring}, records {records}, said {says}");

        for first in [0, records_and_ring - 1, u32::MAX] {
            let expected = left(records_and_ring, first);
            let mut batch = numbered(&bench.pool, 0, 20);
            let sent = transmit.lend_run(&mut batch, &bench.ring, (first, 20), PLAIN, |_, _| ());
            assert_eq!((sent, transmit.held()), (expected, expected), "lend_run, {sizes}, first {first}");
            transmit.take_back_all();
            let mut batch = numbered(&bench.pool, 0, 20);
            let header = (&[0; 12], (14, 1500));
            let sent = transmit.lend_prefixed(&mut batch, &bench.ring, first, header, |_, _| ());
            assert_eq!(
                (sent, transmit.held()),
                (expected, expected),
                "lend_prefixed, {sizes}, first {first}"
            );
            transmit.take_back_all();

            (0..ring).for_each(|slot| bench.ring.at(slot).word.store(1 | 60 << 32, Ordering::Relaxed));
            let mut batch = Batch::new(&bench.pool, 32);
            let taken = receive.exchange_run(&mut batch, &bench.ring, first, (0, WHOLE), |_, _| ());
            assert_eq!((taken, batch.len()), (expected, expected), "exchange_run, {sizes}, first {first}");
        }
        for slot in 0..16 {
            behind.at(slot).first.store(slot, Ordering::Relaxed);
            behind.at(slot).second.store(60, Ordering::Relaxed);
        }
        for first in [0, all - 1, u32::MAX] {
            let expected = left(all, first);
            let mut batch = Batch::new(&bench.pool, 32);
            let rings = (&bench.ring, &said);
            let taken = receive.exchange_named(&mut batch, rings, (first, 32), 1500, |_, _| ());
            assert_eq!((taken, batch.len()), (expected, expected), "exchange_named, {sizes}, first {first}");
        }
        receive.release(&bench.stopped());
        transmit.release(&bench.stopped());
        assert_eq!((bench.pool.available(), bench.pool.lost()), (128, 0), "{sizes}");
    }
}

/// Five packets: four at a time, and one by itself.
#[test]
fn whatever_is_said_of_packets_is_the_same_by_fours_and_one_by_one() {
    let bench = Bench::new(64, 8);
    let mut transmit = bench.transmit();
    for (flags, again, expected) in [
        // The lower half carries.
        (0xffff_ffff, 64, 0x1_0000_003b),
        (0xffff_ffc4, 64, 0x1_0000_0000),
        (u64::MAX, 64, 59),
        // The largest lower half of which no packet's length makes more than 32 bits, and the next.
        (0xffff_0000, 64, 0xffff_003c),
        (0xffff_0001, 64, 0xffff_003d),
        // A second length in the lower half, half in it, and above it.
        (0, 0, 120),
        (0, 16, 60 << 16 | 60),
        (0, 30, 60 << 30 | 60),
        (1 << 63, 31, 1 << 63 | 60 << 31 | 60),
        (1 << 24, 32, 60 << 32 | 1 << 24 | 60),
        (1 << 24, 46, 60 << 46 | 1 << 24 | 60),
        // The upper half is cut off at 64 bits.
        (0, 62, 60),
        (0xffff_ffff << 32, 61, 0x7fff_ffff_0000_003c),
        (7 << 24, 65, 7 << 24 | 60),
        (7 << 24, u32::MAX, 7 << 24 | 60),
    ] {
        let mut batch = numbered(&bench.pool, 0, 5);
        let plain = Plain { flags, again, shortest: 0 };
        assert_eq!(transmit.lend_run(&mut batch, &bench.ring, (0, 5), plain, |_, _| ()), 5);
        let words = [0, 1, 2, 3, 4].map(|slot| bench.ring.at(slot).word.load(Ordering::Relaxed));
        assert_eq!(words, [expected; 5], "{plain:x?}: {words:x?}");
        transmit.take_back_all();
    }
}
