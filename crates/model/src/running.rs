//! Devices that run on a thread of their own.
//!
//! Contract: whoever starts a thread gets the devices back when it ends, in their order, whatever happened on it.
//! Devices of several kinds share a thread as `Box<dyn Device>`.

use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Rounds without work before the thread lets others run, and before it sleeps for a moment.
const SPIN: u32 = 200;
const SLEEP: u32 = 50_000;
const NAP: Duration = Duration::from_micros(50);

/// What a thread can run: the handles of [`virtio`](crate::virtio::Handle) and [`ixgbe`](crate::ixgbe::Handle).
pub trait Device: Send + Debug + 'static {
    /// The device's name: its thread is called so.
    fn name(&self) -> &str;

    /// Does everything that is due by the clock, up to a round of frames on each queue, and returns the number of
    /// frames moved. Interrupts are moderated as the driver asked for.
    fn turn(&mut self) -> usize;
}

impl Device for Box<dyn Device> {
    fn name(&self) -> &str {
        self.as_ref().name()
    }

    fn turn(&mut self) -> usize {
        self.as_mut().turn()
    }
}

/// Several devices on one thread, each in turn, until [`stop`](Self::stop) or drop.
#[derive(Debug)]
pub struct RunningGroup<D: Device> {
    stop: Arc<AtomicBool>,
    /// Filled also when the thread could not start.
    devices: Arc<Mutex<Vec<D>>>,
    thread: Option<JoinHandle<()>>,
    error: Option<io::Error>,
}

/// Runs devices on one thread: for two ports of one program on a machine with two processors, say.
pub fn run_together<D: Device>(devices: Vec<D>) -> RunningGroup<D> {
    let name = devices.first().map_or("model", Device::name).to_owned();
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

fn work<D: Device>(devices: &mut [D], stop: &AtomicBool) {
    let mut idle = 0u32;
    while !stop.load(Ordering::Relaxed) {
        let moved = devices.iter_mut().fold(0usize, |moved, device| moved.wrapping_add(device.turn()));
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

impl<D: Device> RunningGroup<D> {
    /// Why no thread runs, when the system gave none. The devices then stand still.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Ends the thread and gives the devices back, in their order.
    pub fn stop(mut self) -> Vec<D> {
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

impl<D: Device> Drop for RunningGroup<D> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A device on a thread of its own, until [`stop`](Self::stop) or drop.
#[derive(Debug)]
pub struct Running<D: Device> {
    group: RunningGroup<D>,
    /// What `stop` falls back on: it never comes to that, a group gives back what it was given.
    spare: D,
}

impl<D: Device> Running<D> {
    /// `spare` is another handle on the same device.
    pub(crate) fn new(device: D, spare: D) -> Self {
        Self { group: run_together(vec![device]), spare }
    }

    /// Why no thread runs, when the system gave none. The device then stands still.
    pub fn error(&self) -> Option<&io::Error> {
        self.group.error()
    }

    /// Ends the thread and gives the device back.
    pub fn stop(self) -> D {
        self.group.stop().pop().unwrap_or(self.spare)
    }
}
