//! Where a modern PCI device keeps its structures (virtio 1.2, section 4.1.4).

use crate::Error;
use ringway_pci::{Bar, Function, Width};

/// The vendor-specific capability (PCI Local Bus 3.0, appendix H).
const VENDOR_SPECIFIC: u8 = 0x09;

/// `cfg_type` (section 4.1.4).
pub(super) const COMMON: u8 = 1;
pub(super) const NOTIFY: u8 = 2;
pub(super) const DEVICE: u8 = 4;

/// One structure's place, as the device claims it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Structure {
    kind: u8,
    bar: u8,
    offset: u32,
    length: u32,
    /// The capability's own length.
    bytes: u8,
    /// Where the capability is in configuration space.
    at: u16,
}

/// All structures that the device names, in its order of preference.
pub(super) fn structures(function: &Function) -> Result<Vec<Structure>, Error> {
    let mut found = Vec::new();
    for capability in function.capabilities()? {
        if capability.id != VENDOR_SPECIFIC {
            continue;
        }
        let at = capability.offset;
        let byte = |offset: u16| {
            function.config_read(at.saturating_add(offset), Width::Byte).map(|value| value as u8)
        };
        // A capability of less than 16 bytes holds no structure.
        let bytes = byte(2)?;
        if at > 0x100 - 16 || bytes < 16 {
            continue;
        }
        found.push(Structure {
            kind: byte(3)?,
            bar: byte(4)?,
            offset: function.config_read(at.saturating_add(8), Width::Double)?,
            length: function.config_read(at.saturating_add(12), Width::Double)?,
            bytes,
            at,
        });
    }
    Ok(found)
}

/// What a driver asks of a structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) kind: u8,
    pub(super) what: &'static str,
    /// At least so many bytes.
    pub(super) minimum: u32,
    /// Its offset is a multiple of this (sections 4.1.4.3 to 4.1.4.6).
    pub(super) alignment: u32,
}

/// The registers of the first structure of a kind; `None` when there is none.
pub(super) fn map(
    function: &Function,
    structures: &[Structure],
    wanted: Wanted,
) -> Result<Option<(Bar, Structure)>, Error> {
    let Wanted { kind, what, minimum, alignment } = wanted;
    // Section 4.1.4: other values of `bar` are reserved and must be ignored.
    let Some(structure) = structures.iter().find(|structure| structure.kind == kind && structure.bar <= 5)
    else {
        return Ok(None);
    };
    let broken = |what| Error::Protocol { device: function.name().to_owned(), what, section: "4.1.4" };
    if structure.length < minimum {
        return Err(broken(format!("its {what} has {} bytes, not {minimum}", structure.length)));
    }
    if !structure.offset.is_multiple_of(alignment) {
        return Err(broken(format!(
            "its {what} lies at {:#x}, which is no multiple of {alignment}",
            structure.offset
        )));
    }
    let bar = function.bar(structure.bar, structure.offset.into(), structure.length.into())?;
    Ok(Some((bar, *structure)))
}

/// The same, of a structure that a driver can't do without.
pub(super) fn require(
    function: &Function,
    structures: &[Structure],
    wanted: Wanted,
) -> Result<(Bar, Structure), Error> {
    let missing = || Error::Legacy { device: function.name().to_owned(), what: wanted.what };
    map(function, structures, wanted)?.ok_or_else(missing)
}

/// How many bytes the doorbells of consecutive queues are apart (section 4.1.4.4).
pub(super) fn notify_multiplier(function: &Function, notify: Structure) -> Result<u32, Error> {
    if notify.bytes < 20 || notify.at > 0x100 - 20 {
        return Err(Error::Protocol {
            device: function.name().to_owned(),
            what: "its notification capability lacks the multiplier".to_owned(),
            section: "4.1.4.4",
        });
    }
    Ok(function.config_read(notify.at.saturating_add(16), Width::Double)?)
}
