//! Matches in the syntax of Open vSwitch's tools: `tcp,tp_dst=80,nw_src=10.0.0.0/8`.
//!
//! The fields are those of ovs-fields(7) that a packet carries by itself, with their short and long names, and the
//! protocol words of ovs-ofctl(8). As there, `tcp` means TCP over IPv4 and `tcp6` over IPv6, a field needs the protocol
//! that it belongs to beside it, and all that is named has to be so. What a packet's fields are says the flow parser.
//!
//! Not here: rules of several matches with priorities; a match is one conjunction.

mod error;
mod fields;
mod values;

#[cfg(test)]
mod tests;

pub use error::ParseMatchError;

use fields::{Alias, FIELDS, Field, Need, OF_SWITCHES, WORDS, Word};
use ringway_flow::{FlowKey, V3_7};
use std::fmt;
use std::str::FromStr;
use values::{Masked, TAGGED};

/// Which packets are meant.
///
/// ```
/// use ringway::matching::Match;
/// let web: Match = "tcp,tp_dst=80,nw_src=10.0.0.0/8".parse()?;
/// assert!(!web.takes_frame(&[0; 60]));
/// assert!("tp_dst=80".parse::<Match>().is_err_and(|error| error.to_string().contains("tcp,tp_dst=80")));
/// # Ok::<(), ringway::matching::ParseMatchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Match {
    text: String,
    terms: Vec<Term>,
}

/// One field's bits that have to be so.
#[derive(Clone, Copy, Debug)]
struct Term {
    field: &'static Field,
    masked: Masked,
}

impl Match {
    /// Whether a packet with these fields is meant.
    #[inline]
    pub fn takes(&self, key: &FlowKey<V3_7>) -> bool {
        self.terms.iter().all(|term| ((term.field.read)(key) ^ term.masked.value) & term.masked.mask == 0)
    }

    /// The same of a frame that arrived at no port in particular.
    #[inline]
    pub fn takes_frame(&self, frame: &[u8]) -> bool {
        self.takes(&FlowKey::of_frame(frame))
    }

    /// Whether it asks where packets arrived.
    pub fn asks_for_port(&self) -> bool {
        self.terms.iter().any(|term| term.field.is_port())
    }

    /// Adds what a field has to be. `given`: what the user wrote.
    fn add(&mut self, field: &'static Field, masked: Masked, given: &str) -> Result<(), ParseMatchError> {
        // Other fields may be parts of the same word of the packet.
        let shares = |other: &Term| {
            let ((word, left), (other_word, other_left)) = (field.shares()?, other.field.shares()?);
            let is_other = word == other_word && !std::ptr::eq(other.field, field);
            (is_other && masked.moved(left).excludes(other.masked.moved(other_left))).then_some(other.field)
        };
        if let Some(other) = self.terms.iter().find_map(shares) {
            return Err(ParseMatchError::Twice { given: given.to_owned(), field: other.name().to_owned() });
        }
        let earlier = self.terms.iter().find(|term| std::ptr::eq(term.field, field));
        match earlier {
            Some(term) if term.masked == masked => Ok(()),
            Some(_) => {
                Err(ParseMatchError::Twice { given: given.to_owned(), field: field.name().to_owned() })
            }
            None => {
                self.terms.push(Term { field, masked });
                Ok(())
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), ParseMatchError> {
        let Some(&(_, kind, protocol)) = WORDS.iter().find(|(name, ..)| *name == word) else {
            return Err(ParseMatchError::Word(word.to_owned()));
        };
        self.add(&FIELDS[fields::TYPE], Masked::exact(kind.into(), 16), word)?;
        match protocol {
            Some(protocol) => self.add(&FIELDS[fields::PROTOCOL], Masked::exact(protocol.into(), 8), word),
            None => Ok(()),
        }
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), ParseMatchError> {
        let Some((field, alias)) = fields::find(name) else {
            let name = name.to_owned();
            return Err(if OF_SWITCHES.iter().any(|start| name.starts_with(start)) {
                ParseMatchError::OfSwitch(name)
            } else {
                ParseMatchError::Unknown(name)
            });
        };
        // As ovs-ofctl has it: anything.
        if matches!(value, "*" | "ANY") {
            return Ok(());
        }
        let masked = field.form.parse(value).ok_or_else(|| ParseMatchError::Value {
            field: name.to_owned(),
            value: value.to_owned(),
            expected: field.form.expected(),
        })?;
        let is_tag = matches!(field.shares(), Some((Word::Tag, _)));
        if is_tag && masked.mask & TAGGED != 0 && masked.value & TAGGED == 0 && masked.value != 0 {
            return Err(ParseMatchError::Untagged(format!("{name}={value}")));
        }
        // `tcp_dst` is `tp_dst` and says that it is TCP's.
        let needs = if let Alias::Of(protocols) = alias { protocols } else { field.needs };
        self.needs(name, value, needs)?;
        self.add(field, masked, &format!("{name}={value}"))
    }

    /// Whether one of these protocols is asked for.
    fn needs(&self, name: &str, value: &str, needs: &[Need]) -> Result<(), ParseMatchError> {
        let asked = |index: usize| {
            let found = self.terms.iter().find(|term| std::ptr::eq(term.field, &FIELDS[index]));
            found.map(|term| term.masked.value)
        };
        let (kind, protocol) = (asked(fields::TYPE), asked(fields::PROTOCOL));
        let tagged = self.terms.iter().any(|term| term.field.asks_for_tag(term.masked));
        if needs.is_empty() || needs.iter().any(|need| need.is_met(kind, protocol, tagged)) {
            return Ok(());
        }
        let words: Vec<&str> = needs.iter().map(|need| need.word()).collect();
        Err(ParseMatchError::Needs {
            field: name.to_owned(),
            words: words.join(", "),
            example: format!("{},{name}={value}", words.first().copied().unwrap_or_default()),
        })
    }
}

impl FromStr for Match {
    type Err = ParseMatchError;

    fn from_str(text: &str) -> Result<Self, ParseMatchError> {
        let parts = || text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
        let mut found = Self { text: parts().collect::<Vec<_>>().join(","), terms: Vec::new() };
        // What a field needs may stand behind it, so it is looked at first.
        let rank = |part: &str| match part.split_once('=') {
            None => 0,
            Some((name, _)) => fields::find(name).map_or(3, |(field, _)| field.rank()),
        };
        for now in 0..=3 {
            for part in parts().filter(|part| rank(part) == now) {
                match part.split_once('=') {
                    None => found.word(part)?,
                    Some((name, value)) => found.field(name, value)?,
                }
            }
        }
        if found.terms.is_empty() {
            return Err(ParseMatchError::Empty);
        }
        Ok(found)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
