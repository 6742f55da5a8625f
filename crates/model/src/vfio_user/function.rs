//! The function as a vfio-user client sees it: regions, interrupts, mappings.

use super::Report;
use super::mover::kick;
use crate::ixgbe::{BAR_BYTES, CONFIG_BYTES, MSIX_BYTES, Options, Shared, VECTORS};
use ringway_dma::{ExternalMemory, Iova};
use ringway_pci::{Width, event_counter};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR4_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, ServerBackend, ServerRegion};

/// A device and what its client knows of it.
#[derive(Debug)]
pub(crate) struct Function {
    shared: Arc<Shared>,
    memory: ExternalMemory,
    kick: Arc<OwnedFd>,
    /// BAR 4: the client keeps the MSI-X table itself, so this is only memory.
    msix: Vec<u8>,
    mapped: u64,
    refused: u64,
}

impl Function {
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        let memory = ExternalMemory::new();
        Ok(Self {
            shared: Shared::new(Some(memory.device_view()), options),
            memory,
            kick: event_counter().map_err(io::Error::other)?,
            msix: vec![0; MSIX_BYTES as usize],
            mapped: 0,
            refused: 0,
        })
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(crate) fn kick(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.kick)
    }

    pub(crate) fn report(&self) -> Report {
        let device = self.shared.lock();
        Report {
            mapped: self.mapped,
            refused: self.refused,
            faults: device.core.faults.count,
            messages: device.core.interrupts.sent(),
            frames: 0,
        }
    }
}

/// The regions, by index; BARs that don't exist have no bytes.
pub(crate) fn regions() -> Vec<ServerRegion> {
    let region = |index| {
        let size = match index {
            VFIO_PCI_BAR0_REGION_INDEX => BAR_BYTES.into(),
            VFIO_PCI_BAR4_REGION_INDEX => MSIX_BYTES,
            VFIO_PCI_CONFIG_REGION_INDEX => CONFIG_BYTES as u64,
            _ => 0,
        };
        let flags = if size > 0 { VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE } else { 0 };
        ServerRegion {
            region_info: vfio_region_info {
                argsz: size_of::<vfio_region_info>() as u32,
                flags,
                index,
                cap_offset: 0,
                size,
                offset: 0,
            },
            sparse_areas: Vec::new(),
            mmap_fd: None,
        }
    };
    (0..VFIO_PCI_NUM_REGIONS).map(region).collect()
}

/// The kinds of interrupts, by index: MSI-X only.
pub(crate) fn interrupts() -> Vec<IrqInfo> {
    let kind = |index| match index {
        VFIO_PCI_MSIX_IRQ_INDEX => IrqInfo { index, flags: VFIO_IRQ_INFO_EVENTFD, count: VECTORS.into() },
        _ => IrqInfo { index, flags: 0, count: 0 },
    };
    (0..VFIO_PCI_NUM_IRQS).map(kind).collect()
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Configuration space is reached in any width; the model's in the three that exist.
fn config_width(offset: u64, left: usize) -> Width {
    match (offset % 4, left) {
        (0, 4..) => Width::Double,
        (0 | 2, 2..) => Width::Word,
        _ => Width::Byte,
    }
}

impl ServerBackend for Function {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match region {
            VFIO_PCI_BAR0_REGION_INDEX => {
                if !offset.is_multiple_of(4) || !data.len().is_multiple_of(4) {
                    // Narrower reads see a part of a register.
                    let word = self.shared.lock().core.read(offset as u32 & !3).to_le_bytes();
                    for (to, &from) in data.iter_mut().zip(word.iter().skip((offset & 3) as usize)) {
                        *to = from;
                    }
                    return Ok(());
                }
                for (index, word) in data.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    let place = (offset as u32).wrapping_add((index as u32).wrapping_mul(4));
                    *word = self.shared.lock().core.read(place).to_le_bytes();
                }
            }
            VFIO_PCI_BAR4_REGION_INDEX => {
                for (to, &from) in data.iter_mut().zip(self.msix.iter().skip(offset as usize)) {
                    *to = from;
                }
            }
            VFIO_PCI_CONFIG_REGION_INDEX => {
                let device = self.shared.lock();
                for (index, byte) in data.iter_mut().enumerate() {
                    let place = offset.wrapping_add(index as u64).min(CONFIG_BYTES as u64);
                    *byte = device.config.read(place as u16, Width::Byte) as u8;
                }
            }
            _ => return Err(invalid("no such region")),
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        match region {
            VFIO_PCI_BAR0_REGION_INDEX => {
                if offset.is_multiple_of(4) && offset < BAR_BYTES.into() {
                    for (index, word) in data.as_chunks::<4>().0.iter().enumerate() {
                        let place = (offset as u32).wrapping_add((index as u32).wrapping_mul(4));
                        self.shared.lock().core.write(place, u32::from_le_bytes(*word));
                    }
                    kick(&self.kick);
                }
            }
            VFIO_PCI_BAR4_REGION_INDEX => {
                for (to, &from) in self.msix.iter_mut().skip(offset as usize).zip(data) {
                    *to = from;
                }
            }
            VFIO_PCI_CONFIG_REGION_INDEX => {
                let mut device = self.shared.lock();
                let (mut place, mut rest) = (offset, data);
                while !rest.is_empty() && place < CONFIG_BYTES as u64 {
                    let width = config_width(place, rest.len());
                    let (now, later) = rest.split_at(usize::from(width.bytes()).min(rest.len()));
                    let mut value = [0; 4];
                    for (to, &from) in value.iter_mut().zip(now) {
                        *to = from;
                    }
                    device.config_write(place as u16, width, u32::from_le_bytes(value));
                    place = place.wrapping_add(width.bytes().into());
                    rest = later;
                }
                drop(device);
                kick(&self.kick);
            }
            _ => return Err(invalid("no such region")),
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        file: Option<File>,
    ) -> io::Result<()> {
        // Memory without a file (the guest's ROMs) is of no use to a device.
        let Some(file) = file else { return Ok(()) };
        let writable = flags.contains(DmaMapFlags::WRITE);
        match self.memory.map(Iova::new(address), size, file, offset, writable) {
            Ok(()) => {
                self.mapped = self.mapped.wrapping_add(1);
                Ok(())
            }
            Err(error) => {
                self.refused = self.refused.wrapping_add(1);
                Err(io::Error::other(error))
            }
        }
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        // Ranges that cover nothing are no mistake: QEMU unmaps whole spaces.
        self.memory.unmap(Iova::new(address), size);
        Ok(())
    }

    /// As the kernel resets a function for its user: configuration space comes back as it was.
    fn reset(&mut self) -> io::Result<()> {
        let mut device = self.shared.lock();
        device.core.reset();
        let bus_master = device.config.bus_master();
        device.core.set_bus_master(bus_master);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        files: Vec<File>,
    ) -> io::Result<()> {
        if index != VFIO_PCI_MSIX_IRQ_INDEX || flags & VFIO_IRQ_SET_ACTION_TRIGGER == 0 {
            return Ok(());
        }
        let mut device = self.shared.lock();
        let interrupts = &mut device.core.interrupts;
        if count == 0 {
            interrupts.disconnect();
        } else if flags & VFIO_IRQ_SET_DATA_EVENTFD != 0 {
            let count = (count as usize).min(VECTORS.into());
            let counters = files.into_iter().map(|file| Some(Arc::new(OwnedFd::from(file))));
            interrupts.connect(start as usize, counters.chain(std::iter::repeat(None)).take(count));
        }
        Ok(())
    }
}
