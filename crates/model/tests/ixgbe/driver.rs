//! A small driver for the tests, from the datasheet: it knows nothing of the model's own names.
//!
//! Its packet buffers are ring memory, which both sides may use at any time, so a test can look at them and point
//! descriptors wherever it likes.

use ringway_dma::{AddressSpace, Block, Descriptor, Placement, Ring, RingMemory};
use ringway_model::ixgbe::{Handle, Ixgbe, Options};
use ringway_pci::{Bar, Doorbell, Function, Width};
use std::sync::atomic::{AtomicU64, Ordering};

pub const CTRL: u64 = 0x0000;
pub const STATUS: u64 = 0x0008;
pub const EICR: u64 = 0x0800;
pub const EICS: u64 = 0x0808;
pub const EIMS: u64 = 0x0880;
pub const LINKS: u64 = 0x42a4;
pub const FCTRL: u64 = 0x5080;
pub const HLREG0: u64 = 0x4240;
pub const MAXFRS: u64 = 0x4268;
pub const GPRC: u64 = 0x4074;
pub const GPTC: u64 = 0x4080;
pub const GORCL: u64 = 0x4088;
pub const GOTCL: u64 = 0x4090;
pub const MPC: u64 = 0x3fa0;

/// Bytes of a packet buffer.
const BUFFER: u32 = 2048;
const WORDS: u32 = BUFFER / 8;

/// How a port is started.
#[derive(Clone, Debug)]
pub struct Setup {
    pub options: Options,
    pub descriptors: u32,
    pub queues: u32,
    /// SRRCTL without the buffer size.
    pub split_control: u32,
    /// Added to RXDCTL.
    pub receive_control: u32,
    pub jumbo: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: Options::default(),
            descriptors: 64,
            queues: 1,
            split_control: 1 << 25,
            receive_control: 0,
            jumbo: false,
        }
    }
}

/// One ring, its buffers, and how far the test has got.
#[derive(Debug)]
pub struct Queue {
    pub ring: Ring<Descriptor>,
    /// The same descriptors as words: for contexts, and for addresses that no driver should write.
    pub words: Ring<AtomicU64>,
    pub buffers: Ring<AtomicU64>,
    pub next: u32,
    pub clean: u32,
    pub doorbell: Doorbell,
    pub base: u64,
}

impl Queue {
    /// Copies bytes out of a buffer.
    pub fn bytes(&self, buffer: u32, length: usize) -> Vec<u8> {
        let words = (0..WORDS).map(|word| self.buffers.at(buffer * WORDS + word).load(Ordering::Acquire));
        words.flat_map(u64::to_le_bytes).take(length).collect()
    }

    pub fn put(&self, buffer: u32, bytes: &[u8]) {
        for (word, chunk) in bytes.chunks(8).enumerate() {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            self.buffers.at(buffer * WORDS + word as u32).store(u64::from_le_bytes(value), Ordering::Release);
        }
    }

    pub fn point(&self, index: u32) {
        let mask = self.ring.mask();
        self.ring.at(index).address.point_at(&self.buffers, (index & mask) * WORDS);
    }
}

/// A started port.
#[derive(Debug)]
pub struct Port {
    // The function goes first: it stops the device before the memory goes.
    pub function: Function,
    pub bar: Bar,
    pub device: Handle,
    pub receive: Vec<Queue>,
    pub transmit: Vec<Queue>,
    pub scratch: Ring<AtomicU64>,
    pub scratch_base: (u32, u32),
    pub memory: RingMemory,
    pub space: AddressSpace,
}

/// A received packet and its last descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub first: u64,
    pub second: u64,
}

impl Received {
    pub fn status(&self) -> u32 {
        (self.second & 0xf_ffff) as u32
    }
    pub fn errors(&self) -> u32 {
        (self.second >> 20 & 0xfff) as u32
    }
    pub fn vlan(&self) -> u16 {
        (self.second >> 48) as u16
    }
    pub fn hash(&self) -> (u8, u32) {
        ((self.first & 0xf) as u8, (self.first >> 32) as u32)
    }
    pub fn types(&self) -> u16 {
        (self.first >> 4 & 0x1fff) as u16
    }
}

/// Where a receive queue has its registers.
pub fn receive_block(queue: u32) -> u64 {
    u64::from(if queue < 64 { 0x1000 + 0x40 * queue } else { 0xd000 + 0x40 * (queue - 64) })
}

pub fn transmit_block(queue: u32) -> u64 {
    u64::from(0x6000 + 0x40 * queue)
}

pub fn function(options: Options) -> (AddressSpace, Function, Bar, Handle) {
    let space = AddressSpace::emulated();
    let (backend, device) = Ixgbe::create(&space, options);
    let function = Function::new(backend).unwrap();
    let bar = function.bar(0, 0, 0x2_0000).unwrap();
    (space, function, bar, device)
}

impl Port {
    pub fn start(setup: Setup) -> Self {
        let (space, function, bar, device) = function(setup.options.clone());
        function.set_bus_master(true).unwrap();
        let count = setup.descriptors as usize;
        let sizes: Vec<usize> =
            (0..setup.queues * 2).flat_map(|_| [count * 16, count * BUFFER as usize]).chain([4096]).collect();
        let mut memory = RingMemory::allocate(&space, Placement::default(), &sizes).unwrap();
        let mut queue = |block: u64, tail: u64| {
            let descriptors = memory.block(count * 16).unwrap();
            let buffers = memory.block(count * BUFFER as usize).unwrap();
            let base = descriptors.base(0).unwrap();
            bar.write_ring_base(block, block + 4, base);
            bar.write32(block + 8, setup.descriptors * 16);
            Queue {
                ring: descriptors.ring(0, setup.descriptors).unwrap(),
                words: descriptors.ring(0, setup.descriptors * 2).unwrap(),
                buffers: buffers.ring(0, setup.descriptors * WORDS).unwrap(),
                next: 0,
                clean: 0,
                doorbell: bar.doorbell("test", block + tail, Width::Double).unwrap(),
                base: base.iova().get(),
            }
        };
        let receive: Vec<Queue> =
            (0..setup.queues).map(|number| queue(receive_block(number), 0x18)).collect();
        let transmit: Vec<Queue> =
            (0..setup.queues).map(|number| queue(transmit_block(number), 0x18)).collect();
        let block: Block = memory.block(4096).unwrap();
        let base = block.base(0).unwrap();
        let mut port = Self {
            function,
            bar,
            device,
            receive,
            transmit,
            scratch: block.ring(0, 512).unwrap(),
            scratch_base: (base.low(), base.high()),
            memory,
            space,
        };
        port.enable(&setup);
        port
    }

    /// Sections 4.6.7 and 4.6.8, in short.
    fn enable(&mut self, setup: &Setup) {
        let bar = &self.bar;
        bar.write32(FCTRL, 1 << 8 | 1 << 9 | 1 << 10);
        if setup.jumbo {
            bar.write32(HLREG0, bar.read32(HLREG0) | 1 << 2);
            bar.write32(MAXFRS, 9728 << 16);
        }
        for number in 0..setup.queues {
            let block = receive_block(number);
            bar.write32(block + 0x14, setup.split_control | (BUFFER / 1024));
            bar.write32(block + 0x28, setup.receive_control | 1 << 25);
            assert_ne!(bar.read32(block + 0x28) & 1 << 25, 0);
            let block = transmit_block(number);
            bar.write32(block + 0x28, 1 << 25);
            assert_ne!(bar.read32(block + 0x28) & 1 << 25, 0);
        }
        bar.write32(0x3000, 1);
        bar.write32(0x4a80, bar.read32(0x4a80) | 1);
        for queue in &mut self.receive {
            for index in 0..queue.ring.mask() {
                queue.point(index);
                queue.ring.at(index).word.store(0, Ordering::Relaxed);
            }
            queue.next = queue.ring.mask();
            queue.doorbell.ring(queue.next);
        }
    }

    pub fn read(&self, register: u64) -> u32 {
        self.bar.read32(register)
    }

    pub fn write(&self, register: u64, value: u32) {
        self.bar.write32(register, value);
    }

    /// Takes the next packet of a queue, if it is whole, and posts its buffers again.
    pub fn take(&mut self, queue: usize) -> Option<Received> {
        let queue = &mut self.receive[queue];
        let mut bytes = Vec::new();
        let mut index = queue.clean;
        loop {
            let second = queue.ring.at(index).word.load(Ordering::Acquire);
            if second & 1 == 0 {
                return None;
            }
            let first = queue.ring.at(index).address.load(Ordering::Relaxed);
            bytes.extend(queue.bytes(index & queue.ring.mask(), (second >> 32 & 0xffff) as usize));
            index = index.wrapping_add(1);
            if second & 2 != 0 {
                while queue.clean != index {
                    queue.point(queue.next);
                    queue.ring.at(queue.clean).word.store(0, Ordering::Relaxed);
                    queue.ring.at(queue.next).word.store(0, Ordering::Relaxed);
                    queue.clean = queue.clean.wrapping_add(1);
                    queue.next = queue.next.wrapping_add(1);
                }
                queue.doorbell.ring(queue.next & queue.ring.mask());
                return Some(Received { bytes, first, second });
            }
        }
    }

    /// Puts a data descriptor and its bytes into a transmit queue, without telling the device.
    pub fn push(&mut self, queue: usize, bytes: &[u8], word: u64) {
        let queue = &mut self.transmit[queue];
        queue.put(queue.next & queue.ring.mask(), bytes);
        queue.point(queue.next);
        queue.ring.at(queue.next).word.store(word | bytes.len() as u64, Ordering::Release);
        queue.next = queue.next.wrapping_add(1);
    }

    /// Puts a descriptor word by word, without telling the device.
    pub fn push_words(&mut self, queue: usize, first: u64, second: u64) {
        let queue = &mut self.transmit[queue];
        queue.words.at(queue.next * 2).store(first, Ordering::Relaxed);
        queue.words.at(queue.next * 2 + 1).store(second, Ordering::Release);
        queue.next = queue.next.wrapping_add(1);
    }

    /// Moves the device until it has nothing left to do.
    pub fn settle(&mut self) {
        while self.device.step() > 0 {}
    }

    pub fn ring_transmit(&self, queue: usize) {
        let queue = &self.transmit[queue];
        queue.doorbell.ring(queue.next & queue.ring.mask());
    }

    /// Sends one plain packet: advanced data, EOP, IFCS, RS, payload length.
    pub fn send(&mut self, queue: usize, bytes: &[u8]) {
        self.push(queue, bytes, data(true) | (bytes.len() as u64) << 46);
        self.ring_transmit(queue);
    }

    /// Whether the descriptor at `index` has been reported done.
    pub fn is_done(&self, queue: usize, index: u32) -> bool {
        self.transmit[queue].ring.at(index).word.load(Ordering::Acquire) >> 32 & 1 != 0
    }
}

/// The second word of an advanced data descriptor without lengths.
pub fn data(last: bool) -> u64 {
    let command = 1 << 29 | 1 << 25 | if last { 1 << 24 | 1 << 27 } else { 0 };
    3 << 20 | command
}
