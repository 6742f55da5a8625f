//! What happens when there is no more: descriptors, buffers, room in the batch.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Rig, batch_of, frame, number, rings};
use ringway_model::virtio::Options;
use ringway_packet::Batch;

#[test]
fn a_full_ring_refuses_one_more_packet_and_gives_it_back() {
    for size in [2, 8, 64, 256] {
        let mut rig = Rig::new(Options::default(), 1024);
        let mut port = rig.open(&rings(64, size));
        let transmit = &mut port.transmit[0];
        let size = size as usize;
        let mut batch = batch_of(&rig.pool, (0..size as u64).map(|number| frame(number, 60)));
        assert_eq!(transmit.transmit(&mut batch).unwrap(), size);
        assert_eq!(transmit.pending(), size);

        let mut more = batch_of(&rig.pool, [frame(size as u64, 60), frame(size as u64 + 1, 60)]);
        assert_eq!(transmit.transmit(&mut more).unwrap(), 0);
        assert_eq!(more.len(), 2, "what doesn't fit stays in the batch");
        assert_eq!(number(more.frame(0).unwrap().data()), size as u64);

        rig.run();
        assert_eq!(transmit.transmit(&mut more).unwrap(), 2, "sent buffers are taken back for it");
        rig.run();
        assert_eq!(transmit.reclaim().unwrap(), 2);
        assert_eq!(transmit.pending(), 0);
        let sent: Vec<u64> =
            std::iter::from_fn(|| rig.device.take_sent()).map(|sent| number(&sent)).collect();
        assert_eq!(sent, (0..size as u64 + 2).collect::<Vec<_>>());
        assert_eq!(port.control.statistics().unwrap().sent().packets, size as u64 + 2);
        drop((port, batch, more));
        rig.is_clean();
    }
}

#[test]
fn a_batch_that_fits_in_part_keeps_its_rest_in_order() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&rings(64, 16));
    let mut batch = batch_of(&rig.pool, (0..40).map(|number| frame(number, 60)));
    let mut sent = 0;
    while !batch.is_empty() {
        let gone = port.transmit[0].transmit(&mut batch).unwrap();
        assert!(gone <= 16);
        sent += gone;
        assert_eq!(batch.len(), 40 - sent);
        rig.run();
    }
    let numbers: Vec<u64> = std::iter::from_fn(|| rig.device.take_sent()).map(|sent| number(&sent)).collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn a_batch_without_room_leaves_packets_in_the_ring() {
    let mut rig = Rig::new(Options::default(), 512);
    let mut port = rig.open(&rings(64, 64));
    for number in 0..20 {
        assert!(rig.device.inject(&frame(number, 60)));
    }
    let mut batch = Batch::new(&rig.pool, 8);
    for from in [0, 8] {
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 8);
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0, "no room");
        assert_eq!(number(batch.frame(0).unwrap().data()), from);
        assert_eq!(batch.clear(), 8);
    }
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 4);
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn an_exhausted_pool_starves_the_ring_and_recovers() {
    let mut rig = Rig::new(Options::default(), 64);
    let mut port = rig.open(&rings(64, 64));
    let mut batch = Batch::new(&rig.pool, 256);
    // Every buffer is in the ring: what is received can't be replaced.
    for number in 0..64 {
        assert!(rig.device.inject(&frame(number, 60)));
    }
    assert!(!rig.device.inject(&frame(64, 60)), "no buffer is left to the device");
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 64);
    assert!(!rig.device.inject(&frame(64, 60)), "nothing went back to the ring");
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0);
    let starved = port.control.statistics().unwrap().received().starved;
    assert!(starved > 0);

    // Some come back, and go to the ring with the next look at it.
    for _ in 0..3 {
        drop(batch.pop());
    }
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0);
    for number in 64..67 {
        assert!(rig.device.inject(&frame(number, 60)));
    }
    assert!(!rig.device.inject(&frame(67, 60)));
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 3);

    // All come back.
    batch.clear();
    for lap in 0..20 {
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0);
        for number in 0..64 {
            assert!(rig.device.inject(&frame(number, 60)), "{number} in lap {lap}");
        }
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 64);
        let numbers: Vec<u64> = batch.frames().map(|frame| number(frame.data())).collect();
        assert_eq!(numbers, (0..64).collect::<Vec<_>>());
        batch.clear();
    }
    let counted = port.control.statistics().unwrap().received();
    assert_eq!((counted.packets, counted.errors), (64 + 3 + 20 * 64, 0));
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn a_pool_that_is_too_small_is_an_error_that_says_how_much_is_missing() {
    let mut rig = Rig::new(Options::default(), 100);
    let error = rig.try_open(&rings(128, 64)).unwrap_err().to_string();
    for part in ["emulated:0", "128", "100", "pool larger"] {
        assert!(error.contains(part), "{error}");
    }
    rig.is_clean();
    drop(rig.open(&rings(64, 64)));
    rig.is_clean();
}

#[test]
fn a_ring_as_large_as_the_device_has_it_is_used_where_a_larger_one_is_asked_for() {
    let mut rig = Rig::new(Options { queue_size: 16, ..Options::default() }, 512);
    let mut port = rig.open(&rings(512, 512));
    let mut batch = batch_of(&rig.pool, (0..20).map(|number| frame(number, 60)));
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 16);
    let taken = (0..20).filter(|&number| rig.device.inject(&frame(number, 60))).count();
    assert_eq!(taken, 16);
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn impossible_ring_sizes_are_refused_with_the_possible_ones() {
    let mut rig = Rig::new(Options::default(), 512);
    for size in [0, 1, 3, 100, 65_536] {
        for ports in [rings(size, 64), rings(64, size)] {
            let error = rig.try_open(&ports).unwrap_err().to_string();
            assert!(error.contains("emulated:0") && error.contains("power of two from 2 to 1024"), "{error}");
        }
    }
    rig.is_clean();
}

#[test]
fn a_batch_of_another_pool_is_refused_and_kept() {
    let mut rig = Rig::new(Options::default(), 256);
    let mut port = rig.open(&rings(64, 64));
    let other = Rig::in_space(&rig.space, Options::default(), 64);
    let mut batch = batch_of(&other.pool, [frame(0, 60)]);
    let error = port.transmit[0].transmit(&mut batch).unwrap_err().to_string();
    assert!(error.contains("emulated:0"), "{error}");
    assert_eq!(batch.len(), 1);
    assert!(rig.device.inject(&frame(0, 60)));
    let error = port.receive[0].receive(&mut batch).unwrap_err().to_string();
    assert!(error.contains("emulated:0"), "{error}");
    let mut own = Batch::new(&rig.pool, 4);
    assert_eq!(port.receive[0].receive(&mut own).unwrap(), 1, "the queue goes on");
    drop((port, batch, own));
    rig.is_clean();
}
