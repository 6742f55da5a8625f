//! The front in the same process: the function as the seam of `ringway-pci` shows it.
//!
//! One lock stands around the function. A doorbell is an atomic beside it, so a driver that only moves tails never
//! takes it; whoever reads or writes other registers waits at most for one turn of the device.

use super::config::{ConfigSpace, VECTORS};
use super::core::Core;
use super::handle::Handle;
use super::options::Options;
use super::receive::Delivery;
use super::registers::{BAR_BYTES, RDT, TDT, receive_queue, transmit_queue};
use crate::config_space::ones;
#[cfg(feature = "vfio-user")]
use crate::vfio_user::Wants;
use crate::wire::{MAXIMUM_FRAME, Wire};
use ringway_dma::{AddressSpace, DeviceView};
use ringway_pci::{Backend, Doorbell, Error, Identity, Registers, Width};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Frames taken from the wire in one round.
const TURN: usize = 64;

/// The function with its memory.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) core: Core,
    pub(crate) config: ConfigSpace,
    /// None in an address space that hardware translates: nothing is reached there.
    view: Option<DeviceView>,
    /// The frame that is being received, and its length while it waits for room.
    frame: Box<[u8]>,
    waiting: Option<usize>,
    /// Pulled out of its slot.
    pub(crate) gone: bool,
}

impl Device {
    /// One turn: sends what is to be sent, receives what has come, tells of both. Returns frames moved. With a clock,
    /// interrupts are moderated.
    pub(crate) fn turn(&mut self, wire: &mut dyn Wire, clock: bool) -> usize {
        if self.gone {
            return 0;
        }
        let mut moved = 0usize;
        if let (Some(view), true) = (&mut self.view, self.core.bus_master)
            && !self.core.is_paused(clock)
        {
            moved = self.core.transmit(&mut view.burst(), wire);
        }
        let received = self.receive(wire);
        self.core.tell_pause(wire);
        if self.core.interrupts.is_pending() {
            self.core.interrupts.flush(self.core.bus_master, clock.then(Instant::now));
        }
        moved.saturating_add(received)
    }

    /// Takes frames from the wire for as long as one comes and can go somewhere. Returns how many.
    fn receive(&mut self, wire: &mut dyn Wire) -> usize {
        let waits = wire.waits();
        let Self { core, view: Some(view), frame, waiting, .. } = self else { return 0 };
        if waits && !core.receiving {
            return 0;
        }
        let mut memory = view.burst();
        let mut received = 0usize;
        while received < TURN
            && let Some(length) = waiting.take().or_else(|| wire.receive(frame))
        {
            if core.receive(&mut memory, frame.get(..length).unwrap_or_default(), waits) == Delivery::NoRoom {
                *waiting = Some(length);
                break;
            }
            received = received.saturating_add(1);
        }
        received
    }

    /// What is to be done with frames that arrive.
    #[cfg(feature = "vfio-user")]
    pub(crate) fn wants_frames(&self) -> Wants {
        match (self.core.receiving, self.waiting) {
            (false, _) => Wants::Silence,
            (true, Some(_)) => Wants::Nothing,
            (true, None) => Wants::Frames,
        }
    }

    /// A frame past the wire. Whether it was taken.
    pub(crate) fn inject(&mut self, frame: &[u8]) -> bool {
        let Some(view) = &mut self.view else { return false };
        let taken = self.core.receiving
            && !self.gone
            && self.core.receive(&mut view.burst(), frame, true) != Delivery::NoRoom;
        self.core.interrupts.flush(self.core.bus_master, None);
        taken
    }

    pub(crate) fn config_read(&self, offset: u16, width: Width) -> u32 {
        if self.gone { ones(width) } else { self.config.read(offset, width) }
    }

    pub(crate) fn config_write(&mut self, offset: u16, width: Width, value: u32) {
        if self.gone {
            return;
        }
        if self.config.write(offset, width, value).reset {
            self.function_reset();
        }
        self.core.set_bus_master(self.config.bus_master());
    }

    /// Function level reset (4.2.2): everything, configuration space too.
    pub(crate) fn function_reset(&mut self) {
        self.config.reset();
        self.core.reset();
        self.core.set_bus_master(false);
    }
}

/// What the device and both of its fronts share.
#[derive(Debug)]
pub(crate) struct Shared {
    device: Mutex<Device>,
    /// How many wait for the lock beside the thread that moves the device.
    waiting: AtomicU32,
    pub(crate) identity: Identity,
    /// The tails of receive queues and of transmit queues.
    tails: [Vec<Arc<AtomicU32>>; 2],
}

impl Shared {
    pub(crate) fn new(view: Option<DeviceView>, options: Options) -> Arc<Self> {
        let identity = Identity {
            name: options.name.clone(),
            vendor: 0x8086,
            device: options.personality.device_id(),
            subsystem_vendor: 0x8086,
            subsystem: options.personality.subsystem_id(),
            revision: 1,
            class: 0x02_0000,
            numa_node: None,
        };
        let config = ConfigSpace::new(&identity, BAR_BYTES);
        let core = Core::new(options);
        let tails = [
            core.receive.iter().map(|queue| Arc::clone(&queue.tail)).collect(),
            core.transmit.iter().map(|queue| Arc::clone(&queue.tail)).collect(),
        ];
        let frame = vec![0; MAXIMUM_FRAME].into_boxed_slice();
        let device = Mutex::new(Device { core, config, view, frame, waiting: None, gone: false });
        Arc::new(Self { device, waiting: AtomicU32::new(0), identity, tails })
    }

    /// The device, for someone who is not moving it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Device> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        device
    }

    /// The device, for the thread that moves it: others go first.
    pub(crate) fn lock_to_move(&self) -> MutexGuard<'_, Device> {
        while self.waiting.load(Ordering::Relaxed) != 0 {
            std::thread::yield_now();
        }
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The function behind the seam.
#[derive(Debug)]
struct Function {
    shared: Arc<Shared>,
    space: AddressSpace,
}

impl Backend for Function {
    fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    fn address_space(&self) -> &AddressSpace {
        &self.space
    }

    fn is_emulated(&self) -> bool {
        true
    }

    fn config_read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        Ok(self.shared.lock().config_read(offset, width))
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        self.shared.lock().config_write(offset, width, value);
        Ok(())
    }

    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, Error> {
        match index {
            0 => Ok(Arc::new(Bar0 { shared: Arc::clone(&self.shared) })),
            _ => Err(Error::BarTooShort { device: self.shared.identity.name.clone(), wanted: 1, length: 0 }),
        }
    }

    fn msix_vectors(&self) -> u16 {
        VECTORS
    }

    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), Error> {
        if vectors.len() > usize::from(VECTORS) {
            return Err(Error::TooFewVectors {
                device: self.shared.identity.name.clone(),
                wanted: vectors.len(),
                available: VECTORS,
            });
        }
        let mut device = self.shared.lock();
        if device.gone {
            return Ok(());
        }
        device.core.interrupts.disconnect();
        device.core.interrupts.connect(0, vectors.iter().cloned().map(Some));
        Ok(())
    }

    fn reset(&self) -> Result<bool, Error> {
        let mut device = self.shared.lock();
        if device.gone {
            return Ok(false);
        }
        device.function_reset();
        Ok(true)
    }
}

/// The registers.
#[derive(Debug)]
struct Bar0 {
    shared: Arc<Shared>,
}

impl Bar0 {
    /// The word at `offset`. The device takes 32-bit accesses; narrower reads see a part of them.
    fn word(&self, offset: u64, bytes: u64) -> Option<u32> {
        let inside = offset.is_multiple_of(bytes) && offset < u64::from(BAR_BYTES);
        let offset = u32::try_from(offset).ok().filter(|_| inside)?;
        let mut device = self.shared.lock();
        if device.gone {
            return None;
        }
        let word = device.core.read(offset & !3);
        Some(word >> ((offset & 3).wrapping_mul(8)))
    }
}

impl Registers for Bar0 {
    fn length(&self) -> u64 {
        BAR_BYTES.into()
    }

    fn read8(&self, offset: u64) -> u8 {
        self.word(offset, 1).map_or(u8::MAX, |word| word as u8)
    }

    fn read16(&self, offset: u64) -> u16 {
        self.word(offset, 2).map_or(u16::MAX, |word| word as u16)
    }

    fn read32(&self, offset: u64) -> u32 {
        self.word(offset, 4).unwrap_or(u32::MAX)
    }

    /// Registers are written 32 bits wide (8.1.1.1); narrower writes are dropped.
    fn write8(&self, _offset: u64, _value: u8) {}

    fn write16(&self, _offset: u64, _value: u16) {}

    fn write32(&self, offset: u64, value: u32) {
        if offset.is_multiple_of(4)
            && let Ok(offset) = u32::try_from(offset)
            && offset < BAR_BYTES
        {
            let mut device = self.shared.lock();
            if !device.gone {
                device.core.write(offset, value);
            }
        }
    }

    /// Tails are doorbells; no other register is.
    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell> {
        let offset = u32::try_from(offset).ok().filter(|_| width == Width::Double)?;
        let [receive, transmit] = &self.shared.tails;
        let tail = match (receive_queue(offset), transmit_queue(offset)) {
            (Some((number, RDT)), _) => receive.get(number),
            (_, Some((number, TDT))) => transmit.get(number),
            _ => None,
        };
        tail.map(|tail| Doorbell::Emulated(Arc::clone(tail)))
    }
}

/// Makes 82599s.
#[derive(Debug)]
pub enum Ixgbe {}

impl Ixgbe {
    /// An 82599 whose driver is in this process: the function for the driver (see [`ringway_pci::Function::new`]), and
    /// the handle that plays the device. In a space that real hardware translates it reaches no memory.
    pub fn create(space: &AddressSpace, options: Options) -> (Box<dyn Backend>, Handle) {
        let shared = Shared::new(space.device_view(), options);
        let function = Function { shared: Arc::clone(&shared), space: space.clone() };
        (Box::new(function), Handle::new(shared))
    }
}
