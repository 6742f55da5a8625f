//! Devices on threads of their own, and the wires between them.
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{Driver, device, frame, marked};
use ringway_model::virtio::{Features, Handle, Options};
use ringway_model::wire::channel;
use ringway_traffic::end::EndOptions;
use ringway_traffic::pace::Pace;
use std::time::{Duration, Instant};

/// Waits for a condition, with a generous limit.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::yield_now();
    }
}

fn receive(driver: &mut Driver) -> Option<Vec<u8>> {
    let queue = driver.queue(0);
    let (id, length) = queue.next_used()?;
    let received = queue.packet(id, length).1;
    queue.offer_buffer(id as u16, 2048);
    queue.kick();
    Some(received)
}

#[test]
fn a_device_runs_until_it_is_stopped_and_then_stands_still() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, Features::EVENT_IDX, 16);
    let (wire, end) = channel(8);
    handle.attach(Box::new(wire));
    let running = handle.run();
    assert!(running.error().is_none());
    for number in 0..500u32 {
        driver.queue(1).offer_packet((number % 16) as u16, &frame(number, 60));
        driver.queue(1).kick();
        until("a sent frame", || end.receive().is_some_and(|sent| sent == frame(number, 60)));
        until("a used buffer", || driver.queue(1).next_used().is_some());
        end.send(frame(number, 99)).unwrap();
        until("a received frame", || {
            receive(&mut driver).is_some_and(|received| received == frame(number, 99))
        });
    }
    let mut handle: Handle = running.stop();
    driver.queue(1).offer_packet(0, &frame(1, 60));
    driver.queue(1).kick();
    std::thread::yield_now();
    assert_eq!(driver.queue(1).next_used(), None);
    assert_eq!(handle.step(), 1, "by hand again");
    assert_eq!(handle.violations(), []);
}

#[test]
fn a_device_that_is_dropped_while_it_runs_ends_its_thread() {
    let (space, function, handle) = device(Options::default());
    let driver = Driver::start(&space, function, 0, 8);
    let monitor = handle.monitor();
    drop(handle.run());
    assert_eq!(monitor.status() & 4, 4);
    assert_eq!(driver.status() & 4, 4, "registers still answer");
}

#[test]
fn two_devices_on_two_threads_share_a_cable() {
    let (space, function, mut left) = device(Options::default());
    let mut sender = Driver::start(&space, function, 0, 32);
    let (space, function, mut right) = device(Options { polls: true, ..Options::default() });
    let mut receiver = Driver::start(&space, function, Features::EVENT_IDX, 32);
    ringway_model::cable(&mut left, &mut right);
    let (left, right) = (left.run(), right.run());
    let (mut sent, mut received, mut free) = (0u32, 0u32, (0..32).collect::<Vec<u16>>());
    until("all frames", || {
        if let (Some(slot), true) = (free.pop(), sent < 5_000) {
            sender.queue(1).offer_packet(slot, &frame(sent, 60 + sent as usize % 1400));
            sender.queue(1).kick();
            sent += 1;
        }
        free.extend(std::iter::from_fn(|| sender.queue(1).next_used()).map(|(id, _)| id as u16));
        while let Some(bytes) = receive(&mut receiver) {
            assert_eq!(bytes, frame(received, 60 + received as usize % 1400));
            received += 1;
        }
        received == 5_000
    });
    assert_eq!((left.stop().violations(), right.stop().violations()), (vec![], vec![]));
}

#[test]
fn a_closed_loop_waits_and_an_open_loop_counts_what_is_missed() {
    for pace in [Pace::Unlimited, Pace::Constant(1e9)] {
        let (space, function, mut handle) = device(Options::default());
        let mut driver = Driver::start(&space, function, 0, 16);
        let (wire, monitor) = marked(&EndOptions { pace, limit: Some(500), ..EndOptions::default() });
        let waits = pace == Pace::Unlimited;
        handle.attach(Box::new(wire));
        // 16 buffers, and nobody gives them back.
        let start = Instant::now();
        while !waits && monitor.read().made < 500 {
            handle.step();
            assert!(start.elapsed() < Duration::from_secs(120));
        }
        (0..20).for_each(|_| {
            handle.step();
        });
        assert_eq!(driver.queue(0).used_index(), 16);
        let missed = if waits { 0 } else { 484 };
        assert_eq!(handle.statistics().missed, missed);
        if waits {
            // Given back, they bring the rest.
            let mut seen = 0;
            until("every frame", || {
                handle.step();
                while receive(&mut driver).is_some() {
                    seen += 1;
                }
                seen == 500
            });
            assert_eq!((monitor.read().made, handle.statistics().received_frames), (500, 500));
        }
    }
}

#[test]
fn a_source_that_is_stopped_makes_no_further_frame_and_a_wire_can_be_changed() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, 0, 64);
    let (wire, monitor) = marked(&EndOptions::default());
    handle.attach(Box::new(wire));
    assert!(handle.step() > 0);
    monitor.stop();
    while handle.step() > 0 {}
    let sent = monitor.read().made;
    while receive(&mut driver).is_some() {}
    assert_eq!(handle.step(), 0);
    assert_eq!(monitor.read().made, sent);
    driver.queue(1).offer_packet(0, &frame(1, 60));
    driver.queue(1).kick();
    assert_eq!(handle.step(), 1);
    assert_eq!((monitor.read().totals.foreign, handle.take_sent()), (1, None));
    assert!(handle.detach().is_some());
    driver.queue(1).offer_packet(1, &frame(2, 60));
    driver.queue(1).kick();
    handle.step();
    assert_eq!(handle.take_sent(), Some(frame(2, 60)));
}
