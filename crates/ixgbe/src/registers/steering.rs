//! Registers that choose a packet's queue by what is in it (82599 datasheet, sections 8.2.3.7.14 to 20 and 8.2.3.21).

/// EtherType filters: what matches, and where that goes (8.2.3.7.14, 8.2.3.7.15).
pub(crate) const fn etqf(filter: u64) -> u64 {
    0x05128 + filter * 4
}
pub(crate) const fn etqs(filter: u64) -> u64 {
    0x0ec00 + filter * 4
}
pub(crate) const ETQF_ENABLE: u32 = 1 << 31;
/// Packets of the time protocol are stamped.
pub(crate) const ETQF_TIME: u32 = 1 << 30;
pub(crate) const ETQS_ENABLE: u32 = 1 << 31;
pub(crate) const ETQS_QUEUE_SHIFT: u32 = 16;

/// 5-tuple filters: addresses and ports in the order of the wire, then what is compared, and where that goes (8.2.3.7.16 to
/// 8.2.3.7.20).
pub(crate) const fn saqf(filter: u64) -> u64 {
    0x0e000 + filter * 4
}
pub(crate) const fn daqf(filter: u64) -> u64 {
    0x0e200 + filter * 4
}
pub(crate) const fn sdpqf(filter: u64) -> u64 {
    0x0e400 + filter * 4
}
pub(crate) const fn ftqf(filter: u64) -> u64 {
    0x0e600 + filter * 4
}
pub(crate) const FTQF_PRIORITY_SHIFT: u32 = 2;
/// From here on a bit each that takes a field out of the comparison: source, destination, their ports, protocol.
pub(crate) const FTQF_IGNORE_SHIFT: u32 = 25;
/// The pool of virtual machines is not compared.
pub(crate) const FTQF_IGNORE_POOL: u32 = 1 << 30;
pub(crate) const FTQF_ENABLE: u32 = 1 << 31;
pub(crate) const fn l34timir(filter: u64) -> u64 {
    0x0e800 + filter * 4
}
/// Bits 19:13 have to be 1000000b; packets of any size match.
pub(crate) const L34TIMIR_FIXED: u32 = (1 << 19) | (1 << 12);
pub(crate) const L34TIMIR_QUEUE_SHIFT: u32 = 21;

/// Flow director (8.2.3.21).
pub(crate) const FDIRCTRL: u64 = 0x0ee00;
/// 64 KiB of the packet buffer: 2047 perfect filters.
pub(crate) const FDIRCTRL_64_KIB: u32 = 1;
pub(crate) const FDIRCTRL_DONE: u32 = 1 << 3;
pub(crate) const FDIRCTRL_PERFECT: u32 = 1 << 4;
pub(crate) const FDIRCTRL_DROP_QUEUE_SHIFT: u32 = 8;
/// The longest list behind a hash, and when the table counts as full, as Intel's drivers have them.
pub(crate) const FDIRCTRL_LIMITS: u32 = (0xa << 24) | (4 << 28);
pub(crate) const FDIRSIPV6: [u64; 3] = [0x0ee0c, 0x0ee10, 0x0ee14];
pub(crate) const FDIRIPSA: u64 = 0x0ee18;
pub(crate) const FDIRIPDA: u64 = 0x0ee1c;
pub(crate) const FDIRPORT: u64 = 0x0ee20;
pub(crate) const FDIRPORT_DESTINATION_SHIFT: u32 = 16;
pub(crate) const FDIRVLAN: u64 = 0x0ee24;
pub(crate) const FDIRHASH: u64 = 0x0ee28;
pub(crate) const FDIRHASH_NUMBER_SHIFT: u32 = 16;
pub(crate) const FDIRCMD: u64 = 0x0ee2c;
pub(crate) const FDIRCMD_BUSY: u32 = 3;
pub(crate) const FDIRCMD_ADD: u32 = 1;
pub(crate) const FDIRCMD_REMOVE: u32 = 2;
pub(crate) const FDIRCMD_QUERY: u32 = 3;
pub(crate) const FDIRCMD_FOUND: u32 = 1 << 2;
pub(crate) const FDIRCMD_UPDATE: u32 = 1 << 3;
pub(crate) const FDIRCMD_PROTOCOL_SHIFT: u32 = 5;
pub(crate) const FDIRCMD_DROP: u32 = 1 << 9;
pub(crate) const FDIRCMD_LAST: u32 = 1 << 11;
pub(crate) const FDIRCMD_TO_QUEUE: u32 = 1 << 15;
pub(crate) const FDIRCMD_QUEUE_SHIFT: u32 = 16;
/// What is not compared: addresses and ports by bits that are one, the rest by a bit each.
pub(crate) const FDIRDIP4M: u64 = 0x0ee3c;
pub(crate) const FDIRSIP4M: u64 = 0x0ee40;
pub(crate) const FDIRTCPM: u64 = 0x0ee44;
pub(crate) const FDIRUDPM: u64 = 0x0ee48;
pub(crate) const FDIRSCTPM: u64 = 0x0ee78;
pub(crate) const FDIRM: u64 = 0x0ee70;
pub(crate) const FDIRM_VLAN: u32 = 0b11;
pub(crate) const FDIRM_POOL: u32 = 1 << 2;
pub(crate) const FDIRM_PROTOCOL: u32 = 1 << 3;
pub(crate) const FDIRM_FLEXIBLE: u32 = 1 << 4;
pub(crate) const FDIRM_IPV6: u32 = 1 << 5;
pub(crate) const FDIRHKEY: u64 = 0x0ee68;
pub(crate) const FDIRSKEY: u64 = 0x0ee6c;
