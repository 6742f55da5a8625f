//! Rates as they are on the wire, and numbers for people.

use std::fmt;
use std::time::Duration;

/// What a frame takes on the wire beyond the bytes that a driver counts: preamble, start delimiter and gap (20 bytes;
/// IEEE 802.3, sections 4.2.7 and 4.4.2) and the frame check sequence (4). As ixy and MoonGen count.
pub const FRAMING: u64 = 24;

/// The smallest frame on the wire, framing and all, in bits.
pub const SMALLEST_BITS: f64 = 84.0 * 8.0;

/// Packets and bits per second on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Millions of packets per second.
    pub mpps: f64,
    /// Gigabits per second.
    pub gbits: f64,
}

impl Rate {
    /// Of `packets` with `bytes` in all (without FCS) in `time`.
    pub fn new(packets: u64, bytes: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        if seconds <= 0.0 {
            return Self::default();
        }
        let on_wire = packets.saturating_mul(FRAMING).saturating_add(bytes);
        Self { mpps: packets as f64 / seconds / 1e6, gbits: on_wire as f64 * 8.0 / seconds / 1e9 }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.3} Mpps {:7.3} Gbit/s", self.mpps, self.gbits)
    }
}

/// A number in groups of three digits: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len().saturating_sub(index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes: `8.0 MiB`.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= f64::from(1 << 30) {
        format!("{:.1} GiB", bytes / f64::from(1 << 30))
    } else if bytes >= f64::from(1 << 20) {
        format!("{:.1} MiB", bytes / f64::from(1 << 20))
    } else {
        format!("{:.0} KiB", bytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_frames_fill_ten_gigabits_at_their_well_known_rate() {
        let packets = 14_880_952;
        let rate = Rate::new(packets, packets * 60, Duration::from_secs(1));
        assert_eq!(rate.to_string(), " 14.881 Mpps  10.000 Gbit/s");
        let rate = Rate::new(packets * 2, packets * 120, Duration::from_secs(2));
        assert_eq!(rate.to_string(), " 14.881 Mpps  10.000 Gbit/s");
    }

    #[test]
    fn no_time_gives_no_rate_and_large_counts_no_overflow() {
        assert_eq!(Rate::new(5, 5, Duration::ZERO), Rate::default());
        assert!(Rate::new(u64::MAX, u64::MAX, Duration::from_secs(1)).gbits.is_finite());
    }

    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"].map(str::to_owned)
        );
        assert_eq!(
            [40 << 10, 8 << 20, 3 << 29].map(size),
            ["40 KiB", "8.0 MiB", "1.5 GiB"].map(str::to_owned)
        );
    }
}
