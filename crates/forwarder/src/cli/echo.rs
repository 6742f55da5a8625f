//! The options of `ringway echo`.

use super::values;
use super::{EmulationArguments, OutputOptions, RingOptions};
use crate::PortName;
use clap::Args;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  ringway echo 0000:03:00.0 --address 10.0.0.1/24 --address fd00::1/64
  ringway echo 03:00.0 --address 10.0.0.1 --duration 60 --json > result.json

On the machine at the other end of the cable:
  sudo ip addr add 10.0.0.2/24 dev eth0 && ping 10.0.0.1";

/// The options of `ringway echo`.
#[derive(Args, Clone, Debug)]
pub struct EchoOptions {
    /// The port: a PCI address (0000:03:00.0 or 03:00.0), or emulated:N
    pub port: PortName,
    /// An address to answer for, as `ip addr add` takes it; may be given several times. The length of the prefix is
    /// not needed: each answer goes to the station that asked
    #[arg(long, required = true, value_name = "ADDRESS[/LENGTH]")]
    pub address: Vec<HostAddress>,
    /// Rings and packet memory.
    #[command(flatten)]
    pub rings: RingOptions,
    /// The most packets that are received at once
    #[arg(long, value_name = "PACKETS", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch: u16,
    /// The processor to run on [default: where the system puts it]
    #[arg(long, value_name = "NUMBER", value_parser = values::core)]
    pub core: Option<usize>,
    /// End after this time: seconds, or with a unit (250ms, 5m)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub duration: Option<Duration>,
    /// What emulated ports are.
    #[command(flatten)]
    pub emulation: EmulationArguments,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// An address that a station can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress(pub IpAddr);

impl FromStr for HostAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("`{text}` is no address of a station: write one like 10.0.0.1/24 or fd00::1/64");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let (longest, usable) = match address {
            IpAddr::V4(address) => (32, !address.is_broadcast() && !address.is_loopback()),
            IpAddr::V6(address) => (128, !address.is_loopback() && address.to_ipv4_mapped().is_none()),
        };
        let length_fits = match length {
            None => true,
            Some(length) => length.parse::<u8>().is_ok_and(|length| length <= longest),
        };
        if usable && length_fits && !address.is_unspecified() && !address.is_multicast() {
            Ok(Self(address))
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, CommandLine};
    use clap::Parser;

    #[test]
    fn an_address_is_one_that_a_station_can_have() {
        for (text, address) in [
            ("10.0.0.1/24", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
            ("fd00::1/64", "fd00::1"),
            ("fe80::2/128", "fe80::2"),
        ] {
            assert_eq!(
                text.parse::<HostAddress>().map(|address| address.to_string()),
                Ok(address.to_owned())
            );
        }
        for text in [
            "",
            "/",
            "10.0.0",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0.1/-1",
            "10.0.0.1/24/1",
            "fd00::1/129",
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:10.0.0.1",
        ] {
            let error = text.parse::<HostAddress>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("10.0.0.1/24"), "{error}");
        }
    }

    #[test]
    fn several_addresses_can_be_given_and_one_must() {
        let parse = |rest: &[&str]| {
            CommandLine::try_parse_from(["ringway", "echo", "03:00.0"].iter().chain(rest))
                .map(|line| line.command)
        };
        match parse(&["--address", "10.0.0.1/24", "--address", "fd00::1"]).unwrap() {
            Some(Command::Echo(options)) => assert_eq!(options.address.len(), 2),
            other => panic!("{other:?}"),
        }
        let error = parse(&[]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--address"), "{error}");
    }
}
