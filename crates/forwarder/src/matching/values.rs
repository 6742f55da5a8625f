//! The forms of values: numbers, addresses, flags, each with a mask where the field takes one.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Bits that have to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masked {
    pub(super) value: u128,
    /// The bits that are looked at.
    pub(super) mask: u128,
}

impl Masked {
    /// All of so many bits.
    pub(super) fn exact(value: u128, bits: u32) -> Self {
        Self { value, mask: ones(bits) }
    }

    /// The same, so many bits to the left.
    pub(super) fn moved(self, bits: u32) -> Self {
        let moved = |word: u128| word.checked_shl(bits).unwrap_or_default();
        Self { value: moved(self.value), mask: moved(self.mask) }
    }

    /// Whether nothing has both.
    pub(super) fn excludes(self, other: Self) -> bool {
        (self.value ^ other.value) & self.mask & other.mask != 0
    }

    fn with(value: u128, mask: u128) -> Self {
        Self { value: value & mask, mask }
    }
}

fn ones(bits: u32) -> u128 {
    u128::MAX.checked_shr(128u32.saturating_sub(bits)).unwrap_or_default()
}

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A number of so many bits.
    Number(u32),
    /// The same, or with a mask behind a slash.
    MaskedNumber(u32),
    /// An Ethernet address.
    Ethernet,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// A VLAN id: of the tag's 16 bits those that matter. 0xffff: no tag.
    VlanId,
    /// A VLAN priority, in the same bits.
    VlanPriority,
    /// A type of service without the congestion bits.
    Service,
    /// Which fragments.
    Fragment,
    /// Flags of TCP.
    TcpFlags,
}

/// The bit of `vlan_tci` that says that there is a tag.
pub(super) const TAGGED: u128 = 0x1000;

/// From the lowest bit (RFC 9293, section 3.1; RFC 3540 for `ns`).
const FLAGS: [&str; 9] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];
const FLAG_BITS: u32 = 12;

impl Form {
    /// What a value has to look like.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Number(1) => "0 or 1",
            Self::Number(2) => "a number from 0 to 3",
            Self::Number(3) => "a number from 0 to 7",
            Self::Number(6) => "a number from 0 to 63",
            Self::Number(8) => "a number from 0 to 255, or 0x0 to 0xff",
            Self::Number(16) => "a number from 0 to 65535, or 0x0 to 0xffff",
            Self::Number(_) => "a number of the field's width, decimal or with 0x",
            Self::MaskedNumber(16) => {
                "a number from 0 to 65535 or 0xffff, with a mask behind a slash if you like: 0x1000/0xf000"
            }
            Self::MaskedNumber(_) => {
                "a number of the field's width, with a mask behind a slash if you like: 0x5/0xf"
            }
            Self::Ethernet => {
                "an Ethernet address, with a mask if you like: 02:00:00:00:00:01, 01:00:00:00:00:00/01:00:00:00:00:00"
            }
            Self::V4 => {
                "an IPv4 address, with a length or a mask if you like: 10.0.0.1, 10.0.0.0/8, 10.0.0.1/255.0.0.255"
            }
            Self::V6 => {
                "an IPv6 address, with a length or a mask if you like: fd00::1, fd00::/64, ::1/::ffff"
            }
            Self::VlanId => "a VLAN id from 0 to 4095, or 0xffff for packets without a tag",
            Self::VlanPriority => "a number from 0 to 7",
            Self::Service => "a multiple of 4 up to 252: the congestion bits are nw_ecn",
            Self::Fragment => "no, yes, first, later or not_later",
            Self::TcpFlags => {
                "flags that are set and not (+syn-ack), all that are set (syn|ack), or a number with a mask (0x2/0x12)"
            }
        }
    }

    /// Reads a value. `None`: it is none.
    pub(super) fn parse(self, text: &str) -> Option<Masked> {
        match self {
            Self::Number(bits) => number(text, bits).map(|value| Masked::exact(value, bits)),
            Self::MaskedNumber(bits) => masked_number(text, bits),
            Self::Ethernet => with_mask(text, 48, ethernet),
            Self::V4 => with_mask(text, 32, |text| Some(text.parse::<Ipv4Addr>().ok()?.to_bits().into())),
            Self::V6 => with_mask(text, 128, |text| Some(text.parse::<Ipv6Addr>().ok()?.to_bits())),
            Self::VlanId => match number(text, 16)? {
                0xffff => Some(Masked { value: 0, mask: ones(16) }),
                id if id < 0x1000 => Some(Masked { value: id | TAGGED, mask: 0x0fff | TAGGED }),
                _ => None,
            },
            Self::VlanPriority => number(text, 3)
                .map(|priority| Masked { value: priority << 13 | TAGGED, mask: 0xe000 | TAGGED }),
            Self::Service => {
                number(text, 8).filter(|value| value & 3 == 0).map(|value| Masked { value, mask: 0xfc })
            }
            Self::Fragment => Some(match text {
                "no" => Masked { value: 0, mask: 3 },
                "yes" => Masked { value: 1, mask: 1 },
                "first" => Masked { value: 1, mask: 3 },
                "later" => Masked { value: 3, mask: 3 },
                "not_later" => Masked { value: 0, mask: 2 },
                _ => return None,
            }),
            Self::TcpFlags => flags(text),
        }
    }
}

/// Decimal, or hexadecimal with 0x. A leading zero would be octal to ovs-ofctl, and is refused.
fn number(text: &str, bits: u32) -> Option<u128> {
    let digits = |text: &str, radix: u32| {
        let is_number = !text.is_empty() && text.chars().all(|letter| letter.is_digit(radix));
        is_number.then(|| u128::from_str_radix(text, radix).ok()).flatten()
    };
    let value = match text.strip_prefix("0x") {
        Some(text) => digits(text, 16),
        None if text.len() > 1 && text.starts_with('0') => None,
        None => digits(text, 10),
    };
    value.filter(|value| value & !ones(bits) == 0)
}

fn masked_number(text: &str, bits: u32) -> Option<Masked> {
    match text.split_once('/') {
        Some((value, mask)) => Some(Masked::with(number(value, bits)?, number(mask, bits)?)),
        None => number(text, bits).map(|value| Masked::exact(value, bits)),
    }
}

/// An address, and behind a slash a mask like it, or for Internet addresses the length of a prefix.
fn with_mask(text: &str, bits: u32, address: impl Fn(&str) -> Option<u128>) -> Option<Masked> {
    let Some((value, mask)) = text.split_once('/') else {
        return address(text).map(|value| Masked::exact(value, bits));
    };
    let prefix = || {
        let length = mask.parse::<u32>().ok().filter(|&length| length <= bits && bits != 48)?;
        Some(ones(bits) & !ones(bits.saturating_sub(length)))
    };
    Some(Masked::with(address(value)?, address(mask).or_else(prefix)?))
}

fn ethernet(text: &str) -> Option<u128> {
    let mut address = 0u128;
    let mut count = 0;
    for byte in text.split(':') {
        let value = u8::from_str_radix(byte, 16).ok().filter(|_| matches!(byte.len(), 1 | 2))?;
        address = address << 8 | u128::from(value);
        count += 1;
    }
    (count == 6).then_some(address)
}

fn flag(name: &str) -> Option<u128> {
    let place = FLAGS.iter().position(|flag| *flag == name)?;
    Some(1 << place)
}

fn flags(text: &str) -> Option<Masked> {
    if text.starts_with(|letter: char| letter.is_ascii_digit()) {
        return masked_number(text, FLAG_BITS);
    }
    if text.starts_with(['+', '-']) {
        let (mut value, mut mask) = (0, 0);
        let mut rest = text;
        while let Some(sign) = rest.chars().next() {
            let name = rest.get(1..)?;
            let end = name.find(['+', '-']).unwrap_or(name.len());
            let bit = flag(name.get(..end)?).filter(|bit| mask & bit == 0)?;
            mask |= bit;
            value |= if sign == '+' { bit } else { 0 };
            rest = name.get(end..)?;
        }
        return Some(Masked { value, mask });
    }
    let all = text.split('|').map(flag).try_fold(0, |all, bit| Some(all | bit?))?;
    Some(Masked::exact(all, FLAG_BITS))
}
