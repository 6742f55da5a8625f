//! PCI functions from user space: discovery, registers, interrupts, VFIO, binding.

mod address;
pub mod bind;
pub mod doctor;
mod error;
pub mod kernel;
pub mod status;
pub mod sysfs;

pub use address::Address;
pub use error::{Error, Result};
