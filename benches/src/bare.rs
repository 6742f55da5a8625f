//! An 82599 whose device does nothing but write descriptors, on a thread of its own: how fast the driver can go.
//!
//! Registers are the model's; its packet path is not used. Instead a thread writes back each receive descriptor that the
//! driver hands out (a frame of 60 bytes has come, it says, and touches no buffer), and each transmit descriptor that asks for
//! it. The address space is like hardware's: nothing marks buffers as lent. So the driver does exactly what it does on a card,
//! and what limits it are its own instructions and the cache lines that bounce between it and the device.
//!
//! Not here: frames. What is forwarded is whatever lies in the buffers.

use ringway_dma::{
    AddressSpace, BackendError, DeviceView, ExternalMemory, Iommu, Iova, IovaRange, Limits, Mapping,
};
use ringway_model::ixgbe::{Ixgbe, Options};
use ringway_packet::Pool;
use ringway_pci::{Doorbell, Function, Registers, Width};
use ringway_port::{Opened, PortOptions};
use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Registers of queue 0 (82599 datasheet, sections 8.2.3.8 and 8.2.3.9).
const RECEIVE: u64 = 0x1000;
const TRANSMIT: u64 = 0x6000;
const BASE_LOW: u64 = 0x00;
const BASE_HIGH: u64 = 0x04;
const LENGTH: u64 = 0x08;
const TAIL: u64 = 0x18;

const DESCRIPTOR: u64 = 16;
/// Descriptors that are read or written at once: four cache lines, as hardware does.
const ROUND: usize = 16;
/// A received frame of 60 bytes: length, end of packet, done (7.1.6.2).
const RECEIVED: u64 = 60 << 32 | 3;
/// In a transmit descriptor: report status (7.2.3.2.4).
const REPORT_STATUS: u64 = 1 << 27;

/// Translates for the bare device: memory is reachable for it as the driver maps it.
#[derive(Debug)]
struct Unit(ExternalMemory);

// SAFETY: the device reaches memory through `ExternalMemory`'s table only, which holds exactly what is mapped, by mappings
// of its own of the same files; unmapping waits for accesses that have begun.
unsafe impl Iommu for Unit {
    fn limits(&self) -> Result<Limits, BackendError> {
        let range = IovaRange { first: Iova::new(1 << 20), last: Iova::new((1 << 39) - 1) };
        Ok(Limits { ranges: vec![range], page_sizes: 4096, mappings: None })
    }

    unsafe fn map(&self, mapping: Mapping<'_>) -> Result<(), BackendError> {
        let (file, offset) = mapping.file.ok_or("memory without a file")?;
        let file = File::from(file.try_clone_to_owned()?);
        Ok(self.0.map(mapping.iova, mapping.length as u64, file, offset, true)?)
    }

    fn unmap(&self, iova: Iova, length: usize) -> Result<(), BackendError> {
        self.0.unmap(iova, length as u64);
        Ok(())
    }
}

/// An address space for bare devices.
#[derive(Debug)]
pub struct Bare {
    memory: ExternalMemory,
    /// Where pools and ports belong.
    pub space: AddressSpace,
}

/// A ring as the device knows it.
#[derive(Debug)]
struct Ring {
    base: u64,
    count: u32,
    head: u32,
    tail: Arc<AtomicU32>,
}

/// One bare port's device.
#[derive(Debug)]
pub struct Device {
    receive: Ring,
    transmit: Ring,
}

/// Devices on a thread, until they are dropped.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    /// One with nothing in it.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let memory = ExternalMemory::new();
        let space = AddressSpace::new(Box::new(Unit(memory.clone())))?;
        Ok(Self { memory, space })
    }

    /// A port with one queue each way, and its device.
    ///
    /// # Errors
    /// When the driver can't open it.
    pub fn open(&self, pool: &Pool, options: &PortOptions) -> Result<(Opened, Device), Box<dyn Error>> {
        let (backend, _handle) = Ixgbe::create(&self.space, Options::default());
        let registers = backend.bar(0)?;
        let opened = ringway_ixgbe::open(Function::new(backend)?, pool, options)?;
        let device =
            Device { receive: Ring::of(&*registers, RECEIVE)?, transmit: Ring::of(&*registers, TRANSMIT)? };
        Ok((opened, device))
    }

    /// Runs devices on a thread, pinned by `pin`, which it calls first.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn run(
        &self,
        mut devices: Vec<Device>,
        pin: impl FnOnce() + Send + 'static,
    ) -> Result<Running, Box<dyn Error>> {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut view = self.memory.device_view();
        let thread = std::thread::Builder::new().name("bare device".to_owned()).spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                pin();
                while !stop.load(Ordering::Relaxed) {
                    let moved: u32 = devices.iter_mut().map(|device| device.turn(&mut view)).sum();
                    sent.store(sent.load(Ordering::Relaxed).wrapping_add(moved.into()), Ordering::Relaxed);
                }
            }
        })?;
        Ok(Running { stop, sent, thread: Some(thread) })
    }
}

impl Ring {
    fn of(registers: &dyn Registers, block: u64) -> Result<Self, Box<dyn Error>> {
        let word = |place: u64| u64::from(registers.read32(block + place));
        let Some(Doorbell::Emulated(tail)) = registers.doorbell(block + TAIL, Width::Double) else {
            return Err("the model has no such queue".into());
        };
        let count = (word(LENGTH) / DESCRIPTOR) as u32;
        Ok(Self { base: word(BASE_HIGH) << 32 | word(BASE_LOW), count, head: 0, tail })
    }

    /// The descriptors of a round, as far as the driver has handed them out: where they are, and how many.
    fn round(&self) -> (Iova, usize) {
        let tail = self.tail.load(Ordering::Acquire);
        let end = if tail < self.head { self.count } else { tail };
        // Up to a whole number of cache lines in the ring.
        let whole = ROUND as u32 - self.head % ROUND as u32;
        let count = end.saturating_sub(self.head).min(whole);
        (Iova::new(self.base + u64::from(self.head) * DESCRIPTOR), count as usize)
    }

    fn pass(&mut self, count: usize) {
        let next = self.head + count as u32;
        self.head = if next >= self.count { 0 } else { next };
    }
}

impl Device {
    /// A round of each ring. Returns packets sent.
    fn turn(&mut self, view: &mut DeviceView) -> u32 {
        const BYTES: usize = DESCRIPTOR as usize;
        let mut memory = view.burst();
        let mut bytes = [0u8; ROUND * BYTES];
        let (at, count) = self.receive.round();
        if count > 0 {
            for descriptor in bytes.as_chunks_mut::<BYTES>().0 {
                descriptor[BYTES / 2..].copy_from_slice(&RECEIVED.to_le_bytes());
            }
            if memory.write(at, &bytes[..count * BYTES]).is_ok() {
                self.receive.pass(count);
            }
        }
        let (at, count) = self.transmit.round();
        if count == 0 || memory.read(at, &mut bytes[..count * BYTES]).is_err() {
            return 0;
        }
        for (index, descriptor) in bytes.as_chunks::<BYTES>().0.iter().take(count).enumerate() {
            let [_, _, _, _, _, _, _, _, word @ ..] = *descriptor;
            if u64::from_le_bytes(word) & REPORT_STATUS != 0 {
                let status = Iova::new(at.get() + index as u64 * DESCRIPTOR + 12);
                // It was mapped a moment ago.
                let _ = memory.store_u32(status, 1);
            }
        }
        self.transmit.pass(count);
        count as u32
    }
}

impl Running {
    /// Packets that all of its devices have sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
