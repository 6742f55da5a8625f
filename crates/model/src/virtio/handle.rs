//! The device's other half: what steps it, and the wire that it is plugged into.

use super::device::Device;
use super::faults::Faults;
use super::features::Features;
use super::header::Header;
use super::violation::Violation;
use super::{Options, Statistics};
use crate::running::{Device as Runs, Running};
use crate::wire::{Held, Wire};
use ringway_dma::AddressSpace;
use ringway_pci::Identity;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The device, shared by its two halves.
#[derive(Debug)]
pub(crate) struct Shared {
    device: Mutex<Device>,
    /// Register accesses that wait for the lock. A device that runs lets them go first: a mutex alone would let it
    /// take the lock again and again.
    waiting: AtomicU32,
}

impl Shared {
    pub(crate) fn new(space: &AddressSpace, options: &Options, identity: &Identity) -> Arc<Self> {
        let device = Mutex::new(Device::new(space, options, identity));
        Arc::new(Self { device, waiting: AtomicU32::new(0) })
    }

    /// For a register access, a knob, a look from outside.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Device> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        device
    }

    /// For a step.
    fn turn(&self) -> MutexGuard<'_, Device> {
        while self.waiting.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device in the hands of whoever plays its part: a test, a thread, a server.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    name: String,
    held: Held,
    wire: Option<Box<dyn Wire>>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, name: String) -> Self {
        Self { shared, name, held: Held::default(), wire: None }
    }

    /// Runs the device on a thread of its own.
    pub fn run(self) -> Running<Self> {
        let spare = Self::new(Arc::clone(&self.shared), self.name.clone());
        Running::new(self, spare)
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does everything that is due now, up to a round of frames on each queue, and returns the number of frames moved.
    /// 0: nothing is left to do until the driver or the wire does something.
    pub fn step(&mut self) -> usize {
        let wire: &mut dyn Wire = match &mut self.wire {
            Some(wire) => wire.as_mut(),
            None => &mut self.held,
        };
        wire.begin();
        let moved = self.shared.turn().step(wire);
        wire.end();
        moved
    }

    /// Offers a frame, Ethernet without FCS, to the receive side, past the wire. `true`: the device took it (and put it
    /// into a receive buffer, unless a filter or its length says otherwise). `false`: no buffer is there, the link is
    /// down, or the device is not running.
    pub fn inject(&mut self, frame: &[u8]) -> bool {
        self.shared.turn().inject(frame, None)
    }

    /// The same, with a header that says of the frame whatever it says, agreed on or not: what another guest of the same
    /// host sends (a checksum that isn't filled in, more than one segment), or a device that lies.
    pub fn inject_as(&mut self, frame: &[u8], header: Header) -> bool {
        self.shared.turn().inject(frame, Some(header))
    }

    /// The next frame that the device sent while no wire was attached.
    pub fn take_sent(&mut self) -> Option<Vec<u8>> {
        self.held.pop()
    }

    /// Plugs the port into a wire. What was attached before is dropped.
    pub fn attach(&mut self, wire: Box<dyn Wire>) {
        self.wire = Some(wire);
    }

    /// Unplugs the port; [`take_sent`](Self::take_sent) gets what is sent from now on.
    pub fn detach(&mut self) -> Option<Box<dyn Wire>> {
        self.wire.take()
    }

    /// What the device can be made to do wrong, also while it runs on another thread.
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.shared))
    }

    /// A look at the device from outside, also while it runs on another thread.
    pub fn monitor(&self) -> Monitor {
        Monitor { shared: Arc::clone(&self.shared) }
    }

    /// What the driver did against the rules, oldest first; the first 256 are kept.
    pub fn violations(&self) -> Vec<Violation> {
        self.monitor().violations()
    }

    /// What was counted since the device was made.
    pub fn statistics(&self) -> Statistics {
        self.monitor().statistics()
    }

    /// Sets the link up or down, and tells the driver.
    pub fn set_link(&mut self, up: bool) {
        self.shared.lock().set_link(up);
    }

    /// Asks the driver to announce itself (section 5.1.6.5.4). `false`: it has not negotiated that.
    pub fn announce(&mut self) -> bool {
        self.shared.lock().announce()
    }
}

impl Runs for Handle {
    fn name(&self) -> &str {
        self.name()
    }

    fn turn(&mut self) -> usize {
        self.step()
    }
}

/// A look at a device, from any thread.
#[derive(Clone, Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// What the driver did against the rules, oldest first; the first 256 are kept.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.lock().violations.kept().to_vec()
    }

    /// How many there were.
    pub fn violation_count(&self) -> u64 {
        self.shared.lock().violations.total()
    }

    /// Forgets them.
    pub fn clear_violations(&self) {
        self.shared.lock().violations.clear();
    }

    /// What was counted since the device was made.
    pub fn statistics(&self) -> Statistics {
        let device = self.shared.lock();
        Statistics { interrupts: device.interrupts.sent(), ..device.statistics }
    }

    /// The device status register (section 2.1).
    pub fn status(&self) -> u8 {
        self.shared.lock().common.status
    }

    /// The features that were agreed on; none before FEATURES_OK.
    pub fn negotiated(&self) -> Features {
        self.shared.lock().negotiated
    }

    /// What the device offers.
    pub fn offered(&self) -> Features {
        self.shared.lock().offered()
    }

    /// The address that the device filters by.
    pub fn mac(&self) -> [u8; 6] {
        self.shared.lock().filter.mac
    }

    /// Whether every frame passes the receive filter.
    pub fn is_promiscuous(&self) -> bool {
        self.shared.lock().filter.promiscuous
    }

    /// Whether the driver was asked to announce itself and has not answered.
    pub fn awaits_announcement(&self) -> bool {
        self.shared.lock().port.announce
    }

    /// How long the interrupts of a queue are held back.
    pub fn moderation(&self, queue: u16) -> Option<Duration> {
        self.shared.lock().moderation(queue)
    }

    /// Queue pairs in use.
    pub fn active_pairs(&self) -> u16 {
        self.shared.lock().port.active_pairs
    }
}
