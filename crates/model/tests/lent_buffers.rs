//! A forwarder on packet buffers, which the device reaches only while they are lent, between two devices that run on
//! one thread with a source and a sink each. Numbers prove that nothing is lost, reordered or damaged.
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{Driver, marked};
use ringway_dma::{AddressSpace, Block, Descriptor, Pair, Placement, Ring, RingMemory};
use ringway_model::virtio::{Features, Handle, Options, Order, VirtioNet};
use ringway_model::{RunningGroup, run_together};
use ringway_packet::{Batch, Pool, PoolOptions, ReceiveBuffers, TransmitBuffers};
use ringway_pci::{Doorbell, Function, Width};
use ringway_traffic::end::{EndOptions, Monitor};
use ringway_traffic::generator::{Plan, Sizes};
use std::sync::atomic::{AtomicU16, Ordering, fence};
use std::time::{Duration, Instant};

const SIZE: u16 = 256;
const WRITE: u64 = 2 << 32;

/// A split ring over ring memory.
struct Split {
    index: u16,
    descriptors: Ring<Descriptor>,
    available: Ring<AtomicU16>,
    available_head: Ring<AtomicU16>,
    used: Ring<Pair>,
    used_head: Ring<AtomicU16>,
    used_tail: Ring<AtomicU16>,
    bell: Doorbell,
    next: u16,
    published: u16,
    seen: u16,
    _block: Block,
}

impl Split {
    fn enable(driver: &Driver, space: &AddressSpace, index: u16) -> Self {
        let (size, n) = (u32::from(SIZE), usize::from(SIZE));
        let (available, used) = (16 * n, 16 * n + 4096);
        let bytes = used + 6 + 8 * n;
        let mut memory = RingMemory::allocate(space, Placement::default(), &[bytes]).unwrap();
        let block = memory.block(bytes).unwrap();
        driver.common.write16(22, index);
        driver.common.write16(24, SIZE);
        for (register, offset) in [(32, 0), (40, available), (48, used)] {
            driver.common.write_ring_base(register, register + 4, block.base(offset).unwrap());
        }
        driver.common.write16(28, 1);
        let offset = u64::from(driver.common.read16(30)) * driver.multiplier;
        Self {
            index,
            descriptors: block.ring(0, size).unwrap(),
            available: block.ring(available + 4, size).unwrap(),
            available_head: block.ring(available, 2).unwrap(),
            used: block.ring(used + 4, size).unwrap(),
            used_head: block.ring(used, 2).unwrap(),
            used_tail: block.ring(used + 4 + 8 * n, 1).unwrap(),
            bell: driver.notify.doorbell("test", offset, Width::Word).unwrap(),
            next: 0,
            published: 0,
            seen: 0,
            _block: block,
        }
    }

    fn offer(&mut self, head: u16) {
        self.available.at(self.next.into()).store(head, Ordering::Relaxed);
        self.next = self.next.wrapping_add(1);
    }

    fn publish(&mut self) {
        let (old, new) = (self.published, self.next);
        if new == old {
            return;
        }
        self.available_head.at(1).store(new, Ordering::Release);
        self.published = new;
        fence(Ordering::SeqCst);
        let event = self.used_tail.at(0).load(Ordering::Acquire);
        if new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old) {
            self.bell.ring(self.index.into());
        }
    }

    fn used(&self) -> u16 {
        self.used_head.at(1).load(Ordering::Acquire).wrapping_sub(self.seen)
    }

    fn next_used(&mut self) -> (u32, u32) {
        let pair = self.used.at(self.seen.into());
        self.seen = self.seen.wrapping_add(1);
        (pair.first.load(Ordering::Relaxed), pair.second.load(Ordering::Relaxed))
    }
}

struct Port {
    receive: Split,
    transmit: Split,
    receive_buffers: ReceiveBuffers,
    transmit_buffers: TransmitBuffers,
    /// Free transmit descriptors.
    free: Vec<u16>,
    _driver: Driver,
}

impl Port {
    fn open(space: &AddressSpace, pool: &Pool, function: Function) -> Self {
        let mut driver = Driver::find(function);
        driver.function.set_bus_master(true).unwrap();
        assert!(driver.negotiate(Features::VERSION_1 | Features::ACCESS_PLATFORM | Features::EVENT_IDX));
        let (receive, transmit) = (Split::enable(&driver, space, 0), Split::enable(&driver, space, 1));
        driver.set_status(4);
        let attachment = driver.function.attachment();
        let receive_buffers = ReceiveBuffers::new(pool, SIZE.into(), 12, attachment).unwrap();
        let transmit_buffers =
            TransmitBuffers::new(std::slice::from_ref(pool), SIZE.into(), attachment).unwrap();
        let free = (0..SIZE).rev().collect();
        let mut port = Self { receive, transmit, receive_buffers, transmit_buffers, free, _driver: driver };
        for slot in 0..SIZE {
            let descriptor = port.receive.descriptors.at(slot.into());
            assert!(port.receive_buffers.fill(slot.into(), &descriptor.address));
            descriptor.word.store(u64::from(port.receive_buffers.writable()) | WRITE, Ordering::Relaxed);
            port.receive.offer(slot);
        }
        port.receive.publish();
        port
    }

    fn receive(&mut self, batch: &mut Batch) {
        let mut used = self.receive.used();
        if used == 0 {
            return;
        }
        let mut round = self.receive_buffers.receive(batch).unwrap();
        while used > 0 && round.has_room() && round.has_stock() {
            let (id, length) = self.receive.next_used();
            let address = &self.receive.descriptors.at(id).address;
            round.exchange(id, address, length.checked_sub(12).unwrap()).unwrap();
            self.receive.offer(id as u16);
            used -= 1;
        }
        drop(round);
        self.receive.publish();
    }

    fn reclaim(&mut self) {
        for _ in 0..self.transmit.used() {
            let (id, _) = self.transmit.next_used();
            assert!(self.transmit_buffers.take_back_one(id));
            self.free.push(id as u16);
        }
    }

    fn transmit(&mut self, batch: &mut Batch) {
        self.reclaim();
        let mut round = self.transmit_buffers.send(batch, 12).unwrap();
        while let (Some(front), Some(&slot)) = (round.front(), self.free.last()) {
            round.prefix_mut().unwrap().fill(0);
            let descriptor = self.transmit.descriptors.at(slot.into());
            assert!(round.lend(slot.into(), &descriptor.address));
            descriptor.word.store(u64::from(front.length + 12), Ordering::Relaxed);
            self.transmit.offer(slot);
            self.free.pop();
        }
        drop(round);
        self.transmit.publish();
    }
}

fn end(space: &AddressSpace, name: &str, order: Order, traffic: &EndOptions) -> (Function, Handle, Monitor) {
    let options = Options { name: name.into(), order, ..Options::default() };
    let (backend, mut handle) = VirtioNet::create(space, options);
    let (wire, monitor) = marked(traffic);
    handle.attach(Box::new(wire));
    (Function::new(backend).unwrap(), handle, monitor)
}

/// Who plays the devices.
#[derive(Clone, Copy, PartialEq)]
enum Front {
    Stepped,
    Thread,
}

fn forward(front: Front, frames: u64, frame_length: usize, order: Order) {
    let space = AddressSpace::emulated();
    let pool = Pool::new(&space, PoolOptions { buffers: 2048, ..PoolOptions::default() }).unwrap();
    let plan = Plan { sizes: Sizes::Fixed(frame_length), flows: 3, ..Plan::default() };
    let traffic = EndOptions { plan, limit: Some(frames), ..EndOptions::default() };
    let (left_function, left, left_monitor) = end(&space, "emulated:0", order, &traffic);
    let (right_function, right, right_monitor) = end(&space, "emulated:1", order, &traffic);
    let mut ports = [Port::open(&space, &pool, left_function), Port::open(&space, &pool, right_function)];
    let mut devices = vec![left, right];
    let mut group = None;
    if front == Front::Thread {
        let started = group.insert(run_together(std::mem::take(&mut devices)));
        assert!(started.error().is_none());
    }
    let mut batch = Batch::new(&pool, 32);
    let start = Instant::now();
    while left_monitor.read().totals.received + right_monitor.read().totals.received < 2 * frames {
        for from in 0..2 {
            devices.iter_mut().for_each(|device| {
                device.step();
            });
            ports[from].receive(&mut batch);
            if batch.is_empty() && front == Front::Thread {
                std::thread::yield_now(); // the processor may be the device's as well
            }
            while !batch.is_empty() {
                ports[1 - from].transmit(&mut batch);
                if !batch.is_empty() && front == Front::Thread {
                    std::thread::yield_now();
                }
                if !batch.is_empty() && front == Front::Stepped {
                    devices[1 - from].step();
                }
            }
            ports[from].reclaim();
        }
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "{:?}",
            [left_monitor.read().totals, right_monitor.read().totals]
        );
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{frame_length} bytes: {:.2} million frames a second", 2.0 * frames as f64 / seconds / 1e6);
    for device in group.map_or(devices, RunningGroup::stop) {
        assert_eq!(device.violations(), []);
        let statistics = device.statistics();
        assert_eq!((statistics.received_frames, statistics.sent_frames), (frames, frames));
        assert_eq!(statistics.missed, 0);
    }
    for monitor in [left_monitor, right_monitor] {
        let totals = monitor.read().totals;
        assert!(totals.is_clean(), "{totals:?}");
        assert_eq!((totals.received, totals.foreign), (frames, 0));
    }
}

#[test]
fn nothing_is_lost_or_reordered_between_two_running_devices() {
    forward(Front::Thread, count(30_000), 60, Order::AsGiven);
}

#[test]
fn nothing_is_lost_or_reordered_between_two_devices_stepped_by_hand() {
    forward(Front::Stepped, count(30_000), 60, Order::AsGiven);
}

#[test]
fn long_frames_arrive_whole() {
    forward(Front::Thread, count(10_000), 1514, Order::AsGiven);
}

#[test]
fn buffers_used_in_any_order_leave_the_frames_in_theirs() {
    forward(Front::Thread, count(20_000), 61, Order::Shuffled(7));
    forward(Front::Stepped, count(20_000), 62, Order::Reversed);
}

/// A longer run, to measure: `RINGWAY_FRAMES=20000000 cargo test --release -p ringway-model --test lent_buffers`.
fn count(frames: u64) -> u64 {
    std::env::var("RINGWAY_FRAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(frames)
}
