//! PCI functions from user space.
//!
//! A driver sees a [`Function`]: who it is, its registers ([`Bar`]), its interrupts, its reset, and the address
//! space that it reaches. What stands behind is a [`Backend`]: VFIO, or a software model.
//!
//! Before that come the functions that the machine has ([`sysfs`], [`status`]), whether it is fit for Ringway
//! ([`doctor`]), and taking them from the kernel and giving them back ([`bind`]).

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod backend;
mod bar;
pub mod bind;
pub mod doctor;
mod doorbell;
mod error;
mod function;
mod interrupt;
pub mod kernel;
pub mod status;
pub mod sysfs;
pub mod vfio;

pub use address::Address;
pub use backend::{Backend, Identity, Registers, Width};
pub use bar::Bar;
pub use doorbell::{Doorbell, Mmio};
pub use error::{Error, Result};
pub use function::{Capability, Function};
pub use interrupt::event_counter;
