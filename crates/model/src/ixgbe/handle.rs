//! The device's other half: what steps it, and the wire that it is plugged into.

use super::front::Shared;
use crate::running::{Device, Running};
use crate::wire::{Held, Wire};
use ringway_dma::Fault;
use std::sync::Arc;

/// A device in the hands of whoever plays its part: a test, a thread, a server.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    held: Held,
    wire: Option<Box<dyn Wire>>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, held: Held::default(), wire: None }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.shared.identity.name
    }

    /// Does what is due now, up to 64 packets of each transmit queue and 64 frames from the wire, and the interrupts
    /// that follow, without moderation. Returns how many frames moved; 0: nothing is left to do until the driver or
    /// the wire does something.
    pub fn step(&mut self) -> usize {
        self.round(false)
    }

    fn round(&mut self, clock: bool) -> usize {
        let wire: &mut dyn Wire = match &mut self.wire {
            Some(wire) => wire.as_mut(),
            None => &mut self.held,
        };
        wire.begin();
        let moved = self.shared.lock_to_move().turn(wire, clock);
        wire.end();
        moved
    }

    /// Offers a frame, Ethernet without FCS, to the receive side, past the wire. `true`: the device took it (and put
    /// it into receive buffers, unless a filter or its length says otherwise). `false`: there is no room for it, the
    /// link is down, or the device is not receiving.
    pub fn inject(&mut self, frame: &[u8]) -> bool {
        self.shared.lock().inject(frame)
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

    /// A look at the device from outside, and its knobs, also while it runs on another thread.
    pub fn monitor(&self) -> Monitor {
        Monitor { shared: Arc::clone(&self.shared) }
    }

    /// Sets the link up or down, and tells the driver.
    pub fn set_link(&mut self, up: bool) {
        self.monitor().set_link(up);
    }

    /// Accesses to memory that the address space refused so far.
    pub fn faults(&self) -> u64 {
        self.monitor().faults()
    }

    /// Runs the device on a thread of its own.
    pub fn run(self) -> Running<Self> {
        let spare = Self::new(Arc::clone(&self.shared));
        Running::new(self, spare)
    }
}

impl Device for Handle {
    fn name(&self) -> &str {
        self.name()
    }

    fn turn(&mut self) -> usize {
        self.round(true)
    }
}

/// A look at a device and its knobs, from any thread.
#[derive(Clone, Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// Accesses to memory that the address space refused so far.
    pub fn faults(&self) -> u64 {
        self.shared.lock().core.faults.count
    }

    /// The last of them.
    pub fn last_fault(&self) -> Option<Fault> {
        self.shared.lock().core.faults.last
    }

    /// Interrupt messages sent so far.
    pub fn messages(&self) -> u64 {
        self.shared.lock().core.interrupts.sent()
    }

    /// Plugs the cable in or out.
    pub fn set_link(&self, up: bool) {
        self.shared.lock().core.set_link(up);
    }

    /// Pulls the function out: registers and configuration space read all ones, memory is not accessed any more, no
    /// interrupt comes.
    pub fn remove(&self) {
        self.shared.lock().gone = true;
    }

    /// Puts it back, as it is after power-up.
    pub fn insert(&self) {
        let mut device = self.shared.lock();
        device.gone = false;
        device.function_reset();
    }

    /// Puts a module into the cage or takes it out; nothing on a controller without a cage.
    pub fn set_module(&self, present: bool) {
        self.shared.lock().core.set_module(present);
    }
}
