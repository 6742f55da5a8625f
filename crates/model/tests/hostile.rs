//! A driver that does anything: the device never panics, never hangs, writes only where it may, and works again after
//! a reset. Fixed seeds, so that a failure comes back.
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{Driver, INDIRECT, NEXT, Queue, WRITE, device, frame};
use ringway_model::run_together;
use ringway_model::virtio::{Features, Handle, Options, Order};
use ringway_model::wire::channel;
use ringway_pci::{Function, Width};
use std::time::{Duration, Instant};

/// Xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 20) % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Resets the device and sees a packet go each way.
fn works(function: Function, handle: &mut Handle) -> Function {
    let space = function.address_space().clone();
    let mut driver = Driver::start(&space, function, 0, 8);
    while handle.take_sent().is_some() {}
    driver.queue(1).offer_packet(0, &frame(42, 60));
    driver.queue(1).kick();
    assert_eq!(handle.step(), 1);
    assert_eq!(handle.take_sent(), Some(frame(42, 60)));
    assert!(handle.inject(&frame(43, 60)));
    let (id, length) = driver.queue(0).next_used().unwrap();
    assert_eq!(driver.queue(0).packet(id, length).1, frame(43, 60));
    driver.function
}

/// The buffers of the lower half are only ever described as readable, those of the upper half as writable.
fn spoil(queue: &mut Queue, random: &mut Random) {
    let size = u64::from(queue.size);
    for _ in 0..random.below(6) {
        let index = random.below(size) as u16;
        let writable = random.one_in(2);
        let half = if writable { size / 2 } else { 0 };
        let buffer = queue.buffer((half + random.below(size / 2)) as u16);
        let address = match random.below(12) {
            0 => random.next(),
            1 => 0,
            _ => queue.memory.at(buffer),
        };
        let length = if random.one_in(8) { random.next() as u32 } else { random.below(2048) as u32 };
        // A long or a wild piece of writable memory could be anybody's: keep it inside.
        let wild = address != queue.memory.at(buffer) || length > 2048;
        let (length, address) =
            if writable && wild { (16, queue.memory.at(buffer)) } else { (length, address) };
        let mut flags = if writable { WRITE } else { 0 };
        flags |= if random.one_in(2) { NEXT } else { 0 };
        flags |= if random.one_in(6) && !writable { INDIRECT } else { 0 };
        let next = random.below(size + 2) as u16;
        queue.describe(index, address, length, flags, next);
        let head = if random.one_in(30) { random.next() as u16 } else { index };
        queue.offer(head);
    }
    if random.one_in(50) {
        queue.available = random.next() as u16;
    }
    queue.publish();
    queue.ring();
}

/// Indirect tables lie in readable buffers, so those must hold nothing that describes memory elsewhere.
fn readable_half(queue: &mut Queue) -> Vec<u8> {
    let (from, to) = (queue.buffer(0), queue.buffer(queue.size / 2));
    queue.memory.read(from, (to - from) as usize)
}

#[test]
fn random_descriptors_do_no_harm() {
    let features = Features::MRG_RXBUF | Features::INDIRECT_DESC | Features::EVENT_IDX | Features::CTRL_VQ;
    for seed in 1..=40u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let order = if seed % 2 == 0 { Order::Shuffled(seed) } else { Order::AsGiven };
        let (space, mut function, mut handle) = device(Options { order, ..Options::default() });
        let mut stops = 0;
        for _ in 0..25 {
            let mut driver = Driver::start(&space, function, features, 16);
            for index in 0..3u16 {
                let queue = driver.queue(index);
                for buffer in 0..queue.size / 2 {
                    let place = queue.buffer(buffer);
                    queue.memory.write(place, &[0; 2048]);
                }
            }
            for _ in 0..30 {
                let index = random.below(3) as u16;
                spoil(driver.queue(index), &mut random);
                let table = driver.queue(index).memory.read(0, 16 * 8);
                handle.step();
                handle.inject(&frame(1, 60 + random.below(5000) as usize));
                while handle.take_sent().is_some() {}
                let queue = driver.queue(index);
                assert_eq!(
                    queue.memory.read(0, table.len()),
                    table,
                    "seed {seed}: descriptors are the driver's"
                );
                // The receive queue was filled with writable buffers at the start.
                let kept = index == 0 || readable_half(queue).iter().all(|&byte| byte == 0);
                assert!(kept, "seed {seed}: a readable buffer was written");
                if driver.status() & 64 != 0 {
                    stops += 1;
                    assert_eq!(handle.step(), 0);
                    break;
                }
            }
            function = works(driver.function, &mut handle);
        }
        assert!(stops > 5, "seed {seed}: {stops}");
    }
}

#[test]
fn random_register_accesses_do_no_harm() {
    for seed in 1..=20u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (_space, mut function, mut handle) = device(Options { queue_pairs: 3, ..Options::default() });
        for _ in 0..10 {
            let bars = [function.bar(0, 0, 8192).unwrap(), function.bar(4, 0, 8192).unwrap()];
            for _ in 0..2000 {
                let bar = &bars[usize::from(!random.one_in(8))];
                let offset = if random.one_in(3) { random.below(8200) } else { random.below(64) };
                let value = if random.one_in(2) { random.below(16) } else { random.next() };
                match random.below(7) {
                    0 => drop(bar.read8(offset)),
                    1 => drop(bar.read16(offset)),
                    2 => drop(bar.read32(offset)),
                    3 => bar.write8(offset, value as u8),
                    4 => bar.write16(offset, value as u16),
                    5 => bar.write32(offset, value as u32),
                    _ => {
                        let width = [Width::Byte, Width::Word, Width::Double][random.below(3) as usize];
                        let place = random.below(4100) as u16;
                        let _ = function.config_read(place, width).unwrap();
                        if place > 8 {
                            function.config_write(place, width, value as u32).unwrap();
                        }
                    }
                }
                if random.one_in(20) {
                    handle.step();
                    handle.inject(&frame(1, 60));
                }
            }
            // What a system does with a function that is out of its mind.
            let express =
                function.capabilities().unwrap().into_iter().find(|entry| entry.id == 0x10).unwrap();
            function.config_write(express.offset + 8, Width::Word, 0x8000).unwrap();
            function.config_write(4, Width::Word, 0x0402).unwrap();
            handle.faults().clear();
            function = works(function, &mut handle);
        }
    }
}

#[test]
fn resets_removal_and_traffic_at_the_same_time_do_no_harm() {
    let (space, mut function, mut handle) = device(Options::default());
    let (wire, end) = channel(64);
    handle.attach(Box::new(wire));
    let (faults, monitor) = (handle.faults(), handle.monitor());
    let group = run_together(vec![handle]);
    let mut random = Random(99);
    for round in 0..300u32 {
        let features = Features::RING_RESET | Features::EVENT_IDX | Features::MRG_RXBUF;
        let mut driver = Driver::start(&space, function, features, 32);
        for packet in 0..random.below(40) as u32 {
            let _ = end.send(frame(packet, 60));
            driver.queue(1).offer_packet((packet % 32) as u16, &frame(packet, 60));
            driver.queue(1).kick();
            while end.receive().is_some() {}
        }
        match round % 4 {
            0 => driver.common.write8(20, 0),
            1 => {
                driver.common.write16(22, 1);
                driver.common.write16(58, 1);
                assert_eq!(driver.common.read16(58), 0);
                let used = driver.queue(1).used_index();
                std::thread::yield_now();
                assert_eq!(driver.queue(1).used_index(), used, "a reset queue stands still");
            }
            2 => driver.function.set_bus_master(false).unwrap(),
            _ => {
                faults.remove();
                assert_eq!(driver.status(), 0xff);
                let used = driver.queue(1).used_index();
                std::thread::yield_now();
                assert_eq!(driver.queue(1).used_index(), used);
                faults.insert();
                driver.function.config_write(4, Width::Word, 0x0402).unwrap();
            }
        }
        function = driver.function;
    }
    // And then it works.
    let mut driver = Driver::start(&space, function, 0, 32);
    while end.receive().is_some() {}
    driver.queue(1).offer_packet(0, &frame(7777, 60));
    driver.queue(1).kick();
    let start = Instant::now();
    let mut found = false;
    while !found {
        found = end.receive().is_some_and(|sent| sent == frame(7777, 60));
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", monitor.violations());
        std::thread::yield_now();
    }
    let handle = group.stop().pop().unwrap();
    assert!(handle.statistics().sent_frames > 0);
}
