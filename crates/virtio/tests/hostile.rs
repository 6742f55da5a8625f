//! Devices that lie, at random times and with fixed seeds. Whatever they say: no panic, no hang, no buffer lost or
//! handed out twice; every error names the device; the next start works.
//!
//! Three kinds: the model's faults; any value in any ring at any time; any value in any register.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Random, Rig, frame, number, rings};
use ringway_dma::{AddressSpace, DeviceView, Iova};
use ringway_model::virtio::{Faults, Features, Header, Options, Order};
use ringway_packet::Batch;
use ringway_pci::{Backend, Doorbell, Error as PciError, Function, Identity, Registers, Width};
use ringway_port::{MacAddress, Offloads, Opened, PortOptions};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const NAME: &str = "0000:03:00.0";
const BUFFERS: u32 = 192;

fn options(random: &mut Random) -> Options {
    let mut missing = 0;
    for feature in [Features::MRG_RXBUF, Features::EVENT_IDX, Features::INDIRECT_DESC, Features::CTRL_VQ] {
        if random.once_in(3) {
            missing |= feature;
        }
    }
    let order = match random.below(3) {
        0 => Order::AsGiven,
        1 => Order::Reversed,
        _ => Order::Shuffled(random.next()),
    };
    Options {
        name: NAME.to_owned(),
        order,
        mtu: 9_000,
        queue_pairs: if missing & Features::CTRL_VQ == 0 { 1 + random.below(2) as u16 } else { 1 },
        polls: random.once_in(4),
        ..common::without(missing)
    }
}

/// Any of those that the device offers.
fn offloads(random: &mut Random, options: &Options) -> Offloads {
    let mut offloads = Offloads::NONE;
    for (offload, features) in [
        (Offloads::RECEIVE_CHECKSUM | Offloads::TCP_UDP_CHECKSUM, 0),
        (Offloads::TCP4_SEGMENTATION | Offloads::UDP_SEGMENTATION, 0),
        (Offloads::LARGE_RECEIVE, Features::MRG_RXBUF),
        (Offloads::HASH | Offloads::VLAN_FILTER, Features::CTRL_VQ),
    ] {
        if random.once_in(2) && options.features.has(features) {
            offloads |= offload;
        }
    }
    offloads
}

/// What a device may say of a packet: now and then something true.
fn header(random: &mut Random) -> Header {
    let mut half = || [0, 1, 4, 16, 34, 1000, random.next() as u16][random.below(7)];
    Header {
        flags: half() as u8,
        gso_type: half() as u8,
        header_length: half(),
        gso_size: half(),
        checksum_start: half(),
        checksum_offset: half(),
        hash: u32::from(half()),
        hash_report: half(),
    }
}

fn ports(random: &mut Random, options: &Options) -> PortOptions {
    let queues = 1 + random.below(options.queue_pairs.into()) as u16;
    PortOptions {
        receive_queues: queues,
        transmit_queues: queues,
        interrupts: random.once_in(3),
        offloads: offloads(random, options),
        ..rings(2 << random.below(5), 2 << random.below(5))
    }
}

/// The program's side: what it holds, and what it does with it.
struct Program {
    port: Opened,
    held: Vec<Batch>,
    errors: u32,
}

impl Program {
    fn new(rig: &Rig, port: Opened) -> Self {
        Self { port, held: (0..3).map(|_| Batch::new(&rig.pool, 24)).collect(), errors: 0 }
    }

    /// One thing that a program may do.
    fn act(&mut self, random: &mut Random) {
        let queue = random.below(self.port.receive.len());
        let index = random.below(self.held.len());
        let batch = &mut self.held[index];
        let outcome = match random.below(10) {
            0..4 => self.port.receive[queue].receive(batch).map(drop),
            4..7 => self.port.transmit[queue].transmit(batch).map(drop),
            7 => self.port.transmit[queue].reclaim().map(drop),
            8 => match random.below(9) {
                3 => self.port.control.set_all_multicast(random.once_in(2)),
                4 => self.port.control.take_announcement().map(drop),
                5 => self.port.control.add_address(MacAddress([2, 1, 1, 1, 1, random.below(99) as u8])),
                6 => self.port.control.scaling().and_then(|scaling| self.port.control.set_scaling(&scaling)),
                7 => self.port.receive[queue].restart(),
                8 => self.port.transmit[queue].restart(),
                0 => self.port.control.check(),
                1 => self.port.control.link().map(drop),
                2 => self.port.control.set_promiscuous(random.once_in(2)),
                _ => {
                    self.port.receive[queue].enable_interrupt();
                    Ok(())
                }
            },
            _ => {
                batch.clear();
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.errors += 1;
            assert!(error.to_string().contains(NAME), "{error}");
        }
        self.check();
    }

    /// No buffer is in the program's hands twice, and what is there can be read.
    fn check(&mut self) {
        let mut seen = BTreeSet::new();
        for batch in &mut self.held {
            for frame in batch.frames() {
                for segment in frame.segments() {
                    let place = segment.as_ptr() as usize;
                    assert!(seen.insert(place / 2048), "a buffer is there twice");
                    assert!(place % 2048 + segment.len() <= 2048, "a packet leaves its buffer");
                    std::hint::black_box(segment.iter().fold(0u8, |sum, byte| sum ^ byte));
                }
            }
        }
    }
}

/// After the end: nothing is missing, and the device works again.
fn settle(rig: &mut Rig, may_lose: bool) {
    assert_eq!(rig.pool.available() + rig.pool.lost(), BUFFERS, "buffers are conserved");
    assert!(may_lose || rig.pool.lost() == 0);
    if rig.pool.available() < 32 {
        return;
    }
    let mut port = rig.open(&rings(8, 8));
    while rig.device.take_sent().is_some() {}
    let mut batch = Batch::new(&rig.pool, 8);
    for sent in 0..12 {
        assert!(rig.device.inject(&frame(sent, 60)));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
        assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
        rig.run();
        assert_eq!(number(&rig.device.take_sent().unwrap()), sent);
    }
    drop((port, batch));
    assert_eq!(rig.pool.available() + rig.pool.lost(), BUFFERS);
}

/// Turns one of the model's knobs.
fn turn(faults: &Faults, queues: u16, random: &mut Random) {
    let queue = random.below(usize::from(queues) + 1) as u16;
    // A control queue that never answers costs five seconds; `control.rs` has that.
    let packets = random.below(queues.into()) as u16;
    let any = |random: &mut Random| match random.below(4) {
        0 => random.below(4) as u32,
        1 => random.below(64) as u32,
        2 => u32::MAX - random.below(16) as u32,
        _ => random.next() as u32,
    };
    match random.below(14) {
        0 => faults.stall(packets, random.once_in(2)),
        1 => faults.hold(packets),
        2 => {
            let order: Vec<usize> = (0..8).map(|_| random.below(8)).collect();
            faults.release(packets, &order);
        }
        3 | 4 => faults.jump_used_index(queue, any(random) as u16),
        5 | 6 => faults.wrong_id(queue, any(random)),
        7 | 8 => faults.excess_length(queue, any(random)),
        9 => faults.duplicate_completion(queue),
        10 => faults.wrong_buffer_count(any(random) as u16),
        11 => faults.link(random.once_in(2)),
        12 => faults.interrupt(random.below(4) as u16),
        _ => match random.below(30) {
            0 => faults.need_reset(),
            1 => faults.remove(),
            _ => {}
        },
    }
}

#[test]
fn a_device_with_faults_at_any_time_does_no_harm() {
    let (mut errors, mut drops) = (0, 0);
    for seed in 0..if cfg!(miri) { 3 } else { 2_500 } {
        let mut random = Random::new(seed);
        let options = options(&mut random);
        let ports = ports(&mut random, &options);
        let mut rig = Rig::new(options, BUFFERS);
        let port = rig.open(&ports);
        let queues = 2 * port.receive.len() as u16;
        let faults = rig.device.faults();
        let mut program = Program::new(&rig, port);
        for turns in 0..60 {
            let length = if random.once_in(8) { 60 + random.below(8_000) } else { 60 };
            if random.once_in(3) {
                let kind = common::internet::KINDS[random.below(5)];
                rig.device.inject_as(&kind.partial(1, length), header(&mut random));
            } else {
                rig.device.inject(&frame(turns, length));
            }
            program.act(&mut random);
            if random.once_in(6) {
                turn(&faults, queues, &mut random);
            }
            if random.once_in(2) {
                rig.device.step();
            }
        }
        errors += program.errors;
        let counted = program.port.control.statistics().unwrap();
        drops += counted.received().errors + counted.sent().errors;
        let gone = rig.device.monitor().status() != 0 && program.port.control.check().is_err();
        drop(program);
        faults.clear();
        faults.insert();
        faults.link(true);
        settle(&mut rig, gone);
    }
    assert!(
        cfg!(miri) || errors > 1_000 && drops > 100,
        "the faults were seen: {errors} errors, {drops} drops"
    );
}

/// Where the driver put its rings, as it told the device.
#[derive(Debug, Default)]
struct Told {
    /// Registers of one queue after the other, as they were written.
    areas: Mutex<Vec<(u64, u32)>>,
    /// Lies, if a seed is there.
    lies: Mutex<Option<Random>>,
    honest: AtomicBool,
}

impl Told {
    /// Bases of the areas: descriptors, driver's, device's, of each queue.
    fn bases(&self) -> Vec<u64> {
        let written = self.areas.lock().unwrap();
        written
            .chunks_exact(2)
            .map(|pair| {
                let [(low, first), (_, second)] = pair else { unreachable!() };
                assert_eq!(low % 8, 0);
                u64::from(*first) | u64::from(*second) << 32
            })
            .collect()
    }

    /// What a register is said to hold.
    fn say(&self, value: u32, width: Width) -> u32 {
        if self.honest.load(Ordering::Relaxed) {
            return value;
        }
        let mut lies = self.lies.lock().unwrap();
        let Some(random) = lies.as_mut() else { return value };
        if !random.once_in(12) {
            return value;
        }
        let lie = match random.below(4) {
            0 => 0,
            1 => value ^ 1 << random.below(8 * usize::from(width.bytes())),
            2 => random.below(70_000) as u32,
            _ => random.next() as u32,
        };
        // All ones say that the device is gone, which costs buffers; `teardown.rs` has that.
        let ones = u32::MAX >> (32 - 8 * u32::from(width.bytes()));
        if lie & ones == ones { 0 } else { lie & ones }
    }
}

#[derive(Debug)]
struct Liar {
    backend: Box<dyn Backend>,
    told: Arc<Told>,
}

impl Backend for Liar {
    fn identity(&self) -> &Identity {
        self.backend.identity()
    }
    fn address_space(&self) -> &AddressSpace {
        self.backend.address_space()
    }
    fn is_emulated(&self) -> bool {
        true
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, PciError> {
        let value = self.backend.config_read(offset, width)?;
        // The command register and what stands before the capabilities are the kernel's with VFIO, not the device's.
        Ok(if offset < 0x40 { value } else { self.told.say(value, width) })
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), PciError> {
        self.backend.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, PciError> {
        Ok(Arc::new(LiarBar { bar: self.backend.bar(index)?, told: Arc::clone(&self.told) }))
    }
    fn msix_vectors(&self) -> u16 {
        self.backend.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), PciError> {
        self.backend.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, PciError> {
        self.backend.reset()
    }
}

#[derive(Debug)]
struct LiarBar {
    bar: Arc<dyn Registers>,
    told: Arc<Told>,
}

impl Registers for LiarBar {
    fn length(&self) -> u64 {
        self.bar.length()
    }
    fn read8(&self, offset: u64) -> u8 {
        self.told.say(self.bar.read8(offset).into(), Width::Byte) as u8
    }
    fn read16(&self, offset: u64) -> u16 {
        self.told.say(self.bar.read16(offset).into(), Width::Word) as u16
    }
    fn read32(&self, offset: u64) -> u32 {
        self.told.say(self.bar.read32(offset), Width::Double)
    }
    fn write8(&self, offset: u64, value: u8) {
        self.bar.write8(offset, value);
    }
    fn write16(&self, offset: u64, value: u16) {
        self.bar.write16(offset, value);
    }
    fn write32(&self, offset: u64, value: u32) {
        if (32..56).contains(&offset) {
            self.told.areas.lock().unwrap().push((offset, value));
        }
        self.bar.write32(offset, value);
    }
    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell> {
        self.bar.doorbell(offset, width)
    }
}

fn liar(rig: &Rig, told: &Arc<Told>) -> Function {
    Function::new(Box::new(Liar { backend: rig.backend(), told: Arc::clone(told) })).unwrap()
}

/// Writes anything anywhere in a ring: its indices and flags more often than the rest.
fn scribble(device: &mut DeviceView, bases: &[u64], size: u64, random: &mut Random) {
    let which = random.below(bases.len());
    let area = which % 3;
    let length = [size * 16, size * 2 + 6, size * 8 + 6][area];
    let offset = if random.once_in(2) { random.below(2) as u64 * 2 } else { (random.next() % length) & !1 };
    let place = Iova::new(bases[which] + offset);
    let now = device.load_u16(place).unwrap();
    let value = match random.below(4) {
        0 => now.wrapping_add(1 + random.below(3) as u16),
        1 => random.below(2 * size as usize) as u16,
        2 => now ^ 1 << random.below(16),
        _ => random.next() as u16,
    };
    device.store_u16(place, value).unwrap();
}

#[test]
fn anything_written_to_the_rings_at_any_time_does_no_harm() {
    let mut errors = 0;
    for seed in 0..if cfg!(miri) { 3 } else { 2_500 } {
        let mut random = Random::new(seed ^ 0xaaaa);
        let options = options(&mut random);
        let size = 2 << random.below(5);
        let ports = PortOptions { receive_queues: 1, transmit_queues: 1, ..rings(size, size) };
        let mut rig = Rig::new(options, BUFFERS);
        let told = Arc::new(Told { honest: AtomicBool::new(true), ..Told::default() });
        let port = ringway_virtio::open(liar(&rig, &told), &rig.pool, &ports).unwrap();
        // Receive and transmit queue.
        let bases = &told.bases()[..6];
        let mut view = rig.space.device_view().unwrap();
        let mut program = Program::new(&rig, port);
        for turns in 0..60 {
            rig.device.inject(&frame(turns, 60 + random.below(3_000)));
            program.act(&mut random);
            if random.once_in(4) {
                scribble(&mut view, bases, size.into(), &mut random);
            }
            if random.once_in(2) {
                rig.device.step();
            }
        }
        errors += program.errors;
        drop(program);
        settle(&mut rig, false);
    }
    assert!(cfg!(miri) || errors > 1_000, "it was seen: {errors} errors");
}

#[test]
fn registers_that_hold_anything_do_no_harm() {
    let (mut refused, mut opened) = (0, 0);
    for seed in 0..if cfg!(miri) { 3 } else { 1_500 } {
        let mut random = Random::new(seed ^ 0x5555);
        let options = options(&mut random);
        let ports = ports(&mut random, &options);
        let mut rig = Rig::new(options, BUFFERS);
        let told = Arc::new(Told { lies: Mutex::new(Some(random.clone())), ..Told::default() });
        match ringway_virtio::open(liar(&rig, &told), &rig.pool, &ports) {
            Ok(port) => {
                opened += 1;
                let mut program = Program::new(&rig, port);
                for turns in 0..30 {
                    rig.device.inject(&frame(turns, 60));
                    program.act(&mut random);
                    rig.device.step();
                }
                drop(program);
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(NAME), "{error}");
            }
        }
        settle(&mut rig, true);
    }
    assert!(cfg!(miri) || refused > 200 && opened > 20, "{refused} refused, {opened} opened");
}
