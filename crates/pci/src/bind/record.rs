//! What binding remembers of a function: who had it before.
//!
//! Contract: a record is a small text of `key=value` lines in `/run/ringway`, which a reboot empties, as it
//! undoes the binding. A lasting binding carries the same lines as comments in its udev rule. Reading is
//! lenient: a line that makes no sense is passed over, as the file could be of another version.

use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::sysfs::Sysfs;

use super::persist;

/// Where records lie.
pub(crate) const FOLDER: &str = "/run/ringway";

/// What there was before a function was bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The driver.
    pub(crate) driver: Option<String>,
    /// The driver that it was reserved for.
    pub(crate) reserved: Option<String>,
    /// Its network interfaces.
    pub(crate) interfaces: Vec<String>,
    /// The user whom its group was given to.
    pub(crate) user: Option<u32>,
    /// The functions on whose account it was taken: it shares their IOMMU group. None if it was itself named.
    pub(crate) companion_of: Vec<Address>,
}

impl Record {
    /// The lines of the record.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.driver.iter().map(|driver| format!("driver={driver}")));
        lines.extend(self.reserved.iter().map(|driver| format!("reserved={driver}")));
        lines.extend(self.interfaces.iter().map(|name| format!("interface={name}")));
        lines.extend(self.user.iter().map(|user| format!("user={user}")));
        lines.extend(self.companion_of.iter().map(|address| format!("companion-of={address}")));
        lines
    }

    /// The record as a file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("# Written by `ringway bind`, for `ringway unbind`.\n");
        for line in self.lines() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Reads lines; what isn't understood is passed over.
    pub(crate) fn from_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut record = Self::default();
        for (key, value) in lines.filter_map(|line| line.trim().split_once('=')) {
            match key {
                "driver" => record.driver = driver_name(value),
                "reserved" => record.reserved = driver_name(value),
                "interface" => record.interfaces.push(value.to_owned()),
                "user" => record.user = value.parse().ok(),
                "companion-of" => record.companion_of.extend(value.parse::<Address>().ok()),
                _ => {}
            }
        }
        record
    }

    /// What is remembered of a function: by this boot's record, or else by its udev rule.
    pub(crate) fn load(sysfs: &Sysfs, address: Address) -> Option<Self> {
        match sysfs.read_optional(path(address)) {
            Some(text) => Some(Self::from_lines(text.lines())),
            None => persist::record(sysfs, address),
        }
    }
}

/// A name that may stand in a path below the drivers' folder, and as an argument of a program that isn't an option.
pub(crate) fn driver_name(text: &str) -> Option<String> {
    let plain = !text.is_empty() && !text.contains('/') && !text.starts_with(['.', '-']);
    plain.then(|| text.to_owned())
}

/// Where a function's record lies.
pub(crate) fn path(address: Address) -> PathBuf {
    Path::new(FOLDER).join(address.to_string())
}

/// The functions that this boot's records are of.
pub(crate) fn recorded(sysfs: &Sysfs) -> Vec<Address> {
    sysfs.list(FOLDER).iter().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let record = Record {
            driver: Some("ixgbe".to_owned()),
            reserved: Some("pci-stub".to_owned()),
            interfaces: vec!["enp3s0f0".to_owned(), "enp3s0f0d1".to_owned()],
            user: Some(1000),
            companion_of: vec!["0000:03:00.1".parse().unwrap()],
        };
        assert_eq!(Record::from_lines(record.text().lines()), record);
        assert_eq!(Record::from_lines(Record::default().text().lines()), Record::default());
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let text = "driver=../../../etc\nreserved=..\nuser=me\ncompanion-of=nowhere\nfuture=1\n=\n\u{fffd}\ninterface";
        assert_eq!(Record::from_lines(text.lines()), Record::default());
    }
}
