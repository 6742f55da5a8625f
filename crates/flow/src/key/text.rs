//! Small formatting helpers that the two syntaxes share.

use core::fmt::{self, Write};
use core::net::Ipv6Addr;

/// A number as C's `%#x` prints it: hexadecimal, and 0 without prefix.
pub(super) struct Hex<T>(pub(super) T);

impl<T: fmt::LowerHex + PartialEq + Default> fmt::Display for Hex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == T::default() { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// A number of one digit as it is, a larger one in hexadecimal.
pub(super) struct Digit(pub(super) u16);

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 9 { write!(f, "{:#x}", self.0) } else { write!(f, "{}", self.0) }
    }
}

/// An IPv6 address as the C library's `inet_ntop()` prints it.
///
/// It differs from Rust's own form for addresses in `::/96`: `::7f:0` here is what Rust has, but the C library
/// writes `::0.127.0.0`.
pub(super) struct Address(pub(super) Ipv6Addr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                write!(f, "::{a}.{b}.{c}.{d}")
            }
            _ => write!(f, "{}", self.0),
        }
    }
}

/// Names of set bits with a separator between them; "0" for none.
pub(super) struct Flags<'a> {
    pub(super) bits: u32,
    pub(super) names: &'a [&'a str],
}

impl fmt::Display for Flags<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == 0 {
            return f.write_char('0');
        }
        let mut separator = "";
        let mut rest = self.bits;
        for (bit, name) in self.names.iter().enumerate() {
            if self.bits >> bit & 1 != 0 && !name.is_empty() {
                write!(f, "{separator}{name}")?;
                separator = "|";
                rest &= !(1 << bit);
            }
        }
        if rest != 0 {
            write!(f, "{separator}0x{rest:x}")?;
        }
        Ok(())
    }
}

/// Names of the TCP flags from the lowest bit.
pub(super) const TCP_FLAGS: [&str; 12] =
    ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];

/// Names of the connection state bits from the lowest, as `ovs-ofctl` has them.
pub(super) const CONNECTION_STATE: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];

/// Writes fields with a comma before each but the first.
pub(super) struct List<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    first: bool,
}

impl<'a, 'b> List<'a, 'b> {
    pub(super) fn new(f: &'a mut fmt::Formatter<'b>) -> Self {
        List { f, first: true }
    }

    /// Writes one field.
    pub(super) fn put(&mut self, field: fmt::Arguments<'_>) -> fmt::Result {
        if !core::mem::take(&mut self.first) {
            self.f.write_char(',')?;
        }
        self.f.write_fmt(field)
    }

    /// Writes on without a comma.
    pub(super) fn append(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        self.f.write_fmt(text)
    }

    /// The bare output, where the next field stands after a bracket.
    pub(super) fn open(&mut self, text: &str) -> fmt::Result {
        if !self.first {
            self.f.write_char(',')?;
        }
        self.first = true;
        self.f.write_str(text)
    }

    /// Ends a bracket.
    pub(super) fn close(&mut self) -> fmt::Result {
        self.first = false;
        self.f.write_char(')')
    }
}
