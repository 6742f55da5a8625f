//! Frames that take several buffers, both ways.

use crate::support::{OWN, Port, Setup, bytes, frame, number, open};
use ringway_dma::BufferSize;
use ringway_packet::PoolOptions;
use ringway_port::PortOptions;

fn jumbo(size: BufferSize, maximum_frame: u32, ring: u32) -> Port {
    open(Setup {
        port: PortOptions {
            maximum_frame,
            receive_ring: ring,
            transmit_ring: ring,
            ..PortOptions::default()
        },
        pool: PoolOptions { buffers: 1024, buffer_size: size, ..PoolOptions::default() },
        ..Setup::default()
    })
}

#[test]
fn frames_of_every_length_come_in_whole_and_in_order() {
    for size in [BufferSize::Bytes2048, BufferSize::Bytes4096] {
        let mut port = jumbo(size, 9724, 128);
        let mut batch = port.batch(8);
        let lengths = (60..9725).step_by(97).chain([1024, 1025, 2048, 2049, 3072, 3073, 9723, 9724]);
        for (expected, length) in lengths.enumerate() {
            assert!(port.device.inject(&frame(expected as u64, length)), "{length}");
            assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1, "{length}");
            let received = bytes(&batch.frame(0).unwrap());
            assert_eq!((received.len(), number(&received)), (length, expected as u64));
            batch.clear();
        }
        assert_eq!(port.control.statistics().unwrap().received().errors, 0);
        drop(batch);
        port.close();
    }
}

#[test]
fn a_frame_that_is_too_long_is_not_received() {
    let mut port = jumbo(BufferSize::Bytes2048, 3000, 128);
    assert!(port.device.inject(&frame(0, 3001)));
    assert_eq!(port.take(), None);
    assert!(port.device.inject(&frame(1, 3000)));
    assert_eq!(port.take(), Some(frame(1, 3000)));
    assert_eq!(port.counter("ROC"), 1);
    port.close();
}

#[test]
fn one_packet_at_a_time_takes_as_many_buffers_as_its_frame_needs() {
    // Batches of one ask the pool for one buffer at a time; a frame of nine needs nine.
    let mut port = jumbo(BufferSize::Bytes2048, 9724, 64);
    for number in 0..200 {
        assert!(port.device.inject(&frame(number, 9000)), "{number}");
        assert_eq!(port.take(), Some(frame(number, 9000)), "{number}");
    }
    assert_eq!(port.control.statistics().unwrap().received().starved, 0);
    port.close();
}

#[test]
fn an_exhausted_pool_loses_no_frame_of_several_buffers() {
    let mut port = open(Setup {
        port: PortOptions { maximum_frame: 9724, receive_ring: 64, ..PortOptions::default() },
        pool: PoolOptions { buffers: 64 + 16, ..PoolOptions::default() },
        ..Setup::default()
    });
    for number in 0..4 {
        assert!(port.device.inject(&frame(number, 9000)));
    }
    let mut held = port.batch(4);
    assert_eq!(port.receive[0].receive(&mut held).unwrap(), 1, "16 buffers replace nine, not eighteen");
    assert_eq!(port.receive[0].receive(&mut held).unwrap(), 0);
    assert_eq!(port.control.statistics().unwrap().received().starved, 2);
    held.clear();
    for expected in 1..4 {
        assert_eq!(port.receive[0].receive(&mut held).unwrap(), 1);
        assert_eq!(number(&bytes(&held.frame(0).unwrap())), expected);
        held.clear();
    }
    drop(held);
    port.close();
}

#[test]
fn a_frame_in_pieces_waits_for_its_last_one() {
    let mut port = jumbo(BufferSize::Bytes2048, 9724, 64);
    let base = port.watch.base(0x1000);
    let mut device = port.space.device_view().unwrap();
    let piece = |slot: u64| ringway_dma::Iova::new(base + slot * 16 + 8);
    device.store_u64(piece(0), 1 << 42 | 1).unwrap();
    assert_eq!(port.take(), None, "done, but not the end");
    device.store_u64(piece(1), 100 << 32 | 0b11).unwrap();
    assert_eq!(port.take().map(|frame| frame.len()), Some(1024 + 100));
    drop(device);
    drop((port.control, port.receive, port.transmit));
    assert_eq!(port.pool.available(), port.pool.buffers());
}

#[test]
fn a_frame_of_several_buffers_goes_out_whole() {
    let mut port = jumbo(BufferSize::Bytes2048, 9724, 64);
    for (index, pieces) in [vec![20, 40], vec![14, 1, 1500], vec![1600; 6], vec![600; 16]].iter().enumerate()
    {
        for lap in 0..30 {
            let whole = frame((index * 100 + lap) as u64, pieces.iter().sum());
            let mut rest = whole.as_slice();
            let mut packet = None;
            for &piece in pieces {
                let (bytes, after) = rest.split_at(piece);
                let next = port.pool.packet_from(bytes).unwrap();
                packet = Some(match packet.take() {
                    None => next,
                    Some(mut first) => {
                        let first: &mut ringway_packet::Packet = &mut first;
                        first.frame_mut().chain(next).unwrap();
                        std::mem::replace(first, port.pool.packet().unwrap())
                    }
                });
                rest = after;
            }
            let mut batch = port.batch(2);
            batch.push(packet.unwrap()).unwrap();
            batch.push(port.pool.packet_from(&frame(9, 60)).unwrap()).unwrap();
            assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 2);
            while port.device.step() > 0 {}
            assert_eq!(port.device.take_sent(), Some(whole));
            assert_eq!(port.device.take_sent(), Some(frame(9, 60)));
            port.transmit[0].reclaim().unwrap();
            assert_eq!(port.transmit[0].pending(), 0);
        }
    }
    port.close();
}

#[test]
fn a_frame_that_the_device_cannot_send_is_dropped_and_counted() {
    let mut port = jumbo(BufferSize::Bytes2048, 9724, 64);
    let chain = |count: usize, piece: usize| {
        let mut packet = port.pool.packet_from(&frame(0, piece)).unwrap();
        for _ in 1..count {
            packet.frame_mut().chain(port.pool.packet_from(&vec![0; piece]).unwrap()).unwrap();
        }
        packet
    };
    // Too many pieces, too long, too short in all.
    let refused = [chain(41, 60), chain(7, 1500), chain(3, 5)];
    let mut batch = port.batch(8);
    for packet in refused {
        batch.push(packet).unwrap();
    }
    batch.push(port.pool.packet_from(&frame(5, 60)).unwrap()).unwrap();
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
    assert!(batch.is_empty());
    while port.device.step() > 0 {}
    assert_eq!(port.device.take_sent(), Some(frame(5, 60)));
    assert_eq!(port.device.take_sent(), None);
    assert_eq!(port.control.statistics().unwrap().sent().errors, 3);
    drop(batch);
    port.close();
}

#[test]
fn a_frame_of_several_buffers_waits_for_room_as_a_whole() {
    let mut port = jumbo(BufferSize::Bytes2048, 9724, 64);
    let mut batch = port.batch(64);
    for number in 0..60 {
        batch.push(port.pool.packet_from(&frame(number, 60)).unwrap()).unwrap();
    }
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 60);
    let mut packet = port.pool.packet_from(&frame(60, 1000)).unwrap();
    for _ in 0..3 {
        packet.frame_mut().chain(port.pool.packet_from(&[0; 100]).unwrap()).unwrap();
    }
    batch.push(packet).unwrap();
    assert_eq!(
        port.transmit[0].transmit(&mut batch).unwrap(),
        0,
        "three descriptors are free, it needs four"
    );
    assert_eq!(batch.len(), 1);
    while port.device.step() > 0 {}
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
    drop(batch);
    while port.device.step() > 0 {}
    port.close();
}

/// The device writes whole KiB; a buffer without its headroom is none. What it may write must end with the buffer.
#[test]
fn the_longest_frame_with_a_tag_stays_in_its_buffer() {
    for (size, capacity) in [(BufferSize::Bytes2048, 1792u32), (BufferSize::Bytes4096, 3840)] {
        for maximum_frame in capacity - 8..=capacity + 8 {
            let mut port = jumbo(size, maximum_frame, 64);
            for number in 0..70 {
                let mut tagged = frame(number, maximum_frame as usize + 4);
                tagged[12..16].copy_from_slice(&[0x81, 0, 0, 42]);
                assert_eq!(tagged[..6], OWN);
                assert!(port.device.inject(&tagged));
                assert_eq!(port.take(), Some(tagged), "{maximum_frame}");
            }
            port.close(); // asserts that no access was refused
        }
    }
}
