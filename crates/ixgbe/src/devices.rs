//! The device ids that the driver knows, and those that it knows not to drive.

use crate::Error;
use ringway_pci::Identity;
use ringway_pci::status::Supported;

/// Intel's vendor id.
const VENDOR: u16 = 0x8086;

/// The generations, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mac {
    /// 82599 and its relatives X520.
    I82599,
    /// X540.
    X540,
    /// X550.
    X550,
}

impl Mac {
    /// The packet buffer that received frames wait in, in KiB (section 8.2.3.8.6 of each datasheet).
    pub(crate) const fn receive_buffer(self) -> u32 {
        match self {
            Self::I82599 => 512,
            Self::X540 | Self::X550 => 384,
        }
    }
}

/// What is at the other end of the MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// An SFP+ cage.
    Fibre,
    /// Other chips on the same board or in the same chassis.
    Backplane,
    /// Twisted pair; the firmware brings the link up.
    Copper,
}

/// One device that is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) id: u16,
    pub(crate) name: &'static str,
    pub(crate) mac: Mac,
    pub(crate) media: Media,
}

const fn device(id: u16, name: &'static str, mac: Mac, media: Media) -> Device {
    Device { id, name, mac, media }
}

const DEVICES: &[Device] = &[
    device(0x10f7, "82599 KX4 backplane", Mac::I82599, Media::Backplane),
    device(0x10f8, "82599 combined backplane", Mac::I82599, Media::Backplane),
    device(0x10fb, "82599ES SFP+", Mac::I82599, Media::Fibre),
    device(0x10fc, "82599 XAUI/BX4 backplane", Mac::I82599, Media::Backplane),
    device(0x1507, "82599 SFP+ extension module", Mac::I82599, Media::Fibre),
    device(0x1514, "82599 KX4 mezzanine", Mac::I82599, Media::Backplane),
    device(0x1517, "82599 KR backplane", Mac::I82599, Media::Backplane),
    device(0x1529, "82599 SFP+ with FCoE", Mac::I82599, Media::Fibre),
    device(0x152a, "82599 backplane with FCoE", Mac::I82599, Media::Backplane),
    device(0x154a, "X520 quad-port SFP+", Mac::I82599, Media::Fibre),
    device(0x154d, "X520 SFP+", Mac::I82599, Media::Fibre),
    device(0x1557, "82599EN SFP+", Mac::I82599, Media::Fibre),
    device(0x1528, "X540-AT2", Mac::X540, Media::Copper),
    device(0x1560, "X540-AT1", Mac::X540, Media::Copper),
    device(0x1563, "X550-AT2", Mac::X550, Media::Copper),
    device(0x15d1, "X550-AT1", Mac::X550, Media::Copper),
];

/// Relatives that this driver would get wrong.
const REFUSED: &[(u16, &str, &str)] = &[
    (0x10ed, "82599 virtual function", "bind the physical function 8086:10fb, or one of its relatives"),
    (0x1515, "X540 virtual function", "bind the physical function 8086:1528"),
    (0x1565, "X550 virtual function", "bind the physical function 8086:1563"),
    (0x151c, "82599 T3 LAN on board", "its PHY needs a set-up of its own; 8086:10fb works"),
    (0x10f9, "82599 CX4", "its PHY needs a set-up of its own; 8086:10fb works"),
    (0x1558, "X520 QSFP+", "its module needs a set-up of its own; 8086:10fb works"),
    (0x10c6, "82598", "the 82598 has other registers; 82599, X540 and X550 work"),
    (0x10c7, "82598", "the 82598 has other registers; 82599, X540 and X550 work"),
    (0x10b6, "82598", "the 82598 has other registers; 82599, X540 and X550 work"),
];

/// The devices that this driver drives.
pub const SUPPORTED: &[Supported] = &{
    let mut table = [Supported { vendor: VENDOR, device: 0, driver: "ixgbe" }; DEVICES.len()];
    let mut index = 0;
    while index < DEVICES.len() {
        table[index].device = DEVICES[index].id;
        index += 1;
    }
    table
};

/// Whether this driver knows a device by its ids: it drives it, or [`open`](crate::open) says what works instead.
pub fn knows(vendor: u16, device: u16) -> bool {
    let driven = DEVICES.iter().map(|known| known.id);
    vendor == VENDOR && driven.chain(REFUSED.iter().map(|(id, ..)| *id)).any(|id| id == device)
}

/// The device's entry.
pub(crate) fn find(identity: &Identity) -> Result<Device, Error> {
    if identity.vendor == VENDOR
        && let Some(known) = DEVICES.iter().find(|known| known.id == identity.device)
    {
        return Ok(*known);
    }
    let refused = REFUSED.iter().find(|(id, ..)| identity.vendor == VENDOR && *id == identity.device);
    Err(Error::UnknownDevice {
        device: identity.name.clone(),
        vendor: identity.vendor,
        id: identity.device,
        name: refused.map(|(_, name, _)| *name),
        instead: refused
            .map_or("it drives 82599, X540 and X550, such as 8086:10fb", |(.., instead)| *instead),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_what_is_supported_is_that_of_what_is_driven() {
        let driven: Vec<u16> = SUPPORTED.iter().map(|known| known.device).collect();
        assert!(driven.iter().eq(DEVICES.iter().map(|device| &device.id)));
        assert!(SUPPORTED.iter().all(|known| known.vendor == 0x8086 && known.driver == "ixgbe"));
        assert!(REFUSED.iter().all(|(id, ..)| !driven.contains(id)));
    }

    fn identity(vendor: u16, device: u16) -> Identity {
        Identity {
            name: "0000:03:00.0".to_owned(),
            vendor,
            device,
            subsystem_vendor: 0,
            subsystem: 0,
            revision: 0,
            class: 0x02_0000,
            numa_node: None,
        }
    }

    #[test]
    fn an_unknown_device_is_refused_by_name_with_what_would_work() {
        let virtual_function = find(&identity(0x8086, 0x10ed)).unwrap_err().to_string();
        assert!(
            virtual_function.contains("virtual function") && virtual_function.contains("10fb"),
            "{virtual_function}"
        );
        let other = find(&identity(0x15b3, 0x1017)).unwrap_err().to_string();
        assert!(other.contains("15b3:1017") && other.contains("8086:10fb"), "{other}");
        // The same number of another vendor is another device.
        assert!(find(&identity(0x1234, 0x10fb)).is_err());
        assert_eq!(find(&identity(0x8086, 0x10fb)).unwrap().media, Media::Fibre);
    }

    #[test]
    fn no_id_stands_twice() {
        for (index, device) in DEVICES.iter().enumerate() {
            assert!(DEVICES[index + 1..].iter().all(|other| other.id != device.id), "{:04x}", device.id);
            assert!(REFUSED.iter().all(|(id, ..)| *id != device.id), "{:04x}", device.id);
        }
    }
}
