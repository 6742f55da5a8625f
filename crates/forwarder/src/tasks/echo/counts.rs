//! What was answered and what was not, by kind.
//!
//! Contract: one writer, the task; anyone reads. Answered and ignored add up to what was received.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// A request for an IPv4 address's Ethernet address.
    Arp,
    /// An ICMP echo request.
    EchoV4,
    /// The same with IP options, which the answer leaves out.
    EchoV4WithOptions,
    /// An ICMPv6 echo request.
    EchoV6,
    /// A request for an IPv6 address's Ethernet address.
    Solicitation,
}

impl Answered {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Arp, Self::EchoV4, Self::EchoV4WithOptions, Self::EchoV6, Self::Solicitation];

    /// The kind in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::EchoV4 => "echo_v4",
            Self::EchoV4WithOptions => "echo_v4_with_options",
            Self::EchoV6 => "echo_v6",
            Self::Solicitation => "neighbour_solicitation",
        }
    }
}

/// Why a frame was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Its Ethernet address is another station's.
    OtherStation,
    /// Its Internet address, or what it asks for, is none of ours.
    OtherAddress,
    /// Neither ARP nor IP.
    OtherProtocol,
    /// For us, but no request that is answered: UDP, TCP, replies, errors.
    OtherMessage,
    /// Cut short, or a field that can't be.
    Malformed,
    /// The checksum of the IPv4 header, or of the message.
    WrongChecksum,
    /// Fragments are not put together.
    Fragment,
    /// IPv6 extension headers before the message.
    ExtensionHeaders,
    /// From an address that nobody can be answered at: a group, the loopback, none, or our own.
    Unanswerable,
    /// Another station says that it has an address of ours.
    ClaimsOurAddress,
    /// In more than one buffer.
    TooLong,
}

impl Ignored {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::OtherStation,
        Self::OtherAddress,
        Self::OtherProtocol,
        Self::OtherMessage,
        Self::Malformed,
        Self::WrongChecksum,
        Self::Fragment,
        Self::ExtensionHeaders,
        Self::Unanswerable,
        Self::ClaimsOurAddress,
        Self::TooLong,
    ];

    /// The reason in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherStation => "other_station",
            Self::OtherAddress => "other_address",
            Self::OtherProtocol => "other_protocol",
            Self::OtherMessage => "other_message",
            Self::Malformed => "malformed",
            Self::WrongChecksum => "wrong_checksum",
            Self::Fragment => "fragment",
            Self::ExtensionHeaders => "extension_headers",
            Self::Unanswerable => "unanswerable",
            Self::ClaimsOurAddress => "claims_our_address",
            Self::TooLong => "too_long",
        }
    }
}

/// Written by the task.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EchoCounters {
    answered: [AtomicU64; Answered::ALL.len()],
    ignored: [AtomicU64; Ignored::ALL.len()],
}

/// For counters with one writer.
fn add(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

impl EchoCounters {
    pub(super) fn answered(&self, kind: Answered) {
        add(self.answered.get(kind as usize));
    }

    pub(super) fn ignored(&self, reason: Ignored) {
        add(self.ignored.get(reason as usize));
    }

    /// What was counted.
    pub fn read(&self) -> EchoCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EchoCounts {
            answered: self.answered.each_ref().map(load),
            ignored: self.ignored.each_ref().map(load),
        }
    }
}

/// A reading of the counters, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoCounts {
    answered: [u64; Answered::ALL.len()],
    ignored: [u64; Ignored::ALL.len()],
}

impl EchoCounts {
    /// How many of a kind were answered.
    pub fn answered(&self, kind: Answered) -> u64 {
        self.answered.get(kind as usize).copied().unwrap_or_default()
    }

    /// How many were ignored for a reason.
    pub fn ignored(&self, reason: Ignored) -> u64 {
        self.ignored.get(reason as usize).copied().unwrap_or_default()
    }

    /// How many were answered.
    pub fn all_answered(&self) -> u64 {
        self.answered.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// How many were ignored.
    pub fn all_ignored(&self) -> u64 {
        self.ignored.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// What was counted since an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        fn less<const N: usize>(now: &[u64; N], before: &[u64; N]) -> [u64; N] {
            std::array::from_fn(|index| {
                let count = |counts: &[u64; N]| counts.get(index).copied().unwrap_or_default();
                count(now).saturating_sub(count(before))
            })
        }
        Self {
            answered: less(&self.answered, &before.answered),
            ignored: less(&self.ignored, &before.ignored),
        }
    }
}

impl Serialize for EchoCounts {
    /// Two objects, with a field for each kind and each reason.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Named {
            answered: BTreeMap<&'static str, u64>,
            ignored: BTreeMap<&'static str, u64>,
        }
        let answered = Answered::ALL.map(|kind| (kind.name(), self.answered(kind)));
        let ignored = Ignored::ALL.map(|reason| (reason.name(), self.ignored(reason)));
        Named { answered: answered.into(), ignored: ignored.into() }.serialize(serializer)
    }
}
