//! The names of vendors and devices, from the machine's `pci.ids` where it has one.
//!
//! Contract: a name or nothing; an unreadable or odd file gives no names, never an error. The file is read once.
//!
//! Source: the format is described in the head of <https://pci-ids.ucw.cz/v2.2/pci.ids>: vendors start a line, devices
//! follow behind one tab, subsystems behind two; device classes ("C ") come after all vendors.

use super::Sysfs;

/// Where distributions keep the file.
const PLACES: [&str; 4] = [
    "/usr/share/misc/pci.ids",
    "/usr/share/hwdata/pci.ids",
    "/var/lib/pciutils/pci.ids",
    "/usr/share/pci.ids",
];

/// Vendors' and devices' names by id.
#[derive(Debug, Clone, Default)]
pub struct Names {
    text: String,
}

impl Names {
    /// Reads the machine's list; empty if it has none.
    pub fn load(sysfs: &Sysfs) -> Self {
        Self { text: PLACES.iter().find_map(|place| sysfs.read_optional(place)).unwrap_or_default() }
    }

    /// The vendor's name.
    pub fn vendor(&self, vendor: u16) -> Option<&str> {
        self.vendor_lines(vendor).next().and_then(|line| name_after(line, vendor))
    }

    /// The device's name, without the vendor's.
    pub fn device(&self, vendor: u16, device: u16) -> Option<&str> {
        self.vendor_lines(vendor).skip(1).find_map(|line| name_after(line.strip_prefix('\t')?, device))
    }

    /// The vendor's own line and all that belong to it.
    fn vendor_lines(&self, vendor: u16) -> impl Iterator<Item = &str> {
        let vendors = self.text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let mut begun = false;
        vendors.skip_while(move |line| name_after(line, vendor).is_none()).take_while(move |line| {
            let own = !begun;
            begun = true;
            own || line.starts_with('\t')
        })
    }
}

/// The name in a line `8086  Intel Corporation`, if the line is this id's.
fn name_after(line: &str, id: u16) -> Option<&str> {
    let (digits, name) = line.split_once("  ")?;
    let own = digits.len() == 4 && u16::from_str_radix(digits, 16).is_ok_and(|number| number == id);
    own.then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# a comment\n\n1af4  Red Hat, Inc.\n\t1000  Virtio network device\n\t\t01de 1000  A subsystem\n\t1041  \
                        Virtio 1.0 network device\n8086  Intel Corporation\n\t10fb  82599ES 10-Gigabit SFI/SFP+ Network \
                        Connection\n\t\t1041 0001  Not a device\n\nC 02  Network controller\n\t00  Ethernet controller\n";

    #[test]
    fn a_device_is_found_below_its_own_vendor_only() {
        let names = Names { text: LIST.to_owned() };
        assert_eq!(names.vendor(0x1af4), Some("Red Hat, Inc."));
        assert_eq!(names.device(0x1af4, 0x1041), Some("Virtio 1.0 network device"));
        assert_eq!(names.device(0x8086, 0x10fb), Some("82599ES 10-Gigabit SFI/SFP+ Network Connection"));
        assert_eq!(names.device(0x8086, 0x1041), None);
        assert_eq!(names.device(0x1af4, 0x10fb), None);
        assert_eq!(names.vendor(0x15b3), None);
    }

    #[test]
    fn a_list_that_is_no_list_gives_no_names() {
        for text in ["", "8086", "8086  \n\t", "\t\t\t", "\u{fffd}\n8086 x", "808é  x"] {
            let names = Names { text: text.to_owned() };
            assert_eq!(names.device(0x8086, 0x10fb), None, "{text:?}");
        }
    }
}
