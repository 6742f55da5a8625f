//! Filters that choose a queue before the hash does (82599 datasheet, section 7.1.2): EtherTypes, 5-tuples, flow director's
//! perfect match. The device asks them in that order. They reach all queues, those beyond RSS too.

use crate::director::{self, Fields, Mask};
use crate::registers::Registers;
use crate::registers::steering as register;
use crate::{Error, director::FILTERS};
use ringway_port::{Filter, FilterId, FilterLimits, FiveTuple, Matching, Target};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// EtherType filters for the program: of eight the last is kept for the time protocol.
const ETHER_TYPES: usize = 7;
const FIVE_TUPLES: usize = 128;
/// EtherTypes that the device doesn't take, since it looks into their packets (section 7.1.2.3).
const KNOWN_TYPES: [u16; 2] = [0x0800, 0x86dd];
/// Below it a length stands in an EtherType's place (IEEE 802.3, clause 3.2.6).
const FIRST_TYPE: u16 = 0x0600;

/// How many of each there are.
pub(crate) const LIMITS: FilterLimits =
    FilterLimits { ether_type: ETHER_TYPES as u32, five_tuple: FIVE_TUPLES as u32, exact: FILTERS };

/// The placed filters, and where in the device each is.
#[derive(Debug)]
pub(crate) struct Steering {
    queues: u16,
    next: u32,
    placed: BTreeMap<FilterId, (Filter, u64)>,
    /// An exact filter and its number, which the device may have or not: it didn't say in time.
    doubtful: Option<(Fields, u16)>,
}

impl Steering {
    pub(crate) fn new(receive_queues: u16) -> Self {
        Self { queues: receive_queues, next: 0, placed: BTreeMap::new(), doubtful: None }
    }

    /// Places a filter.
    pub(crate) fn add(
        &mut self,
        device: &str,
        registers: &Registers,
        filter: &Filter,
    ) -> Result<FilterId, Error> {
        let refused =
            |reason| Error::Unsupported { device: device.to_owned(), feature: "this filter", reason };
        if let Target::Queue(queue) = filter.target
            && queue >= self.queues
        {
            let last = self.queues.saturating_sub(1);
            return Err(refused(format!("there is no receive queue {queue}, only 0 to {last}")));
        }
        if let Some((id, _)) = self.placed.iter().find(|(_, (known, _))| known.matching == filter.matching) {
            return Err(refused(format!("filter {} matches the same: remove it first", id.0)));
        }
        let place = match &filter.matching {
            Matching::EtherType(ether_type) => {
                let place = self.free(ETHER_TYPES, is_type).ok_or_else(|| full(ETHER_TYPES, "EtherType"));
                let queue = queue(filter.target).map_err(refused)?;
                place_type(registers, place.map_err(refused)?, *ether_type, queue).map_err(refused)?
            }
            Matching::FiveTuple(tuple) => {
                let place = self.free(FIVE_TUPLES, is_tuple).ok_or_else(|| full(FIVE_TUPLES, "5-tuple"));
                let queue = queue(filter.target).map_err(refused)?;
                place_tuple(registers, place.map_err(refused)?, tuple, queue).map_err(refused)?
            }
            Matching::Exact(tuple) => {
                let fields = Fields::of(tuple).map_err(refused)?;
                self.clean(device, registers)?;
                let place = self.free(FILTERS as usize, is_exact);
                let place = place.ok_or_else(|| refused(full(FILTERS as usize, "exact")))?;
                let mask = Mask::of(tuple);
                match self.exact().map(Mask::of).next() {
                    None => mask.apply(registers),
                    Some(common) if common == mask => {}
                    Some(_) => {
                        let reason =
                            "all exact filters compare the same fields: remove those that are placed";
                        return Err(refused(reason.to_owned()));
                    }
                }
                let queue = match filter.target {
                    Target::Queue(queue) => Some(queue),
                    Target::Drop => None,
                };
                if let Err(error) = fields.place(device, registers, place as u16, queue) {
                    self.doubtful = Some((fields, place as u16));
                    // At once if the device answers again, or else before the next one is placed.
                    let _ = self.clean(device, registers);
                    return Err(error);
                }
                place
            }
            _ => return Err(refused("the device knows EtherTypes, 5-tuples and exact fields".to_owned())),
        };
        let id = FilterId(self.next);
        self.next = self.next.wrapping_add(1);
        self.placed.insert(id, (filter.clone(), place));
        Ok(id)
    }

    /// Takes a filter away.
    pub(crate) fn remove(&mut self, device: &str, registers: &Registers, id: FilterId) -> Result<(), Error> {
        let Some((filter, place)) = self.placed.get(&id) else {
            let reason = format!("filter {} is not placed", id.0);
            return Err(Error::Unsupported {
                device: device.to_owned(),
                feature: "removing a filter",
                reason,
            });
        };
        match &filter.matching {
            Matching::EtherType(_) => {
                registers.write(register::etqf(*place), 0);
                registers.write(register::etqs(*place), 0);
            }
            Matching::FiveTuple(_) => registers.write(register::ftqf(*place), 0),
            Matching::Exact(tuple) => {
                if let Ok(fields) = Fields::of(tuple) {
                    fields.remove(device, registers, *place as u16)?;
                }
            }
            _ => {}
        }
        self.placed.remove(&id);
        Ok(())
    }

    /// Takes an exact filter away that may be there.
    fn clean(&mut self, device: &str, registers: &Registers) -> Result<(), Error> {
        if let Some((fields, number)) = self.doubtful {
            fields.remove(device, registers, number)?;
            self.doubtful = None;
        }
        Ok(())
    }

    fn exact(&self) -> impl Iterator<Item = &FiveTuple> {
        self.placed.values().filter_map(|(filter, _)| match &filter.matching {
            Matching::Exact(tuple) => Some(tuple),
            _ => None,
        })
    }

    /// A place that no filter of the kind has.
    fn free(&self, count: usize, is_kind: fn(&Matching) -> bool) -> Option<u64> {
        let mut taken = vec![false; count];
        for (_, place) in self.placed.values().filter(|(filter, _)| is_kind(&filter.matching)) {
            if let Some(taken) = taken.get_mut(*place as usize) {
                *taken = true;
            }
        }
        taken.iter().position(|taken| !taken).map(|place| place as u64)
    }
}

fn is_type(matching: &Matching) -> bool {
    matches!(matching, Matching::EtherType(_))
}

fn is_tuple(matching: &Matching) -> bool {
    matches!(matching, Matching::FiveTuple(_))
}

fn is_exact(matching: &Matching) -> bool {
    matches!(matching, Matching::Exact(_))
}

fn full(count: usize, kind: &str) -> String {
    format!("all {count} {kind} filters are taken: remove one first")
}

/// The queue, for filters that know nothing else.
fn queue(target: Target) -> Result<u32, String> {
    match target {
        Target::Queue(queue) => Ok(queue.into()),
        Target::Drop => Err("of its filters only exact ones can drop".to_owned()),
    }
}

/// No filters at all, as it begins.
pub(crate) fn clear(device: &str, registers: &Registers) -> Result<(), Error> {
    for place in 0..=ETHER_TYPES as u64 {
        registers.write(register::etqf(place), 0);
        registers.write(register::etqs(place), 0);
    }
    for place in 0..FIVE_TUPLES as u64 {
        registers.write(register::ftqf(place), 0);
    }
    director::initialise(device, registers)
}

/// Section 8.2.3.7.14.
fn place_type(registers: &Registers, place: u64, ether_type: u16, queue: u32) -> Result<u64, String> {
    if KNOWN_TYPES.contains(&ether_type) || ether_type < FIRST_TYPE {
        return Err(format!("EtherType {ether_type:#06x} can't be filtered: use a 5-tuple for IP"));
    }
    registers.write(register::etqs(place), register::ETQS_ENABLE | queue << register::ETQS_QUEUE_SHIFT);
    registers.write(register::etqf(place), register::ETQF_ENABLE | u32::from(ether_type));
    Ok(place)
}

/// Section 8.2.3.7.16 and those behind it. The more a filter compares, the higher its priority.
fn place_tuple(registers: &Registers, place: u64, tuple: &FiveTuple, queue: u32) -> Result<u64, String> {
    let address = |address: Option<IpAddr>| match address {
        None => Ok(0),
        Some(IpAddr::V4(address)) => Ok(u32::from_le_bytes(address.octets())),
        Some(IpAddr::V6(_)) => Err("5-tuple filters compare IPv4 addresses only".to_owned()),
    };
    let (source, destination) = (address(tuple.source)?, address(tuple.destination)?);
    let protocol = match tuple.protocol {
        None | Some(6) => 0,
        Some(17) => 1,
        Some(132) => 2,
        Some(other) => return Err(format!("protocol {other} is not told apart: TCP, UDP and SCTP are")),
    };
    let compared = [
        tuple.source.is_some(),
        tuple.destination.is_some(),
        tuple.source_port.is_some(),
        tuple.destination_port.is_some(),
        tuple.protocol.is_some(),
    ];
    let ignored = (0u32..).zip(compared).map(|(bit, compared)| u32::from(!compared) << bit).sum::<u32>();
    let priority = 1 + compared.into_iter().map(u32::from).sum::<u32>();
    let wire = |port: Option<u16>| u32::from(port.unwrap_or(0).swap_bytes());
    registers.write(register::saqf(place), source);
    registers.write(register::daqf(place), destination);
    registers.write(register::sdpqf(place), wire(tuple.destination_port) << 16 | wire(tuple.source_port));
    registers
        .write(register::l34timir(place), register::L34TIMIR_FIXED | queue << register::L34TIMIR_QUEUE_SHIFT);
    registers.write(
        register::ftqf(place),
        register::FTQF_ENABLE
            | register::FTQF_IGNORE_POOL
            | ignored << register::FTQF_IGNORE_SHIFT
            | priority << register::FTQF_PRIORITY_SHIFT
            | protocol,
    );
    Ok(place)
}
