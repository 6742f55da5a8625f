//! A virtio-net driver for these tests, written from the specification alone: slow, plain, and able to do everything
//! wrong. It shares no code with the device or with Ringway's own driver. All of its memory is ring memory, which it
//! reads and writes through a device view of its own.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test's driver: what fails, fails the test")]

use ringway_dma::{AddressSpace, Block, DeviceView, Iova, Placement, RingMemory};
use ringway_model::virtio::{Features, Handle, Options, VirtioNet};
use ringway_model::wire::Wire;
use ringway_pci::{Bar, Doorbell, Function, Width};
use ringway_traffic::end::{End, EndOptions, Monitor};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub const HEADER: u64 = 12;
pub const BUFFER: u64 = 2048;
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// Memory that the device reaches, by offset.
pub struct Memory {
    view: DeviceView,
    base: u64,
    _memory: RingMemory,
    _block: Block,
}

impl Memory {
    pub fn new(space: &AddressSpace, bytes: usize) -> Self {
        let mut memory = RingMemory::allocate(space, Placement::default(), &[bytes]).unwrap();
        let block = memory.block(bytes).unwrap();
        let base = block.base(0).unwrap().iova().get();
        Self { view: space.device_view().unwrap(), base, _memory: memory, _block: block }
    }

    pub fn at(&self, offset: u64) -> u64 {
        self.base + offset
    }

    pub fn u16(&mut self, offset: u64) -> u16 {
        self.view.load_u16(Iova::new(self.base + offset)).unwrap()
    }

    pub fn u32(&mut self, offset: u64) -> u32 {
        self.view.load_u32(Iova::new(self.base + offset)).unwrap()
    }

    pub fn set_u16(&mut self, offset: u64, value: u16) {
        self.view.store_u16(Iova::new(self.base + offset), value).unwrap();
    }

    pub fn set_u64(&mut self, offset: u64, value: u64) {
        self.view.store_u64(Iova::new(self.base + offset), value).unwrap();
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.view.write(Iova::new(self.base + offset), bytes).unwrap();
    }

    pub fn read(&mut self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.view.read(Iova::new(self.base + offset), &mut bytes).unwrap();
        bytes
    }
}

/// One split virtqueue (section 2.7) and a buffer for each descriptor.
pub struct Queue {
    pub index: u16,
    pub size: u16,
    pub memory: Memory,
    pub bell: Doorbell,
    pub available: u16,
    pub seen_used: u16,
    pub event_index: bool,
    told: u16,
}

impl Queue {
    fn avail(&self) -> u64 {
        u64::from(self.size) * 16
    }

    pub fn used(&self) -> u64 {
        (self.avail() + 6 + 2 * u64::from(self.size)).next_multiple_of(8)
    }

    /// Where a descriptor's own buffer lies.
    pub fn buffer(&self, descriptor: u16) -> u64 {
        (self.used() + 6 + 8 * u64::from(self.size)).next_multiple_of(4096) + u64::from(descriptor) * BUFFER
    }

    pub fn bytes(size: u16) -> usize {
        usize::from(size) * (16 + 2 + 8 + BUFFER as usize) + 16384
    }

    /// Writes a descriptor: a raw address, whatever it may be.
    pub fn describe(&mut self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let place = u64::from(index) * 16;
        self.memory.set_u64(place, address);
        let word = u64::from(length) | u64::from(flags) << 32 | u64::from(next) << 48;
        self.memory.set_u64(place + 8, word);
    }

    /// Makes a chain available.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.available % self.size);
        self.memory.set_u16(self.avail() + 4 + 2 * slot, head);
        self.available = self.available.wrapping_add(1);
    }

    /// Shows the device what was offered.
    pub fn publish(&mut self) {
        self.memory.set_u16(self.avail() + 2, self.available);
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    /// Whether the device wants a notification for what was published since the last call (section 2.7.10).
    pub fn device_wants_notification(&mut self) -> bool {
        let (old, new) = (self.told, self.available);
        self.told = new;
        if self.event_index {
            let event = self.memory.u16(self.used() + 4 + 8 * u64::from(self.size));
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.memory.u16(self.used()) & 1 == 0 && new != old
        }
    }

    /// Publishes, and rings the doorbell if the device asks for it. Whether it did.
    pub fn kick(&mut self) -> bool {
        self.publish();
        let wanted = self.device_wants_notification();
        if wanted {
            self.ring();
        }
        wanted
    }

    pub fn ring(&self) {
        self.bell.ring(self.index.into());
    }

    /// Section 2.7.7: asks for an interrupt when the used index passes `event`.
    pub fn want_interrupt_at(&mut self, event: u16) {
        self.memory.set_u16(self.avail() + 4 + 2 * u64::from(self.size), event);
    }

    /// Section 2.7.7: the flag.
    pub fn want_no_interrupts(&mut self, none: bool) {
        self.memory.set_u16(self.avail(), none.into());
    }

    pub fn used_index(&mut self) -> u16 {
        self.memory.u16(self.used() + 2)
    }

    /// The next used entry: id and length.
    pub fn next_used(&mut self) -> Option<(u32, u32)> {
        if self.used_index() == self.seen_used {
            return None;
        }
        let entry = self.used() + 4 + 8 * u64::from(self.seen_used % self.size);
        self.seen_used = self.seen_used.wrapping_add(1);
        Some((self.memory.u32(entry), self.memory.u32(entry + 4)))
    }

    /// Offers descriptor `index` as a receive buffer of `length` bytes.
    pub fn offer_buffer(&mut self, index: u16, length: u32) {
        let address = self.memory.at(self.buffer(index));
        self.describe(index, address, length, WRITE, 0);
        self.offer(index);
    }

    /// Fills a receive queue.
    pub fn fill(&mut self) {
        for index in 0..self.size {
            self.offer_buffer(index, BUFFER as u32);
        }
        self.kick();
    }

    /// Offers a packet in descriptor `index`, its header first.
    pub fn offer_packet(&mut self, index: u16, frame: &[u8]) {
        let buffer = self.buffer(index);
        self.memory.write(buffer, &[0; HEADER as usize]);
        self.memory.write(buffer + HEADER, frame);
        let address = self.memory.at(buffer);
        self.describe(index, address, HEADER as u32 + frame.len() as u32, 0, 0);
        self.offer(index);
    }

    /// A received packet of one buffer: its number of buffers and its frame.
    pub fn packet(&mut self, id: u32, length: u32) -> (u16, Vec<u8>) {
        let bytes = self.memory.read(self.buffer(id as u16), length as usize);
        let buffers = u16::from_le_bytes([bytes[10], bytes[11]]);
        assert_eq!(bytes[..10], [0; 10], "no offload was negotiated");
        (buffers, bytes[HEADER as usize..].to_vec())
    }
}

/// The driver.
pub struct Driver {
    pub function: Function,
    pub common: Bar,
    pub notify: Bar,
    pub isr: Bar,
    pub network: Bar,
    pub multiplier: u64,
    pub queues: Vec<Queue>,
    pub counters: Vec<Arc<OwnedFd>>,
    pub features: u64,
}

pub fn device(options: Options) -> (AddressSpace, Function, Handle) {
    let space = AddressSpace::emulated();
    let (backend, handle) = VirtioNet::create(&space, options);
    (space, Function::new(backend).unwrap(), handle)
}

impl Driver {
    /// Finds the structures (section 4.1.4), and does nothing else.
    pub fn find(function: Function) -> Self {
        let mut bars: [Option<Bar>; 5] = Default::default();
        let mut multiplier = 0;
        for capability in function.capabilities().unwrap() {
            let byte = |at| function.config_read(capability.offset + at, Width::Byte).unwrap() as u8;
            let word = |at| u64::from(function.config_read(capability.offset + at, Width::Double).unwrap());
            let kind = byte(3);
            if capability.id == 9 && (1..=4).contains(&kind) {
                bars[usize::from(kind)].get_or_insert(function.bar(byte(4), word(8), word(12)).unwrap());
                if kind == 2 {
                    multiplier = word(16);
                }
            }
        }
        let mut take = |kind: usize| bars[kind].take().unwrap();
        Self {
            common: take(1),
            notify: take(2),
            isr: take(3),
            network: take(4),
            multiplier,
            function,
            queues: Vec::new(),
            counters: Vec::new(),
            features: 0,
        }
    }

    pub fn status(&self) -> u8 {
        self.common.read8(20)
    }

    pub fn set_status(&self, bits: u8) {
        self.common.write8(20, self.status() | bits);
    }

    pub fn offered(&self) -> u64 {
        self.common.write32(0, 0);
        let low = self.common.read32(4);
        self.common.write32(0, 1);
        u64::from(low) | u64::from(self.common.read32(4)) << 32
    }

    /// Section 3.1.1, steps 1 to 6. Whether the device agreed.
    pub fn negotiate(&mut self, features: u64) -> bool {
        self.common.write8(20, 0);
        assert_eq!(self.status(), 0);
        self.set_status(1);
        self.set_status(2);
        self.common.write32(8, 0);
        self.common.write32(12, features as u32);
        self.common.write32(8, 1);
        self.common.write32(12, (features >> 32) as u32);
        self.set_status(8);
        self.features = features;
        self.status() & 8 != 0
    }

    /// Section 4.1.5.1.3: configures and enables a queue of `size`.
    pub fn enable(&mut self, space: &AddressSpace, index: u16, size: u16, vector: Option<u16>) {
        self.common.write16(22, index);
        assert!(self.common.read16(24) >= size, "queue {index} has {}", self.common.read16(24));
        self.common.write16(24, size);
        if let Some(vector) = vector {
            self.common.write16(26, vector);
            assert_eq!(self.common.read16(26), vector);
        }
        let offset = u64::from(self.common.read16(30)) * self.multiplier;
        let queue = Queue {
            index,
            size,
            memory: Memory::new(space, Queue::bytes(size)),
            bell: self.notify.doorbell("test", offset, Width::Word).unwrap(),
            available: 0,
            seen_used: 0,
            event_index: self.features & Features::EVENT_IDX != 0,
            told: 0,
        };
        for (register, offset) in [(32, 0), (40, queue.avail()), (48, queue.used())] {
            let address = queue.memory.at(offset);
            self.common.write32(register, address as u32);
            self.common.write32(register + 4, (address >> 32) as u32);
        }
        self.common.write16(28, 1);
        assert_eq!(self.common.read16(28), 1);
        self.queues.retain(|old| old.index != index);
        self.queues.push(queue);
        self.queues.sort_by_key(|queue| queue.index);
    }

    pub fn connect(&mut self, vectors: usize) {
        self.counters = (0..vectors)
            .map(|_| Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()))
            .collect();
        self.function.set_msix(&self.counters).unwrap();
    }

    /// How often a vector fired since last asked.
    pub fn interrupts(&self, vector: usize) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&*self.counters[vector], &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }

    pub fn queue(&mut self, index: u16) -> &mut Queue {
        self.queues.iter_mut().find(|queue| queue.index == index).unwrap()
    }

    /// One pair and, if negotiated, the control queue, ready; the receive queue is full of buffers.
    pub fn start(space: &AddressSpace, function: Function, features: u64, size: u16) -> Self {
        let mut driver = Self::find(function);
        driver.function.set_bus_master(true).unwrap();
        assert!(driver.negotiate(features | Features::VERSION_1 | Features::ACCESS_PLATFORM));
        driver.enable(space, 0, size, None);
        driver.enable(space, 1, size, None);
        if features & Features::CTRL_VQ != 0 {
            driver.enable(space, 2, 8, None);
        }
        driver.set_status(4);
        driver.queue(0).fill();
        driver
    }

    /// Sends a command and returns the answer; the queue is notified by a register write.
    pub fn command(&mut self, control: u16, command: &[u8]) -> Option<u8> {
        let queue = self.queue(control);
        let buffer = queue.buffer(0);
        queue.memory.write(buffer, command);
        queue.memory.write(queue.buffer(1), &[0xee]);
        let (readable, writable) = (queue.memory.at(buffer), queue.memory.at(queue.buffer(1)));
        queue.describe(0, readable, command.len() as u32, NEXT, 1);
        queue.describe(1, writable, 1, WRITE, 0);
        queue.offer(0);
        queue.publish();
        self.notify.write16(u64::from(control) * self.multiplier, control);
        let queue = self.queue(control);
        let (id, length) = queue.next_used()?;
        assert_eq!((id, length), (0, 1));
        Some(queue.memory.read(queue.buffer(1), 1)[0])
    }
}

/// A frame of `length` bytes to the device's address, told apart by `number`.
pub fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 9, 0x88, 0xb5];
    frame.extend(number.to_le_bytes());
    frame.resize(length, number as u8);
    frame
}

/// A generator of marked packets and their checker, on a device's wire. Time is the number of rounds.
#[derive(Debug)]
pub struct Marked(End, u64);

/// An end as `options` say.
pub fn marked(options: &EndOptions) -> (Marked, Monitor) {
    let (end, monitor) = End::new(options).unwrap();
    (Marked(end, 0), monitor)
}

impl Wire for Marked {
    fn begin(&mut self) {
        self.1 += 1000;
        self.0.begin(self.1);
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.0.receive(frame)
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.send(frame);
    }

    fn waits(&self) -> bool {
        self.0.waits()
    }

    fn end(&mut self) {
        self.0.end();
    }
}
