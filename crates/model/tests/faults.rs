//! A device that breaks on demand does what the knob says, once, and no more.
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{Driver, device, frame};
use ringway_model::virtio::{Features, Handle, Options, Order};
use ringway_pci::Width;

fn start(options: Options) -> (Driver, Handle) {
    let (space, function, handle) = device(options);
    (Driver::start(&space, function, Features::MRG_RXBUF | Features::STATUS, 8), handle)
}

fn send(driver: &mut Driver, slot: u16) {
    driver.queue(1).offer_packet(slot, &frame(slot.into(), 60));
    driver.queue(1).kick();
}

#[test]
fn a_stalled_queue_stands_still_and_goes_on() {
    let (mut driver, mut handle) = start(Options::default());
    let faults = handle.faults();
    faults.stall(1, true);
    faults.stall(0, true);
    send(&mut driver, 0);
    assert_eq!(handle.step(), 0);
    assert!(!handle.inject(&frame(1, 60)));
    faults.stall(1, false);
    assert_eq!(handle.step(), 1);
    faults.clear();
    assert!(handle.inject(&frame(1, 60)));
    assert_eq!(handle.violations(), []);
}

#[test]
fn completions_are_held_and_released_in_any_order() {
    let (mut driver, mut handle) = start(Options::default());
    let faults = handle.faults();
    faults.hold(1);
    (0..4).for_each(|slot| send(&mut driver, slot));
    assert_eq!(handle.step(), 4);
    assert_eq!((0..4).filter_map(|_| handle.take_sent()).count(), 4, "they went out");
    assert_eq!((faults.held(1), driver.queue(1).next_used()), (4, None));
    faults.release(1, &[2, 0, 9]);
    let queue = driver.queue(1);
    let ids: Vec<u32> = std::iter::from_fn(|| queue.next_used()).map(|(id, _)| id).collect();
    assert_eq!(ids, [2, 0, 1, 3]);
}

#[test]
fn buffers_are_used_in_another_order_and_frames_keep_theirs() {
    for order in [Order::Reversed, Order::Shuffled(1), Order::Shuffled(2)] {
        let (mut driver, mut handle) = start(Options { order, ..Options::default() });
        let (mut disturbed, mut next) = (false, 0);
        for lap in 0..100u32 {
            (0..8).for_each(|slot| driver.queue(1).offer_packet(slot, &frame(lap * 8 + u32::from(slot), 60)));
            driver.queue(1).kick();
            assert_eq!(handle.step(), 8);
            let queue = driver.queue(1);
            let ids: Vec<u32> = std::iter::from_fn(|| queue.next_used()).map(|(id, _)| id).collect();
            disturbed |= ids != [0, 1, 2, 3, 4, 5, 6, 7];
            let mut sorted = ids;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7]);
            for number in 0..8 {
                assert_eq!(handle.take_sent(), Some(frame(lap * 8 + number, 60)));
            }
            for _ in 0..5 {
                assert!(handle.inject(&frame(next, 60)));
                let queue = driver.queue(0);
                let (id, length) = queue.next_used().unwrap();
                assert_eq!(queue.packet(id, length), (1, frame(next, 60)));
                queue.offer_buffer(id as u16, 2048);
                queue.kick();
                next += 1;
            }
        }
        assert!(disturbed, "{order:?}");
        assert_eq!(handle.violations(), []);
    }
}

#[test]
fn a_removed_function_reads_all_ones_and_touches_nothing() {
    let (mut driver, mut handle) = start(Options::default());
    driver.connect(2);
    driver.common.write16(16, 0);
    let faults = handle.faults();
    send(&mut driver, 0);
    faults.remove();
    assert_eq!(
        (driver.status(), driver.common.read16(18), driver.common.read32(4)),
        (0xff, 0xffff, u32::MAX)
    );
    assert_eq!(driver.function.config_read(0, Width::Double).unwrap(), u32::MAX);
    assert_eq!(driver.network.read16(6), 0xffff);
    assert_eq!(handle.step(), 0);
    assert!(!handle.inject(&frame(1, 60)));
    handle.set_link(false);
    driver.common.write8(20, 0);
    assert_eq!((driver.queue(1).used_index(), driver.interrupts(0)), (0, 0));
    faults.insert();
    assert_eq!(driver.function.config_read(0, Width::Double).unwrap(), 0x1041_1af4);
}

#[test]
fn the_used_ring_lies_once() {
    let (mut driver, mut handle) = start(Options::default());
    let faults = handle.faults();
    let mut round = |prepare: &dyn Fn()| {
        prepare();
        send(&mut driver, 3);
        handle.step();
        let queue = driver.queue(1);
        let seen = queue.used_index().wrapping_sub(queue.seen_used);
        let first = queue.next_used();
        queue.seen_used = queue.used_index();
        (seen, first)
    };
    assert_eq!(round(&|| faults.wrong_id(1, 77)), (1, Some((77, 0))));
    assert_eq!(round(&|| {}), (1, Some((3, 0))));
    assert_eq!(round(&|| faults.excess_length(1, 5000)), (1, Some((3, 5000))));
    assert_eq!(round(&|| faults.duplicate_completion(1)), (2, Some((3, 0))));
    assert_eq!(round(&|| faults.jump_used_index(1, 100)), (101, Some((3, 0))));
    assert_eq!(round(&|| faults.wrong_id(0, 1)), (1, Some((3, 0))), "that is another queue's");
}

#[test]
fn a_header_may_name_a_wrong_number_of_buffers() {
    let (mut driver, mut handle) = start(Options::default());
    handle.faults().wrong_buffer_count(7);
    for expected in [7, 1] {
        assert!(handle.inject(&frame(1, 60)));
        let (id, length) = driver.queue(0).next_used().unwrap();
        assert_eq!(driver.queue(0).packet(id, length).0, expected);
    }
}

#[test]
fn features_and_vectors_are_refused_on_demand() {
    let (driver, handle) = start(Options::default());
    handle.faults().refuse_features(true);
    handle.faults().refuse_vectors(true);
    let mut driver = Driver::find(driver.function);
    assert!(!driver.negotiate(Features::VERSION_1 | Features::ACCESS_PLATFORM));
    driver.common.write16(16, 0);
    assert_eq!(driver.common.read16(16), 0xffff);
    handle.faults().clear();
    assert!(driver.negotiate(Features::VERSION_1 | Features::ACCESS_PLATFORM));
}

#[test]
fn a_link_that_is_down_carries_nothing() {
    let (mut driver, mut handle) = start(Options::default());
    handle.faults().link(false);
    assert_eq!(driver.network.read16(6), 0);
    send(&mut driver, 0);
    assert_eq!(handle.step(), 1, "taken from the ring");
    assert_eq!((handle.take_sent(), handle.statistics().link_down), (None, 1));
    assert!(!handle.inject(&frame(1, 60)));
    handle.faults().link(true);
    send(&mut driver, 1);
    handle.step();
    assert_eq!(handle.take_sent(), Some(frame(1, 60)));
}
