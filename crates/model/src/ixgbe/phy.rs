//! Management data: PHY registers through MSCA and MSRWD (datasheet, 8.2.3.22.10 and 11), IEEE 802.3 clause 45.
//!
//! The X540 and X550 have their PHY inside; it answers at port address 0. An 82599 as modelled has none, and reads
//! give all ones. Registers that mean nothing here are memory.

use super::options::{Options, Personality};
use std::collections::BTreeMap;

/// MSCA's fields.
const COMMAND: u32 = 1 << 30;
const WRITE: u32 = 1;
const READ_AND_INCREMENT: u32 = 2;
const READ: u32 = 3;

/// Device types of clause 45.
const PMA: u8 = 1;
const PCS: u8 = 3;
const AUTO_NEGOTIATION: u8 = 7;
/// Registers that all device types have, and status 1's link bit.
const STATUS_1: u16 = 1;
const STATUS_1_LINK: u16 = 1 << 2;
const IDENTIFIER: u16 = 2;
/// Auto-negotiation complete, and able.
const NEGOTIATED: u16 = 1 << 5 | 1 << 3;

/// The PHY.
#[derive(Debug)]
pub(crate) struct Phy {
    identifier: Option<u32>,
    registers: BTreeMap<(u8, u16), u16>,
}

impl Phy {
    pub(crate) fn new(options: &Options) -> Self {
        let identifier = match options.personality {
            Personality::X540 => Some(0x0154_0200),
            Personality::X550 => Some(0x0154_0220),
            Personality::Fibre82599 | Personality::Backplane82599 => None,
        };
        let mut registers = BTreeMap::new();
        // PMA speed ability: 10 and 1 Gbit/s; extended ability: 10GBASE-T, 1000BASE-T, 100BASE-TX.
        registers.insert((PMA, 4), 0x0011);
        registers.insert((PMA, 11), 0x01a4);
        Self { identifier, registers }
    }

    /// MSCA is written: the command is over at once. Returns MSCA, and what MSRWD reads then.
    pub(crate) fn command(&mut self, command: u32, data: u32, link: bool) -> (u32, u32) {
        if command & COMMAND == 0 {
            return (command, data);
        }
        let register = command as u16;
        let device = (command >> 16 & 0x1f) as u8;
        let port = command >> 21 & 0x1f;
        let data = match command >> 26 & 3 {
            WRITE => {
                if port == 0 && self.identifier.is_some() {
                    self.registers.insert((device, register), data as u16);
                }
                data
            }
            READ | READ_AND_INCREMENT => {
                let value = if port == 0 { self.read(device, register, link) } else { 0xffff };
                u32::from(value) << 16 | data & 0xffff
            }
            _ => data,
        };
        (command & !COMMAND, data)
    }

    fn read(&self, device: u8, register: u16, link: bool) -> u16 {
        let Some(identifier) = self.identifier else { return 0xffff };
        let stored = self.registers.get(&(device, register)).copied().unwrap_or(0);
        match (device, register) {
            (_, IDENTIFIER) => (identifier >> 16) as u16,
            (_, 3) => identifier as u16,
            (PMA | PCS, STATUS_1) => {
                if link {
                    STATUS_1_LINK
                } else {
                    0
                }
            }
            (AUTO_NEGOTIATION, STATUS_1) => NEGOTIATED | if link { STATUS_1_LINK } else { 0 },
            // Control 1: reset is over at once.
            (_, 0) => stored & !(1 << 15),
            _ => stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(phy: &mut Phy, port: u32, device: u32, register: u32) -> u32 {
        phy.command(device << 16 | port << 21 | COMMAND | register, 0, true); // address cycle
        let (command, data) = phy.command(device << 16 | port << 21 | 3 << 26 | COMMAND | register, 0, true);
        assert_eq!(command & COMMAND, 0);
        data >> 16
    }

    #[test]
    fn a_copper_controller_has_its_phy_at_address_0() {
        let mut phy = Phy::new(&Options { personality: Personality::X540, ..Options::default() });
        assert_eq!((read(&mut phy, 0, 1, 2), read(&mut phy, 0, 1, 3)), (0x0154, 0x0200));
        assert_eq!(read(&mut phy, 1, 1, 2), 0xffff);
        phy.command(7 << 16 | 1 << 26 | COMMAND | 0x20, 0x1000, true);
        assert_eq!(read(&mut phy, 0, 7, 0x20), 0x1000);
        assert_eq!(read(&mut phy, 0, 7, 1) & 4, 4);
    }

    #[test]
    fn an_82599_answers_with_all_ones() {
        let mut phy = Phy::new(&Options::default());
        assert_eq!(read(&mut phy, 0, 1, 2), 0xffff);
    }
}
