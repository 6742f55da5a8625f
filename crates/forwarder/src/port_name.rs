//! The names of ports: one form everywhere.

use ringway_pci::Address;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Which port is meant.
///
/// ```
/// use ringway::PortName;
/// assert_eq!("03:00.0".parse::<PortName>()?.to_string(), "0000:03:00.0");
/// assert_eq!("emulated:0".parse::<PortName>()?.to_string(), "emulated:0");
/// # Ok::<(), ringway::ParsePortNameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortName {
    /// A network card, by its PCI address.
    Pci(Address),
    /// A network card in software, in this process.
    Emulated(u16),
}

/// A text that names no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no port: write a PCI address (0000:03:00.0 or 03:00.0; `ringway ports` lists them), or emulated:0, \
     emulated:1, … for a network card in software"
)]
pub struct ParsePortNameError(String);

impl FromStr for PortName {
    type Err = ParsePortNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParsePortNameError(text.to_owned());
        match text.strip_prefix("emulated:") {
            Some(number) if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                number.parse().map(Self::Emulated).map_err(|_| refused())
            }
            Some(_) => Err(refused()),
            None => text.parse().map(Self::Pci).map_err(|_| refused()),
        }
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::Emulated(number) => write!(f, "emulated:{number}"),
        }
    }
}

impl Serialize for PortName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_prints_as_it_is_read() {
        for (text, printed) in
            [("0000:03:00.0", "0000:03:00.0"), ("3:0.1", "0000:03:00.1"), ("emulated:7", "emulated:7")]
        {
            assert_eq!(text.parse::<PortName>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_forms_that_are() {
        for text in [
            "",
            "eth0",
            "emulated",
            "emulated:",
            "emulated:+1",
            "emulated:x",
            "emulated:65536",
            "03:00",
            "tap:a",
        ] {
            let error = text.parse::<PortName>().unwrap_err().to_string();
            for part in [&format!("`{text}`"), "0000:03:00.0", "emulated:0"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
