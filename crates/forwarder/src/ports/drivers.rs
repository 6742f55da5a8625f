//! Which driver takes which device.
//!
//! The ids are in one table, [`SUPPORTED`], which the commands on binding use too.

use crate::Error;
pub use crate::binding::SUPPORTED;
use ringway_packet::Pool;
use ringway_pci::Function;
use ringway_port::{Opened, PortOptions};

/// The driver that takes a device, by the device's ids. A driver also takes what it refuses later with a better
/// reason than that nobody knows it.
pub fn driver_for(vendor: u16, device: u16) -> Option<&'static str> {
    if ringway_ixgbe::knows(vendor, device) {
        Some("ixgbe")
    } else {
        ringway_virtio::knows(vendor, device).then_some("virtio-net")
    }
}

/// That nothing drives `name`, and what would be driven.
pub fn no_driver(name: &str, vendor: u16, device: u16) -> Error {
    let known: Vec<String> = SUPPORTED
        .iter()
        .map(|known| format!("{} ({:04x}:{:04x})", known.driver, known.vendor, known.device))
        .collect();
    Error::NoDriver { name: name.to_owned(), vendor, device, known: known.join(", ") }
}

/// Opens a function with the driver that takes it.
///
/// # Errors
/// When there is none, or it can't start the device.
pub fn open(function: Function, pool: &Pool, options: &PortOptions) -> Result<Opened, Error> {
    let identity = function.identity();
    match driver_for(identity.vendor, identity.device) {
        Some("ixgbe") => Ok(ringway_ixgbe::open(function, pool, options)?),
        Some("virtio-net") => Ok(ringway_virtio::open(function, pool, options)?),
        _ => Err(no_driver(&identity.name, identity.vendor, identity.device)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_in_the_table_is_known_to_its_driver() {
        for known in SUPPORTED {
            assert_eq!(driver_for(known.vendor, known.device), Some(known.driver));
        }
    }

    #[test]
    fn an_unknown_device_is_refused_with_its_ids_and_those_that_would_do() {
        assert_eq!(driver_for(0x8086, 0x1234), None);
        let error = no_driver("0000:03:00.0", 0x8086, 0x1234).to_string();
        for part in ["0000:03:00.0", "8086:1234", "virtio-net (1af4:1041)"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
