//! What the tests share: a port on a model, a back end that watches and can lie, numbered frames.

use ringway_dma::AddressSpace;
use ringway_ixgbe::Error;
use ringway_model::ixgbe::{Handle, Ixgbe, Options};
use ringway_model::wire::Wire;
use ringway_packet::{Batch, Pool, PoolOptions};
use ringway_pci::{Backend, Doorbell, Function, Identity, Registers, Width};
use ringway_port::{MacAddress, Opened, PortOptions, ReceiveQueue, TransmitQueue};
use ringway_traffic::end::{End, EndOptions, Monitor};
use ringway_traffic::frame::Shape;
use ringway_traffic::generator::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

/// The address that the model's EEPROM holds unless told otherwise.
pub const OWN: [u8; 6] = [0x02, 0, 0, 0x82, 0x59, 0x90];

/// How a port is made.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub model: Options,
    pub port: PortOptions,
    pub pool: PoolOptions,
}

/// A port and everything around it.
#[derive(Debug)]
pub struct Port {
    pub control: Box<dyn ringway_port::Port>,
    pub receive: Vec<Box<dyn ReceiveQueue>>,
    pub transmit: Vec<Box<dyn TransmitQueue>>,
    pub device: Handle,
    pub watch: Watch,
    pub pool: Pool,
    pub space: AddressSpace,
}

/// The two halves of a device, not opened yet.
pub fn device(setup: &Setup) -> (AddressSpace, Pool, Function, Handle, Watch) {
    let space = AddressSpace::emulated();
    let pool = Pool::new(&space, setup.pool).unwrap();
    let (backend, device) = Ixgbe::create(&space, setup.model.clone());
    let (backend, watch) = Watched::around(backend);
    (space, pool, Function::new(backend).unwrap(), device, watch)
}

pub fn open(setup: Setup) -> Port {
    let (space, pool, function, device, watch) = device(&setup);
    let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
    Port::new(opened, device, watch, pool, space)
}

/// Why a port can't be opened.
pub fn refusal(setup: Setup) -> Error {
    let (_space, pool, function, _device, _watch) = device(&setup);
    ringway_ixgbe::open(function, &pool, &setup.port).unwrap_err()
}

impl Port {
    pub fn new(opened: Opened, device: Handle, watch: Watch, pool: Pool, space: AddressSpace) -> Self {
        let Opened { control, receive, transmit } = opened;
        Self { control, receive, transmit, device, watch, pool, space }
    }

    /// Closes the port; every buffer must be back.
    pub fn close(self) -> Handle {
        let Self { control, receive, transmit, device, pool, .. } = self;
        drop((control, receive, transmit));
        assert_eq!((pool.available(), pool.lost()), (pool.buffers(), 0), "buffers are conserved");
        assert_eq!(device.faults(), 0, "the device reached only what it was lent");
        device
    }

    pub fn batch(&self, limit: usize) -> Batch {
        Batch::new(&self.pool, limit)
    }

    /// Sends the frames, all of them, and returns what came out of the device.
    pub fn send(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for frame in frames {
            let mut batch = self.batch(1);
            batch.push(self.pool.packet_from(frame).unwrap()).unwrap();
            assert_eq!(self.transmit[0].transmit(&mut batch).unwrap(), 1);
            while self.device.step() > 0 {}
            sent.extend(std::iter::from_fn(|| self.device.take_sent()));
        }
        self.transmit[0].reclaim().unwrap();
        assert_eq!(self.transmit[0].pending(), 0);
        sent
    }

    /// Receives one frame on queue 0, all of its segments.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let mut batch = self.batch(1);
        self.receive[0].receive(&mut batch).unwrap();
        batch.frame(0).map(|frame| bytes(&frame))
    }

    /// A counter of the device.
    pub fn counter(&mut self, name: &str) -> u64 {
        let statistics = self.control.statistics().unwrap();
        let found = statistics.device.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("there is no counter {name}")).1
    }
}

/// All bytes of a packet.
pub fn bytes(frame: &ringway_packet::Frame<'_>) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

/// Frame `number` of `length` bytes for the port itself: the number and a pattern that depends on it.
pub fn frame(number: u64, length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(length);
    frame.extend(OWN);
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.extend(number.to_be_bytes());
    frame.extend(
        (frame.len()..length).map(|place| (place as u64).wrapping_mul(31).wrapping_add(number) as u8),
    );
    frame.truncate(length);
    frame
}

/// The number of a frame, all of whose bytes are right.
pub fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_be_bytes(bytes[14..22].try_into().unwrap());
    assert_eq!(bytes, frame(number, bytes.len()), "frame {number} is damaged");
    number
}

/// What the registers answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// What the model says.
    #[default]
    Model,
    /// All ones, as when nothing is there.
    Ones,
    /// All zeros.
    Zeros,
}

/// What was done to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Write { register: u64, value: u32 },
    BusMaster(bool),
    Msix(usize),
    Reset,
}

/// A register, when it is stuck, and at which value.
pub type Stuck = (u64, fn(u32) -> bool, u32);

#[derive(Debug, Default)]
pub struct Record {
    pub events: Vec<Event>,
    pub answer: Answer,
    /// Registers that read as something else, whatever is written.
    pub forced: BTreeMap<u64, u32>,
    /// Registers that were read.
    pub read: BTreeSet<u64>,
    /// A register that reads as the value for as long as what was written to it last passes the test.
    pub stuck: Option<Stuck>,
    /// Accesses to registers so far, and from which one on they get the other answer.
    pub accesses: u64,
    pub turn: Option<(u64, Answer)>,
    /// What a reset leaves in registers of the model, which clears them all.
    pub survives_reset: Vec<(u64, u32)>,
    /// Configuration space can't be reached.
    pub config_fails: bool,
    /// The kernel wants the function back.
    pub wanted_back: bool,
    registers: Option<Arc<dyn Registers>>,
}

/// A look at the function from outside, and its knobs.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Record>>);

impl Watch {
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap()
    }

    /// The model's own registers, past all lies.
    pub fn registers(&self) -> Arc<dyn Registers> {
        self.record().registers.clone().unwrap()
    }

    pub fn read(&self, register: u64) -> u32 {
        self.registers().read32(register)
    }

    pub fn write(&self, register: u64, value: u32) {
        self.registers().write32(register, value);
    }

    /// The values written to a register, in their order.
    pub fn written(&self, register: u64) -> Vec<u32> {
        let record = self.record();
        let values = record.events.iter().filter_map(|event| match event {
            Event::Write { register: other, value } if *other == register => Some(*value),
            _ => None,
        });
        values.collect()
    }

    /// What is in a pair of registers: where a ring is.
    pub fn base(&self, low: u64) -> u64 {
        u64::from(self.read(low + 4)) << 32 | u64::from(self.read(low))
    }

    /// What a register reads as, whatever the model says.
    fn lie(&self, register: u64) -> Option<u32> {
        let mut record = self.record();
        record.read.insert(register);
        if let Some((stuck, test, value)) = record.stuck
            && stuck == register
        {
            let last = record.events.iter().rev().find_map(|event| match event {
                Event::Write { register: written, value } if *written == register => Some(*value),
                _ => None,
            });
            return last.filter(|last| test(*last)).map(|_| value);
        }
        record.forced.get(&register).copied()
    }

    fn access(&self) -> Answer {
        let mut record = self.record();
        record.accesses += 1;
        if let Some((at, answer)) = record.turn
            && record.accesses >= at
        {
            record.answer = answer;
        }
        record.answer
    }
}

/// A back end that passes everything on to the model, notes it, and lies when asked to.
#[derive(Debug)]
pub struct Watched {
    inner: Box<dyn Backend>,
    watch: Watch,
}

impl Watched {
    pub fn around(inner: Box<dyn Backend>) -> (Box<dyn Backend>, Watch) {
        let watch = Watch::default();
        (Box::new(Self { inner, watch: watch.clone() }), watch)
    }
}

impl Backend for Watched {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }
    fn address_space(&self) -> &AddressSpace {
        self.inner.address_space()
    }
    fn is_emulated(&self) -> bool {
        self.inner.is_emulated()
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, ringway_pci::Error> {
        if self.watch.record().config_fails {
            return Err(ringway_pci::Error::CapabilityLoop { device: self.identity().name.clone() });
        }
        self.inner.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), ringway_pci::Error> {
        if offset == 4 {
            self.watch.record().events.push(Event::BusMaster(value & 4 != 0));
        }
        self.inner.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, ringway_pci::Error> {
        let inner = self.inner.bar(index)?;
        self.watch.record().registers = Some(Arc::clone(&inner));
        Ok(Arc::new(WatchedRegisters { inner, watch: self.watch.clone() }))
    }
    fn removal_requested(&self) -> bool {
        self.watch.record().wanted_back
    }
    fn msix_vectors(&self) -> u16 {
        self.inner.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), ringway_pci::Error> {
        self.watch.record().events.push(Event::Msix(vectors.len()));
        self.inner.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, ringway_pci::Error> {
        self.watch.record().events.push(Event::Reset);
        self.inner.reset()
    }
}

#[derive(Debug)]
struct WatchedRegisters {
    inner: Arc<dyn Registers>,
    watch: Watch,
}

impl Registers for WatchedRegisters {
    fn length(&self) -> u64 {
        self.inner.length()
    }
    fn read8(&self, offset: u64) -> u8 {
        self.inner.read8(offset)
    }
    fn read16(&self, offset: u64) -> u16 {
        self.inner.read16(offset)
    }
    fn read32(&self, offset: u64) -> u32 {
        let answer = self.watch.access();
        if let Some(value) = self.watch.lie(offset) {
            return value;
        }
        match answer {
            Answer::Model => self.inner.read32(offset),
            Answer::Ones => u32::MAX,
            Answer::Zeros => 0,
        }
    }
    fn write8(&self, offset: u64, value: u8) {
        self.inner.write8(offset, value);
    }
    fn write16(&self, offset: u64, value: u16) {
        self.inner.write16(offset, value);
    }
    fn write32(&self, offset: u64, value: u32) {
        let answer = self.watch.access();
        self.watch.record().events.push(Event::Write { register: offset, value });
        if answer == Answer::Model {
            self.inner.write32(offset, value);
            if offset == 0 && value & 1 << 26 != 0 {
                for (register, value) in std::mem::take(&mut self.watch.record().survives_reset) {
                    self.inner.write32(register, value);
                }
            }
        }
    }
    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell> {
        self.inner.doorbell(offset, width)
    }
}

/// A generator of marked packets and their checker, on a device's wire. Time is the number of rounds.
#[derive(Debug)]
pub struct Marked(End, u64);

/// So many packets of so many flows to the port's own address.
pub fn marked(flows: u16, limit: u64) -> (Marked, Monitor) {
    let shape = Shape { destination: MacAddress(OWN), ..Shape::default() };
    let plan = Plan { shape, flows: flows.into(), ..Plan::default() };
    let (end, monitor) = End::new(&EndOptions { plan, limit: Some(limit), ..EndOptions::default() }).unwrap();
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
