//! Waiting for the device: always bounded, and soon given up when it is gone.

use crate::Error;
use crate::registers::Registers;
use std::time::{Duration, Instant};

/// Waits until `done`, at most `limit`.
pub(crate) fn until(
    device: &str,
    registers: &Registers,
    what: &'static str,
    limit: Duration,
    mut done: impl FnMut() -> bool,
) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(10);
    loop {
        if done() {
            return Ok(());
        }
        if registers.is_gone() {
            return Err(Error::Gone { device: device.to_owned() });
        }
        if Instant::now() > deadline {
            return Err(Error::Timeout {
                device: device.to_owned(),
                what,
                milliseconds: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}
