//! Packets in and out: laps, rings, batches, and what happens at the edges.

use crate::support::{OWN, Setup, frame, number, open};
use ringway_packet::PoolOptions;
use ringway_port::PortOptions;

fn setup(ring: u32) -> Setup {
    Setup {
        port: PortOptions { receive_ring: ring, transmit_ring: ring, ..PortOptions::default() },
        pool: PoolOptions { buffers: 2 * ring + 512, ..PoolOptions::default() },
        ..Setup::default()
    }
}

/// Frames from the wire through the driver and out again, `count` of them in batches of `limit`.
fn forward(ring: u32, limit: usize, count: u64) {
    let mut port = open(setup(ring));
    let mut batch = port.batch(limit);
    let (mut offered, mut returned) = (0u64, 0u64);
    let mut idle = 0;
    while returned < count {
        // A different number each time, so that batches and ring ends fall differently.
        let burst = 1 + (offered * 7 + returned) % (2 * limit as u64);
        for _ in 0..burst {
            if offered == count || !port.device.inject(&frame(offered, 60 + (offered % 200) as usize)) {
                break;
            }
            offered += 1;
        }
        let held = batch.len();
        let received = port.receive[0].receive(&mut batch).unwrap();
        assert_eq!(held + received, batch.len());
        let sent = port.transmit[0].transmit(&mut batch).unwrap();
        assert_eq!(held + received - sent, batch.len(), "what doesn't fit stays, and is tried again");
        let before = returned;
        port.device.step();
        while let Some(bytes) = port.device.take_sent() {
            assert_eq!(number(&bytes), returned, "in order");
            returned += 1;
        }
        idle = if returned == before { idle + 1 } else { 0 };
        assert!(idle < 100, "it stands at {returned} of {count}");
    }
    port.transmit[0].reclaim().unwrap();
    assert_eq!(port.transmit[0].pending(), 0);
    let statistics = port.control.statistics().unwrap();
    assert_eq!((statistics.received().packets, statistics.received().errors), (count, 0));
    assert_eq!((statistics.sent().packets, statistics.sent().errors), (count, 0));
    assert_eq!(statistics.received().bytes, statistics.sent().bytes);
    port.close();
}

#[test]
fn nothing_is_lost_or_reordered_over_many_laps_of_small_rings() {
    for limit in [1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 100, 128, 255, 256] {
        forward(64, limit, 1500);
        forward(128, limit, 1500);
    }
}

#[test]
fn nothing_is_lost_or_reordered_at_each_ring_size() {
    for ring in [256, 512, 1024, 2048, 4096] {
        for limit in [8, 32, 256] {
            forward(ring, limit, u64::from(ring) * 3 + 17);
        }
    }
}

#[test]
fn rings_of_different_sizes_work_together() {
    let mut setup = setup(64);
    setup.port.transmit_ring = 256;
    let mut port = open(setup);
    let mut batch = port.batch(48);
    for number in 0..2000 {
        assert!(port.device.inject(&frame(number, 64)));
        if number % 40 == 39 {
            assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 40);
            assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 40);
            port.device.step();
        }
    }
    port.close();
}

#[test]
fn a_full_receive_ring_keeps_the_wire_waiting_and_loses_nothing() {
    let mut port = open(setup(64));
    let taken = (0..100).take_while(|&number| port.device.inject(&frame(number, 60))).count();
    assert_eq!(taken, 63, "one descriptor is never the device's");
    let mut batch = port.batch(256);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 63);
    let numbers: Vec<u64> = batch.frames().map(|frame| number(frame.data())).collect();
    assert_eq!(numbers, (0..63).collect::<Vec<_>>());
    assert!(port.device.inject(&frame(63, 60)), "and there is room again");
    drop(batch);
    port.close();
}

#[test]
fn a_full_transmit_ring_leaves_what_does_not_fit_in_the_batch() {
    let mut port = open(setup(64));
    let mut batch = port.batch(100);
    for number in 0..100 {
        batch.push(port.pool.packet_from(&frame(number, 60)).unwrap()).unwrap();
    }
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 63);
    assert_eq!((batch.len(), port.transmit[0].pending()), (37, 63));
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 0);
    while port.device.step() > 0 {}
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 37);
    while port.device.step() > 0 {}
    let sent: Vec<u64> = std::iter::from_fn(|| port.device.take_sent()).map(|bytes| number(&bytes)).collect();
    assert_eq!(sent, (0..100).collect::<Vec<_>>());
    assert_eq!(port.transmit[0].reclaim().unwrap(), 37);
    assert_eq!(port.transmit[0].pending(), 0);
    drop(batch);
    port.close();
}

#[test]
fn an_exhausted_pool_starves_the_queue_and_no_longer_once_buffers_are_back() {
    let mut setup = setup(64);
    setup.pool.buffers = 64 + 32;
    let mut port = open(setup);
    let mut held = port.batch(32);
    for number in 0..40 {
        assert!(port.device.inject(&frame(number, 60)));
    }
    assert_eq!(port.receive[0].receive(&mut held).unwrap(), 32);
    let mut batch = port.batch(32);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0, "no buffer to replace one");
    assert_eq!(port.control.statistics().unwrap().received().starved, 1);
    held.clear();
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 8, "nothing was lost");
    assert_eq!(number(batch.frame(0).unwrap().data()), 32);
    drop((batch, held));
    port.close();
}

#[test]
fn a_batch_that_is_not_empty_is_filled_up_behind_what_it_holds() {
    let mut port = open(setup(64));
    let mut batch = port.batch(4);
    batch.push(port.pool.packet_from(&frame(100, 60)).unwrap()).unwrap();
    for number in 0..5 {
        assert!(port.device.inject(&frame(number, 60)));
    }
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 3);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0, "it is full");
    let numbers: Vec<u64> = batch.frames().map(|frame| number(frame.data())).collect();
    assert_eq!(numbers, [100, 0, 1, 2]);
    drop(batch);
    port.close();
}

#[test]
fn short_frames_are_padded_and_fragments_of_a_frame_refused() {
    let mut port = open(setup(64));
    let sent = port.send(&[frame(1, 30), frame(2, 17)]);
    assert_eq!((sent[0].len(), sent[1].len()), (60, 60));
    assert_eq!(sent[0][..30], frame(1, 30));
    let mut batch = port.batch(8);
    for length in [60, 16, 60, 0, 60] {
        batch.push(port.pool.packet_from(&frame(length as u64, length)).unwrap()).unwrap();
    }
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 3);
    assert!(batch.is_empty());
    while port.device.step() > 0 {}
    assert_eq!(std::iter::from_fn(|| port.device.take_sent()).count(), 3);
    assert_eq!(port.control.statistics().unwrap().sent().errors, 2);
    drop(batch);
    port.close();
}

#[test]
fn what_the_device_is_asked_to_add_is_refused_unless_the_port_was_opened_for_it() {
    let mut port = open(setup(64));
    let mut batch = port.batch(8);
    let mut tagged = port.pool.packet_from(&frame(0, 60)).unwrap();
    tagged.frame_mut().set_vlan(Some(42));
    let mut checked = port.pool.packet_from(&frame(1, 60)).unwrap();
    checked.frame_mut().set_offload(Some(ringway_packet::Offload {
        transport_checksum: true,
        ..ringway_packet::Offload::default()
    }));
    for packet in [tagged, checked, port.pool.packet_from(&frame(2, 60)).unwrap()] {
        batch.push(packet).unwrap();
    }
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1, "not sent without what was asked for");
    assert_eq!(port.control.statistics().unwrap().sent().errors, 2);
    drop(batch);
    port.close();
}

#[test]
fn a_batch_of_another_pool_is_refused() {
    let mut port = open(setup(64));
    let other = ringway_packet::Pool::new(&port.space, PoolOptions::default()).unwrap();
    let mut batch = ringway_packet::Batch::new(&other, 4);
    batch.push(other.packet_from(&frame(0, 60)).unwrap()).unwrap();
    let error = port.transmit[0].transmit(&mut batch).unwrap_err().to_string();
    assert!(error.starts_with("emulated:0"), "{error}");
    assert!(port.receive[0].receive(&mut batch).is_err());
    assert_eq!(batch.len(), 1);
    port.close();
}

#[test]
fn sent_buffers_come_back_without_another_packet() {
    let mut port = open(setup(64));
    for count in [1usize, 5, 31, 32, 33, 50] {
        let mut batch = port.batch(64);
        for number in 0..count {
            batch.push(port.pool.packet_from(&frame(number as u64, 60)).unwrap()).unwrap();
        }
        assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), count);
        assert_eq!(port.transmit[0].reclaim().unwrap(), 0, "the device has them");
        while port.device.step() > 0 {}
        assert_eq!(port.transmit[0].reclaim().unwrap(), count);
        assert_eq!(port.transmit[0].pending(), 0);
    }
    port.close();
}

#[test]
fn own_frames_are_what_the_tests_send() {
    assert_eq!(frame(7, 60)[..6], OWN);
    assert_eq!(number(&frame(7, 60)), 7);
}
