//! What the program has told the device to receive: further addresses (virtio 1.2, section 5.1.6.5.2) and VLANs
//! (section 5.1.6.5.3). The device can't be asked, so it is kept here.

use super::offloads::ADDRESSES;
use crate::Error;
use ringway_port::MacAddress;
use std::collections::BTreeSet;

/// Further addresses, of stations and of groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(BTreeSet<MacAddress>);

impl Addresses {
    /// These and one more.
    pub(super) fn with(&self, device: &str, address: MacAddress) -> Result<Self, Error> {
        let refused = |what| Err(Error::Value { device: device.to_owned(), what });
        if address == MacAddress::default() {
            return refused(format!("{address} is nobody's address"));
        }
        let mut addresses = self.clone();
        addresses.0.insert(address);
        if addresses.0.len() > ADDRESSES {
            return refused(format!(
                "there is no room for {address}: it takes {ADDRESSES} further addresses; remove one, or receive all \
                 multicast frames or everything"
            ));
        }
        Ok(addresses)
    }

    /// These without one.
    pub(super) fn without(&self, device: &str, address: MacAddress) -> Result<Self, Error> {
        let mut addresses = self.clone();
        if addresses.0.remove(&address) {
            return Ok(addresses);
        }
        Err(Error::Value { device: device.to_owned(), what: format!("{address} was not added") })
    }

    /// As the device is told: two tables, stations first, each behind its number of entries.
    pub(super) fn data(&self) -> Vec<u8> {
        let (stations, groups): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|MacAddress([first, ..])| first & 1 == 0);
        let mut data = Vec::new();
        for table in [stations, groups] {
            data.extend((table.len() as u32).to_le_bytes());
            data.extend(table.iter().flat_map(|MacAddress(bytes)| bytes));
        }
        data
    }
}

/// VLANs that are received.
#[derive(Debug, Default)]
pub(super) struct Vlans(BTreeSet<u16>);

impl Vlans {
    /// Whether this one can be added, or removed.
    pub(super) fn check(&self, device: &str, vlan: u16, add: bool) -> Result<(), Error> {
        let what = match (vlan, add) {
            (0x1000.., _) => format!("{vlan} is no VLAN: they go from 0 to 4095"),
            (_, false) if !self.0.contains(&vlan) => format!("VLAN {vlan} was not added"),
            _ => return Ok(()),
        };
        Err(Error::Value { device: device.to_owned(), what })
    }

    pub(super) fn set(&mut self, vlan: u16, on: bool) {
        if on {
            self.0.insert(vlan);
        } else {
            self.0.remove(&vlan);
        }
    }
}
