//! The split virtqueue, driver's side (virtio 1.2, section 2.7).
//!
//! Three areas in memory that both sides see: descriptors, the available ring (driver writes, device reads) and the
//! used ring (device writes, driver reads). This module moves indices and knows when to tell the other side; what the
//! descriptors point at is the business of the queues in `net`.
//!
//! What the device writes (the used ring) is read once and checked: the index may advance by no more than what was
//! made available, and ids are looked up by the queues in their own records.

use crate::Error;
use crate::transport::{QueueAreas, Transport};
use ringway_dma::{Block, Descriptor, Pair, Placement, Ring, RingMemory, barrier};
use ringway_pci::Doorbell;
use std::sync::atomic::{AtomicU16, Ordering};

/// Descriptor flags (section 2.7.5).
pub(crate) mod flag {
    pub(crate) const NEXT: u64 = 1;
    pub(crate) const WRITE: u64 = 2;
    pub(crate) const INDIRECT: u64 = 4;
}

/// Ring flags (sections 2.7.6 and 2.7.8).
const AVAIL_NO_INTERRUPT: u16 = 1;
const USED_NO_NOTIFY: u16 = 1;

/// The second word of a descriptor: length, flags, next.
#[inline(always)]
pub(crate) const fn word(length: u32, flags: u64, next: u16) -> u64 {
    length as u64 | (flags << 32) | ((next as u64) << 48)
}

/// The memory of one queue's areas, before it is told to the device.
#[derive(Debug)]
pub(crate) struct Areas {
    descriptors: Block,
    driver: Block,
    device: Block,
    size: u16,
}

impl Areas {
    /// Bytes of the three areas for `size` descriptors (section 2.7.2), in the order in which `new` takes them.
    pub(crate) fn bytes(size: u16) -> [usize; 3] {
        let size = usize::from(size);
        [size * 16, size * 2 + 6, size * 8 + 6]
    }

    /// Takes the areas out of ring memory.
    pub(crate) fn new(memory: &mut RingMemory, size: u16) -> Result<Self, ringway_dma::Error> {
        let [descriptors, driver, device] = Self::bytes(size);
        Ok(Self {
            descriptors: memory.block(descriptors)?,
            driver: memory.block(driver)?,
            device: memory.block(device)?,
            size,
        })
    }

    /// Ring memory of its own for one queue.
    pub(crate) fn allocate(
        transport: &dyn Transport,
        size: u16,
        extra: &[usize],
    ) -> Result<(Self, RingMemory), ringway_dma::Error> {
        let mut blocks = Self::bytes(size).to_vec();
        blocks.extend_from_slice(extra);
        let placement = Placement { numa_node: transport.numa_node(), ..Placement::default() };
        let space = transport.attachment().address_space();
        let mut memory = RingMemory::allocate(space, placement, &blocks)?;
        Ok((Self::new(&mut memory, size)?, memory))
    }
}

/// A virtqueue that the device knows.
#[derive(Debug)]
pub(crate) struct SplitRing {
    /// The descriptor table.
    pub(crate) descriptors: Ring<Descriptor>,
    available: Ring<AtomicU16>,
    available_index: Ring<AtomicU16>,
    available_flags: Ring<AtomicU16>,
    used_event: Ring<AtomicU16>,
    used: Ring<Pair>,
    used_index: Ring<AtomicU16>,
    used_flags: Ring<AtomicU16>,
    available_event: Ring<AtomicU16>,
    doorbell: Doorbell,
    /// Which queue it is.
    index: u16,
    /// What was made available, and published up to `published`.
    next_available: u16,
    published: u16,
    /// Up to where the used ring was read.
    last_used: u16,
    event_index: bool,
}

impl SplitRing {
    /// Tells the device of the areas and enables the queue.
    pub(crate) fn start(
        transport: &dyn Transport,
        index: u16,
        areas: &Areas,
        event_index: bool,
        vector: Option<u16>,
    ) -> Result<Self, Error> {
        let size = u32::from(areas.size);
        let (driver_end, device_end) = (4 + usize::from(areas.size) * 2, 4 + usize::from(areas.size) * 8);
        let rings = || -> Result<_, ringway_dma::Error> {
            let told = QueueAreas {
                size: areas.size,
                descriptors: areas.descriptors.base(0)?,
                driver: areas.driver.base(0)?,
                device: areas.device.base(0)?,
                vector,
            };
            let ring = |doorbell| -> Result<Self, ringway_dma::Error> {
                Ok(Self {
                    descriptors: areas.descriptors.ring(0, size)?,
                    available_flags: areas.driver.ring(0, 1)?,
                    available_index: areas.driver.ring(2, 1)?,
                    available: areas.driver.ring(4, size)?,
                    used_event: areas.driver.ring(driver_end, 1)?,
                    used_flags: areas.device.ring(0, 1)?,
                    used_index: areas.device.ring(2, 1)?,
                    used: areas.device.ring(4, size)?,
                    available_event: areas.device.ring(device_end, 1)?,
                    doorbell,
                    index,
                    next_available: 0,
                    published: 0,
                    last_used: 0,
                    event_index,
                })
            };
            Ok((told, ring))
        };
        let (told, ring) = rings().map_err(Error::dma(transport.name()))?;
        let doorbell = transport.start_queue(index, &told)?;
        let ring = ring(doorbell).map_err(Error::dma(transport.name()))?;
        ring.silence();
        Ok(ring)
    }

    /// The number of descriptors minus one.
    #[inline(always)]
    pub(crate) fn mask(&self) -> u32 {
        self.descriptors.mask()
    }

    /// How many descriptor chains came back since the last [`consume`](Self::consume). `None`: more than the ring has,
    /// the device jumped.
    #[inline(always)]
    pub(crate) fn ready(&self) -> Option<u16> {
        let ready = self.used_index.at(0).load(Ordering::Acquire).wrapping_sub(self.last_used);
        (u32::from(ready) <= self.mask().wrapping_add(1)).then_some(ready)
    }

    /// The n-th chain that came back: its id and how many bytes the device wrote. Both are the device's claims.
    #[inline(always)]
    pub(crate) fn completed(&self, n: u16) -> (u32, u32) {
        let pair = self.used.at(self.last_used.wrapping_add(n).into());
        (pair.first.load(Ordering::Relaxed), pair.second.load(Ordering::Relaxed))
    }

    /// Marks `count` chains as read.
    #[inline(always)]
    pub(crate) fn consume(&mut self, count: u16) {
        self.last_used = self.last_used.wrapping_add(count);
    }

    /// Makes a chain available, from the descriptor `head` on. Seen by the device after [`publish`](Self::publish).
    #[inline(always)]
    pub(crate) fn offer(&mut self, head: u16) {
        self.available.at(self.next_available.into()).store(head, Ordering::Relaxed);
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Shows the device all that was offered, and tells it if it wants to be told (section 2.7.13.4).
    #[inline]
    pub(crate) fn publish(&mut self) {
        let (old, new) = (self.published, self.next_available);
        if old == new {
            return;
        }
        self.available_index.at(0).store(new, Ordering::Release);
        self.published = new;
        // Section 2.7.13.3.1: the index is seen before the device's wish is read.
        barrier::full();
        let wanted = if self.event_index {
            let event = self.available_event.at(0).load(Ordering::Relaxed);
            // Section 2.7.10.1: the event lies in what was published now.
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.used_flags.at(0).load(Ordering::Relaxed) & USED_NO_NOTIFY == 0
        };
        if wanted {
            self.doorbell.ring(self.index.into());
        }
    }

    /// Asks for no interrupts (section 2.7.7).
    pub(crate) fn silence(&self) {
        self.available_flags.at(0).store(AVAIL_NO_INTERRUPT, Ordering::Relaxed);
        // The flag doesn't count with the event index: ask for an entry that is as far away as can be.
        self.used_event.at(0).store(self.last_used.wrapping_sub(1), Ordering::Relaxed);
    }

    /// Keeps the far-away event far away while the ring is polled.
    #[inline(always)]
    pub(crate) fn stay_silent(&self) {
        if self.event_index {
            self.used_event.at(0).store(self.last_used.wrapping_sub(1), Ordering::Relaxed);
        }
    }

    /// Asks for an interrupt at the next completion. `false`: one is there already.
    pub(crate) fn listen(&self) -> bool {
        self.available_flags.at(0).store(0, Ordering::Relaxed);
        self.used_event.at(0).store(self.last_used, Ordering::Relaxed);
        barrier::full();
        self.used_index.at(0).load(Ordering::Acquire) == self.last_used
    }
}
