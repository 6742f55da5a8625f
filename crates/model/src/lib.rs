//! The device's side in software.
#![forbid(unsafe_code)]

mod config_space;
mod interrupts;
pub mod ixgbe;
pub mod traffic;
pub mod virtio;
pub mod wire;

/// Accesses to memory that belong together.
type Memory<'a> = ringway_dma::Burst<'a>;

/// Plugs two devices into each other.
pub fn cable(one: &mut virtio::Handle, other: &mut virtio::Handle) {
    let (left, right) = wire::cable_pair();
    one.attach(Box::new(left));
    other.attach(Box::new(right));
}
