//! What packets, batches and pools promise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod common;

use common::Bench;
use ringway_dma::{AddressSpace, Attachment, BufferSize, MAXIMUM_BUFFERS, Placement};
use ringway_packet::{
    Batch, Checksum, Error, HEADROOM, MAXIMUM_BATCH, Offload, Plain, Pool, PoolOptions, Protocol,
    ReceiveBuffers, Told, TransmitBuffers,
};
use std::sync::atomic::Ordering;

/// Packets of any length.
const PLAIN: Plain = Plain { flags: 0, again: 64, shortest: 0 };

fn pool(buffers: u32) -> Pool {
    Pool::new(&AddressSpace::emulated(), PoolOptions { buffers, ..PoolOptions::default() }).unwrap()
}

#[test]
fn edges_move_inside_the_buffer_and_errors_leave_them() {
    for buffer_size in [BufferSize::Bytes2048, BufferSize::Bytes4096] {
        let options = PoolOptions { buffers: 3, buffer_size, placement: Placement::default() };
        let pool = Pool::new(&AddressSpace::emulated(), options).unwrap();
        let capacity = pool.packet_capacity() as usize;
        assert_eq!(capacity, (buffer_size.bytes() - HEADROOM) as usize);
        let mut packet = pool.packet_from(b"payload").unwrap();
        let mut frame = packet.frame_mut();
        assert_eq!((frame.headroom(), frame.tailroom()), (256, capacity - 7));

        assert!(matches!(frame.prepend(257), Err(Error::NoRoom { place: "before", wanted: 257, room: 256 })));
        assert!(matches!(frame.append(capacity), Err(Error::NoRoom { place: "behind", .. })));
        assert!(matches!(frame.append(usize::MAX), Err(Error::NoRoom { .. })));
        assert!(matches!(frame.trim_front(8), Err(Error::NoRoom { place: "in", wanted: 8, room: 7 })));
        assert!(matches!(frame.trim_end(usize::MAX), Err(Error::NoRoom { .. })));
        assert_eq!(frame.data(), b"payload");

        frame.prepend(256).unwrap().fill(1);
        frame.append(capacity - 7).unwrap().fill(2);
        assert_eq!((frame.headroom(), frame.tailroom(), frame.len()), (0, 0, capacity + 256));
        assert!(frame.prepend(1).is_err() && frame.append(1).is_err());
        frame.trim_front(256).unwrap();
        frame.trim_end(capacity - 7).unwrap();
        assert_eq!(frame.data(), b"payload");
        assert_eq!(frame.prefix(256).unwrap(), [1; 256]);
        assert!(frame.prefix(257).is_none() && frame.prefix_mut(usize::MAX).is_none());
    }
}

#[test]
fn bytes_that_come_into_view_are_zero() {
    let pool = pool(1);
    let mut packet = pool.packet().unwrap();
    packet.frame_mut().append(1792).unwrap().fill(0xaa);
    packet.frame_mut().prepend(256).unwrap().fill(0xaa);
    drop(packet);
    let mut packet = pool.packet().unwrap();
    assert!(packet.data().is_empty());
    assert_eq!(packet.frame_mut().append(1792).unwrap(), [0; 1792]);
    assert_eq!(packet.frame_mut().prepend(256).unwrap(), [0; 256]);
}

/// The start of what is trimmed to nothing at the end of a full buffer would be the next buffer's first byte.
#[test]
fn a_packet_trimmed_to_nothing_stays_in_its_own_buffer() {
    let pool = pool(2);
    for _ in 0..2 {
        let mut first = pool.packet().unwrap();
        let mut second = pool.packet_from(&[2; 1792]).unwrap();
        first.frame_mut().append(1792).unwrap();
        let mut frame = first.frame_mut();
        frame.trim_front(1792).unwrap();
        assert!(frame.data().is_empty());
        assert_eq!(frame.headroom() + frame.tailroom(), 2048);
        frame.append(frame.tailroom()).unwrap().fill(1);
        frame.set_hash(1);
        frame.prepend(frame.headroom()).unwrap().fill(1);
        assert_eq!(frame.len(), 2048);
        assert_eq!(second.data(), [2; 1792]);
        assert_eq!(second.frame_mut().hash(), None);
    }
    assert_eq!(pool.available(), 2);
}

#[test]
fn segments_are_one_packet_and_come_back_together() {
    let pool = pool(40);
    let mut packet = pool.packet_from(b"a").unwrap();
    for part in 1..35u8 {
        let mut next = pool.packet_from(&[part; 3]).unwrap();
        if part % 2 == 0 {
            next.frame_mut().chain(pool.packet().unwrap()).unwrap();
        }
        if let Err((error, _)) = packet.frame_mut().chain(next) {
            panic!("{error}");
        }
        if pool.available() < 3 {
            break;
        }
    }
    let frame = packet.frame_mut();
    assert_eq!(frame.total_len(), frame.segments().map(<[u8]>::len).sum::<usize>());
    assert_eq!(frame.segments().count() as u32 + pool.available(), 40);
    assert_eq!(frame.segments().next().unwrap(), b"a");
    assert_eq!(frame.len(), 1);

    let other = self::pool(1).packet().unwrap();
    let Err((Error::WrongPool, other)) = packet.frame_mut().chain(other) else { panic!("of another pool") };
    assert_eq!(other.pool().available(), 0);
    drop(packet);
    assert_eq!(pool.available(), 40);
}

#[test]
fn metadata_is_there_when_set_and_gone_with_the_packet() {
    let pool = pool(1);
    for _ in 0..2 {
        let mut packet = pool.packet_from(&[0; 60]).unwrap();
        let mut frame = packet.frame_mut();
        assert_eq!((frame.vlan(), frame.hash(), frame.timestamp()), (None, None, None));
        assert_eq!((frame.checksum(), frame.offload()), (Checksum::Unknown, None));
        let offload = Offload { segment: 1448, protocol: Protocol::TcpIpv6, ..Offload::default() };
        frame.set_vlan(Some(0x2005));
        frame.set_hash(0xdead_beef);
        frame.set_timestamp(u64::MAX);
        frame.set_checksum(Checksum::Good);
        frame.set_offload(Some(offload));
        frame.prepend(14).unwrap();
        frame.trim_end(60).unwrap();
        assert_eq!((frame.vlan(), frame.hash()), (Some(0x2005), Some(0xdead_beef)));
        assert_eq!((frame.timestamp(), frame.checksum()), (Some(u64::MAX), Checksum::Good));
        assert_eq!(frame.offload(), Some(&offload));
        frame.set_vlan(None);
        frame.set_offload(None);
        assert_eq!((frame.vlan(), frame.offload(), frame.len()), (None, None, 14));
    }
}

#[test]
fn a_batch_keeps_order_and_gives_back_what_it_does_not_take() {
    let pool = pool(300);
    assert_eq!(Batch::new(&pool, 0).room(), 1);
    assert_eq!(Batch::new(&pool, usize::MAX).room(), MAXIMUM_BATCH);
    let mut batch = Batch::new(&pool, 3);
    for number in 0..3u8 {
        batch.push(pool.packet_from(&[number]).unwrap()).unwrap();
    }
    let Err((Error::NoRoom { .. }, full)) = batch.push(pool.packet_from(&[3]).unwrap()) else { panic!() };
    assert_eq!(full.data(), [3]);
    let Err((Error::WrongPool, _)) = batch.push(self::pool(1).packet().unwrap()) else { panic!() };
    assert!(batch.frame(3).is_none());
    assert_eq!(batch.frame(1).unwrap().data(), [1]);
    batch.retain(|frame| frame.data() != [1]);
    assert_eq!(batch.pop().unwrap().data(), [2]);
    assert_eq!((batch.len(), batch.room()), (1, 2));
    assert_eq!(batch.clear(), 1);
    assert!(batch.is_empty() && batch.pop().is_none());
    drop(full);
    assert_eq!(pool.available(), 300);
    for _ in 0..MAXIMUM_BATCH {
        let mut large = Batch::new(&pool, 256);
        while large.push(pool.packet().unwrap()).is_ok() {}
        assert_eq!(large.len(), 256);
    }
    assert_eq!(pool.available(), 300);
}

#[test]
fn an_exhausted_pool_says_so_and_works_again() {
    for count in [1, 31, 32, 33, 64, 100] {
        let pool = pool(count);
        assert_eq!((pool.buffers(), pool.available()), (count, count));
        for _ in 0..3 {
            let held: Vec<_> = (0..count).map(|_| pool.packet().unwrap()).collect();
            let error = pool.packet().unwrap_err();
            assert!(matches!(error, Error::Empty { buffers } if buffers == count));
            assert_eq!(pool.available(), 0);
            drop(held);
            assert_eq!(pool.available(), count);
        }
    }
}

#[test]
fn the_memory_goes_with_the_last_of_pool_packet_batch_and_queue() {
    let space = AddressSpace::emulated();
    let device = Attachment::new(space.clone());
    let make = || Pool::new(&space, PoolOptions { buffers: 64, ..PoolOptions::default() }).unwrap();
    assert_eq!(make().bytes(), 64 * 2048);
    assert_eq!(space.usage().mappings, 0);

    let packet = make().packet_from(b"still here").unwrap();
    let batch = Batch::new(&make(), 1);
    let receive = ReceiveBuffers::new(&make(), 8, 0, &device).unwrap();
    let transmit = TransmitBuffers::new(&[make()], 8, &device).unwrap();
    assert_eq!((space.usage().mappings, space.usage().bytes), (4, 4 * 64 * 2048));
    assert_eq!(packet.data(), b"still here");
    drop(packet);
    assert_eq!(space.usage().mappings, 3);
    drop(batch);
    drop(receive);
    drop(transmit);
    assert_eq!(space.usage(), ringway_dma::Usage::default());
}

#[test]
fn sizes_and_spaces_that_do_not_fit_are_refused_by_name() {
    let space = AddressSpace::emulated();
    let make = |buffers| Pool::new(&space, PoolOptions { buffers, ..PoolOptions::default() });
    assert!(make(0).unwrap_err().to_string().contains("number of buffers: 0"));
    assert!(make(MAXIMUM_BUFFERS + 1).is_err());
    let pool = make(8).unwrap();
    let device = Attachment::new(space.clone());
    let elsewhere = Attachment::new(AddressSpace::emulated());
    for slots in [0, 3, 1 << 16, u32::MAX] {
        assert!(
            matches!(ReceiveBuffers::new(&pool, slots, 0, &device), Err(Error::RingSize(size)) if size == slots)
        );
        assert!(TransmitBuffers::new(std::slice::from_ref(&pool), slots, &device).is_err());
    }
    assert!(matches!(ReceiveBuffers::new(&pool, 8, 257, &device), Err(Error::NoRoom { .. })));
    assert!(matches!(ReceiveBuffers::new(&pool, 8, 0, &elsewhere), Err(Error::WrongSpace)));
    assert!(matches!(TransmitBuffers::new(&[], 8, &device), Err(Error::Pools(0))));
    let many = vec![pool.clone(); 256];
    assert!(matches!(TransmitBuffers::new(&many, 8, &device), Err(Error::Pools(256))));
    let mut transmit = TransmitBuffers::new(&[pool], 8, &device).unwrap();
    let mut receive = ReceiveBuffers::new(&make(8).unwrap(), 8, 0, &device).unwrap();
    let mut batch = Batch::new(&make(8).unwrap(), 8);
    assert!(matches!(transmit.send(&mut batch, 0), Err(Error::WrongPool)));
    assert!(matches!(receive.receive(&mut batch), Err(Error::WrongPool)));
}

#[test]
fn a_full_ring_refuses_one_more_packet_and_gives_it_back() {
    let bench = Bench::new(64, 4);
    let mut transmit = bench.transmit();
    let mut batch = Batch::new(&bench.pool, 8);
    for number in 0..6u8 {
        batch.push(bench.pool.packet_from(&[number]).unwrap()).unwrap();
    }
    // Many laps: each time the ring takes what it has room for, and the order holds.
    for lap in 0..100u32 {
        let first = lap.wrapping_mul(4);
        let mut round = transmit.send(&mut batch, 0).unwrap();
        for index in 0..5 {
            let slot = first + index;
            assert_eq!(round.lend(slot, &bench.ring.at(slot).address), index < 4);
        }
        assert_eq!(round.sent(), 4);
        drop(round);
        assert_eq!((batch.len(), transmit.held()), (2, 4));
        assert_eq!(transmit.take_back(first + 2, 1000), 4);
        for offset in 0..4u8 {
            let number = (lap as u8).wrapping_mul(4).wrapping_add(6).wrapping_add(offset);
            batch.push(bench.pool.packet_from(&[number]).unwrap()).unwrap();
        }
        assert_eq!(batch.frame(0).unwrap().data(), [(lap as u8).wrapping_add(1).wrapping_mul(4)]);
    }
}

#[test]
fn a_prefix_goes_with_the_packets_first_segment_only() {
    let bench = Bench::new(64, 8);
    let mut transmit = bench.transmit();
    let mut batch = Batch::new(&bench.pool, 8);
    let mut packet = bench.pool.packet_from(b"head").unwrap();
    packet.frame_mut().chain(bench.pool.packet_from(b"tail").unwrap()).unwrap();
    batch.push(packet).unwrap();
    let mut tight = bench.pool.packet_from(b"tight").unwrap();
    tight.frame_mut().prepend(256).unwrap();
    batch.push(tight).unwrap();

    let not = |_, _| panic!("nothing went");
    assert_eq!(transmit.lend_run(&mut batch, &bench.ring, (0, 8), PLAIN, not), 0, "two segments");
    let header = (b"twelve bytes", (0, u32::MAX));
    assert_eq!(transmit.lend_prefixed(&mut batch, &bench.ring, 0, header, not), 0, "two segments");
    let mut round = transmit.send(&mut batch, 12).unwrap();
    assert_eq!(round.segments(), 2);
    round.prefix_mut().unwrap().copy_from_slice(b"twelve bytes");
    assert!(round.lend(0, &bench.ring.at(0).address));
    assert_eq!(round.segments(), 1);
    assert!(round.front_frame().is_none(), "part of it is gone");
    assert!(round.lend(1, &bench.ring.at(1).address));
    assert!(round.prefix_mut().is_none() && !round.lend(2, &bench.ring.at(2).address), "no headroom");
    drop(round);
    assert_eq!(transmit.lend_prefixed(&mut batch, &bench.ring, 2, header, not), 0, "no headroom");
    let mut round = transmit.send(&mut batch, 12).unwrap();
    assert_eq!(round.front_frame().unwrap().len(), 261);
    assert!(round.drop_front() && !round.drop_front());
    drop(round);

    let mut bytes = [0; 16];
    bench.view().read(bench.address(0), &mut bytes).unwrap();
    assert_eq!(&bytes, b"twelve byteshead");
    bench.view().read(bench.address(1), &mut bytes[..4]).unwrap();
    assert_eq!(&bytes[..4], b"tail");
    assert!(batch.is_empty());
    assert!(transmit.take_back_one(0) && !transmit.take_back_one(0) && transmit.take_back_one(1 + 8));
    assert_eq!(transmit.held(), 0);
}

#[test]
fn a_queue_sends_from_the_pools_that_it_knows_and_gives_back_to_each() {
    let bench = Bench::new(64, 8);
    let other = Pool::new(&bench.space, PoolOptions { buffers: 40, ..PoolOptions::default() }).unwrap();
    let pools = [bench.pool.clone(), other.clone()];
    let mut transmit = TransmitBuffers::new(&pools, 8, &bench.device).unwrap();
    for lap in 0..50u32 {
        for (index, pool) in pools.iter().enumerate() {
            // Five at first, four of them at a time; three behind them, up to the ring's end.
            let count = [5, 3][index];
            let mut batch = Batch::new(pool, 8);
            while batch.len() < count + 1 {
                batch.push(pool.packet_from(&[index as u8; 60]).unwrap()).unwrap();
            }
            let first = lap * 8 + index as u32 * 5;
            let done = transmit.lend_run(&mut batch, &bench.ring, (first, count), PLAIN, |count, bytes| {
                assert_eq!(bytes, count as u64 * 60);
            });
            assert_eq!((done, batch.len()), (count, 1));
        }
        let mut seen = [9; 60];
        bench.view().read(bench.address(4), &mut seen).unwrap();
        assert_eq!(seen, [0; 60]);
        bench.view().read(bench.address(5), &mut seen).unwrap();
        assert_eq!(seen, [1; 60]);
        assert_eq!(transmit.take_back(lap * 8, 8), 8);
    }
    drop(transmit);
    assert_eq!((bench.pool.available(), other.available()), (64, 40));
}

#[test]
fn buffers_of_a_device_that_did_not_stop_are_lost_and_counted() {
    let bench = Bench::new(64, 4);
    drop(bench.receive(0));
    assert_eq!(bench.pool.lost(), 4);
    // Proof of another device's end is none.
    let other = Bench::new(1, 1);
    bench.receive(0).release(&other.stopped());
    assert_eq!(bench.pool.lost(), 8);
    let mut transmit = bench.transmit();
    let mut batch = Batch::new(&bench.pool, 3);
    batch.push(bench.pool.packet().unwrap()).unwrap();
    assert!(transmit.send(&mut batch, 0).unwrap().lend(0, &bench.ring.at(0).address));
    transmit.release(&other.stopped());
    assert_eq!(bench.pool.lost(), 9);
    assert_eq!(bench.drain([]).len(), 64 - 9);
}

#[test]
fn a_queue_without_traffic_keeps_few_buffers_from_the_others() {
    let bench = Bench::new(64, 64);
    let mut transmit = bench.transmit();
    let mut batch = Batch::new(&bench.pool, 64);
    for lap in 0..10u32 {
        let count = 64 - lap;
        let have: Vec<_> = (0..count).map_while(|_| bench.pool.packet().ok()).collect();
        assert!(have.len() > 32, "lap {lap}: {} left", have.len());
        have.into_iter().for_each(|packet| batch.push(packet).unwrap());
        transmit.lend_run(&mut batch, &bench.ring, (0, count as usize), PLAIN, |_, _| ());
        batch.clear();
        transmit.take_back(0, 64);
    }
    drop(transmit);
    assert_eq!(bench.pool.available(), 64);
}

#[test]
fn what_a_device_says_of_a_packet_goes_with_it_and_ends_where_a_run_would() {
    let bench = Bench::new(200, 8);
    let mut receive = bench.receive(0);
    let mut batch = Batch::new(&bench.pool, 4);
    for slot in 0..8u64 {
        bench.ring.at(slot as u32).word.store(60 + slot, Ordering::Release);
    }
    let before = bench.address(2).get();
    let mut round = receive.receive(&mut batch).unwrap();
    assert!(!round.tell_last(&Told::default()), "nothing was taken yet");
    let mut firsts = Vec::new();
    let taken = round.exchange_told(&bench.ring, 1, 9, |first, second| {
        firsts.push(first);
        let length = u32::try_from(second).ok()?;
        Some(match length {
            61 => Told { length, vlan: Some(42), ..Told::default() },
            62 => Told { length, hash: Some(0xabcd), checksum: Checksum::Good, ..Told::default() },
            63 => Told { length, timestamp: Some(1 << 40), ..Told::default() },
            _ => Told { length: 1793, ..Told::default() },
        })
    });
    assert_eq!(taken, 3, "what doesn't fit the buffer stays");
    assert_eq!(firsts[1], before, "both words are shown");
    assert!(round.tell_last(&Told { vlan: Some(7), ..Told::default() }));
    assert_eq!(
        round.exchange_told(&bench.ring, 4, 9, |_, _| Some(Told { length: 60, ..Told::default() })),
        1
    );
    assert_eq!(round.exchange_told(&bench.ring, 5, 9, |_, _| Some(Told::default())), 0, "the batch is full");
    drop(round);
    let words: Vec<u64> = (0..8).map(|slot| bench.ring.at(slot).word.load(Ordering::Relaxed)).collect();
    assert_eq!(words, [60, 9, 9, 9, 9, 65, 66, 67]);
    let seen: Vec<_> = batch
        .frames()
        .map(|frame| (frame.len(), frame.vlan(), frame.hash(), frame.checksum(), frame.timestamp()))
        .collect();
    let none = Checksum::Unknown;
    assert_eq!(seen[0], (61, Some(42), None, none, None));
    assert_eq!(seen[1], (62, None, Some(0xabcd), Checksum::Good, None));
    assert_eq!(seen[2], (63, Some(7), None, none, Some(1 << 40)));
    assert_eq!(seen[3], (60, None, None, none, None));
    assert_eq!(receive.held(), 8);
    drop(batch);
    receive.release(&bench.stopped());
    assert_eq!((bench.pool.available(), bench.pool.lost()), (200, 0));
}
