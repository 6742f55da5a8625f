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
        if at > 0x100 - 16 || byte(2)? < 16 {
            continue;
        }
        found.push(Structure {
            kind: byte(3)?,
            bar: byte(4)?,
            offset: function.config_read(at.saturating_add(8), Width::Double)?,
            length: function.config_read(at.saturating_add(12), Width::Double)?,
            at,
        });
    }
    Ok(found)
}

/// The registers of the first usable structure of a kind, at least `minimum` bytes of it.
pub(super) fn map(
    function: &Function,
    structures: &[Structure],
    kind: u8,
    minimum: u32,
    what: &'static str,
) -> Result<(Bar, Structure), Error> {
    let structure = structures
        .iter()
        // Section 4.1.4: other values of `bar` are reserved and must be ignored.
        .find(|structure| structure.kind == kind && structure.bar <= 5)
        .ok_or_else(|| Error::Legacy { device: function.name().to_owned(), what })?;
    if structure.length < minimum {
        return Err(Error::Protocol {
            device: function.name().to_owned(),
            what: format!("its {what} has {} bytes, not {minimum}", structure.length),
            section: "4.1.4",
        });
    }
    let bar = function.bar(structure.bar, structure.offset.into(), structure.length.into())?;
    Ok((bar, *structure))
}

/// How many bytes the doorbells of consecutive queues are apart (section 4.1.4.4).
pub(super) fn notify_multiplier(function: &Function, notify: Structure) -> Result<u32, Error> {
    Ok(function.config_read(notify.at.saturating_add(16), Width::Double)?)
}
