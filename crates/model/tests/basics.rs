//! Packets through a device that is stepped by hand.

mod driver;

use driver::{Driver, device, frame};
use ringway_model::virtio::{Features, Options};

#[test]
fn a_packet_goes_out_and_one_comes_in() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, 0, 8);
    let sent = frame(1, 61);
    driver.queue(1).offer_packet(3, &sent);
    assert!(driver.queue(1).kick());
    assert_eq!(handle.take_sent(), None, "nothing moves without a step");
    assert_eq!(handle.step(), 1);
    assert_eq!(handle.take_sent(), Some(sent));
    assert_eq!(driver.queue(1).next_used(), Some((3, 0)));

    let received = frame(2, 1514);
    assert!(handle.inject(&received));
    assert_eq!(driver.queue(0).next_used(), Some((0, 1526)));
    assert_eq!(driver.queue(0).packet(0, 1526), (1, received));
    assert_eq!(handle.violations(), []);
}

#[test]
fn frames_cross_a_cable_in_both_directions_for_many_laps() {
    let (space, function, mut left) = device(Options::default());
    let mut first = Driver::start(&space, function, Features::EVENT_IDX, 16);
    let (space, function, mut right) = device(Options::default());
    let mut second = Driver::start(&space, function, Features::MRG_RXBUF, 16);
    ringway_model::cable(&mut left, &mut right);
    for lap in 0..2_000u32 {
        for (number, driver) in [&mut first, &mut second].into_iter().enumerate() {
            let queue = driver.queue(1);
            for index in 0..8 {
                let index = index + 8 * (lap % 2) as u16;
                queue.offer_packet(index, &frame(lap * 32 + number as u32 * 16 + u32::from(index), 60));
            }
            queue.kick();
        }
        while left.step() + right.step() > 0 {}
        for (number, driver) in [&mut second, &mut first].into_iter().enumerate() {
            let queue = driver.queue(0);
            for index in 0..8 {
                let index = index + 8 * (lap % 2) as u16;
                let (id, length) = queue.next_used().unwrap();
                let expected = frame(lap * 32 + number as u32 * 16 + u32::from(index), 60);
                assert_eq!(queue.packet(id, length), (1, expected));
                queue.offer_buffer(id as u16, 2048);
            }
            assert_eq!(queue.next_used(), None);
            queue.kick();
        }
        for driver in [&mut first, &mut second] {
            assert_eq!((0..9).filter_map(|_| driver.queue(1).next_used()).count(), 8);
        }
    }
    assert_eq!((left.violations(), right.violations()), (vec![], vec![]));
}
