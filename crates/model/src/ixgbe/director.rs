//! Flow director's perfect match (datasheet, sections 7.1.2.7 and 8.2.3.21).
//!
//! A filter is found by a hash over the fields that the masks leave, and then by the fields themselves; a driver that
//! reckons the hash wrong places filters that never match. Signature mode takes all commands and matches nothing.
//! Commands are over at once.

use super::headers::{Headers, IPV4, SCTP, TCP, UDP, word};
use super::registers::*;
use super::steering::Choice;
use super::table::Table;

/// Commands, in FDIRCMD's lowest bits.
const ADD: u32 = 1;
const REMOVE: u32 = 2;
const QUERY: u32 = 3;
/// Bits of FDIRM: what is not looked at.
const NO_VLAN_ID: u32 = 1;
const NO_VLAN_PRIORITY: u32 = 1 << 1;
const NO_PROTOCOL: u32 = 1 << 3;
const NO_FLEXIBLE: u32 = 1 << 4;
/// Bits of a bucket's number.
const BUCKET: u32 = 0x1fff;

/// What is compared, after the masks. Addresses and flexible bytes in network order, the rest as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fields {
    source: u32,
    destination: u32,
    /// Destination above, source below.
    ports: u32,
    vlan: u16,
    flexible: u16,
    /// 1: UDP, 2: TCP, 3: SCTP; 0: anything else.
    protocol: u8,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    fields: Fields,
    /// FDIRHASH: bucket, and the driver's number.
    name: u32,
    queue: usize,
    drop: bool,
}

/// The filters and the masks.
#[derive(Debug, Default)]
pub(crate) struct Director {
    entries: Vec<Entry>,
    capacity: usize,
    perfect: bool,
    flexible_at: usize,
    key: u32,
    mask: u32,
    source: u32,
    destination: u32,
    tcp: u32,
    udp: u32,
    sctp: u32,
}

impl Director {
    /// FDIRCTRL was written: everything starts anew.
    pub(crate) fn initialise(&mut self, table: &mut Table) {
        let control = table.get(FDIRCTRL);
        self.entries.clear();
        // 8.2.3.21.1: 64, 128 or 256 KiB of the packet buffer hold 2, 4 or 8 Ki filters but one.
        self.capacity = match control & 3 {
            0 => 0,
            size => (1024usize << size).saturating_sub(1),
        };
        self.perfect = control & FDIRCTRL_PERFECT != 0;
        self.flexible_at = (control >> 16 & 0x1f) as usize * 2;
        table.set(FDIRFREE, self.capacity as u32);
        self.refresh(table);
    }

    /// Takes the masks over.
    pub(crate) fn refresh(&mut self, table: &Table) {
        // In the ports' masks the bits of each half stand in reverse (8.2.3.21.19).
        let ports = |register| {
            let value = table.get(register);
            u32::from((value as u16).reverse_bits()) | u32::from(((value >> 16) as u16).reverse_bits()) << 16
        };
        self.key = table.get(FDIRHKEY);
        self.mask = table.get(FDIRM);
        self.source = table.get(FDIRSIP4M).swap_bytes();
        self.destination = table.get(FDIRDIP4M).swap_bytes();
        (self.tcp, self.udp, self.sctp) = (ports(FDIRTCPM), ports(FDIRUDPM), ports(FDIRSCTPM));
    }

    /// FDIRCMD is written.
    pub(crate) fn command(&mut self, table: &mut Table, value: u32) {
        let mut answer = value & !3 & !FDIRCMD_VALID;
        if value & FDIRCMD_CLEAR != 0 {
            self.entries.clear();
        }
        let name = table.get(FDIRHASH);
        let known = self.entries.iter().position(|entry| entry.name & !0x8000 == name & !0x8000);
        match value & 3 {
            ADD => {
                let added = self.add(table, value, name);
                // Done above, failed below.
                table.count(if added { FDIRUSTAT } else { FDIRFSTAT });
            }
            REMOVE => match known {
                Some(index) => {
                    self.entries.remove(index);
                    table.set(FDIRUSTAT, table.get(FDIRUSTAT).wrapping_add(1 << 16));
                }
                None => table.set(FDIRFSTAT, table.get(FDIRFSTAT).wrapping_add(1 << 8)),
            },
            QUERY if known.is_some() => answer |= FDIRCMD_VALID,
            _ => {}
        }
        table.set(FDIRFREE, self.capacity.saturating_sub(self.entries.len()) as u32);
        table.set(FDIRCMD, answer);
    }

    fn add(&mut self, table: &Table, value: u32, name: u32) -> bool {
        if !self.perfect {
            return true;
        }
        let vlan_and_flexible = table.get(FDIRVLAN);
        let fields = self.masked(Fields {
            source: table.get(FDIRIPSA).swap_bytes(),
            destination: table.get(FDIRIPDA).swap_bytes(),
            ports: table.get(FDIRPORT),
            vlan: vlan_and_flexible as u16,
            flexible: ((vlan_and_flexible >> 16) as u16).swap_bytes(),
            protocol: (value >> 5 & 3) as u8,
        });
        let entry =
            Entry { fields, name, queue: (value >> 16 & 0x7f) as usize, drop: value & FDIRCMD_DROP != 0 };
        // 8.2.3.21.14: an update of a filter that is there, or a new one.
        if let Some(old) = self.entries.iter_mut().find(|old| old.fields == fields) {
            *old = entry;
            return true;
        }
        if self.entries.len() >= self.capacity {
            return false;
        }
        self.entries.push(entry);
        true
    }

    /// What the masks leave.
    fn masked(&self, fields: Fields) -> Fields {
        let ports = match fields.protocol {
            1 => self.udp,
            2 => self.tcp,
            3 => self.sctp,
            _ => u32::MAX,
        };
        let off = |bit: u32| self.mask & bit != 0;
        let priority = if off(NO_VLAN_PRIORITY) { 0 } else { 0xe000 };
        let identifier = if off(NO_VLAN_ID) { 0 } else { 0x0fff };
        Fields {
            source: fields.source & !self.source,
            destination: fields.destination & !self.destination,
            ports: fields.ports & !ports,
            vlan: fields.vlan & (priority | identifier),
            flexible: if off(NO_FLEXIBLE) { 0 } else { fields.flexible },
            protocol: if off(NO_PROTOCOL) { 0 } else { fields.protocol },
        }
    }

    /// Where an IPv4 frame goes by a filter.
    #[inline]
    pub(crate) fn choose(&self, table: &mut Table, frame: &[u8], headers: &Headers) -> Choice {
        if self.entries.is_empty() || headers.types & IPV4 == 0 || headers.fragment {
            return Choice::Hash;
        }
        let address = |place: usize| {
            let at = headers.network.saturating_add(place);
            frame.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        let protocol = match headers.types & (TCP | UDP | SCTP) {
            UDP => 1,
            TCP => 2,
            SCTP => 3,
            _ => 0,
        };
        let port =
            |place: usize| u32::from(word(frame, headers.transport.saturating_add(place)).unwrap_or(0));
        let fields = self.masked(Fields {
            source: address(12),
            destination: address(16),
            ports: if protocol == 0 { 0 } else { port(2) << 16 | port(0) },
            vlan: headers.vlan.unwrap_or(0) & 0xefff,
            flexible: word(frame, self.flexible_at).unwrap_or(0),
            protocol,
        });
        let bucket = self.bucket(&fields);
        match self.entries.iter().find(|entry| entry.fields == fields && entry.name & BUCKET == bucket) {
            None => {
                table.count(FDIRMISS);
                Choice::Hash
            }
            Some(entry) => {
                table.count(FDIRMATCH);
                if entry.drop { Choice::Drop } else { Choice::Queue(entry.queue) }
            }
        }
    }

    /// The bucket of masked fields (7.1.2.7.14). Each bit of the fields' words brings the key in, turned by its place: the
    /// word with pool, protocol and VLAN only as far as the stream begins with it.
    fn bucket(&self, fields: &Fields) -> u32 {
        // Destination port below source port in a frame's own order, flexible bytes above nothing.
        let ports = fields.ports.rotate_left(16);
        let common = fields.source ^ fields.destination ^ ports ^ u32::from(fields.flexible) << 16;
        let first = u32::from(fields.protocol) << 16 | u32::from(fields.vlan);
        let key = |place: u32| self.key >> (place & 31) & 1;
        let mut bucket = 0;
        for to in 0..13u32 {
            let mut bit = 0;
            for from in (0..32u32).filter(|from| common >> from & 1 != 0) {
                bit ^= key(from.wrapping_add(16).wrapping_sub(to));
            }
            for from in (0..32u32).filter(|from| first >> from & 1 != 0) {
                for (place, upper) in [(from, true), (from, false), (from ^ 16, from >= 16)] {
                    let least = if upper { 0 } else { 1 };
                    let distance = place.wrapping_sub(to);
                    if (least..16).contains(&distance) {
                        bit ^= key(if upper { distance.wrapping_add(16) } else { distance });
                    }
                }
            }
            bucket |= bit << to;
        }
        bucket
    }
}
