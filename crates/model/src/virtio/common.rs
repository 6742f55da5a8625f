//! The common configuration structure (virtio 1.2, section 4.1.4.3): status, features, queues.

use super::device::Device;
use super::features::Features;
use super::queue::Queue;
use super::slot::Completions;
use super::violation::Rule;
use crate::config_space::ones;
use ringway_pci::Width;

/// Section 4.1.4.3: the registers.
const DEVICE_FEATURE_SELECT: u64 = 0;
const DEVICE_FEATURE: u64 = 4;
const DRIVER_FEATURE_SELECT: u64 = 8;
const DRIVER_FEATURE: u64 = 12;
const CONFIG_MSIX_VECTOR: u64 = 16;
const NUM_QUEUES: u64 = 18;
const DEVICE_STATUS: u64 = 20;
const CONFIG_GENERATION: u64 = 21;
const QUEUE_SELECT: u64 = 22;
const QUEUE_SIZE: u64 = 24;
const QUEUE_MSIX_VECTOR: u64 = 26;
const QUEUE_ENABLE: u64 = 28;
const QUEUE_NOTIFY_OFF: u64 = 30;
const QUEUE_DESC: u64 = 32;
const QUEUE_DRIVER: u64 = 40;
const QUEUE_DEVICE: u64 = 48;
const QUEUE_NOTIFY_DATA: u64 = 56;
const QUEUE_RESET: u64 = 58;

/// Section 2.1: device status.
pub(crate) mod status {
    pub(crate) const ACKNOWLEDGE: u8 = 1;
    pub(crate) const DRIVER: u8 = 2;
    pub(crate) const DRIVER_OK: u8 = 4;
    pub(crate) const FEATURES_OK: u8 = 8;
    pub(crate) const NEEDS_RESET: u8 = 64;
    pub(crate) const FAILED: u8 = 128;
}

/// Section 4.1.5.1.2: "no vector".
pub(crate) const NO_VECTOR: u16 = 0xffff;

/// The registers about the whole device.
#[derive(Debug)]
pub(crate) struct Common {
    device_feature_select: u32,
    driver_feature_select: u32,
    driver_features: u64,
    pub(crate) config_vector: u16,
    pub(crate) status: u8,
    pub(crate) generation: u8,
    /// The configuration changed since the driver last read of it (section 4.1.4.3.1, the note on wrapping).
    pub(crate) changed: bool,
    queue_select: u16,
}

impl Common {
    pub(crate) fn new() -> Self {
        Self {
            device_feature_select: 0,
            driver_feature_select: 0,
            driver_features: 0,
            config_vector: NO_VECTOR,
            status: 0,
            generation: 0,
            changed: false,
            queue_select: 0,
        }
    }

    /// Section 2.4: everything but the generation, which only ever moves on.
    pub(crate) fn reset(&mut self) {
        *self = Self { generation: self.generation, changed: self.changed, ..Self::new() };
    }
}

/// Section 4.1.3.1: how wide a register is. `None`: no register starts there.
fn natural(offset: u64) -> Option<Width> {
    match offset {
        DEVICE_STATUS | CONFIG_GENERATION => Some(Width::Byte),
        DEVICE_FEATURE_SELECT | DEVICE_FEATURE | DRIVER_FEATURE_SELECT | DRIVER_FEATURE => {
            Some(Width::Double)
        }
        QUEUE_DESC..QUEUE_NOTIFY_DATA if offset.is_multiple_of(4) => Some(Width::Double),
        CONFIG_MSIX_VECTOR | NUM_QUEUES | QUEUE_SELECT..QUEUE_DESC | QUEUE_NOTIFY_DATA | QUEUE_RESET
            if offset.is_multiple_of(2) =>
        {
            Some(Width::Word)
        }
        _ => None,
    }
}

impl Device {
    pub(crate) fn common_read(&mut self, offset: u64, width: Width) -> u32 {
        self.serve_control();
        if natural(offset) != Some(width) {
            self.note(Rule::AccessWidth, || format!("{} bytes read at {offset}", width.bytes()));
            return ones(width);
        }
        match offset {
            DEVICE_FEATURE_SELECT => self.common.device_feature_select,
            DEVICE_FEATURE => word_of(self.offered().bits(), self.common.device_feature_select),
            DRIVER_FEATURE_SELECT => self.common.driver_feature_select,
            DRIVER_FEATURE => word_of(self.common.driver_features, self.common.driver_feature_select),
            CONFIG_MSIX_VECTOR => self.common.config_vector.into(),
            NUM_QUEUES => self.queues.len() as u32,
            DEVICE_STATUS => self.common.status.into(),
            CONFIG_GENERATION => self.common.generation.into(),
            QUEUE_SELECT => self.common.queue_select.into(),
            _ => self.queue_read(offset),
        }
    }

    fn queue_read(&mut self, offset: u64) -> u32 {
        let index = self.common.queue_select;
        if !self.is_available(index) {
            return 0; // section 4.1.4.3.1: a size of 0 says so
        }
        let Some(slot) = self.queues.get(usize::from(index)) else { return 0 };
        match offset {
            QUEUE_SIZE => slot.layout.size.into(),
            QUEUE_MSIX_VECTOR => slot.vector.into(),
            QUEUE_ENABLE => slot.queue.is_some().into(),
            QUEUE_NOTIFY_OFF | QUEUE_NOTIFY_DATA => index.into(),
            QUEUE_RESET => 0, // a reset is over when the write returns
            _ => slot.address(offset).map_or(0, |(value, shift)| (value >> shift) as u32),
        }
    }

    pub(crate) fn common_write(&mut self, offset: u64, width: Width, value: u32) {
        if natural(offset) != Some(width) {
            self.note(Rule::AccessWidth, || format!("{} bytes written at {offset}", width.bytes()));
            return;
        }
        match offset {
            DEVICE_FEATURE_SELECT => self.common.device_feature_select = value,
            DRIVER_FEATURE_SELECT => self.common.driver_feature_select = value,
            DRIVER_FEATURE => self.write_features(value),
            CONFIG_MSIX_VECTOR => self.common.config_vector = self.accept_vector(value as u16),
            DEVICE_STATUS => self.write_status(value as u8),
            QUEUE_SELECT => self.common.queue_select = value as u16,
            DEVICE_FEATURE | NUM_QUEUES | CONFIG_GENERATION | QUEUE_NOTIFY_OFF | QUEUE_NOTIFY_DATA => {
                self.note(Rule::ReadOnlyRegister, || format!("{value:#x} to offset {offset}"));
            }
            _ => self.queue_write(offset, value),
        }
    }

    fn write_features(&mut self, value: u32) {
        if self.common.status & status::FEATURES_OK != 0 {
            self.note(Rule::FeaturesAfterOk, || format!("{value:#x}"));
            return;
        }
        let shift = match self.common.driver_feature_select {
            0 => 0,
            1 => 32,
            select => {
                if value != 0 {
                    self.note(Rule::FeatureNotOffered, || format!("{value:#x} from bit 32 × {select}"));
                }
                return;
            }
        };
        let others = self.common.driver_features & !(u64::from(u32::MAX) << shift);
        self.common.driver_features = others | u64::from(value) << shift;
    }

    /// Section 2.1: the driver's progress. 0 resets the device.
    fn write_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
            return;
        }
        let old = self.common.status;
        let cleared = old & !value & !status::NEEDS_RESET;
        if cleared != 0 {
            self.note(Rule::StatusBitCleared, || format!("{value:#x} after {old:#x}"));
        }
        let new = value & !old & !status::NEEDS_RESET;
        for (bit, before) in [
            (status::DRIVER, status::ACKNOWLEDGE),
            (status::FEATURES_OK, status::DRIVER),
            (status::DRIVER_OK, status::DRIVER),
        ] {
            if new & bit != 0 && (old | value) & before == 0 {
                self.note(Rule::StatusOrder, || format!("{value:#x} after {old:#x}"));
            }
        }
        self.common.status |= new & (status::ACKNOWLEDGE | status::DRIVER | status::FAILED);
        if new & status::FEATURES_OK != 0 && self.accepts_features() {
            self.common.status |= status::FEATURES_OK;
            self.agree(Features::new(self.common.driver_features));
        }
        if new & status::DRIVER_OK != 0 {
            if self.common.status & status::FEATURES_OK == 0 {
                self.violate(Rule::DriverOkTooEarly, None, format!("{value:#x} after {old:#x}"));
                return;
            }
            if self.queues.iter().any(|slot| slot.is_rung()) {
                self.note(Rule::NotifiedTooEarly, || "a doorbell was rung before".to_owned());
            }
            self.common.status |= status::DRIVER_OK;
        }
    }

    /// Section 2.2.2: whether what the driver wrote is a set that the device works with.
    fn accepts_features(&mut self) -> bool {
        let (accepted, offered) = (Features::new(self.common.driver_features), self.offered());
        let foreign = accepted.without(offered.bits());
        let broken = if foreign != Features::NONE {
            (Rule::FeatureNotOffered, foreign)
        } else if accepted.consistent() != accepted {
            (Rule::FeatureRequirement, accepted.without(accepted.consistent().bits()))
        } else if !accepted.has(Features::VERSION_1) {
            (Rule::VersionNotAccepted, accepted)
        } else if offered.has(Features::ACCESS_PLATFORM) && !accepted.has(Features::ACCESS_PLATFORM) {
            (Rule::PlatformNotAccepted, accepted)
        } else {
            return !self.faults.as_ref().is_some_and(|plan| plan.refuse_features);
        };
        self.note(broken.0, || broken.1.to_string());
        false
    }

    /// Section 4.1.5.1.2.1: what a vector register reads back as.
    fn accept_vector(&mut self, vector: u16) -> u16 {
        if vector == NO_VECTOR || self.faults.as_ref().is_some_and(|plan| plan.refuse_vectors) {
            return NO_VECTOR;
        }
        if vector >= self.interrupts.vectors() {
            self.note(Rule::VectorOutOfRange, || format!("vector {vector}"));
            return NO_VECTOR;
        }
        vector
    }

    fn queue_write(&mut self, offset: u64, value: u32) {
        let index = self.common.queue_select;
        if !self.is_available(index) {
            self.note(Rule::QueueUnavailable, || format!("queue {index}, offset {offset}"));
            return;
        }
        let vector = (offset == QUEUE_MSIX_VECTOR).then(|| self.accept_vector(value as u16));
        let maximum = self.queue_size;
        let reset = self.negotiated.has(Features::RING_RESET);
        let Some(slot) = self.queues.get_mut(usize::from(index)) else { return };
        let live = slot.queue.is_some();
        let broken = match offset {
            QUEUE_MSIX_VECTOR => {
                slot.vector = vector.unwrap_or(NO_VECTOR);
                return;
            }
            QUEUE_RESET if value != 1 => return,
            QUEUE_RESET if !reset => Rule::QueueResetNotNegotiated,
            QUEUE_RESET => return self.reset_queue(index),
            QUEUE_ENABLE if value == 0 => Rule::QueueEnableZero,
            _ if live => Rule::QueueLive,
            QUEUE_ENABLE => return self.enable_queue(index),
            QUEUE_SIZE if !(value.is_power_of_two() && value <= maximum.into()) => Rule::QueueSize,
            QUEUE_SIZE => {
                slot.layout.size = value as u16;
                return;
            }
            _ => {
                if let Some((address, shift)) = slot.address_mut(offset) {
                    *address = *address & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
                }
                return;
            }
        };
        self.note_queue(broken, index, || format!("{value:#x} to offset {offset}"));
    }

    /// Section 4.1.4.3, queue_enable.
    fn enable_queue(&mut self, index: u16) {
        if self.common.status & status::FEATURES_OK == 0 {
            self.note_queue(Rule::QueueLive, index, || "enabled before FEATURES_OK".to_owned());
            return;
        }
        let (features, order) = (self.negotiated, self.order);
        let transmits = index % 2 == 1 || Some(index) == self.control_index();
        let Some(slot) = self.queues.get_mut(usize::from(index)) else { return };
        match slot.layout.check() {
            Ok(()) => slot.start(features, order, transmits),
            Err(broken) => self.violate(broken.0, Some(index), broken.1),
        }
    }

    /// Section 2.6.1: one queue back to its default state.
    fn reset_queue(&mut self, index: u16) {
        let size = self.queue_size;
        if let Some(slot) = self.queues.get_mut(usize::from(index)) {
            slot.reset(size);
        }
    }
}

impl super::slot::Slot {
    /// The address register at `offset`: its value, and by how much to shift.
    fn address(&self, offset: u64) -> Option<(u64, u32)> {
        let layout = &self.layout;
        [(QUEUE_DESC, layout.descriptors), (QUEUE_DRIVER, layout.available), (QUEUE_DEVICE, layout.used)]
            .into_iter()
            .find_map(|(start, value)| shift(start, offset).map(|shift| (value, shift)))
    }

    fn address_mut(&mut self, offset: u64) -> Option<(&mut u64, u32)> {
        let layout = &mut self.layout;
        [
            (QUEUE_DESC, &mut layout.descriptors),
            (QUEUE_DRIVER, &mut layout.available),
            (QUEUE_DEVICE, &mut layout.used),
        ]
        .into_iter()
        .find_map(|(start, value)| shift(start, offset).map(|shift| (value, shift)))
    }

    fn start(&mut self, features: Features, order: super::Order, transmits: bool) {
        // A receive queue chooses among buffers; a transmit queue keeps the frames' order and shuffles completions.
        let taking = if transmits { super::Order::AsGiven } else { order };
        let completing =
            if transmits && !features.has(Features::IN_ORDER) { order } else { super::Order::AsGiven };
        self.queue = Some(Queue::new(self.layout, features, taking));
        self.completions = Completions::new(completing);
    }
}

fn shift(start: u64, offset: u64) -> Option<u32> {
    match offset.checked_sub(start) {
        Some(0) => Some(0),
        Some(4) => Some(32),
        _ => None,
    }
}

/// 32 feature bits from bit 32 × `select`; none beyond bit 63.
fn word_of(bits: u64, select: u32) -> u32 {
    match select {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}
