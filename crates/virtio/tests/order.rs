//! Rings that were in another order once come back into their own, where chains are taken without a look at each.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Random, Rig, batch_of, frame, number, rings, without};
use ringway_dma::{DeviceView, Iova};
use ringway_model::virtio::{Features, Options, Order};
use ringway_packet::Batch;
use ringway_port::{Opened, PortOptions};

const SIZE: u16 = 64;

/// The shared memory of one queue, as the device sees it.
struct Seen {
    view: DeviceView,
    driver: u64,
    device: u64,
}

impl Seen {
    /// Of the queue that the device knows under this number (virtio 1.2, section 4.1.4.3).
    fn of(rig: &Rig, queue: u32) -> Self {
        let common = rig.backend().bar(4).unwrap();
        common.write16(22, queue as u16);
        let base = |low| u64::from(common.read32(low + 4)) << 32 | u64::from(common.read32(low));
        Self { view: rig.space.device_view().unwrap(), driver: base(40), device: base(48) }
    }

    fn word(&mut self, place: u64) -> u16 {
        self.view.load_u16(Iova::new(place)).unwrap()
    }

    /// Whether each entry of the available ring is its own index.
    fn is_in_order(&mut self) -> bool {
        (0..SIZE).all(|index| self.word(self.driver + 4 + 2 * u64::from(index)) == index)
    }

    /// How many buffers the device has.
    fn with_device(&mut self) -> u16 {
        self.word(self.driver + 2).wrapping_sub(self.word(self.device + 2))
    }
}

/// A port whose device has used a ring of buffers in the order that `order` gives.
fn disturbed(options: Options, order: &[usize]) -> (Rig, Opened, Seen) {
    let mut rig = Rig::new(options, 512);
    let mut port = rig.open(&rings(SIZE.into(), SIZE.into()));
    let mut seen = Seen::of(&rig, 0);
    assert!(seen.is_in_order());
    let faults = rig.device.faults();
    faults.hold(0);
    for number in 0..48 {
        assert!(rig.device.inject(&frame(number, 60)));
    }
    faults.release(0, order);
    let mut batch = Batch::new(&rig.pool, 64);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 48);
    assert!(!seen.is_in_order());
    (rig, port, seen)
}

/// So many frames through the port, and how few buffers the device had at worst.
fn receive(rig: &mut Rig, port: &mut Opened, seen: &mut Seen, burst: u64, frames: u64) -> u16 {
    let mut batch = Batch::new(&rig.pool, 32);
    let mut least = SIZE;
    let (mut injected, mut arrived) = (0, 0);
    while arrived < frames {
        for _ in 0..burst {
            injected += u64::from(rig.device.inject(&frame(injected, 60)));
        }
        while port.receive[0].receive(&mut batch).unwrap() > 0 {
            for frame in batch.frames() {
                assert_eq!(number(frame.data()), arrived, "in order, none missing");
                arrived += 1;
            }
            batch.clear();
            least = least.min(seen.with_device());
        }
    }
    least
}

fn end((rig, port, seen): (Rig, Opened, Seen)) {
    drop((port, seen));
    rig.is_clean();
}

#[test]
fn a_receive_ring_that_was_disturbed_once_is_in_order_again_after_some_laps() {
    let reversed: Vec<usize> = (0..48).rev().collect();
    let mut random = Random::new(3);
    let any: Vec<usize> = (0..48).map(|_| random.below(48)).collect();
    for features in [0, Features::MRG_RXBUF, Features::EVENT_IDX] {
        for order in [&[1usize, 0][..], &[40], &reversed, &any] {
            for burst in [1, 7, 32] {
                let (mut rig, mut port, mut seen) = disturbed(without(features), order);
                let least = receive(&mut rig, &mut port, &mut seen, burst, 4 * u64::from(SIZE));
                assert!(seen.is_in_order(), "{order:?} {burst}");
                assert_eq!(seen.with_device(), SIZE, "nothing is held back any more");
                assert!(least >= SIZE / 2 - 1, "the device was left {least} buffers");
                // In order it stays.
                receive(&mut rig, &mut port, &mut seen, burst, 3 * u64::from(SIZE));
                assert!(seen.is_in_order());
                end((rig, port, seen));
            }
        }
    }
}

#[test]
fn a_device_that_keeps_no_order_has_all_buffers_all_the_time() {
    for order in [Order::Reversed, Order::Shuffled(9)] {
        let mut rig = Rig::new(Options { order, ..Options::default() }, 512);
        let mut port = rig.open(&rings(SIZE.into(), SIZE.into()));
        let mut seen = Seen::of(&rig, 0);
        let least = receive(&mut rig, &mut port, &mut seen, 24, 20 * u64::from(SIZE));
        assert_eq!(least, SIZE);
        assert!(!seen.is_in_order());
        end((rig, port, seen));
    }
}

/// A disturbed port in the midst of being brought in order: buffers are held back.
fn holding() -> (Rig, Opened, Seen) {
    let reversed: Vec<usize> = (0..48).rev().collect();
    let (mut rig, mut port, mut seen) = disturbed(Options::default(), &reversed);
    let mut frames = 0;
    while seen.with_device() == SIZE {
        receive(&mut rig, &mut port, &mut seen, 1, 1);
        frames += 1;
        assert!(frames < 3 * SIZE, "it begins after a lap");
    }
    (rig, port, seen)
}

#[test]
fn buffers_are_not_held_back_while_nothing_comes() {
    let (mut rig, mut port, mut seen) = holding();
    let mut batch = Batch::new(&rig.pool, 32);
    let mut rounds = 0;
    while seen.with_device() < SIZE {
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0);
        rounds += 1;
        assert!(rounds <= 1000);
    }
    assert!(rounds > 10, "it is patient for a while: {rounds}");
    receive(&mut rig, &mut port, &mut seen, 8, 4 * u64::from(SIZE));
    assert!(seen.is_in_order(), "it is tried again");
    end((rig, port, seen));
}

#[test]
fn a_program_that_goes_to_sleep_leaves_the_device_all_buffers() {
    let (rig, mut port, mut seen) = holding();
    assert!(port.receive[0].enable_interrupt());
    assert_eq!(seen.with_device(), SIZE);
    end((rig, port, seen));
}

#[test]
fn a_queue_that_is_started_anew_holds_nothing_back() {
    let (mut rig, mut port, _) = holding();
    port.receive[0].restart().unwrap();
    let mut seen = Seen::of(&rig, 0);
    assert!(seen.is_in_order());
    assert_eq!(seen.with_device(), SIZE);
    receive(&mut rig, &mut port, &mut seen, 8, 2 * u64::from(SIZE));
    assert!(seen.is_in_order());
    end((rig, port, seen));
}

/// A packet of several buffers takes several descriptors and one entry: places and descriptors go apart.
#[test]
fn a_transmit_ring_is_in_order_again_after_chains_of_several_descriptors() {
    let mut rig = Rig::new(without(Features::INDIRECT_DESC), 512);
    let ports =
        PortOptions { receive_ring: SIZE.into(), transmit_ring: SIZE.into(), ..PortOptions::default() };
    let mut port = rig.open(&ports);
    let mut seen = Seen::of(&rig, 1);
    let mut send = |rig: &mut Rig, batch: &mut Batch, count| {
        assert_eq!(port.transmit[0].transmit(batch).unwrap(), count);
        rig.run();
        assert_eq!(std::iter::from_fn(|| rig.device.take_sent()).count(), count);
        port.transmit[0].reclaim().unwrap();
    };
    let mut packet = rig.pool.packet_from(&frame(0, 60)).unwrap();
    packet.frame_mut().chain(rig.pool.packet_from(&[7; 40]).unwrap()).unwrap();
    let mut batch = Batch::new(&rig.pool, 64);
    batch.push(packet).unwrap();
    send(&mut rig, &mut batch, 1);
    // The next one stands behind the chain's second descriptor, if nobody sees to it.
    for lap in 0..3 {
        let mut batch = batch_of(&rig.pool, (0..48).map(|number| frame(number, 60)));
        send(&mut rig, &mut batch, 48);
        assert!(seen.is_in_order(), "lap {lap}");
    }
    drop(batch);
    end((rig, port, seen));
}
