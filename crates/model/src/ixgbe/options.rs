//! What kind of 82599 it is to be.

/// Which controller of the family the model passes for.
///
/// Stock `ixgbe.ko` (Linux 6.12) takes all four without a warning and brings the link up. It was tried with traffic on
/// the two 82599s, and with its self-test, loopback included, on the X540 and the X550.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Personality {
    /// 82599 with an SFP+ cage and an optical module in it: device 8086:10fb.
    #[default]
    Fibre82599,
    /// 82599 on a backplane, KX4: device 8086:10f7. No module, the simplest link.
    Backplane82599,
    /// X540 for twisted pair: device 8086:1528.
    X540,
    /// X550 for twisted pair: device 8086:1563.
    X550,
}

impl Personality {
    /// The PCI device id.
    pub const fn device_id(self) -> u16 {
        match self {
            Self::Fibre82599 => 0x10fb,
            Self::Backplane82599 => 0x10f7,
            Self::X540 => 0x1528,
            Self::X550 => 0x1563,
        }
    }

    /// The subsystem id, of Intel's own adapters.
    pub(crate) const fn subsystem_id(self) -> u16 {
        match self {
            Self::Fibre82599 => 0x0003,
            Self::Backplane82599 => 0x000d,
            Self::X540 | Self::X550 => 0x0001,
        }
    }

    /// Whether a PHY behind MDIO makes the link (and not the MAC's own serial interface).
    pub(crate) const fn is_copper(self) -> bool {
        matches!(self, Self::X540 | Self::X550)
    }
}

/// The speed at which the link comes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LinkSpeed {
    /// 1 Gbit/s.
    Gigabit,
    /// 10 Gbit/s.
    #[default]
    TenGigabit,
}

/// How a model is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The function's name: `emulated:0`.
    pub name: String,
    /// The address in its EEPROM.
    pub mac: [u8; 6],
    /// Which controller.
    pub personality: Personality,
    /// Whether a cable is plugged in at first; [`Handle::set_link`](super::Handle::set_link) changes it.
    pub link: bool,
    /// The speed of the other end.
    pub speed: LinkSpeed,
    /// Whether there is a module in the cage, where there is a cage.
    pub module: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "emulated:0".to_owned(),
            mac: [0x02, 0, 0, 0x82, 0x59, 0x90],
            personality: Personality::default(),
            link: true,
            speed: LinkSpeed::default(),
            module: true,
        }
    }
}
