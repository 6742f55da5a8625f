//! The driver of the Intel 82599 family: 82599, X540 and X550, physical functions.
//!
//! It reads like the datasheet (Intel 331520): `start` is section 4.6, `receive` is 7.1, `transmit` is 7.2, and each step
//! says which section asks for it.
//!
//! ```text
//!   open(Function) ─▶ reset ─▶ EEPROM, SFP+ ─▶ receive, transmit, interrupts ─▶ link
//!                        │
//!                        └▶ Opened { control, receive queues, transmit queues }
//! ```
//!
//! The same code drives hardware behind VFIO, and a model in the same process. What the device writes is believed in
//! nothing: lengths are checked against the buffer, a frame that does not end is an error, and everything that memory
//! safety rests on lies in private records.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod capabilities;
mod clock;
mod devices;
mod director;
mod dump;
mod error;
mod filters;
mod i2c;
mod interrupts;
mod link;
mod offload;
mod pause;
mod port;
mod receive;
mod registers;
mod reports;
mod reset;
mod running;
mod scaling;
mod semaphore;
mod sfp;
mod start;
mod statistics;
mod steering;
mod telling;
mod told;
mod transmit;
mod wait;

pub use devices::{SUPPORTED, knows};
pub use error::Error;

use ringway_packet::Pool;
use ringway_pci::Function;
use ringway_port::{Opened, PortOptions};

/// Takes a device of the family over and starts it. Packets are received into buffers of `pool` and sent from there; the
/// pool must be in the function's address space.
///
/// # Errors
/// When the device is none of the family or doesn't answer, and when pool or memory are too small. The device is then
/// reset and nothing of it remains.
pub fn open(function: Function, pool: &Pool, options: &PortOptions) -> Result<Opened, Error> {
    let device = devices::find(function.identity())?;
    start::open(function, device, pool, options)
}
