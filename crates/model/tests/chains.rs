//! Descriptor chains, right and wrong (virtio 1.2, sections 2.7.4 to 2.7.6, 5.1.6.2 to 5.1.6.4).
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{BUFFER, Driver, INDIRECT, NEXT, Queue, WRITE, device, frame};
use ringway_dma::AddressSpace;
use ringway_model::virtio::{Features, Handle, Options, Rule};

fn start(features: u64, size: u16) -> (AddressSpace, Driver, Handle) {
    let (space, function, handle) = device(Options::default());
    let driver = Driver::start(&space, function, features, size);
    (space, driver, handle)
}

/// Lets `break_it` spoil transmit queue (1) or receive queue (0) and expects that the device stops for `rule`, and works
/// after a reset.
fn stops(features: u64, index: u16, rule: Rule, break_it: impl FnOnce(&mut Queue)) {
    let (_space, mut driver, mut handle) = start(features, 8);
    break_it(driver.queue(index));
    driver.queue(index).publish();
    driver.queue(index).ring();
    let moved = handle.step();
    if index == 0 {
        // The queue was full of good buffers before.
        (0..9).for_each(|_| {
            handle.inject(&frame(0, 60));
        });
    } else {
        assert_eq!(moved, 0);
    }
    let violations = handle.violations();
    assert_eq!(
        violations.last().map(|violation| (violation.rule, violation.queue)),
        Some((rule, Some(index)))
    );
    assert!(rule.is_fatal());
    assert_eq!(driver.status() & 64, 64, "{rule:?} needs a reset");
    assert_eq!(handle.step(), 0);
    assert!(violations.iter().all(|violation| violation.to_string().contains(violation.rule.section())));
    let space = driver.function.address_space().clone();
    let mut driver = Driver::start(&space, driver.function, 0, 8);
    driver.queue(1).offer_packet(0, &frame(1, 60));
    driver.queue(1).kick();
    assert_eq!(handle.step(), 1);
}

#[test]
fn a_chain_that_loops_ends() {
    stops(0, 1, Rule::ChainTooLong, |queue| {
        let address = queue.memory.at(queue.buffer(0));
        queue.describe(0, address, 20, NEXT, 1);
        queue.describe(1, address, 20, NEXT, 0);
        queue.offer(0);
    });
    stops(0, 1, Rule::ChainTooLong, |queue| {
        queue.describe(3, 0, 0, NEXT, 3);
        queue.offer(3);
    });
    stops(Features::INDIRECT_DESC, 1, Rule::ChainTooLong, |queue| {
        let table = queue.buffer(4);
        queue.memory.set_u64(table, 0);
        queue.memory.set_u64(table + 8, u64::from(NEXT) << 32);
        let address = queue.memory.at(table);
        queue.describe(0, address, 16, INDIRECT, 0);
        queue.offer(0);
    });
}

#[test]
fn indices_outside_the_queue_stop_the_device() {
    stops(0, 1, Rule::HeadOutOfRange, |queue| queue.offer(8));
    stops(0, 1, Rule::HeadOutOfRange, |queue| queue.offer(u16::MAX));
    stops(0, 1, Rule::NextOutOfRange, |queue| {
        queue.describe(0, 0, 0, NEXT, 8);
        queue.offer(0);
    });
    stops(0, 1, Rule::AvailableIndexJump, |queue| (0..9).for_each(|_| queue.offer(0)));
    stops(0, 1, Rule::AvailableIndexJump, |queue| queue.available = u16::MAX);
}

#[test]
fn memory_that_is_not_there_stops_the_device() {
    for address in [0, 4096, 1 << 47, u64::MAX, u64::MAX - 4] {
        stops(0, 1, Rule::Memory, |queue| {
            queue.describe(0, address, 100, 0, 0);
            queue.offer(0);
        });
    }
    stops(0, 1, Rule::Memory, |queue| {
        let end = queue.memory.at(Queue::bytes(8) as u64).next_multiple_of(4096);
        queue.describe(0, end - 50, 100, 0, 0);
        queue.offer(0);
    });
    stops(Features::INDIRECT_DESC, 1, Rule::Memory, |queue| {
        queue.describe(0, 16, 160, INDIRECT, 0);
        queue.offer(0);
    });
    stops(0, 0, Rule::Memory, |queue| queue.describe(5, 0, 2048, WRITE, 0));
}

#[test]
fn directions_are_kept_apart() {
    stops(0, 1, Rule::ReadableAfterWritable, |queue| {
        let address = queue.memory.at(queue.buffer(0));
        queue.describe(0, address, 20, NEXT | WRITE, 1);
        queue.describe(1, address, 20, 0, 0);
        queue.offer(0);
    });
    stops(0, 1, Rule::TransmitWritable, |queue| {
        let address = queue.memory.at(queue.buffer(0));
        queue.describe(0, address, 80, NEXT, 1);
        queue.describe(1, address, 20, WRITE, 0);
        queue.offer(0);
    });
    stops(0, 0, Rule::ReceiveReadable, |queue| {
        let address = queue.memory.at(queue.buffer(0));
        queue.describe(3, address, 2000, 0, 0);
    });
}

#[test]
fn indirect_tables_obey_their_rules() {
    let table = |rule, features, length: u32, flags: u16, entry_flags: u16| {
        stops(features, 1, rule, move |queue| {
            let table = queue.buffer(4);
            let address = queue.memory.at(queue.buffer(0));
            queue.memory.set_u64(table, address);
            queue.memory.set_u64(table + 8, 80 | u64::from(entry_flags) << 32 | 2 << 48);
            let address = queue.memory.at(table);
            queue.describe(0, address, length, flags, 1);
            queue.offer(0);
        });
    };
    let on = Features::INDIRECT_DESC;
    table(Rule::IndirectNotNegotiated, 0, 16, INDIRECT, 0);
    table(Rule::IndirectNested, on, 16, INDIRECT, INDIRECT);
    table(Rule::IndirectWithNext, on, 16, INDIRECT | NEXT, 0);
    table(Rule::IndirectLength, on, 0, INDIRECT, 0);
    table(Rule::IndirectLength, on, 24, INDIRECT, 0);
    table(Rule::NextOutOfRange, on, 32, INDIRECT, NEXT);
}

#[test]
fn lengths_are_checked() {
    stops(0, 1, Rule::TransmitTooShort, |queue| queue.describe_packet(11));
    stops(0, 1, Rule::TransmitTooLong, |queue| queue.describe_packet(65_567));
    stops(0, 1, Rule::TransmitTooLong, |queue| queue.describe_packet(u32::MAX));
    stops(0, 1, Rule::ChainTooManyBytes, |queue| {
        queue.describe(0, 4096, u32::MAX, NEXT, 1);
        queue.describe(1, 4096, u32::MAX, 0, 0);
        queue.offer(0);
    });
}

impl Queue {
    fn describe_packet(&mut self, length: u32) {
        let address = self.memory.at(self.buffer(0));
        self.describe(0, address, length, 0, 0);
        self.offer(0);
    }
}

#[test]
fn in_order_use_binds_the_driver_too() {
    let (space, function, mut handle) =
        device(Options { features: Features::IMPLEMENTED, ..Options::default() });
    let mut driver = Driver::start(&space, function, Features::IN_ORDER, 8);
    let queue = driver.queue(1);
    let address = queue.memory.at(queue.buffer(0));
    queue.describe(0, address, 80, NEXT, 2);
    queue.offer(0);
    queue.kick();
    handle.step();
    assert_eq!(handle.violations().pop().unwrap().rule, Rule::InOrderNext);
}

#[test]
fn a_packet_may_be_cut_anywhere() {
    let (_space, mut driver, mut handle) = start(0, 16);
    let sent = frame(0x0102_0304, 600);
    for cut in [1, 11, 12, 13, 26, 300, 611] {
        let queue = driver.queue(1);
        let buffer = queue.buffer(0);
        queue.memory.write(buffer, &[0; 12]);
        queue.memory.write(buffer + 12, &sent);
        let address = queue.memory.at(buffer);
        queue.describe(7, address, cut, NEXT, 2);
        queue.describe(2, address + u64::from(cut), 0, NEXT, 9);
        queue.describe(9, address + u64::from(cut), 612 - cut, 0, 0);
        queue.offer(7);
        queue.kick();
        assert_eq!(handle.step(), 1);
        assert_eq!(handle.take_sent().as_ref(), Some(&sent));
        assert_eq!(driver.queue(1).next_used(), Some((7, 0)));
    }
    assert_eq!(handle.violations(), []);
}

#[test]
fn indirect_tables_lie_anywhere_and_may_follow_other_descriptors() {
    let (_space, mut driver, mut handle) = start(Features::INDIRECT_DESC, 8);
    let sent = frame(5, 100);
    for (shift, direct) in [(0, false), (1, false), (8, true), (5, true)] {
        let queue = driver.queue(1);
        let (buffer, table) = (queue.buffer(0), queue.buffer(4) + shift);
        queue.memory.write(buffer, &[0; 12]);
        queue.memory.write(buffer + 12, &sent);
        let address = queue.memory.at(buffer);
        let (first, start) = if direct { (12, 12) } else { (0, 0) };
        let entries =
            [(address + start, 20u32, NEXT, 2u16), (0, 0, 0, 0), (address + start + 20, 92 - first, 0, 0)];
        for (number, (address, length, flags, next)) in entries.into_iter().enumerate() {
            let place = table + 16 * number as u64;
            queue.memory.write(place, &address.to_le_bytes());
            queue.memory.write(place + 8, &length.to_le_bytes());
            queue.memory.write(place + 12, &flags.to_le_bytes());
            queue.memory.write(place + 14, &next.to_le_bytes());
        }
        let place = queue.memory.at(table);
        // Section 2.7.5.3.2: the write flag of a reference is to be ignored.
        queue.describe(6, place, 48, INDIRECT | WRITE, 0);
        queue.describe(1, address, 12, NEXT, 6);
        queue.offer(if direct { 1 } else { 6 });
        queue.kick();
        assert_eq!(handle.step(), 1);
        assert_eq!(handle.take_sent().as_ref(), Some(&sent));
    }
    assert_eq!(handle.violations(), []);
}

#[test]
fn mergeable_buffers_share_a_frame() {
    let (space, function, mut handle) = device(Options { mtu: 9000, ..Options::default() });
    let mut driver = Driver::start(&space, function, Features::MRG_RXBUF | Features::EVENT_IDX, 16);
    for lap in 0..200u32 {
        let length = 60 + (lap as usize * 397) % 8900;
        let received = frame(lap, length);
        assert!(handle.inject(&received), "lap {lap}");
        let queue = driver.queue(0);
        let buffers = (length + 12).div_ceil(BUFFER as usize);
        assert_eq!(usize::from(queue.used_index().wrapping_sub(queue.seen_used)), buffers);
        let mut bytes = Vec::new();
        for _ in 0..buffers {
            let (id, length) = queue.next_used().unwrap();
            bytes.extend(queue.memory.read(queue.buffer(id as u16), length as usize));
            queue.offer_buffer(id as u16, BUFFER as u32);
        }
        assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers as u8, 0]);
        assert_eq!(bytes[12..], received);
        queue.kick();
    }
    assert_eq!(handle.violations(), []);
}

#[test]
fn a_frame_that_does_not_fit_yet_waits_and_one_that_never_will_is_dropped() {
    let (space, function, mut handle) = device(Options { mtu: 9000, ..Options::default() });
    let mut driver = Driver::find(function);
    driver.function.set_bus_master(true).unwrap();
    assert!(driver.negotiate(Features::VERSION_1 | Features::ACCESS_PLATFORM | Features::MRG_RXBUF));
    driver.enable(&space, 0, 4, None);
    driver.set_status(4);
    let queue = driver.queue(0);
    (0..3).for_each(|index| queue.offer_buffer(index, 100));
    queue.kick();
    assert!(!handle.inject(&frame(1, 300)), "three buffers of 100 bytes don't hold 312");
    assert_eq!(driver.queue(0).used_index(), 0);
    driver.queue(0).offer_buffer(3, 100);
    driver.queue(0).kick();
    assert!(handle.inject(&frame(2, 300)));
    let queue = driver.queue(0);
    let used: Vec<_> = std::iter::from_fn(|| queue.next_used()).collect();
    assert_eq!(used, [(0, 100), (1, 100), (2, 100), (3, 12)], "put back in their order");
    (0..4).for_each(|index| queue.offer_buffer(index, 100));
    queue.kick();
    assert!(handle.inject(&frame(3, 500)), "taken and dropped");
    assert_eq!((driver.queue(0).next_used(), handle.statistics().too_long), (None, 1));
    assert!(handle.inject(&frame(4, 60)));
    assert_eq!(driver.queue(0).next_used(), Some((0, 72)));
}

#[test]
fn without_mergeable_buffers_a_small_buffer_is_noted_and_kept() {
    let (_space, mut driver, mut handle) = start(0, 8);
    let queue = driver.queue(0);
    let address = queue.memory.at(queue.buffer(0));
    queue.describe(0, address, 100, WRITE, 0);
    assert!(handle.inject(&frame(1, 200)));
    assert!(handle.inject(&frame(2, 60)));
    assert_eq!(driver.queue(0).next_used(), Some((0, 72)));
    let violations = handle.violations();
    assert_eq!(
        violations.iter().map(|violation| violation.rule).collect::<Vec<_>>(),
        [Rule::ReceiveTooSmall]
    );
}

#[test]
fn a_full_receive_ring_refuses_and_takes_again_when_buffers_come() {
    let (_space, mut driver, mut handle) = start(0, 8);
    for lap in 0..50 {
        for number in 0..8 {
            assert!(handle.inject(&frame(number, 60)), "lap {lap}");
        }
        assert!(!handle.inject(&frame(8, 60)));
        let queue = driver.queue(0);
        for number in 0..8 {
            let (id, length) = queue.next_used().unwrap();
            assert_eq!(queue.packet(id, length), (1, frame(number, 60)));
            queue.offer_buffer(id as u16, 2048);
        }
        queue.kick();
    }
}

#[test]
fn a_header_that_asks_for_what_was_not_negotiated_is_refused() {
    let (_space, mut driver, mut handle) = start(0, 8);
    for (at, value, goes) in [(0, 1, false), (1, 1, false), (1, 4, false), (10, 1, true), (4, 9, true)] {
        driver.queue(1).offer_packet(0, &frame(1, 60));
        let place = driver.queue(1).buffer(0) + at;
        driver.queue(1).memory.write(place, &[value]);
        driver.queue(1).kick();
        assert_eq!(handle.step(), 1);
        assert_eq!(handle.take_sent().is_some(), goes);
        assert!(driver.queue(1).next_used().is_some());
    }
    let noted: Vec<Rule> = handle.violations().into_iter().map(|violation| violation.rule).collect();
    assert_eq!(noted, [Rule::TransmitHeader; 4]);
    assert_eq!(handle.statistics().refused, 3);
}

#[test]
fn no_frame_and_one_beyond_the_mtu_are_noted() {
    let (_space, mut driver, mut handle) = start(Features::MTU, 8);
    let mut tagged = frame(1, 1518);
    tagged[12..14].copy_from_slice(&[0x81, 0]);
    for (sent, goes) in [(frame(1, 1514), true), (tagged, true), (frame(1, 1515), true), (vec![1; 13], false)]
    {
        driver.queue(1).offer_packet(0, &sent);
        driver.queue(1).kick();
        assert_eq!(handle.step(), 1);
        assert_eq!(handle.take_sent().is_some(), goes);
    }
    let noted: Vec<Rule> = handle.violations().into_iter().map(|violation| violation.rule).collect();
    assert_eq!(noted, [Rule::TransmitBeyondMtu, Rule::TransmitNoFrame]);
    assert!(handle.inject(&frame(1, 1519)));
    assert_eq!(handle.statistics().too_long, 1);
}
