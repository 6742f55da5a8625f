//! The options on which packet goes to which queue, and on pause frames: what they mean is the driver's affair, and what
//! a device can't do it says by name.

use clap::Args;
use ringway_port::{Filter, FiveTuple, Matching, Pause, Target};
use std::str::FromStr;

/// Steering and pausing. None of it: as the ports begin.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SteeringOptions {
    /// The key of the hash that spreads flows over the queues of both ports, in hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = key)]
    pub rss_key: Option<Key>,
    /// The queues that the hash's values stand for, in turn: 0,0,1 sends twice as many flows to queue 0 as to queue 1
    #[arg(long, value_name = "QUEUE[,QUEUE]", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(0..128))]
    pub rss_table: Vec<u16>,
    /// Pause frames of both ports: obey those that come (rx), send them (tx), or neither
    #[arg(long, value_name = "rx,tx|none", value_parser = pause)]
    pub pause: Option<Pause>,
    /// Packets that go to a queue of their own, or nowhere, at both ports; may be given several times. By EtherType
    /// (ethertype=0x88f7,queue=3), by some of protocol, addresses and ports (udp,destination-port=53,queue=1), or by
    /// flow director, all of whose filters name the same fields (exact,tcp,source=10.0.0.1,drop)
    #[arg(long = "filter", value_name = "FIELDS", value_parser = filter)]
    pub filters: Vec<Filter>,
}

/// A hash's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

/// Pairs of hexadecimal digits; colons may stand between them.
fn key(text: &str) -> Result<Key, String> {
    let digits: String = text.chars().filter(|letter| *letter != ':').collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => {
            let digit = |letter: &u8| char::from(*letter).to_digit(16);
            digit(high).zip(digit(low)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok())
        }
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().filter(|key| !key.is_empty()).map(Key).ok_or_else(|| {
        "write two hexadecimal digits a byte, 40 bytes for all cards that there are: 6d5a56da…".to_owned()
    })
}

fn pause(text: &str) -> Result<Pause, String> {
    match text {
        "none" => Ok(Pause { obey: false, send: false }),
        "rx" => Ok(Pause { obey: true, send: false }),
        "tx" => Ok(Pause { obey: false, send: true }),
        "rx,tx" | "tx,rx" => Ok(Pause { obey: true, send: true }),
        _ => Err("write rx, tx, rx,tx or none".to_owned()),
    }
}

/// What has been read of a filter.
#[derive(Debug, Default)]
struct Fields {
    exact: bool,
    ether_type: Option<u16>,
    tuple: FiveTuple,
    target: Option<Target>,
}

/// Stores a value where none is yet.
fn once<T>(place: &mut Option<T>, name: &str, value: Option<T>) -> Result<(), String> {
    let value = value.ok_or_else(|| format!("the value of {name} is none"))?;
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} says again what was said before")),
    }
}

fn filter(text: &str) -> Result<Filter, String> {
    let mut fields = Fields::default();
    for word in text.split(',') {
        fields.read(word)?;
    }
    let Fields { exact, ether_type, tuple, target } = fields;
    let target = target.ok_or("it says not where to: queue=N, or drop")?;
    let is_empty = tuple == FiveTuple::default();
    let matching = match (ether_type, exact, is_empty) {
        (Some(ether_type), false, true) => Matching::EtherType(ether_type),
        (Some(_), ..) => return Err("ethertype stands alone: other fields are of packets over IP".to_owned()),
        (None, _, true) => {
            return Err(
                "it compares nothing: ethertype, or some of tcp, udp, sctp, source, destination, source-port, \
                 destination-port"
                    .to_owned(),
            );
        }
        (None, true, false) => Matching::Exact(tuple),
        (None, false, false) => Matching::FiveTuple(tuple),
    };
    Ok(Filter { matching, target })
}

impl Fields {
    fn read(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let Self { exact, ether_type, tuple, target } = self;
        match name {
            "exact" if value.is_empty() => {
                *exact = true;
                Ok(())
            }
            "drop" if value.is_empty() => once(target, name, Some(Target::Drop)),
            "queue" => once(target, name, number(value).map(Target::Queue)),
            "ethertype" => once(ether_type, name, number(value)),
            "tcp" if value.is_empty() => once(&mut tuple.protocol, name, Some(6)),
            "udp" if value.is_empty() => once(&mut tuple.protocol, name, Some(17)),
            "sctp" if value.is_empty() => once(&mut tuple.protocol, name, Some(132)),
            "protocol" => once(&mut tuple.protocol, name, number(value)),
            "source" => once(&mut tuple.source, name, value.parse().ok()),
            "destination" => once(&mut tuple.destination, name, value.parse().ok()),
            "source-port" => once(&mut tuple.source_port, name, number(value)),
            "destination-port" => once(&mut tuple.destination_port, name, number(value)),
            _ => Err(format!(
                "there is no {word:?}, but ethertype=, exact, tcp, udp, sctp, protocol=, source=, destination=, \
                 source-port=, destination-port=, queue=, drop"
            )),
        }
    }
}

/// Decimal, or hexadecimal behind `0x`.
fn number<T: FromStr + TryFrom<u32>>(text: &str) -> Option<T> {
    match text.strip_prefix("0x") {
        Some(digits) => T::try_from(u32::from_str_radix(digits, 16).ok()?).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_in_all_their_kinds() {
        let to = |queue| Target::Queue(queue);
        let tuple = FiveTuple {
            protocol: Some(17),
            source: Some([10, 0, 0, 1].into()),
            destination_port: Some(53),
            ..FiveTuple::default()
        };
        for (text, matching, target) in [
            ("ethertype=0x88f7,queue=3", Matching::EtherType(0x88f7), to(3)),
            ("udp,source=10.0.0.1,destination-port=53,queue=1", Matching::FiveTuple(tuple), to(1)),
            ("queue=1,destination-port=0x35,protocol=17,source=10.0.0.1", Matching::FiveTuple(tuple), to(1)),
            ("exact,udp,source=10.0.0.1,destination-port=53,drop", Matching::Exact(tuple), Target::Drop),
        ] {
            assert_eq!(filter(text), Ok(Filter { matching, target }), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_told_by_the_word_that_is_wrong() {
        for (text, said) in [
            ("ethertype=0x88f7", "queue=N, or drop"),
            ("queue=1", "compares nothing"),
            ("exact,drop", "compares nothing"),
            ("ethertype=0x88f7,udp,queue=1", "stands alone"),
            ("ethertype=0x88f7,exact,queue=1", "stands alone"),
            ("udp,tcp,queue=1", "tcp says again"),
            ("udp,queue=1,drop", "drop says again"),
            ("udp,port=5,queue=1", "no \"port=5\""),
            ("tcp=1,queue=1", "no \"tcp=1\""),
            ("source=10.0.0.256,queue=1", "value of source"),
            ("ethertype=0x12345,queue=1", "value of ethertype"),
            ("udp,queue=many", "value of queue"),
            ("", "no \"\""),
        ] {
            let refusal = filter(text).unwrap_err();
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
    }

    #[test]
    fn keys_are_bytes_and_pauses_are_four() {
        assert_eq!(key("6d5aFF"), Ok(Key(vec![0x6d, 0x5a, 0xff])));
        assert_eq!(key("6d:5a"), Ok(Key(vec![0x6d, 0x5a])));
        for text in ["", "6d5", "6g", "äö", "+1"] {
            assert!(key(text).is_err(), "{text}");
        }
        assert_eq!(pause("rx,tx"), Ok(Pause { obey: true, send: true }));
        assert_eq!(pause("rx"), Ok(Pause { obey: true, send: false }));
        assert_eq!(pause("none"), Ok(Pause { obey: false, send: false }));
        assert!(pause("on").unwrap_err().contains("rx,tx"));
    }
}
