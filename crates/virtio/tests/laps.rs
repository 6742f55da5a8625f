//! Many laps of rings of all sizes, in batches of all sizes, with devices that keep no order.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Random, Rig, frame, number, rings, without};
use ringway_model::virtio::{Features, Options, Order};
use ringway_packet::Batch;
use ringway_port::{Opened, PortOptions};

/// Short frames, and now and then one of each other length.
fn length(number: u64) -> usize {
    60 + if number.is_multiple_of(61) { number % 1455 } else { number % 8 } as usize
}

/// Forwards frames from the device back to it until `laps` laps are done, and checks every byte of every frame.
fn forward(options: Options, ports: &PortOptions, batch: usize, laps: u64) -> (Rig, Opened) {
    let mut rig = Rig::new(options, (ports.receive_ring + ports.transmit_ring + 256).next_multiple_of(32));
    let mut port = rig.open(ports);
    let mut batch = Batch::new(&rig.pool, batch);
    let mut random = Random::new(u64::from(ports.receive_ring));
    let total = laps * u64::from(ports.receive_ring.max(ports.transmit_ring)) + 7;
    let (mut injected, mut arrived, mut idle) = (0u64, 0u64, 0);
    while arrived < total {
        let burst = 1 + random.below(2 * ports.receive_ring as usize) as u64;
        let until = total.min(injected + burst);
        while injected < until && rig.device.inject(&frame(injected, length(injected))) {
            injected += 1;
        }
        port.receive[0].receive(&mut batch).unwrap();
        port.transmit[0].transmit(&mut batch).unwrap();
        rig.run();
        let before = arrived;
        while let Some(sent) = rig.device.take_sent() {
            assert_eq!(number(&sent), arrived, "in order, none missing");
            assert_eq!(sent, frame(arrived, length(arrived)));
            arrived += 1;
        }
        idle = if arrived == before { idle + 1 } else { 0 };
        assert!(idle < 10_000, "stands still at {arrived} of {total}");
    }
    assert!(batch.is_empty());
    drop(batch);
    let counted = port.control.statistics().unwrap();
    let bytes: u64 = (0..total).map(|number| length(number) as u64).sum();
    assert_eq!((counted.received().packets, counted.received().bytes), (total, bytes));
    assert_eq!((counted.sent().packets, counted.sent().bytes), (total, bytes));
    assert_eq!((counted.received().errors, counted.sent().errors), (0, 0));
    (rig, port)
}

fn forward_and_close(options: Options, ports: &PortOptions, batch: usize, laps: u64) {
    let (rig, port) = forward(options, ports, batch, laps);
    drop(port);
    rig.is_clean();
}

#[test]
fn rings_of_every_size_turn_many_laps_with_batches_of_every_size() {
    for power in 1..=10 {
        let size = 1 << power;
        let laps = (1024 / u64::from(size)).max(6);
        for batch in [1, 2, 8, 31, 32, 64, 256] {
            forward_and_close(Options::default(), &rings(size, size), batch, laps);
        }
    }
}

#[test]
fn receive_and_transmit_rings_may_differ_in_size() {
    for (receive, transmit) in [(2, 1024), (1024, 2), (64, 256), (256, 8)] {
        forward_and_close(Options::default(), &rings(receive, transmit), 32, 8);
    }
}

#[test]
fn indices_pass_their_sixteen_bits_unharmed() {
    for options in [Options::default(), without(Features::EVENT_IDX)] {
        forward_and_close(options, &rings(256, 256), 64, 2 * 65_536 / 256 + 2);
    }
}

#[test]
fn a_device_may_use_buffers_in_any_order() {
    for order in [Order::Reversed, Order::Shuffled(1), Order::Shuffled(99)] {
        for size in [2, 4, 16, 128, 512] {
            for batch in [1, 7, 32, 256] {
                let options = Options { order, ..Options::default() };
                forward_and_close(options, &rings(size, size), batch, (2048 / u64::from(size)).max(8));
            }
        }
    }
}

#[test]
fn every_feature_may_be_missing() {
    for features in [
        Features::EVENT_IDX,
        Features::INDIRECT_DESC,
        Features::MRG_RXBUF,
        Features::EVENT_IDX | Features::MRG_RXBUF,
        Features::CTRL_VQ,
        Features::MAC | Features::CTRL_MAC_ADDR | Features::STATUS | Features::MTU | Features::SPEED_DUPLEX,
        u64::MAX,
    ] {
        forward_and_close(without(features), &rings(64, 64), 32, 40);
    }
}

#[test]
fn a_device_that_polls_needs_no_notifications() {
    for features in [0, Features::EVENT_IDX] {
        let options = Options { polls: true, ..without(features) };
        forward_and_close(options, &rings(64, 64), 32, 40);
    }
}

#[test]
fn completions_that_come_late_and_in_any_order_find_their_buffers() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&rings(256, 64));
    let mut random = Random::new(5);
    let faults = rig.device.faults();
    let (mut sent, mut arrived) = (0u64, 0u64);
    for _ in 0..500 {
        faults.hold(1);
        let count = 1 + random.below(64) as u64;
        let mut batch = common::batch_of(&rig.pool, (sent..sent + count).map(|number| frame(number, 60)));
        sent += port.transmit[0].transmit(&mut batch).unwrap() as u64;
        drop(batch);
        rig.run();
        while let Some(frame) = rig.device.take_sent() {
            assert_eq!(number(&frame), arrived);
            arrived += 1;
        }
        let held = faults.held(1);
        let order: Vec<usize> = (0..held).map(|_| random.below(held)).collect();
        faults.release(1, &order);
    }
    assert!(sent > 5_000, "{sent}");
    assert_eq!(sent, arrived);
    port.transmit[0].reclaim().unwrap();
    assert_eq!(port.transmit[0].pending(), 0);
    drop(port);
    rig.is_clean();
}
