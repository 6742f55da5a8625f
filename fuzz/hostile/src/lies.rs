//! A back end between driver and model that says something else than is so: registers, configuration space with its list
//! of capabilities, BAR sizes, the number of vectors, the outcome of a reset. It notes where the driver put its rings, and
//! has the interrupts' counters, so that the device can raise them whenever it likes.

use crate::script::Script;
use ringway_dma::AddressSpace;
use ringway_pci::{Backend, Doorbell, Error, Identity, Registers, Width};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Configuration space before this is the kernel's with VFIO, but for the pointer to the capabilities.
const HEADER: u16 = 0x40;
const CAPABILITIES_POINTER: u16 = 0x34;

/// Which device it is: where its driver says what rings there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An 82599: a pair of registers for each queue (datasheet, sections 8.2.3.8.1 and 8.2.3.9.5).
    Ixgbe,
    /// Virtio over PCI: three pairs, of the queue that is selected (virtio 1.2, section 4.1.4.3).
    Virtio,
}

impl Kind {
    /// Whether a register holds the lower half of a ring's address.
    fn is_base(self, offset: u64) -> bool {
        match self {
            Self::Ixgbe => {
                matches!(offset, 0x1000..0x2000 | 0x6000..0x8000 | 0xd000..0xe000) && offset & 0x3f == 0
            }
            Self::Virtio => matches!(offset, 32 | 40 | 48),
        }
    }
}

/// The register that selects a virtio queue.
const QUEUE_SELECT: u64 = 22;

/// What a value is replaced by, and how often.
#[derive(Clone, Copy, Debug)]
struct Lie {
    /// So many true answers come first.
    after: u16,
    kind: u8,
    payload: u16,
}

/// What is said from then on of one place.
#[derive(Clone, Copy, Debug)]
struct Stuck {
    value: u32,
    reads: u32,
}

#[derive(Debug, Default)]
struct State {
    honest: bool,
    lies: Vec<Lie>,
    true_since: u16,
    stuck: BTreeMap<(bool, u64), Stuck>,
    told: u64,
    /// All ones, or a reset that fails: what a device that is not quiet leaves behind is never used again.
    may_lose: bool,
    counters: Vec<Arc<OwnedFd>>,
    selected: u16,
    areas: BTreeMap<(u16, u64), u64>,
    length: Option<u64>,
    vectors: Option<u16>,
    reset: u8,
    bar: Option<Arc<dyn Registers>>,
}

/// The lies of one device, seen from both of its sides.
#[derive(Clone, Debug, Default)]
pub struct Lies(Arc<Mutex<State>>);

impl Lies {
    /// Reads from the script what will be lied about.
    pub fn from_script(script: &mut Script<'_>) -> Self {
        let count = match script.byte() % 4 {
            0 => 0,
            1 => 1 + script.below(3),
            2 => script.below(16),
            _ => script.below(64),
        };
        let mut lies: Vec<Lie> = (0..count)
            .map(|_| {
                let after = script.half();
                // Most lies come early, where the device is found out about; a start of an 82599 reads thousands.
                let after = if after & 1 == 0 { (after >> 1) % 128 } else { (after >> 1) % 4096 };
                Lie { after, kind: script.byte(), payload: script.half() }
            })
            .collect();
        lies.reverse();
        let odd = script.byte();
        let length = (odd % 16 == 1).then(|| match script.byte() % 4 {
            0 => 0,
            1 => u64::from(script.half()),
            2 => u64::from(script.word()),
            _ => u64::MAX,
        });
        let vectors = (odd % 16 == 2).then(|| [0, 1, 2, u16::MAX][script.below(4)]);
        let reset = if odd % 16 == 3 { script.byte() % 3 } else { 0 };
        let told = u64::from(length.is_some()) + u64::from(vectors.is_some()) + u64::from(reset != 0);
        let may_lose = reset == 2;
        let state = State { lies, length, vectors, reset, told, may_lose, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No lies from now on.
    pub fn end(&self) {
        self.state().honest = true;
    }

    /// How many lies were told.
    pub fn told(&self) -> u64 {
        self.state().told
    }

    /// Whether the device may have looked as if it was gone or not quiet.
    pub fn may_lose(&self) -> bool {
        self.state().may_lose
    }

    /// Where the driver put its rings: by the selected queue and the register.
    pub fn areas(&self) -> Vec<((u16, u64), u64)> {
        self.state().areas.iter().map(|(&place, &base)| (place, base)).collect()
    }

    /// Raises an interrupt.
    pub fn interrupt(&self, which: usize) {
        let counters = &self.state().counters;
        if let Some(counter) = which.checked_rem(counters.len()).and_then(|index| counters.get(index)) {
            Doorbell::Eventfd(Arc::clone(counter)).ring(0);
        }
    }

    /// Writes a register behind the driver's back.
    pub fn spoil(&self, offset: u64, width: Width, value: u32) {
        let bar = self.state().bar.clone();
        if let Some(bar) = bar {
            match width {
                Width::Byte => bar.write8(offset, value as u8),
                Width::Word => bar.write16(offset & !1, value as u16),
                Width::Double => bar.write32(offset & !3, value),
            }
        }
    }

    /// What is said to be at a place where `value` is.
    fn say(&self, is_register: bool, offset: u64, value: u32, width: Width) -> u32 {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.honest {
            return value;
        }
        let ones = u32::MAX >> (32 - 8 * u32::from(width.bytes()));
        if let Some(stuck) = state.stuck.get_mut(&(is_register, offset)) {
            if stuck.reads > 0 {
                stuck.reads -= 1;
                return stuck.value & ones;
            }
            state.stuck.remove(&(is_register, offset));
        }
        let Some(lie) = state.lies.last().copied() else { return value };
        if state.true_since < lie.after {
            state.true_since += 1;
            return value;
        }
        state.lies.pop();
        state.true_since = 0;
        state.told += 1;
        let payload = u32::from(lie.payload);
        let said = match lie.kind & 7 {
            0 => 0,
            1 => value ^ 1 << (payload % (8 * u32::from(width.bytes()))),
            2 => payload,
            3 => value.wrapping_add(payload & 0xff),
            4 => payload | payload << 16,
            5 => u32::MAX,
            6 => value ^ payload.rotate_left(payload & 31),
            _ => !value,
        } & ones;
        // A place where something stays: for a few reads, and now and then for ever.
        let reads = match lie.kind >> 3 {
            0..24 => 0,
            24..31 => 1 + (payload & 31),
            _ => u32::MAX,
        };
        if reads > 0 {
            state.stuck.insert((is_register, offset), Stuck { value: said, reads });
        }
        // The capabilities, which say where "pending" stands, and the function's own answer decide over its end.
        state.may_lose |= said == ones || !is_register || offset == 0x08;
        said
    }
}

/// The function, as the driver sees it.
#[derive(Debug)]
pub struct Liar {
    inner: Arc<dyn Backend>,
    lies: Lies,
    kind: Kind,
}

impl Liar {
    /// Around a model.
    pub fn around(inner: &Arc<dyn Backend>, lies: &Lies, kind: Kind) -> Box<dyn Backend> {
        Box::new(Self { inner: Arc::clone(inner), lies: lies.clone(), kind })
    }
}

impl Backend for Liar {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }
    fn address_space(&self) -> &AddressSpace {
        self.inner.address_space()
    }
    fn is_emulated(&self) -> bool {
        true
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        let value = self.inner.config_read(offset, width)?;
        let is_devices = offset >= HEADER || offset == CAPABILITIES_POINTER;
        Ok(if is_devices { self.lies.say(false, offset.into(), value, width) } else { value })
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        self.inner.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, Error> {
        let inner = self.inner.bar(index)?;
        let mut state = self.lies.state();
        state.bar = Some(Arc::clone(&inner));
        let length = state.length.filter(|_| !state.honest).unwrap_or(inner.length());
        Ok(Arc::new(LiarBar { inner, length, lies: self.lies.clone(), kind: self.kind }))
    }
    fn msix_vectors(&self) -> u16 {
        let state = self.lies.state();
        state.vectors.filter(|_| !state.honest).unwrap_or(self.inner.msix_vectors())
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), Error> {
        self.lies.state().counters = vectors.to_vec();
        self.inner.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, Error> {
        let kind = {
            let state = self.lies.state();
            if state.honest { 0 } else { state.reset }
        };
        match kind {
            0 => self.inner.reset(),
            1 => Ok(false),
            _ => Err(Error::NotQuiet { device: self.identity().name.clone() }),
        }
    }
}

/// The function goes back to what it is made of.
#[derive(Debug)]
pub struct Honest(pub Arc<dyn Backend>);

impl Backend for Honest {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }
    fn address_space(&self) -> &AddressSpace {
        self.0.address_space()
    }
    fn is_emulated(&self) -> bool {
        self.0.is_emulated()
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        self.0.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        self.0.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, Error> {
        self.0.bar(index)
    }
    fn msix_vectors(&self) -> u16 {
        self.0.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), Error> {
        self.0.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, Error> {
        self.0.reset()
    }
}

/// Its registers.
#[derive(Debug)]
struct LiarBar {
    inner: Arc<dyn Registers>,
    length: u64,
    lies: Lies,
    kind: Kind,
}

impl LiarBar {
    fn note(&self, offset: u64, value: u32) {
        let mut state = self.lies.state();
        let queue = state.selected;
        if self.kind.is_base(offset) {
            let base = state.areas.entry((queue, offset)).or_default();
            *base = *base >> 32 << 32 | u64::from(value);
        } else if let Some(low) = offset.checked_sub(4).filter(|&low| self.kind.is_base(low)) {
            let base = state.areas.entry((queue, low)).or_default();
            *base = u64::from(*base as u32) | u64::from(value) << 32;
        }
    }
}

impl Registers for LiarBar {
    fn length(&self) -> u64 {
        self.length
    }
    fn read8(&self, offset: u64) -> u8 {
        self.lies.say(true, offset, self.inner.read8(offset).into(), Width::Byte) as u8
    }
    fn read16(&self, offset: u64) -> u16 {
        self.lies.say(true, offset, self.inner.read16(offset).into(), Width::Word) as u16
    }
    fn read32(&self, offset: u64) -> u32 {
        self.lies.say(true, offset, self.inner.read32(offset), Width::Double)
    }
    fn write8(&self, offset: u64, value: u8) {
        self.inner.write8(offset, value);
    }
    fn write16(&self, offset: u64, value: u16) {
        if self.kind == Kind::Virtio && offset == QUEUE_SELECT {
            self.lies.state().selected = value;
        }
        self.inner.write16(offset, value);
    }
    fn write32(&self, offset: u64, value: u32) {
        self.note(offset, value);
        self.inner.write32(offset, value);
    }
    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell> {
        self.inner.doorbell(offset, width)
    }
}
