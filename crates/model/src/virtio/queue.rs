//! The device's side of a split virtqueue (virtio 1.2, section 2.7).
//!
//! ```text
//!   available ring ──take──▶ head ──walk──▶ Chain ── the device reads or writes ──complete──▶ used ring
//!        ▲                                                                           │
//!        └──────────── arm: tell me of the next one          publish: one index, one notification at most
//! ```
//! Nothing that is read from memory is believed: indices are checked against the queue's size. Errors are
//! breaches of a rule, and the queue must not be used after a fatal one.

use super::chain::{Chain, Table};
use super::features::Features;
use super::order::{Order, Picker};
use super::violation::{Breach, Rule, breach};
use crate::Memory;
use ringway_dma::Iova;

/// Section 2.7.6: flags and index of the available ring, and where its entries start.
const AVAILABLE_INDEX: u64 = 2;
const AVAILABLE_RING: u64 = 4;
const NO_INTERRUPT: u16 = 1;
/// Section 2.7.8: flags, index and entries of the used ring.
const USED_INDEX: u64 = 2;
const USED_RING: u64 = 4;
const NO_NOTIFY: u16 = 1;

/// Available entries read at once.
const AHEAD: usize = 32;

/// Where a driver put the three parts of a queue, and how large it made it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) size: u16,
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

impl Layout {
    /// Section 2.7: alignments, and that no part wraps round the end of the address space.
    pub(crate) fn check(&self) -> Result<(), Breach> {
        let size = u64::from(self.size);
        let parts = [
            (self.descriptors, 16, size.saturating_mul(16)),
            (self.available, 2, size.saturating_mul(2).saturating_add(6)),
            (self.used, 4, size.saturating_mul(8).saturating_add(6)),
        ];
        for (base, alignment, bytes) in parts {
            if !base.is_multiple_of(alignment) || base.checked_add(bytes).is_none() {
                return Err(breach(Rule::QueueAlignment, format!("a part at {base:#x}")));
            }
        }
        Ok(())
    }
}

/// A running queue.
#[derive(Debug)]
pub(crate) struct Queue {
    layout: Layout,
    mask: u16,
    event_index: bool,
    table: Table,
    /// The next available entry to take, and how far the driver had got when last looked at.
    next_available: u16,
    seen_available: u16,
    /// Entries read ahead, and the index of the first: a line of memory at a time.
    ahead: [u16; AHEAD],
    ahead_from: u16,
    ahead_count: u16,
    /// The next used entry to write, and what the driver knows of.
    next_used: u16,
    published: u16,
    /// The used entries between the two, as they will be written.
    completed: Vec<u8>,
    picker: Picker,
}

impl Queue {
    /// Section 4.1.5.1.3: a queue as it was configured, empty.
    pub(crate) fn new(layout: Layout, features: Features, order: Order) -> Self {
        let in_order = features.has(Features::IN_ORDER);
        Self {
            layout,
            mask: layout.size.wrapping_sub(1),
            event_index: features.has(Features::EVENT_IDX),
            table: Table {
                base: layout.descriptors,
                size: layout.size,
                indirect: features.has(Features::INDIRECT_DESC),
                in_order,
            },
            next_available: 0,
            seen_available: 0,
            ahead: [0; AHEAD],
            ahead_from: 0,
            ahead_count: 0,
            next_used: 0,
            published: 0,
            completed: Vec::new(),
            picker: Picker::new(if in_order { Order::AsGiven } else { order }),
        }
    }

    pub(crate) fn size(&self) -> u16 {
        self.layout.size
    }

    /// Whether something was completed and not shown.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.next_used != self.published
    }

    /// Whether a chain can be taken without looking at memory.
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        self.next_available != self.seen_available || self.picker.has_waiting()
    }

    /// Looks how far the driver has got. Whether there is anything to take.
    pub(crate) fn refresh(&mut self, memory: &mut Memory<'_>) -> Result<bool, Breach> {
        let index = memory.load_u16(place(self.layout.available, AVAILABLE_INDEX))?;
        let ahead = index.wrapping_sub(self.next_available);
        if ahead > self.layout.size {
            let seen = format!("{index} after {}, size {}", self.next_available, self.layout.size);
            return Err(breach(Rule::AvailableIndexJump, seen));
        }
        self.seen_available = index;
        Ok(self.has_next())
    }

    /// Takes the next chain. `false`: none is there.
    #[inline]
    pub(crate) fn take(&mut self, memory: &mut Memory<'_>, chain: &mut Chain) -> Result<bool, Breach> {
        let head = if self.picker.is_idle() {
            if self.next_available == self.seen_available {
                return Ok(false);
            }
            self.next_head(memory)?
        } else {
            match self.pick(memory)? {
                Some(head) => head,
                None => return Ok(false),
            }
        };
        chain.walk(memory, self.table, head)?;
        Ok(true)
    }

    #[inline]
    fn next_head(&mut self, memory: &mut Memory<'_>) -> Result<u16, Breach> {
        let mut at = self.next_available.wrapping_sub(self.ahead_from);
        if at >= self.ahead_count {
            self.read_ahead(memory)?;
            at = 0;
        }
        self.next_available = self.next_available.wrapping_add(1);
        Ok(self.ahead.get(usize::from(at)).copied().unwrap_or_default())
    }

    /// Section 2.7.6: reads the next available entries, of those that the driver has shown, up to the ring's end.
    #[inline(never)]
    fn read_ahead(&mut self, memory: &mut Memory<'_>) -> Result<(), Breach> {
        let slot = self.next_available & self.mask;
        let shown = self.seen_available.wrapping_sub(self.next_available);
        let count = shown.min(self.layout.size.wrapping_sub(slot)).min(AHEAD as u16);
        let mut bytes = [0; 2 * AHEAD];
        let wanted = bytes.get_mut(..2 * usize::from(count)).unwrap_or_default();
        let offset = AVAILABLE_RING.wrapping_add(u64::from(slot).wrapping_mul(2));
        memory.read(place(self.layout.available, offset), wanted)?;
        for (entry, &bytes) in self.ahead.iter_mut().zip(bytes.as_chunks().0) {
            *entry = u16::from_le_bytes(bytes);
        }
        (self.ahead_from, self.ahead_count) = (self.next_available, count);
        Ok(())
    }

    #[cold]
    fn pick(&mut self, memory: &mut Memory<'_>) -> Result<Option<u16>, Breach> {
        while self.picker.wants_more() && self.next_available != self.seen_available {
            let head = self.next_head(memory)?;
            if self.picker.holds(head) {
                return Err(breach(Rule::HeadInFlight, format!("descriptor {head}")));
            }
            self.picker.add(head);
        }
        Ok(self.picker.pick())
    }

    /// Puts a chain back that was taken and not used; the last one taken comes first.
    #[cold]
    pub(crate) fn put_back(&mut self, head: u16) {
        self.picker.put_back(head);
    }

    /// Section 2.7.8: a used entry. It is written, and the driver sees it, with [`publish`](Self::publish).
    #[inline]
    pub(crate) fn complete(&mut self, id: u32, length: u32) {
        let entry = u64::from(length) << 32 | u64::from(id);
        self.completed.extend_from_slice(&entry.to_le_bytes());
        self.next_used = self.next_used.wrapping_add(1);
    }

    fn write_completed(&mut self, memory: &mut Memory<'_>) -> Result<(), Breach> {
        let mut slot = u64::from(self.published & self.mask);
        let mut rest = self.completed.as_slice();
        while !rest.is_empty() {
            let until_end = u64::from(self.layout.size).wrapping_sub(slot).wrapping_mul(8) as usize;
            let (now, later) = rest.split_at(until_end.min(rest.len()));
            let offset = USED_RING.wrapping_add(slot.wrapping_mul(8));
            memory.write(place(self.layout.used, offset), now)?;
            (rest, slot) = (later, 0);
        }
        self.completed.clear();
        Ok(())
    }

    /// Moves the used index on by entries that were never written: what a faulty device does.
    #[cold]
    pub(crate) fn jump(&mut self, by: u16) {
        self.next_used = self.next_used.wrapping_add(by);
    }

    /// Shows the driver what was completed. Whether it wants to be told (section 2.7.7); `None`: nothing is new.
    pub(crate) fn publish(&mut self, memory: &mut Memory<'_>) -> Result<Option<bool>, Breach> {
        if self.next_used == self.published {
            return Ok(None);
        }
        self.write_completed(memory)?;
        let (old, new) = (self.published, self.next_used);
        memory.store_u16(place(self.layout.used, USED_INDEX), new)?;
        self.published = new;
        // The index must be visible before the driver's wish is read, or both sides may sleep.
        ringway_dma::barrier::full();
        if self.event_index {
            let offset = AVAILABLE_RING.wrapping_add(u64::from(self.layout.size).wrapping_mul(2));
            let event = memory.load_u16(place(self.layout.available, offset))?;
            return Ok(Some(new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)));
        }
        let flags = memory.load_u16(place(self.layout.available, 0))?;
        Ok(Some(flags & NO_INTERRUPT == 0))
    }

    /// Section 2.7.10: asks to be told of the next available buffer.
    pub(crate) fn arm(&mut self, memory: &mut Memory<'_>) -> Result<(), Breach> {
        if self.event_index {
            let offset = USED_RING.wrapping_add(u64::from(self.layout.size).wrapping_mul(8));
            memory.store_u16(place(self.layout.used, offset), self.next_available)?;
            ringway_dma::barrier::full();
        }
        Ok(())
    }

    /// Section 2.7.10: tells the driver that no notification is needed, as far as the features allow: with
    /// EVENT_IDX, until the index has come round once.
    pub(crate) fn disarm(&mut self, memory: &mut Memory<'_>) -> Result<(), Breach> {
        if self.event_index {
            let offset = USED_RING.wrapping_add(u64::from(self.layout.size).wrapping_mul(8));
            memory.store_u16(place(self.layout.used, offset), self.next_available.wrapping_sub(1))?;
            return Ok(());
        }
        memory.store_u16(place(self.layout.used, 0), NO_NOTIFY)?;
        Ok(())
    }
}

/// [`Layout::check`] made sure that this doesn't wrap.
#[inline]
fn place(base: u64, offset: u64) -> Iova {
    Iova::new(base.wrapping_add(offset))
}
