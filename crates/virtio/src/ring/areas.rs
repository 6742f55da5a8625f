//! The memory of one virtqueue: where its parts lie, for the device to be told and for the driver to use.

use super::telling::Words;
use crate::transport::{QueueAreas, Transport};
use ringway_dma::{AddressSpace, Block, Descriptor, Error, Pair, Placement, Ring, RingMemory};
use std::sync::atomic::AtomicU16;

/// Where the two rings' entries start (sections 2.7.6 and 2.7.8): behind flags and index.
const ENTRIES: usize = 4;

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
    fn bytes(size: u16) -> [usize; 3] {
        let size = usize::from(size);
        [size * 16, size * 2 + 6, size * 8 + 6]
    }

    /// Ring memory of its own for one queue, with room for blocks of `extra` bytes behind the areas.
    pub(crate) fn allocate(
        transport: &dyn Transport,
        size: u16,
        extra: &[usize],
    ) -> Result<(Self, RingMemory), Error> {
        let placement = Placement { numa_node: transport.numa_node(), ..Placement::default() };
        Self::allocate_in(transport.attachment().address_space(), placement, size, extra)
    }

    pub(super) fn allocate_in(
        space: &AddressSpace,
        placement: Placement,
        size: u16,
        extra: &[usize],
    ) -> Result<(Self, RingMemory), Error> {
        let [descriptors, driver, device] = Self::bytes(size);
        let mut blocks = vec![descriptors, driver, device];
        blocks.extend_from_slice(extra);
        let mut memory = RingMemory::allocate(space, placement, &blocks)?;
        let areas = Self {
            descriptors: memory.block(descriptors)?,
            driver: memory.block(driver)?,
            device: memory.block(device)?,
            size,
        };
        Ok((areas, memory))
    }

    /// What the device is told.
    pub(super) fn told(&self, vector: Option<u16>) -> Result<QueueAreas, Error> {
        Ok(QueueAreas {
            size: self.size,
            descriptors: self.descriptors.base(0)?,
            driver: self.driver.base(0)?,
            device: self.device.base(0)?,
            vector,
        })
    }
}

/// The parts of a virtqueue, as the driver uses them. They keep their memory.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) descriptors: Ring<Descriptor>,
    pub(super) available: Ring<AtomicU16>,
    pub(super) available_index: Ring<AtomicU16>,
    pub(super) available_flags: Ring<AtomicU16>,
    pub(super) used_event: Ring<AtomicU16>,
    pub(super) used: Ring<Pair>,
    pub(super) used_index: Ring<AtomicU16>,
    pub(super) used_flags: Ring<AtomicU16>,
    pub(super) available_event: Ring<AtomicU16>,
}

impl Rings {
    pub(super) fn new(areas: &Areas) -> Result<Self, Error> {
        let size = u32::from(areas.size);
        let (driver_end, device_end) =
            (ENTRIES + usize::from(areas.size) * 2, ENTRIES + usize::from(areas.size) * 8);
        Ok(Self {
            descriptors: areas.descriptors.ring(0, size)?,
            available_flags: areas.driver.ring(0, 1)?,
            available_index: areas.driver.ring(2, 1)?,
            available: areas.driver.ring(ENTRIES, size)?,
            used_event: areas.driver.ring(driver_end, 1)?,
            used_flags: areas.device.ring(0, 1)?,
            used_index: areas.device.ring(2, 1)?,
            used: areas.device.ring(ENTRIES, size)?,
            available_event: areas.device.ring(device_end, 1)?,
        })
    }
}

impl Words for Rings {
    #[inline(always)]
    fn available_index(&self) -> &AtomicU16 {
        self.available_index.at(0)
    }

    #[inline(always)]
    fn available_flags(&self) -> &AtomicU16 {
        self.available_flags.at(0)
    }

    #[inline(always)]
    fn used_event(&self) -> &AtomicU16 {
        self.used_event.at(0)
    }

    #[inline(always)]
    fn used_index(&self) -> &AtomicU16 {
        self.used_index.at(0)
    }

    #[inline(always)]
    fn used_flags(&self) -> &AtomicU16 {
        self.used_flags.at(0)
    }

    #[inline(always)]
    fn available_event(&self) -> &AtomicU16 {
        self.available_event.at(0)
    }
}
