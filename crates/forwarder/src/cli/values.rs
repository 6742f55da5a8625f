//! Values on the command line that need a closer look.

use crate::engine::Moderation;
use crate::matching::{Match, ParseMatchError};
use crate::output::rates;
use crate::ports::Kind;
use clap::ValueEnum;
use ringway_dma::{BufferSize, PageSize};
use ringway_port::{MacAddress, Offloads};
use std::time::Duration;

/// The sizes that a ring can have (virtio 1.2, section 2.7; the 82599 has fewer, and its driver says so).
const LARGEST_RING: u32 = 1 << 15;

/// A number of descriptors.
pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    text.parse::<u32>()
        .ok()
        .filter(|size| size.is_power_of_two() && (2..=LARGEST_RING).contains(size))
        .ok_or_else(|| format!("a ring has a power of two of descriptors, from 2 to {LARGEST_RING}"))
}

/// A time above zero: seconds, or with a unit (ms, s, m, h).
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * factor).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "write seconds above zero, or a unit with it: 10, 0.5, 250ms, 5m, 1h".to_owned())
}

/// A time, also a very short one or none: with a unit (50us, 1ms, 2s), or 0.
pub(super) fn short_time(text: &str) -> Result<Duration, String> {
    match text.strip_suffix("us").map(str::parse::<f64>) {
        _ if text == "0" => Some(Duration::ZERO),
        Some(Ok(number)) => Duration::try_from_secs_f64(number * 1e-6).ok(),
        _ if text.ends_with('s') => time(text).ok(),
        _ => None,
    }
    .ok_or_else(|| "write 0, or a time with its unit: 50us, 1ms, 2s".to_owned())
}

/// The least time between two interrupts.
pub(super) fn moderation(text: &str) -> Result<Moderation, String> {
    match text {
        "adaptive" => Ok(Moderation::Adaptive),
        _ => short_time(text).map(Moderation::Fixed).map_err(|error| format!("{error}, or `adaptive`")),
    }
}

/// Offloads for each port; the last list is also for all that follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffloadLists(pub Vec<Offloads>);

/// Offloads by their names: one list, or one for each port.
pub(super) fn offloads(text: &str) -> Result<OffloadLists, String> {
    let lists = text.split('/').map(offload_list).collect::<Result<Vec<_>, _>>()?;
    if lists.len() > 2 {
        return Err("write one list for both ports, or two with a slash between them".to_owned());
    }
    Ok(OffloadLists(lists))
}

fn offload_list(text: &str) -> Result<Offloads, String> {
    let mut offloads = Offloads::NONE;
    for name in text.split(',').filter(|name| *name != "none") {
        offloads |= Offloads::named(name).ok_or_else(|| {
            let known: Vec<_> = Offloads::known().map(|(_, name)| name).collect();
            format!("there is no offload `{name}`; there are {}", known.join(", "))
        })?;
    }
    Ok(offloads)
}

/// The number of a processor.
pub(super) fn core(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write the numbers of processors: 2,3 (lscpu lists them)".to_owned())
}

/// The size of a packet buffer.
pub(super) fn buffer_size(text: &str) -> Result<BufferSize, String> {
    [BufferSize::Bytes2048, BufferSize::Bytes4096]
        .into_iter()
        .find(|size| size.bytes().to_string() == text)
        .ok_or_else(|| "a buffer has 2048 or 4096 bytes".to_owned())
}

/// The size of a page of memory.
pub(super) fn page_size(text: &str) -> Result<PageSize, String> {
    match text {
        "4KiB" => Ok(PageSize::Ordinary),
        "2MiB" => Ok(PageSize::Huge2M),
        "1GiB" => Ok(PageSize::Huge1G),
        _ => Err("write 4KiB, 2MiB or 1GiB".to_owned()),
    }
}

/// A number of packets a second above zero: pps, kpps, Mpps, or Gbit/s and Mbit/s of 64-byte packets on the wire.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "pps" => 1.0,
        "k" | "kpps" => 1e3,
        "m" | "mpps" => 1e6,
        "mbit/s" => 1e6 / rates::SMALLEST_BITS,
        "gbit/s" => 1e9 / rates::SMALLEST_BITS,
        _ => f64::NAN,
    };
    let rate = number.parse::<f64>().ok().map(|number| number * factor);
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "write a rate with its unit: 1000pps, 500kpps, 2Mpps, 2.5Gbit/s".to_owned())
}

/// A rate, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateArgument {
    /// Packets a second.
    Packets(f64),
    /// Bits a second on the wire.
    Bits(f64),
    /// Of the link's speed, 100 being all of it.
    Percent(f64),
}

/// A rate above zero: packets a second, bits a second on the wire, or percent of the link.
pub(super) fn any_rate(text: &str) -> Result<RateArgument, String> {
    let refused = || "write a rate with its unit: 1000pps, 500kpps, 2Mpps, 2.5Gbit/s, 50%".to_owned();
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    let lower = text.to_ascii_lowercase();
    if let Some(percent) = lower.strip_suffix('%') {
        return number(percent)
            .filter(|percent| *percent <= 100.0)
            .map(RateArgument::Percent)
            .ok_or_else(refused);
    }
    for (unit, factor) in [("gbit/s", 1e9), ("mbit/s", 1e6)] {
        if let Some(bits) = lower.strip_suffix(unit) {
            return number(bits).map(|bits| RateArgument::Bits(bits * factor)).ok_or_else(refused);
        }
    }
    rate(text).map(RateArgument::Packets).map_err(|_| refused())
}

/// A number of bytes above zero, with or without a unit.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write bytes, or a unit with them: 500000, 10MB, 1GB".to_owned())
}

/// How many times as fast, above zero.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "write how many times as fast: 0.5, 1, 10".to_owned())
}

/// Which packets of one port are meant.
pub(super) fn of_one_port(text: &str) -> Result<Match, ParseMatchError> {
    let found: Match = text.parse()?;
    if found.asks_for_port() { Err(ParseMatchError::OnePort) } else { Ok(found) }
}

/// Lengths of packets with FCS, as they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// From one to another, both the same if there is only one.
    Bytes(usize, usize),
    /// Simple IMIX.
    Imix,
}

/// A length, a range of lengths, or `imix`.
pub(super) fn lengths(text: &str) -> Result<Lengths, String> {
    if text.eq_ignore_ascii_case("imix") {
        return Ok(Lengths::Imix);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if (64..=last).contains(&first) => Ok(Lengths::Bytes(first, last)),
        _ => Err("write bytes with FCS, 64 or more: 64, 64-1518, or imix".to_owned()),
    }
}

/// What emulated ports are, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices(pub Vec<Kind>);

/// What emulated ports are: the last one is also for all that follow.
pub(super) fn devices(text: &str) -> Result<Devices, String> {
    text.split(',').map(device).collect::<Result<_, _>>().map(Devices)
}

/// What an emulated port is.
fn device(text: &str) -> Result<Kind, String> {
    use crate::commands::model::Device;
    if text == "virtio-net" {
        return Ok(Kind::VirtioNet);
    }
    let known = Device::from_str(text, false).map(|device| Kind::Ixgbe(device.into()));
    known.map_err(|_| {
        let names = Device::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        format!("there are {} and virtio-net, with a comma between those of several ports", names.join(", "))
    })
}

/// An address for what the first port sends, and one for what the second sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerPort {
    /// For what A sends.
    pub a: MacAddress,
    /// For what B sends.
    pub b: MacAddress,
}

/// One address for both ports, or two.
pub(super) fn per_port(text: &str) -> Result<PerPort, String> {
    let (a, b) = text.split_once(',').unwrap_or((text, text));
    let address = |text: &str| text.parse::<MacAddress>().map_err(|error| error.to_string());
    Ok(PerPort { a: address(a)?, b: address(b)? })
}
