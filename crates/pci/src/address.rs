//! Where a PCI function sits: domain, bus, device and function number.
//!
//! Contract: an [`Address`] that exists is well-formed (device below 32, function below 8); it says nothing
//! on whether a function answers there. It parses what `lspci` and the kernel print, and prints as the kernel
//! does: `0000:03:00.0`.
//!
//! Not here: what stands at the address (see [`crate::sysfs`]).

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// The address of a PCI function: `domain:bus:device.function`, all in hexadecimal.
///
/// ```
/// use ringway_pci::Address;
/// let address: Address = "03:00.1".parse()?;
/// assert_eq!(address.to_string(), "0000:03:00.1");
/// # Ok::<(), ringway_pci::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl Address {
    /// An address from its four numbers.
    ///
    /// # Errors
    /// [`Error::BadAddress`] when `device` is above 31 or `function` above 7.
    pub fn new(domain: u32, bus: u8, device: u8, function: u8) -> Result<Self> {
        if device > 31 || function > 7 {
            return Err(Error::BadAddress {
                text: format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"),
            });
        }
        Ok(Self { domain, bus, device, function })
    }

    /// The PCI domain (segment); 0 on most machines, above 0xffff behind a VMD controller.
    pub fn domain(self) -> u32 {
        self.domain
    }

    /// The bus number.
    pub fn bus(self) -> u8 {
        self.bus
    }

    /// The device number, 0 to 31.
    pub fn device(self) -> u8 {
        self.device
    }

    /// The function number, 0 to 7.
    pub fn function(self) -> u8 {
        self.function
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Reads `0000:03:00.0`, or `03:00.0` for domain 0.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::BadAddress { text: text.to_owned() };
        let (place, function) = text.rsplit_once('.').ok_or_else(bad)?;
        let (place, device) = place.rsplit_once(':').ok_or_else(bad)?;
        let (domain, bus) = place.rsplit_once(':').unwrap_or(("0", place));
        Self::new(
            hexadecimal(domain, 8).ok_or_else(bad)?,
            hexadecimal(bus, 2).and_then(|bus| u8::try_from(bus).ok()).ok_or_else(bad)?,
            hexadecimal(device, 2).and_then(|device| u8::try_from(device).ok()).ok_or_else(bad)?,
            hexadecimal(function, 1).and_then(|function| u8::try_from(function).ok()).ok_or_else(bad)?,
        )
        .map_err(|_| bad())
    }
}

/// One to `longest` hexadecimal digits and nothing else: no sign, no prefix, no blank.
fn hexadecimal(text: &str, longest: usize) -> Option<u32> {
    let digits =
        !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_and_the_short_form_name_the_same_function() {
        let full: Address = "0000:03:1f.7".parse().unwrap();
        let short: Address = "03:1f.7".parse().unwrap();
        assert_eq!(full, short);
        assert_eq!((full.domain(), full.bus(), full.device(), full.function()), (0, 3, 31, 7));
    }

    #[test]
    fn an_address_prints_as_the_kernel_prints_it() {
        for text in ["0000:03:00.0", "0001:ff:1f.7", "10000:e1:00.0"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("0:3:0.1".parse::<Address>().unwrap().to_string(), "0000:03:00.1");
    }

    #[test]
    fn whatever_is_no_address_is_refused_and_quoted() {
        let wrong = [
            "",
            ":",
            ".",
            "eth0",
            "3",
            "03:00",
            "03.0",
            "03:00.8",
            "03:20.0",
            "100:00.0",
            "0000:03:00.0.0",
            "0x03:00.0",
            "+3:00.0",
            "03:00.-1",
            " 03:00.0",
            "03:00.0 ",
            "00000000:00:00:00.0",
            "123456789:00:00.0",
            "0000:03:00.00",
            "emulated:0",
            "03:00.é",
        ];
        for text in wrong {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }
}
