//! A PCI function in the hands of a driver.
//!
//! [`Function`] stands on a [`Backend`] and adds what every driver needs and must not get wrong: walks over
//! capability lists that a device may have tied into a loop, and the end. When a function is dropped, interrupts
//! are disconnected, bus mastering goes off, pending accesses are waited for, the function is reset, and only then
//! does what was kept go back (rule 2).

use crate::{Backend, Bar, Error, Identity, Width};
use ringway_dma::{AddressSpace, Attachment, Keeper, Park, Quiesced};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// PCI Local Bus 3.0, section 6.2.2: the command register and its bits.
const COMMAND: u16 = 0x04;
const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_BUS_MASTER: u32 = 1 << 2;
const COMMAND_INTX_DISABLE: u32 = 1 << 10;
/// All that is read as ones where nothing answers: the bits that a kernel may keep a copy of left out. The upper five are
/// reserved, so no device that answers has them all set.
const COMMAND_OF_NOTHING: u32 = 0xffff & !(COMMAND_MEMORY | COMMAND_INTX_DISABLE);
/// Section 6.2.3: the status register; bit 4 says that there is a capability list.
const STATUS: u16 = 0x06;
const STATUS_CAPABILITIES: u32 = 1 << 4;
/// Section 6.7: the first capability.
const CAPABILITIES_POINTER: u16 = 0x34;
/// No list is longer: 192 bytes of space, 4 bytes each at least.
const MAXIMUM_CAPABILITIES: usize = 48;
/// PCI Express Base 5.0, section 7.5.3: the capability's id, and device status with "transactions pending".
const CAPABILITY_PCI_EXPRESS: u8 = 0x10;
const DEVICE_STATUS: u16 = 0x0a;
const DEVICE_STATUS_PENDING: u32 = 1 << 5;
/// How long pending transactions may take. Completion time-outs end below 64 ms on every device; this is generous.
const PENDING_LIMIT: Duration = Duration::from_millis(500);

/// One entry of the capability list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Which capability.
    pub id: u8,
    /// Where it starts in configuration space.
    pub offset: u16,
}

/// The capability list of a function, in its order.
pub(crate) fn capability_list(backend: &dyn Backend) -> Result<Vec<Capability>, Error> {
    let mut found = Vec::new();
    if backend.config_read(STATUS, Width::Word)? & STATUS_CAPABILITIES == 0 {
        return Ok(found);
    }
    // The two low bits are reserved and must be masked (section 6.7).
    let mut offset = backend.config_read(CAPABILITIES_POINTER, Width::Byte)? as u16 & 0xfc;
    while offset >= 0x40 {
        if found.len() >= MAXIMUM_CAPABILITIES {
            return Err(Error::CapabilityLoop { device: backend.identity().name.clone() });
        }
        let id = backend.config_read(offset, Width::Byte)? as u8;
        found.push(Capability { id, offset });
        offset = backend.config_read(offset.saturating_add(1), Width::Byte)? as u16 & 0xfc;
    }
    Ok(found)
}

/// An open function.
#[derive(Debug)]
pub struct Function {
    backend: Box<dyn Backend>,
    attachment: Attachment,
    parked: Mutex<Vec<Box<dyn Park>>>,
}

impl Function {
    /// Takes a function over from its back end: memory decoding on, bus mastering and interrupt pins off.
    ///
    /// # Errors
    /// When configuration space can't be reached.
    pub fn new(backend: Box<dyn Backend>) -> Result<Self, Error> {
        let attachment = Attachment::new(backend.address_space().clone());
        let function = Self { backend, attachment, parked: Mutex::default() };
        let command = function.config_read(COMMAND, Width::Word)?;
        let command = (command | COMMAND_MEMORY | COMMAND_INTX_DISABLE) & !COMMAND_BUS_MASTER;
        function.config_write(COMMAND, Width::Word, command)?;
        Ok(function)
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        self.backend.identity()
    }

    /// Its name, as messages carry it.
    pub fn name(&self) -> &str {
        &self.backend.identity().name
    }

    /// This open device and its address space: what rings and their buffers are made for.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// The memory that it reaches.
    pub fn address_space(&self) -> &AddressSpace {
        self.backend.address_space()
    }

    /// Whether software stands in for it.
    pub fn is_emulated(&self) -> bool {
        self.backend.is_emulated()
    }

    /// Reads configuration space.
    ///
    /// # Errors
    /// When the access is refused.
    pub fn config_read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        self.backend.config_read(offset, width)
    }

    /// Writes configuration space.
    ///
    /// # Errors
    /// When the access is refused.
    pub fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        self.backend.config_write(offset, width, value)
    }

    /// The capability list, in its order.
    ///
    /// # Errors
    /// When configuration space can't be read, or the list does not end.
    pub fn capabilities(&self) -> Result<Vec<Capability>, Error> {
        capability_list(&*self.backend)
    }

    /// `length` bytes of the registers behind BAR `index`, from `offset`.
    ///
    /// # Errors
    /// When there is no such BAR, it can't be mapped, or it is shorter.
    pub fn bar(&self, index: u8, offset: u64, length: u64) -> Result<Bar, Error> {
        Bar::window(self.name(), self.backend.bar(index)?, offset, length)
    }

    /// How many MSI-X vectors there are.
    pub fn msix_vectors(&self) -> u16 {
        self.backend.msix_vectors()
    }

    /// Connects vector n to the n-th counter, all in one call.
    ///
    /// # Errors
    /// When there are too few vectors, or the kernel refuses.
    pub fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), Error> {
        let available = self.msix_vectors();
        if vectors.len() > usize::from(available) {
            return Err(Error::TooFewVectors {
                device: self.name().to_owned(),
                wanted: vectors.len(),
                available,
            });
        }
        self.backend.set_msix(vectors)
    }

    /// Lets the device reach memory, or stops it from doing so.
    ///
    /// # Errors
    /// When configuration space can't be reached.
    pub fn set_bus_master(&self, on: bool) -> Result<(), Error> {
        let command = self.config_read(COMMAND, Width::Word)?;
        let command = if on { command | COMMAND_BUS_MASTER } else { command & !COMMAND_BUS_MASTER };
        self.config_write(COMMAND, Width::Word, command)
    }

    /// Resets the function; what its registers held is gone. `Ok(false)`: it can't be reset by itself.
    ///
    /// # Errors
    /// When it doesn't come back.
    pub fn reset(&self) -> Result<bool, Error> {
        self.backend.reset()
    }

    /// Whether the function is wanted back: it is being unplugged, or unbound. Whoever wants it waits until it is closed.
    pub fn removal_requested(&self) -> bool {
        self.backend.removal_requested()
    }

    /// Stops the device: interrupts off, bus mastering off, pending accesses over, function reset.
    fn quiesce(&self) -> Result<Quiesced, Error> {
        // An interrupt that can't be disconnected does no harm to memory, so the stop goes on.
        let _ = self.backend.set_msix(&[]);
        let off = self.set_bus_master(false);
        // Where nothing answers there is nothing to reset, and a kernel waits a minute for it to come back. The command
        // register is asked, since a kernel may keep the ids itself and answer for a function that is gone (vfio-pci does).
        if self.config_read(COMMAND, Width::Word)? & COMMAND_OF_NOTHING == COMMAND_OF_NOTHING {
            return Err(Error::Gone { device: self.name().to_owned() });
        }
        let pending = off.and_then(|()| self.wait_for_pending());
        // The reset is tried in any case: a device that doesn't become quiet needs it most.
        let reset = self.reset();
        pending?;
        reset?;
        // SAFETY: bus mastering is off and read back as off, nothing is pending, and the function was reset where it
        // can be (one without a reset of its own, or one that the kernel is taking back, stays without bus mastering
        // until it is opened again).
        Ok(unsafe { Quiesced::new(self.attachment.id()) })
    }

    fn wait_for_pending(&self) -> Result<(), Error> {
        let unquiet = || Error::NotQuiet { device: self.name().to_owned() };
        if self.config_read(COMMAND, Width::Word)? & COMMAND_BUS_MASTER != 0 {
            return Err(unquiet());
        }
        let capabilities = self.capabilities()?;
        let Some(express) = capabilities.iter().find(|capability| capability.id == CAPABILITY_PCI_EXPRESS)
        else {
            return Ok(());
        };
        let deadline = Instant::now() + PENDING_LIMIT;
        let status = express.offset.saturating_add(DEVICE_STATUS);
        while self.config_read(status, Width::Word)? & DEVICE_STATUS_PENDING != 0 {
            if Instant::now() > deadline {
                return Err(unquiet());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Keeper for Function {
    fn keep(&self, what: Box<dyn Park>) {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let parked = std::mem::take(self.parked.get_mut().unwrap_or_else(PoisonError::into_inner));
        match self.quiesce() {
            Ok(stopped) => parked.into_iter().for_each(|what| what.release(&stopped)),
            // Not stopped, or gone. Rings and pools unmap their memory before they free it, so dropping is safe;
            // the buffers that the device may still have are never used again.
            Err(_) => drop(parked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registers;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// What a function did as it was dropped, and what it answers meanwhile.
    #[derive(Debug, Default)]
    struct Story {
        command: AtomicU32,
        /// Bits of the command register that read as ones, whatever was written.
        stuck: AtomicU32,
        resets: AtomicU32,
        released: AtomicU32,
        gone: AtomicU32,
    }

    /// A function that can't be reset, since the kernel wants it back.
    #[derive(Debug)]
    struct Wanted(Identity, AddressSpace, Arc<Story>);

    impl Backend for Wanted {
        fn identity(&self) -> &Identity {
            &self.0
        }

        fn address_space(&self) -> &AddressSpace {
            &self.1
        }

        fn is_emulated(&self) -> bool {
            true
        }

        fn config_read(&self, offset: u16, _width: Width) -> Result<u32, Error> {
            Ok(match offset {
                // The kernel's copy, as vfio-pci answers.
                0 => 0x8086,
                COMMAND => self.2.command.load(Ordering::Relaxed) | self.2.stuck.load(Ordering::Relaxed),
                _ => 0,
            })
        }

        fn config_write(&self, offset: u16, _width: Width, value: u32) -> Result<(), Error> {
            if offset == COMMAND {
                self.2.command.store(value, Ordering::Relaxed);
            }
            Ok(())
        }

        fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, Error> {
            Err(Error::NoBar { device: self.0.name.clone(), index })
        }

        fn msix_vectors(&self) -> u16 {
            0
        }

        fn set_msix(&self, _vectors: &[Arc<OwnedFd>]) -> Result<(), Error> {
            Ok(())
        }

        fn removal_requested(&self) -> bool {
            true
        }

        fn reset(&self) -> Result<bool, Error> {
            self.2.resets.fetch_add(1, Ordering::Relaxed);
            Ok(false)
        }
    }

    /// Stands for rings and buffers: notes that they were given back, or dropped without.
    #[derive(Debug)]
    struct Buffers(Arc<Story>, ringway_dma::DeviceId);

    impl Park for Buffers {
        fn release(self: Box<Self>, stopped: &Quiesced) {
            assert_eq!(stopped.device(), self.1);
            self.0.released.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Drop for Buffers {
        fn drop(&mut self) {
            self.0.gone.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens a function, lets it work, and drops it while these bits of its command register are stuck.
    fn dropped(stuck: u32) -> Arc<Story> {
        let story = Arc::new(Story::default());
        let identity = Identity {
            name: "0000:03:00.0".to_owned(),
            vendor: 0x8086,
            device: 0x10fb,
            subsystem_vendor: 0,
            subsystem: 0,
            revision: 1,
            class: 0x02_0000,
            numa_node: None,
        };
        let backend = Wanted(identity, AddressSpace::emulated(), Arc::clone(&story));
        let function = Function::new(Box::new(backend)).unwrap();
        function.keep(Box::new(Buffers(Arc::clone(&story), function.attachment().id())));
        function.set_bus_master(true).unwrap();
        assert_ne!(story.command.load(Ordering::Relaxed) & COMMAND_BUS_MASTER, 0);
        story.stuck.store(stuck, Ordering::Relaxed);
        drop(function);
        assert_eq!(story.gone.load(Ordering::Relaxed), 1, "nothing is kept for ever");
        story
    }

    fn resets_and_releases(story: &Story) -> (u32, u32) {
        (story.resets.load(Ordering::Relaxed), story.released.load(Ordering::Relaxed))
    }

    #[test]
    fn a_function_that_the_kernel_wants_back_stops_without_a_reset_and_its_buffers_come_back() {
        let story = dropped(0);
        assert_eq!(story.command.load(Ordering::Relaxed) & COMMAND_BUS_MASTER, 0);
        assert_eq!(resets_and_releases(&story), (1, 1));
    }

    #[test]
    fn where_bus_mastering_reads_as_still_on_nothing_is_given_back_though_no_reset_fails() {
        assert_eq!(resets_and_releases(&dropped(COMMAND_BUS_MASTER)), (1, 0));
    }

    #[test]
    fn a_function_that_is_gone_is_not_reset_though_its_vendor_is_still_told() {
        assert_eq!(resets_and_releases(&dropped(0xffff)), (0, 0));
        assert_eq!(
            resets_and_releases(&dropped(COMMAND_OF_NOTHING)),
            (0, 0),
            "copied bits may read as zeros"
        );
    }
}
