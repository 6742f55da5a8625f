//! The link and the addresses on it.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Whether it may be a station's: neither a group address nor zero.
    pub fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Ethernet address: write six bytes as 02:00:00:00:00:01")]
pub struct ParseMacError(String);

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseMacError(text.to_owned());
        let mut address = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut address {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .ok_or_else(refused)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| refused())?;
        }
        if parts.next().is_some() { Err(refused()) } else { Ok(Self(address)) }
    }
}

/// Which pause frames are used (IEEE 802.3, annex 31B).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// The other end's are obeyed: sending waits.
    pub obey: bool,
    /// They are sent when receive buffers run out.
    pub send: bool,
}

/// What is known of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// Packets can pass.
    Up {
        /// Megabits per second, where the device says.
        speed: Option<u32>,
    },
    /// Packets can't pass.
    Down {
        /// Why, as far as the device knows.
        reason: String,
    },
}

impl Link {
    /// Whether packets can pass.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { speed: Some(megabits) } if megabits % 1000 == 0 => {
                write!(f, "up, {} Gbit/s", megabits / 1000)
            }
            Self::Up { speed: Some(megabits) } => write!(f, "up, {megabits} Mbit/s"),
            Self::Up { speed: None } => f.write_str("up"),
            Self::Down { reason } if reason.is_empty() => f.write_str("down"),
            Self::Down { reason } => write!(f, "down ({reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_is_read() {
        let address: MacAddress = "02:00:5e:10:00:Ff".parse().unwrap();
        assert_eq!(address.to_string(), "02:00:5e:10:00:ff");
        assert!(address.is_unicast());
        assert!(!"01:00:5e:00:00:01".parse::<MacAddress>().unwrap().is_unicast());
        for wrong in
            ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "0200:00:00:00:01", "+2:00:00:00:00:01", "x"]
        {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_link_prints_as_a_person_says_it() {
        assert_eq!(Link::Up { speed: Some(10_000) }.to_string(), "up, 10 Gbit/s");
        assert_eq!(Link::Up { speed: Some(2500) }.to_string(), "up, 2500 Mbit/s");
        assert_eq!(Link::Down { reason: "no module".into() }.to_string(), "down (no module)");
    }
}
