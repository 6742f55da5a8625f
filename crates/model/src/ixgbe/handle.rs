//! The device's other half: what steps it, and the wire that it is plugged into.

use super::front::Shared;
use crate::wire::{Held, Wire};
use ringway_dma::Fault;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Rounds without work before the thread lets others run, and before it sleeps for a moment.
const SPIN: u32 = 200;
const SLEEP: u32 = 50_000;
const NAP: Duration = Duration::from_micros(50);

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
    pub fn run(self) -> Running {
        let spare = Self::new(Arc::clone(&self.shared));
        Running { group: run_together(vec![self]), spare }
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

    /// Puts a module into the cage or takes it out; nothing on a controller without a cage.
    pub fn set_module(&self, present: bool) {
        self.shared.lock().core.set_module(present);
    }
}

/// Several devices on one thread, each stepped in turn, until [`stop`](Self::stop) or drop.
#[derive(Debug)]
pub struct RunningGroup {
    stop: Arc<AtomicBool>,
    /// Filled also when the thread could not start.
    devices: Arc<Mutex<Vec<Handle>>>,
    thread: Option<JoinHandle<()>>,
    error: Option<io::Error>,
}

/// Runs devices on one thread: for two ports of one program on a machine with two processors, say.
pub fn run_together(devices: Vec<Handle>) -> RunningGroup {
    let name = devices.first().map_or("model", Handle::name).to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let devices = Arc::new(Mutex::new(devices));
    let spawned = std::thread::Builder::new().name(name).spawn({
        let (stop, devices) = (Arc::clone(&stop), Arc::clone(&devices));
        move || {
            // The thread has the devices for as long as it runs.
            let mut devices = devices.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut devices, &stop);
        }
    });
    let (thread, error) = match spawned {
        Ok(thread) => (Some(thread), None),
        Err(error) => (None, Some(error)),
    };
    RunningGroup { stop, devices, thread, error }
}

fn work(devices: &mut [Handle], stop: &AtomicBool) {
    let mut idle = 0u32;
    while !stop.load(Ordering::Relaxed) {
        let moved = devices.iter_mut().fold(0usize, |moved, device| moved.wrapping_add(device.round(true)));
        if moved > 0 {
            idle = 0;
            continue;
        }
        idle = idle.saturating_add(1);
        match idle {
            ..SPIN => std::hint::spin_loop(),
            SPIN..SLEEP => std::thread::yield_now(),
            _ => std::thread::sleep(NAP),
        }
    }
}

impl RunningGroup {
    /// Why no thread runs, when the system gave none. The devices then stand still.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Ends the thread and gives the devices back, in their order.
    pub fn stop(mut self) -> Vec<Handle> {
        self.end();
        std::mem::take(&mut self.devices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of a wire ends the thread; the devices are there all the same.
            let _ = thread.join();
        }
    }
}

impl Drop for RunningGroup {
    fn drop(&mut self) {
        self.end();
    }
}

/// A device on a thread of its own, until [`stop`](Self::stop) or drop.
#[derive(Debug)]
pub struct Running {
    group: RunningGroup,
    /// What `stop` falls back on: it never comes to that, a group gives back what it was given.
    spare: Handle,
}

impl Running {
    /// Why no thread runs, when the system gave none. The device then stands still.
    pub fn error(&self) -> Option<&io::Error> {
        self.group.error()
    }

    /// Ends the thread and gives the device back.
    pub fn stop(self) -> Handle {
        self.group.stop().pop().unwrap_or(self.spare)
    }
}
