//! One queue is started anew while the others go on (virtio 1.2, section 2.6.1).
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Rig, batch_of, frame, number, rings, without};
use ringway_model::virtio::{Features, Options};
use ringway_packet::Batch;
use ringway_port::{Opened, PortOptions};

fn pairs() -> PortOptions {
    PortOptions { receive_queues: 2, transmit_queues: 2, interrupts: true, ..rings(64, 64) }
}

/// Packets pass both ways on every queue, many times around.
fn works(rig: &mut Rig, port: &mut Opened) {
    let mut batch = Batch::new(&rig.pool, 8);
    for sent in 0..200 {
        for transmit in &mut port.transmit {
            let mut batch = batch_of(&rig.pool, [frame(sent, 60)]);
            assert_eq!(transmit.transmit(&mut batch).unwrap(), 1);
            rig.run();
            assert_eq!(number(&rig.device.take_sent().unwrap()), sent);
        }
        let packet = common::internet::KINDS[0].packet(sent as u16, 60);
        assert!(rig.device.inject(&packet));
        let received: usize = port.receive.iter_mut().map(|queue| queue.receive(&mut batch).unwrap()).sum();
        assert_eq!(received, 1);
        assert_eq!(batch.frame(0).unwrap().data(), packet);
        batch.clear();
    }
}

#[test]
fn a_queue_is_started_anew_at_any_point_of_its_ring() {
    for missing in [0, Features::EVENT_IDX, Features::INDIRECT_DESC] {
        let mut rig = Rig::new(Options { queue_pairs: 2, ..without(missing) }, 1024);
        let mut port = rig.open(&pairs());
        assert!(port.control.capabilities().queue_reset);
        for round in 0..5 {
            works(&mut rig, &mut port);
            for queue in 0..2 {
                // With packets in it that nobody has taken, or sent.
                port.transmit[usize::from(queue)].reclaim().unwrap();
                rig.device.faults().stall(2 * queue + 1, true);
                let mut batch = batch_of(&rig.pool, (0..round).map(|number| frame(number, 60)));
                port.transmit[usize::from(queue)].transmit(&mut batch).unwrap();
                assert_eq!(port.transmit[usize::from(queue)].pending(), round as usize);
                rig.device.inject(&common::internet::KINDS[1].packet(queue, 60));
                port.transmit[usize::from(queue)].restart().unwrap();
                assert_eq!(port.transmit[usize::from(queue)].pending(), 0, "they are back");
                rig.device.faults().stall(2 * queue + 1, false);
            }
            for receive in &mut port.receive {
                receive.restart().unwrap();
            }
            let mut batch = Batch::new(&rig.pool, 8);
            for receive in &mut port.receive {
                assert_eq!(receive.receive(&mut batch).unwrap(), 0, "what was there is lost");
            }
        }
        works(&mut rig, &mut port);
        drop(port);
        rig.is_clean();
    }
}

#[test]
fn a_queue_that_failed_works_again() {
    let mut rig = Rig::new(Options { queue_pairs: 2, ..Options::default() }, 1024);
    let mut port = rig.open(&pairs());
    works(&mut rig, &mut port);
    rig.device.faults().jump_used_index(1, 1000);
    let mut batch = batch_of(&rig.pool, [frame(1, 60)]);
    port.transmit[0].transmit(&mut batch).unwrap();
    rig.run();
    while rig.device.take_sent().is_some() {}
    assert!(port.transmit[0].reclaim().is_err() && port.transmit[0].reclaim().is_err());
    port.transmit[0].restart().unwrap();
    for queue in [0, 2] {
        rig.device.faults().wrong_id(queue, 77);
    }
    let mut failed = 0;
    for source in 0..20 {
        rig.device.inject(&common::internet::KINDS[0].packet(source, 60));
        failed += port.receive.iter_mut().filter_map(|queue| queue.receive(&mut batch).err()).count();
        batch.clear();
    }
    assert!(failed >= 2);
    for receive in &mut port.receive {
        receive.restart().unwrap();
    }
    works(&mut rig, &mut port);
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn an_interrupt_that_was_asked_for_still_comes() {
    let mut rig = Rig::new(Options { queue_pairs: 2, ..Options::default() }, 1024);
    let mut port = rig.open(&pairs());
    let before = rig.device.statistics().interrupts;
    for receive in &mut port.receive {
        assert!(receive.enable_interrupt());
        receive.restart().unwrap();
    }
    assert!(rig.device.inject(&frame(1, 60)));
    assert_eq!(rig.device.statistics().interrupts, before + 1);
    drop(port);
    rig.is_clean();
}

#[test]
fn a_device_that_can_not_reset_a_queue_says_so_and_one_that_is_broken_too() {
    let mut rig = Rig::new(without(Features::RING_RESET), 1024);
    let mut port = rig.open(&rings(64, 64));
    assert!(!port.control.capabilities().queue_reset);
    for error in [port.receive[0].restart().unwrap_err(), port.transmit[0].restart().unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains("emulated:0") && error.contains("VIRTIO_F_RING_RESET"), "{error}");
    }
    // The queues are none the worse for it.
    let mut batch = Batch::new(&rig.pool, 8);
    assert!(rig.device.inject(&frame(1, 60)));
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
    drop((port, batch));
    rig.is_clean();
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&rings(64, 64));
    rig.device.faults().need_reset();
    let error = port.receive[0].restart().unwrap_err().to_string();
    assert!(error.contains("DEVICE_NEEDS_RESET"), "{error}");
    drop(port);
    rig.is_clean();
}
