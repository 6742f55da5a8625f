//! The device in use: what the control handle and all queues hold together.
//!
//! Whoever lets go of it last stops the device, first by its own registers (no interrupts, no receiving, no accesses to
//! memory, reset), then by the function's (interrupts disconnected, bus mastering off, function reset); after that
//! rings and buffers go back. It is made before the device is touched, so a start that fails ends the same way.

use crate::registers::Registers;
use crate::reset;
use ringway_dma::{Keeper, Park};
use ringway_pci::Function;

/// A function and its registers.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) registers: Registers,
    pub(crate) function: Function,
}

impl Running {
    /// Its name, as messages carry it.
    pub(crate) fn name(&self) -> &str {
        self.function.name()
    }
}

impl Keeper for Running {
    fn keep(&self, what: Box<dyn Park>) {
        self.function.keep(what);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A device that is gone, or doesn't come out of its reset, is left to the function's own teardown.
        let _ = reset::stop(self.name(), &self.registers);
    }
}
