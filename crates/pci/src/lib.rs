//! PCI functions from user space.
//!
//! A driver sees a [`Function`]: who it is, its registers ([`Bar`]), its interrupts, its reset, and the address
//! space that it reaches. What stands behind is a [`Backend`]: VFIO, or a software model.

mod backend;
mod bar;
mod doorbell;
mod error;
mod function;
mod interrupt;

pub use backend::{Backend, Identity, Registers, Width};
pub use bar::Bar;
pub use doorbell::{Doorbell, Mmio};
pub use error::Error;
pub use function::{Capability, Function};
pub use interrupt::event_counter;
