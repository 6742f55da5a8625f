//! Which frames are received (82599 datasheet, sections 7.1.1 and 8.2.3.7).

use crate::registers::{self as register, Registers};
use ringway_port::MacAddress;

/// The device's own address, broadcast, and nothing else; of VLANs all, or none but what is added later.
pub(crate) fn initialise(registers: &Registers, address: MacAddress, filters_vlans: bool) {
    set_receive_address(registers, 0, Some(address));
    for entry in 1..register::RECEIVE_ADDRESSES {
        set_receive_address(registers, entry, None);
    }
    for word in 0..register::MTA_WORDS {
        registers.write(register::mta(word), 0);
    }
    for word in 0..register::VFTA_WORDS {
        registers.write(register::vfta(word), 0);
    }
    if filters_vlans {
        registers.set(register::VLNCTRL, register::VLNCTRL_FILTER);
    }
    registers.write(register::FCTRL, register::FCTRL_BROADCAST_ACCEPT);
}

/// Receives, or no longer receives, a VLAN: a bit each (section 8.2.3.7.11). What it was before.
pub(crate) fn set_vlan(registers: &Registers, vlan: u16, on: bool) -> bool {
    let (word, bit) = (register::vfta(u64::from(vlan / 32)), 1 << (vlan % 32));
    let was = registers.read(word) & bit != 0;
    if on {
        registers.set(word, bit)
    } else {
        registers.clear(word, bit)
    }
    was
}

/// Receives, or no longer receives, frames for one more address. Writing the high half makes the entry valid, so it
/// comes last; and it keeps its valid bit.
pub(crate) fn set_receive_address(registers: &Registers, entry: u64, address: Option<MacAddress>) {
    let [a, b, c, d, e, f] = address.unwrap_or_default().0;
    registers.write(register::rah(entry), 0);
    registers.write(register::ral(entry), u32::from_le_bytes([a, b, c, d]));
    if address.is_some() {
        registers.write(register::rah(entry), u32::from_le_bytes([e, f, 0, 0]) | register::RAH_VALID);
    }
}

/// Frames for any station, or only those for this port.
pub(crate) fn set_unicast_promiscuous(registers: &Registers, on: bool) {
    let bit = register::FCTRL_UNICAST_PROMISCUOUS;
    if on { registers.set(register::FCTRL, bit) } else { registers.clear(register::FCTRL, bit) }
}

/// Frames for all groups, or only for everyone.
pub(crate) fn set_all_multicast(registers: &Registers, on: bool) {
    let bit = register::FCTRL_MULTICAST_PROMISCUOUS;
    if on { registers.set(register::FCTRL, bit) } else { registers.clear(register::FCTRL, bit) }
}
