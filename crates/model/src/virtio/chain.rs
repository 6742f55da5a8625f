//! Descriptor chains, as they were found in memory and checked.
//!
//! A chain is walked once, from its head, into a list of segments; every step is checked against the table's size,
//! and their number against the queue's, so a loop ends (virtio 1.2, sections 2.7.5 and 2.7.5.3). What is in
//! the list is a copy: a driver that changes descriptors later changes nothing here.

use super::violation::{Breach, Rule, breach};
use crate::Memory;
use ringway_dma::Iova;

/// Section 2.7.5: a descriptor's size and its flags.
pub(crate) const DESCRIPTOR_BYTES: u64 = 16;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A piece of memory that a descriptor names.
#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    length: u32,
}

/// One buffer: readable segments first, then writable ones.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) head: u16,
    segments: Vec<Segment>,
    readable: usize,
    pub(crate) readable_bytes: u64,
    pub(crate) writable_bytes: u64,
}

/// Where and how to walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) base: u64,
    pub(crate) size: u16,
    pub(crate) indirect: bool,
    pub(crate) in_order: bool,
}

impl Chain {
    /// Reads the chain that starts at `head`.
    #[inline]
    pub(crate) fn walk(&mut self, memory: &mut Memory<'_>, table: Table, head: u16) -> Result<(), Breach> {
        self.head = head;
        self.segments.clear();
        self.readable = 0;
        self.readable_bytes = 0;
        self.writable_bytes = 0;
        if head >= table.size {
            let seen = format!("the available ring names {head} of {}", table.size);
            return Err(breach(Rule::HeadOutOfRange, seen));
        }
        let (address, word) = descriptor(memory, table.base, head.into())?;
        let (length, flags) = (word as u32, (word >> 32) as u16);
        if flags & (NEXT | INDIRECT) == 0 {
            return self.push(address, length, flags); // one descriptor, as with every driver that can help it
        }
        self.walk_on(memory, table, (address, word))
    }

    /// The same from the first descriptor on, when more belong to it.
    #[inline(never)]
    fn walk_on(&mut self, memory: &mut Memory<'_>, table: Table, first: (u64, u64)) -> Result<(), Breach> {
        let (mut base, mut count, mut index) = (table.base, u32::from(table.size), u32::from(self.head));
        let mut inside = false;
        let (mut address, mut word) = first;
        loop {
            let (length, flags, next) = (word as u32, (word >> 32) as u16, (word >> 48) as u16);
            if flags & INDIRECT != 0 {
                count = enter(table, inside, flags, length)?;
                (base, index, inside) = (address, 0, true);
                (address, word) = descriptor(memory, base, index)?;
                continue;
            }
            if self.segments.len() >= usize::from(table.size) {
                let seen = format!("the chain from {} has more than {} descriptors", self.head, table.size);
                return Err(breach(Rule::ChainTooLong, seen));
            }
            self.push(address, length, flags)?;
            if flags & NEXT == 0 {
                break;
            }
            if u32::from(next) >= count {
                let seen = format!("descriptor {index} goes on to {next} of {count}");
                return Err(breach(Rule::NextOutOfRange, seen));
            }
            if table.in_order && u32::from(next) != index.wrapping_add(1) % count {
                let seen = format!("descriptor {index} goes on to {next}");
                return Err(breach(Rule::InOrderNext, seen));
            }
            index = next.into();
            (address, word) = descriptor(memory, base, index)?;
        }
        let bytes = self.readable_bytes.wrapping_add(self.writable_bytes);
        if bytes > 1 << 32 {
            return Err(breach(Rule::ChainTooManyBytes, format!("{bytes} bytes")));
        }
        Ok(())
    }

    #[inline]
    fn push(&mut self, address: u64, length: u32, flags: u16) -> Result<(), Breach> {
        if flags & WRITE != 0 {
            self.writable_bytes = self.writable_bytes.wrapping_add(length.into());
        } else {
            if self.readable < self.segments.len() {
                let seen = format!("descriptor {} of the chain", self.segments.len());
                return Err(breach(Rule::ReadableAfterWritable, seen));
            }
            self.readable = self.readable.wrapping_add(1);
            self.readable_bytes = self.readable_bytes.wrapping_add(length.into());
        }
        self.segments.push(Segment { address, length });
        Ok(())
    }

    /// Copies the readable bytes, as many as `to` takes, and says how many.
    #[inline]
    pub(crate) fn read(&self, memory: &mut Memory<'_>, to: &mut [u8]) -> Result<usize, Breach> {
        let mut rest = to;
        let room = rest.len();
        for segment in self.segments.iter().take(self.readable) {
            let length = rest.len().min(segment.length as usize);
            let (now, later) = rest.split_at_mut(length);
            if length > 0 {
                memory.read(Iova::new(segment.address), now)?;
            }
            rest = later;
        }
        Ok(room.wrapping_sub(rest.len()))
    }

    /// Writes into the writable segments from their start, as much as they take, and says how much.
    #[inline]
    pub(crate) fn write(&self, memory: &mut Memory<'_>, from: &[u8]) -> Result<usize, Breach> {
        let mut rest = from;
        for segment in self.segments.iter().skip(self.readable) {
            let length = rest.len().min(segment.length as usize);
            let (now, later) = rest.split_at(length);
            if length > 0 {
                memory.write(Iova::new(segment.address), now)?;
            }
            rest = later;
        }
        Ok(from.len().wrapping_sub(rest.len()))
    }
}

/// The address of a descriptor, and its other word: length, flags, next.
#[inline]
fn descriptor(memory: &mut Memory<'_>, base: u64, index: u32) -> Result<(u64, u64), Breach> {
    let place = base.wrapping_add(u64::from(index).wrapping_mul(DESCRIPTOR_BYTES));
    if place.is_multiple_of(8) {
        return Ok(memory.load_u64_pair(Iova::new(place))?.into());
    }
    // An indirect table may lie anywhere.
    let (mut address, mut word) = ([0; 8], [0; 8]);
    memory.read(Iova::new(place), &mut address)?;
    memory.read(Iova::new(place.wrapping_add(8)), &mut word)?;
    Ok((u64::from_le_bytes(address), u64::from_le_bytes(word)))
}

/// Section 2.7.5.3.1: what is required of a descriptor that refers to a table. Returns the table's entries.
fn enter(table: Table, inside: bool, flags: u16, length: u32) -> Result<u32, Breach> {
    let broken = if !table.indirect {
        Rule::IndirectNotNegotiated
    } else if inside {
        Rule::IndirectNested
    } else if flags & NEXT != 0 {
        Rule::IndirectWithNext
    } else if length == 0 || !u64::from(length).is_multiple_of(DESCRIPTOR_BYTES) {
        Rule::IndirectLength
    } else {
        return Ok(length / DESCRIPTOR_BYTES as u32);
    };
    Err(breach(broken, format!("flags {flags:#x}, {length} bytes")))
}
