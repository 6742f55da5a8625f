//! Packets in several buffers, on their way out (virtio 1.2, section 2.7.5).
//!
//! Where indirect descriptors were agreed on, a descriptor has a table of its own (see [`Tables`]), and the packet takes
//! one descriptor. Otherwise it takes one after the other. The first buffer of a packet is recorded under its
//! descriptor; those in a table under numbers behind the ring's: see [`slot`].

use crate::ring::{SplitRing, flag, word};
use ringway_dma::{Descriptor, Ring};
use ringway_packet::Sending;
use std::sync::atomic::Ordering;

/// Descriptors of one indirect table: a frame of 9.5 KiB in buffers of 2 KiB, and some.
const TABLE: u32 = 8;
/// The same where packets are segmented: 64 KiB in buffers of 2 KiB, and some.
const LONG_TABLE: u32 = 64;
/// The most entries of all tables: as many as buffers can be recorded.
const MAXIMUM_ENTRIES: u32 = 1 << 15;

/// The indirect tables of a queue, one a descriptor.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) ring: Ring<Descriptor>,
    /// Entries of one table.
    pub(super) entries: u32,
}

/// The entries of one table of a ring of `size` descriptors, with room for packets to be segmented if they are `long`;
/// `None` when the ring is too large to have tables.
pub(super) fn entries(size: u32, long: bool) -> Option<u32> {
    let entries = if long { LONG_TABLE } else { TABLE };
    size.checked_mul(entries).filter(|&all| all <= MAXIMUM_ENTRIES).map(|_| entries)
}

/// Where the n-th buffer of the packet of `head` is recorded.
pub(super) fn slot(head: u32, n: u32, mask: u32, indirect: bool) -> u32 {
    if indirect {
        n.wrapping_mul(mask.wrapping_add(1)).wrapping_add(head)
    } else {
        head.wrapping_add(n) & mask
    }
}

/// How a packet goes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) buffers: u32,
    pub(super) descriptors: u32,
}

/// How the packet at the front goes out; `None` when it can't.
pub(super) fn plan(round: &Sending<'_>, mask: u32, tables: Option<&Tables>) -> Option<Plan> {
    let buffers = u32::try_from(round.segments()).ok()?;
    // Section 2.7.5.3.1: no chain is longer than the ring.
    let most = mask.wrapping_add(1).min(tables.map_or(u8::MAX.into(), |tables| tables.entries));
    // Devices take an empty descriptor for a driver's fault.
    if buffers > most || round.has_empty_segment() {
        return None;
    }
    Some(Plan { buffers, descriptors: if tables.is_some() { 1 } else { buffers } })
}

impl Plan {
    /// Whether the descriptors from `next` on are free.
    pub(super) fn has_room(self, round: &Sending<'_>, next: u32, mask: u32) -> bool {
        (0..self.descriptors).all(|n| round.is_free(next.wrapping_add(n) & mask))
    }

    /// Notes in how many buffers the packet is.
    pub(super) fn note(self, segments: &mut [u8], head: u32) {
        self.mark(segments, head, self.buffers as u8, 0);
    }

    /// The packet is back.
    pub(super) fn forget(self, segments: &mut [u8], head: u32) {
        self.mark(segments, head, 1, 1);
    }

    fn mark(self, segments: &mut [u8], head: u32, first: u8, rest: u8) {
        let mask = (segments.len() as u32).wrapping_sub(1);
        for n in 0..self.descriptors {
            if let Some(place) = segments.get_mut((head.wrapping_add(n) & mask) as usize) {
                *place = if n == 0 { first } else { rest };
            }
        }
    }
}

/// Gives the packet at the front to the device, from the descriptor `next` on. The header is written already.
pub(super) fn send(
    ring: &mut SplitRing,
    tables: Option<&Tables>,
    round: &mut Sending<'_>,
    (next, header): (u32, u32),
    plan: Plan,
) -> bool {
    let mask = ring.mask();
    let head = next & mask;
    let tables = tables.filter(|_| plan.buffers > 1);
    let table = head.wrapping_mul(tables.map_or(0, |tables| tables.entries));
    for n in 0..plan.buffers {
        let Some(front) = round.front() else { return false };
        let length = if n == 0 { front.length.wrapping_add(header) } else { front.length };
        let more = if front.last { 0 } else { flag::NEXT };
        let (descriptor, following) = match tables {
            Some(tables) => (tables.ring.at(table.wrapping_add(n)), n.wrapping_add(1)),
            None => {
                (ring.descriptors().at(head.wrapping_add(n)), head.wrapping_add(n).wrapping_add(1) & mask)
            }
        };
        if !round.lend(slot(head, n, mask, tables.is_some()), &descriptor.address) {
            return false;
        }
        descriptor.word.store(word(length, more, following as u16), Ordering::Relaxed);
    }
    if let Some(tables) = tables {
        let descriptor = ring.descriptors().at(head);
        descriptor.address.point_at(&tables.ring, table);
        let bytes = plan.buffers.wrapping_mul(size_of::<Descriptor>() as u32);
        descriptor.word.store(word(bytes, flag::INDIRECT, 0), Ordering::Relaxed);
    }
    ring.offer(head as u16);
    true
}
