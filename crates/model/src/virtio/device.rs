//! The device: what its registers, its queues and its wire have in common. Everything here runs under one lock,
//! taken by a step and by each register access, so a reset is over when the write that asked for it returns.

use super::chain::Chain;
use super::common::{Common, NO_VECTOR, status};
use super::faults::Plan;
use super::features::Features;
use super::filter::Filter;
use super::frames::Frames;
use super::header;
use super::pci;
use super::rss::Scaling;
use super::slot::Slot;
use super::steering::Steering;
use super::violation::{Breach, Rule, Violation, Violations};
use super::{Options, Order, Statistics};
use crate::config_space::ConfigSpace;
use crate::interrupts::Interrupts;
use ringway_dma::{AddressSpace, DeviceView};
use ringway_pci::Identity;
use std::collections::VecDeque;

/// Section 4.1.4.5: the bits of ISR status.
const ISR_QUEUE: u8 = 1;
const ISR_CONFIGURATION: u8 = 2;

/// The device behind its lock.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) memory: Option<DeviceView>,
    pub(crate) config: ConfigSpace,
    /// Where the access capability lies.
    pub(crate) window: u16,
    pub(crate) interrupts: Interrupts,
    pub(crate) common: Common,
    isr: u8,
    offered: Features,
    pub(crate) negotiated: Features,
    pub(crate) queues: Vec<Slot>,
    pub(crate) queue_pairs: u16,
    pub(crate) queue_size: u16,
    pub(crate) order: Order,
    pub(crate) port: Port,
    pub(crate) filter: Filter,
    pub(crate) steering: Steering,
    pub(crate) scaling: Scaling,
    /// Frames that a cut packet became, and that the wire has no room for yet.
    pub(crate) backlog: VecDeque<Vec<u8>>,
    pub(crate) incoming: Frames,
    pub(crate) injected: Frames,
    pub(crate) outgoing: Frames,
    pub(crate) chain: Chain,
    pub(crate) more: Chain,
    pub(crate) command: Vec<u8>,
    /// How each queue's round ended.
    pub(crate) outcomes: Vec<(u16, Result<Option<bool>, Breach>)>,
    pub(crate) statistics: Statistics,
    pub(crate) violations: Violations,
    pub(crate) faults: Option<Box<Plan>>,
    /// Pulled out: nothing answers, nothing is accessed.
    pub(crate) gone: bool,
    /// Notifications without bus mastering were noted already.
    without_bus_master: bool,
}

/// What a network device is, beside its queues (section 5.1.4).
#[derive(Debug)]
pub(crate) struct Port {
    /// The address that it was built with; the filter has the one it uses.
    pub(crate) permanent_mac: [u8; 6],
    pub(crate) link_up: bool,
    pub(crate) announce: bool,
    pub(crate) mtu: u16,
    pub(crate) speed: u32,
    /// Queue pairs in use (section 5.1.6.5.6).
    pub(crate) active_pairs: u16,
}

impl Device {
    pub(crate) fn new(space: &AddressSpace, options: &Options, identity: &Identity) -> Self {
        let offered = options.offered();
        let queue_pairs = options.queue_pairs;
        let queues = queue_pairs.wrapping_mul(2).wrapping_add(offered.has(Features::CTRL_VQ).into());
        let (config, window) = pci::config_space(identity, options.vectors(), queues);
        Self {
            memory: space.device_view(),
            config,
            window,
            interrupts: Interrupts::new(options.vectors()),
            common: Common::new(),
            isr: 0,
            offered,
            negotiated: Features::NONE,
            queues: (0..queues).map(|index| Slot::new(index, options.queue_size, options.polls)).collect(),
            queue_pairs,
            queue_size: options.queue_size,
            order: options.order,
            port: Port {
                permanent_mac: options.mac,
                link_up: true,
                announce: false,
                mtu: options.mtu,
                speed: options.speed,
                active_pairs: 1,
            },
            filter: Filter::new(options.mac),
            steering: Steering::new(),
            scaling: Scaling::default(),
            backlog: VecDeque::new(),
            incoming: Frames::new(),
            injected: Frames::new(),
            outgoing: Frames::new(),
            chain: Chain::default(),
            more: Chain::default(),
            command: Vec::new(),
            outcomes: Vec::new(),
            statistics: Statistics::default(),
            violations: Violations::default(),
            faults: None,
            gone: false,
            without_bus_master: false,
        }
    }

    pub(crate) fn offered(&self) -> Features {
        self.offered
    }

    /// Section 2.4: reset by a driver. Configuration space, interrupts' connections and the link stay.
    pub(crate) fn reset(&mut self) {
        self.common.reset();
        self.set_isr(0);
        self.negotiated = Features::NONE;
        for slot in &mut self.queues {
            slot.reset(self.queue_size);
        }
        self.port.announce = false;
        self.port.active_pairs = 1;
        self.filter = Filter::new(self.port.permanent_mac);
        self.steering.clear();
        self.scaling = Scaling::default();
        self.backlog.clear();
        self.statistics.missed = self.statistics.missed.wrapping_add(self.incoming.left() as u64);
        self.incoming.clear();
        self.without_bus_master = false;
    }

    /// PCI Express Base 5.0, section 6.6.2: reset of the function.
    pub(crate) fn function_reset(&mut self) {
        self.reset();
        self.config.reset();
        self.interrupts.reset();
    }

    /// Whether it may look at queues (section 2.1.2): the driver is ready, nothing is wrong, and it is a bus master.
    pub(crate) fn is_running(&mut self) -> bool {
        let ready = self.common.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK;
        if !ready || self.gone {
            return false;
        }
        if !self.bus_master() {
            if !self.without_bus_master && self.queues.iter().any(Slot::is_rung) {
                self.without_bus_master = true;
                self.note(Rule::DmaWithoutBusMaster, || "a doorbell was rung".to_owned());
            }
            return false;
        }
        true
    }

    /// FEATURES_OK: the device works as agreed from now on. A driver that can set the filter starts with its own
    /// address, broadcasts and no VLAN (section 5.1.6.5.2); another gets everything.
    pub(crate) fn agree(&mut self, features: Features) {
        self.negotiated = features;
        let header = header::length(features);
        for frames in [&mut self.incoming, &mut self.injected, &mut self.outgoing] {
            frames.begin(header);
        }
        self.filter.promiscuous = !features.has(Features::CTRL_RX);
        self.filter.vlans = features.has(Features::CTRL_VLAN).then(|| Box::new([0; 64]));
    }

    /// The queue pairs that the driver knows of.
    fn pairs(&self) -> u16 {
        let several = self.negotiated.has(Features::MQ) || self.negotiated.has(Features::RSS);
        if several { self.queue_pairs } else { 1 }
    }

    /// Section 5.1.2: the control queue's index, which depends on whether several pairs were negotiated.
    pub(crate) fn control_index(&self) -> Option<u16> {
        if !self.negotiated.has(Features::CTRL_VQ) {
            return None;
        }
        Some(self.pairs().wrapping_mul(2))
    }

    /// Whether a queue exists with what was negotiated. Before that, every queue that may exist does.
    pub(crate) fn is_available(&self, index: u16) -> bool {
        if usize::from(index) >= self.queues.len() {
            return false;
        }
        if self.common.status & status::FEATURES_OK == 0 {
            return true;
        }
        index < self.pairs().wrapping_mul(2) || Some(index) == self.control_index()
    }

    /// Notes a breach of a rule that the device lives with.
    #[cold]
    pub(crate) fn note(&mut self, rule: Rule, seen: impl FnOnce() -> String) {
        self.violations.push(Violation { rule, queue: None, seen: seen() });
    }

    /// The same, of a queue.
    #[cold]
    pub(crate) fn note_queue(&mut self, rule: Rule, queue: u16, seen: impl FnOnce() -> String) {
        self.violations.push(Violation { rule, queue: Some(queue), seen: seen() });
    }

    /// Notes a breach, and stops where it is fatal (section 2.1.2).
    #[cold]
    pub(crate) fn violate(&mut self, rule: Rule, queue: Option<u16>, seen: String) {
        self.violations.push(Violation { rule, queue, seen });
        if rule.is_fatal() {
            self.need_reset();
        }
    }

    /// Section 2.1.2: sets DEVICE_NEEDS_RESET, and tells a driver that is ready.
    pub(crate) fn need_reset(&mut self) {
        let driver_ok = self.common.status & status::DRIVER_OK != 0;
        self.common.status |= status::NEEDS_RESET;
        if driver_ok {
            self.configuration_interrupt();
        }
    }

    /// Section 4.1.5.4: the configuration has changed.
    pub(crate) fn configuration_changed(&mut self) {
        self.common.changed = true;
        if self.common.status & status::DRIVER_OK != 0 {
            self.configuration_interrupt();
        }
    }

    fn configuration_interrupt(&mut self) {
        self.set_isr(self.isr | ISR_CONFIGURATION);
        self.interrupt(self.common.config_vector);
    }

    /// Section 4.1.5.3: buffers of a queue were used.
    pub(crate) fn queue_interrupt(&mut self, index: u16) {
        if self.queues.get_mut(usize::from(index)).is_some_and(|slot| !slot.moderation.may_interrupt()) {
            return;
        }
        self.send_queue_interrupt(index);
    }

    /// The same, whatever is held back.
    pub(crate) fn send_queue_interrupt(&mut self, index: u16) {
        if !self.config.msix_enabled() {
            self.set_isr(self.isr | ISR_QUEUE);
        }
        let vector = self.queues.get(usize::from(index)).map_or(NO_VECTOR, |slot| slot.vector);
        self.interrupt(vector);
    }

    /// A message is a write to memory: it needs bus mastering as any other.
    fn interrupt(&mut self, vector: u16) {
        if vector != NO_VECTOR && !self.gone && self.config.msix_enabled() && self.bus_master() {
            self.interrupts.send(vector, self.config.msix_masked());
        }
    }

    /// Section 4.1.4.5.1: reading it clears it.
    pub(crate) fn read_isr(&mut self) -> u8 {
        let isr = self.isr;
        self.set_isr(0);
        isr
    }

    fn set_isr(&mut self, isr: u8) {
        self.isr = isr;
        let pin = isr != 0 && !self.config.msix_enabled();
        self.config.set_interrupt_status(pin);
    }

    /// Ends a round on a queue: interrupts the driver if it wants that, or stops if it broke a rule.
    pub(crate) fn finish(&mut self, index: u16, published: Result<Option<bool>, Breach>) {
        match published {
            Ok(None) => {}
            Ok(Some(true)) => self.queue_interrupt(index),
            Ok(Some(false)) => self.statistics.suppressed = self.statistics.suppressed.wrapping_add(1),
            Err(broken) => self.violate(broken.0, Some(index), broken.1),
        }
    }

    /// Publishes what a queue has completed, outside a step.
    pub(crate) fn publish(&mut self, index: u16) {
        if !self.is_running() {
            return;
        }
        let Self { memory: Some(view), queues, faults, .. } = self else { return };
        let Some(slot) = queues.get_mut(usize::from(index)) else { return };
        let published = slot.publish(&mut view.burst(), faults);
        self.finish(index, published);
    }
}
