//! Shows that the IOMMU confines a device: `iommu-confinement 0000:01:00.0`, on a virtio-net function bound to vfio-pci.
//!
//! The drivers' types don't let an address be written that isn't mapped. This program reaches below them: it starts the
//! device's transmit queue by its bare registers, sends one frame from memory that is mapped, and then one whose address
//! isn't. The device must send the first, and must not get at the second. Afterwards the driver opens the device again.
//!
//! Exit status 0: the device was confined, and works after it. The kernel's log has the fault.
#![allow(unsafe_code, reason = "the point is to write what safe code can't")]

use ringway_dma::{AddressSpace, Block, Descriptor, Pair, Placement, Ring, RingMemory};
use ringway_packet::{Pool, PoolOptions};
use ringway_pci::{Address, Bar, Function, Width, vfio};
use ringway_port::PortOptions;
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The transmit queue of the first pair (virtio 1.2, section 5.1.2), small.
const QUEUE: u16 = 1;
const SIZE: u16 = 8;
/// A header of 12 bytes and a frame of 60.
const LENGTH: u64 = 72;
/// Nothing is mapped there: the address space hands out low addresses first, from 4 GiB on, and uses a few MiB.
const NOWHERE: u64 = 0x40_0000_0000 - 0x1000;
/// Device status (section 2.1).
const ACKNOWLEDGE_DRIVER: u8 = 1 | 2;
const FEATURES_OK: u8 = 8;
const DRIVER_OK: u8 = 4;
const NEEDS_RESET: u8 = 64;

fn main() -> ExitCode {
    match std::env::args()
        .nth(1)
        .ok_or("which function? iommu-confinement ADDRESS".into())
        .and_then(|name| run(&name))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> Result<(), Box<dyn Error>> {
    let address: Address = name.parse()?;
    let mut queue = TransmitQueue::start(vfio::open(address)?)?;
    // SAFETY: the frame lies in ring memory, which is mapped and never anything else.
    let mapped = unsafe { queue.send(queue.frame) };
    if mapped != Outcome::Sent {
        return Err(
            format!("{name} should send a frame from memory that is mapped; instead: {mapped:?}").into()
        );
    }
    println!("{name} sent a frame from memory that is mapped");
    // SAFETY: nothing is mapped there, so the IOMMU keeps the device from reading or writing anything.
    match unsafe { queue.send(NOWHERE) } {
        Outcome::Broken => println!("{name} was refused {NOWHERE:#x}, and says that it needs a reset"),
        Outcome::Sent => println!("{name} went on after {NOWHERE:#x} was refused"),
        Outcome::Nothing => println!("{name} did nothing more after {NOWHERE:#x} was refused"),
    }
    drop(queue);

    let function = vfio::open(address)?;
    let options = PoolOptions { buffers: 1024, ..PoolOptions::default() };
    let pool = Pool::new(function.address_space(), options)?;
    let mut port = ringway_virtio::open(function, &pool, &PortOptions::default())?;
    port.control.check()?;
    println!("{name} works again: {}", port.control.link()?);
    Ok(())
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    Broken,
    Nothing,
}

/// A transmit queue by its bare registers.
struct TransmitQueue {
    descriptors: Ring<Descriptor>,
    available: Ring<AtomicU16>,
    used_index: Ring<AtomicU16>,
    _used: Ring<Pair>,
    /// Where the frame is, as the device calls it.
    frame: u64,
    next: u16,
    notify: ringway_pci::Doorbell,
    common: Bar,
    _memory: Memory,
    _function: Function,
}

/// What the rings lie in.
struct Memory {
    rings: Block,
    frame: Block,
}

impl Memory {
    fn allocate(space: &AddressSpace) -> Result<Self, ringway_dma::Error> {
        let mut memory = RingMemory::allocate(space, Placement::default(), &[2048, 128])?;
        Ok(Self { rings: memory.block(2048)?, frame: memory.block(128)? })
    }
}

impl TransmitQueue {
    /// Section 3.1.1, the least of it.
    fn start(function: Function) -> Result<Self, Box<dyn Error>> {
        let memory = Memory::allocate(function.address_space())?;
        let (common, _) = structure(&function, 1)?;
        let (notify, multiplier) = structure(&function, 2)?;
        common.write8(20, 0);
        let deadline = Instant::now() + Duration::from_secs(5);
        while common.read8(20) != 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        common.write8(20, ACKNOWLEDGE_DRIVER);
        // VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM, bits 32 and 33.
        common.write32(8, 0);
        common.write32(12, 0);
        common.write32(8, 1);
        common.write32(12, 0b11);
        common.write8(20, ACKNOWLEDGE_DRIVER | FEATURES_OK);
        if common.read8(20) & FEATURES_OK == 0 {
            return Err("the device doesn't go through the IOMMU (QEMU: iommu_platform=on)".into());
        }
        common.write16(22, QUEUE);
        common.write16(24, SIZE);
        common.write_ring_base(32, 36, memory.rings.base(0)?);
        common.write_ring_base(40, 44, memory.rings.base(512)?);
        common.write_ring_base(48, 52, memory.rings.base(1024)?);
        let place = u64::from(common.read16(30)) * u64::from(multiplier);
        let notify = notify.doorbell(function.name(), place, Width::Word)?;
        common.write16(28, 1);
        function.set_bus_master(true)?;
        common.write8(20, ACKNOWLEDGE_DRIVER | FEATURES_OK | DRIVER_OK);
        memory.frame.ring::<AtomicU64>(16, 1)?.at(0).store(u64::MAX, Ordering::Relaxed);
        Ok(Self {
            descriptors: memory.rings.ring(0, SIZE.into())?,
            // Flags, index, and the entries, as an array of words.
            available: memory.rings.ring(512, 16)?,
            used_index: memory.rings.ring(1026, 1)?,
            _used: memory.rings.ring(1028, SIZE.into())?,
            frame: memory.frame.base(0)?.iova().get(),
            next: 0,
            notify,
            common,
            _memory: memory,
            _function: function,
        })
    }

    /// Sends what is at `iova`, and waits for what becomes of it.
    ///
    /// # Safety
    /// Either nothing is mapped at `iova`, or what is there is ring memory.
    unsafe fn send(&mut self, iova: u64) -> Outcome {
        let slot = u32::from(self.next % SIZE);
        let descriptor = self.descriptors.at(slot);
        // SAFETY: the caller's word.
        unsafe { descriptor.address.lend(iova) };
        descriptor.word.store(LENGTH, Ordering::Relaxed);
        self.available.at(2 + slot).store(slot as u16, Ordering::Relaxed);
        self.next = self.next.wrapping_add(1);
        self.available.at(1).store(self.next, Ordering::Release);
        self.notify.ring(QUEUE.into());
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if self.common.read8(20) & NEEDS_RESET != 0 {
                return Outcome::Broken;
            }
            if self.used_index.at(0).load(Ordering::Acquire) == self.next {
                return Outcome::Sent;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Outcome::Nothing
    }
}

/// The registers of one of the device's structures (section 4.1.4), and the multiplier that follows the notification
/// structure's place.
fn structure(function: &Function, kind: u32) -> Result<(Bar, u32), Box<dyn Error>> {
    for capability in function.capabilities()? {
        let at = capability.offset;
        let read = |offset: u16, width| function.config_read(at.saturating_add(offset), width);
        if capability.id == 9 && read(3, Width::Byte)? == kind {
            let (bar, offset) = (read(4, Width::Byte)? as u8, read(8, Width::Double)?);
            let length = read(12, Width::Double)?;
            return Ok((function.bar(bar, offset.into(), length.into())?, read(16, Width::Double)?));
        }
    }
    Err(format!("{} has no structure of kind {kind}: it is no modern virtio device", function.name()).into())
}
