//! Which frames the function takes: addresses and VLANs (datasheet, section 7.1.1).

use super::headers::Headers;
use super::registers::{
    FCTRL, FCTRL_ALL_MULTICAST, FCTRL_BROADCAST, FCTRL_PROMISCUOUS, MCSTCTRL, MCSTCTRL_FILTER, MTA,
    RAH_VALID, RAL, VFTA, VLNCTRL, VLNCTRL_CFI, VLNCTRL_CFI_FILTER, VLNCTRL_FILTER,
};
use super::table::Table;

/// Address registers (8.2.3.7.9).
const ADDRESSES: u32 = 128;

/// The kind of a frame's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Unicast,
    Multicast,
    Broadcast,
}

/// What of the registers every frame is held against.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    control: u32,
    vlan_control: u32,
    multicast: u32,
    /// Valid unicast and multicast addresses.
    addresses: Vec<[u8; 6]>,
}

impl Filters {
    /// Takes the registers over.
    pub(crate) fn refresh(&mut self, table: &Table) {
        self.control = table.get(FCTRL);
        self.vlan_control = table.get(VLNCTRL);
        self.multicast = table.get(MCSTCTRL);
        self.addresses.clear();
        for index in 0..ADDRESSES {
            let place = RAL.wrapping_add(index.wrapping_mul(8));
            let (low, high) = (table.get(place), table.get(place.wrapping_add(4)));
            if high & RAH_VALID != 0 {
                let ([a, b, c, d], [e, f, ..]) = (low.to_le_bytes(), high.to_le_bytes());
                self.addresses.push([a, b, c, d, e, f]);
            }
        }
    }

    /// The EtherType of VLAN tags.
    #[inline]
    pub(crate) fn tag(&self) -> u16 {
        self.vlan_control as u16
    }

    /// 7.1.1.1: whether the destination is wanted, and of what kind it is.
    #[inline]
    pub(crate) fn address(&self, table: &Table, frame: &[u8]) -> (Destination, bool) {
        let Some(&address) = frame.first_chunk::<6>() else { return (Destination::Unicast, false) };
        let exact = || self.addresses.contains(&address);
        if address[0] & 1 == 0 {
            return (Destination::Unicast, self.control & FCTRL_PROMISCUOUS != 0 || exact());
        }
        if address == [0xff; 6] {
            return (Destination::Broadcast, self.control & FCTRL_BROADCAST != 0);
        }
        let wanted =
            self.control & FCTRL_ALL_MULTICAST != 0 || exact() || self.in_multicast_table(table, address);
        (Destination::Multicast, wanted)
    }

    /// 8.2.3.7.8: 12 bits of the address, chosen by MCSTCTRL.MO, are the number of a bit.
    fn in_multicast_table(&self, table: &Table, address: [u8; 6]) -> bool {
        if self.multicast & MCSTCTRL_FILTER == 0 {
            return false;
        }
        let upper = u32::from(u16::from_le_bytes([address[4], address[5]]));
        let shift = match self.multicast & 3 {
            0 => 4,
            1 => 3,
            2 => 2,
            _ => 0,
        };
        let bit = upper >> shift & 0xfff;
        table.element(MTA, (bit / 32) as usize) >> (bit % 32) & 1 != 0
    }

    /// 7.1.1.2: whether the frame's VLAN is wanted. Frames without a tag are.
    #[inline]
    pub(crate) fn vlan(&self, table: &Table, headers: &Headers) -> bool {
        let Some(control) = headers.vlan else { return true };
        if self.vlan_control & VLNCTRL_FILTER == 0 {
            return true;
        }
        let canonical = control & 1 << 12 != 0;
        let wanted = self.vlan_control & VLNCTRL_CFI != 0;
        if self.vlan_control & VLNCTRL_CFI_FILTER != 0 && canonical != wanted {
            return false;
        }
        let id = usize::from(control & 0xfff);
        table.element(VFTA, id / 32) >> (id % 32) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(table: &Table, address: [u8; 6]) -> bool {
        let mut filters = Filters::default();
        filters.refresh(table);
        let mut frame = [0; 60];
        frame[..6].copy_from_slice(&address);
        filters.address(table, &frame).1
    }

    #[test]
    fn nothing_is_wanted_until_it_is_asked_for() {
        let mut table = Table::new();
        for address in [[2, 0, 0, 0, 0, 1], [0xff; 6], [0x33, 0x33, 0, 0, 0, 1]] {
            assert!(!wants(&table, address));
        }
        table.set(RAL + 8, 0x0000_0002);
        table.set(RAL + 12, 0x0100 | RAH_VALID);
        assert!(wants(&table, [2, 0, 0, 0, 0, 1]));
        table.set(FCTRL, FCTRL_BROADCAST);
        assert!(wants(&table, [0xff; 6]));
        assert!(!wants(&table, [0x33, 0x33, 0, 0, 0, 1]));
    }

    #[test]
    fn the_multicast_table_is_looked_up_with_the_chosen_bits() {
        let mut table = Table::new();
        // Bits 47:36 of 01:00:5e:00:12:34 are 0x341.
        table.set(MTA + 0x341 / 32 * 4, 1 << (0x341 % 32));
        table.set(MCSTCTRL, 0);
        assert!(!wants(&table, [1, 0, 0x5e, 0, 0x12, 0x34]));
        table.set(MCSTCTRL, MCSTCTRL_FILTER);
        assert!(wants(&table, [1, 0, 0x5e, 0, 0x12, 0x34]));
        table.set(MCSTCTRL, MCSTCTRL_FILTER | 3);
        assert!(!wants(&table, [1, 0, 0x5e, 0, 0x12, 0x34]));
    }

    #[test]
    fn vlans_are_filtered_by_number_when_asked() {
        let mut table = Table::new();
        let passes = |table: &Table, control| {
            let mut filters = Filters::default();
            filters.refresh(table);
            filters.vlan(table, &Headers { vlan: control, ..Headers::default() })
        };
        assert!(passes(&table, Some(42)));
        table.set(VLNCTRL, VLNCTRL_FILTER);
        assert!(!passes(&table, Some(42)) && passes(&table, None));
        table.set(VFTA + 4, 1 << 10);
        assert!(passes(&table, Some(0x6000 | 42)));
    }
}
