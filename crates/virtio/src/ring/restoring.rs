//! Brings a ring whose slots came back in another order once into its own order again.
//!
//! Slots that are offered as they come back keep any order for ever: a device that works through the ring as it stands
//! gives them back so, and only the slow way takes them. So, when such a device has shown for a whole lap that it keeps
//! the order, slots are held back until it is their turn: at most half of the ring, and none where nothing comes for a while.
//! It takes one lap and a half.
//!
//! A device that doesn't keep the order is left alone: its slots are offered as they come. So are those of very large rings.

use super::SplitRing;

/// Rounds without a packet after which nothing is held back: the device may need more buffers to go on.
const PATIENCE: u32 = 1000;
/// The largest ring that is brought in order: the slot to go next is searched for.
const LARGEST: u32 = 4096;

/// The slots that are held back, and whether it is worth while.
#[derive(Debug)]
pub(crate) struct Restoring {
    held: Box<[bool]>,
    count: u32,
    /// Slots in a row that came back as they were offered.
    kept: u32,
    /// Rounds in a row without a packet, while something was held.
    idle: u32,
}

impl Restoring {
    pub(crate) fn new(size: u16) -> Self {
        Self { held: vec![false; size.into()].into_boxed_slice(), count: 0, kept: 0, idle: 0 }
    }

    /// The `n`-th chain that came back is `id`.
    #[inline(always)]
    pub(crate) fn note(&mut self, ring: &SplitRing, n: u16, id: u32) {
        self.kept = if ring.offered_as(n) == id { self.kept.saturating_add(1) } else { 0 };
    }

    /// Whether slots have to go through [`offer`](Self::offer).
    #[inline]
    pub(crate) fn is_on(&self, ring: &SplitRing) -> bool {
        self.count > 0 || (self.keeps_order(ring) && !ring.is_ordered())
    }

    /// Whether anything is held back.
    #[inline(always)]
    pub(crate) fn holds(&self) -> bool {
        self.count > 0
    }

    fn keeps_order(&self, ring: &SplitRing) -> bool {
        self.kept > ring.mask() && ring.mask() < LARGEST
    }

    /// Offers a slot now, or when it is its turn.
    pub(crate) fn offer(&mut self, ring: &mut SplitRing, slot: u16) {
        if !self.is_on(ring) {
            return ring.offer(slot);
        }
        if let Some(held) = self.held.get_mut(usize::from(slot))
            && !*held
        {
            *held = true;
            self.count = self.count.wrapping_add(1);
        }
        self.go_on(ring);
    }

    /// Offers what is due.
    pub(crate) fn go_on(&mut self, ring: &mut SplitRing) {
        self.idle = 0;
        let half = ring.mask().wrapping_add(1) / 2;
        while self.count > 0 {
            let due = u32::from(ring.next_offer()) & ring.mask();
            let is_here = self.held.get(due as usize).copied().unwrap_or(false);
            if !is_here && self.keeps_order(ring) && self.count <= half {
                return;
            }
            // If it isn't here, and can't be waited for, the one goes whose turn is the farthest away.
            let slots = (0..=ring.mask()).map(|back| due.wrapping_sub(back) & ring.mask());
            let Some(slot) = slots.into_iter().find(|slot| self.held.get(*slot as usize) == Some(&true))
            else {
                self.count = 0;
                return;
            };
            if let Some(held) = self.held.get_mut(slot as usize) {
                *held = false;
            }
            self.count = self.count.wrapping_sub(1);
            ring.offer(slot as u16);
        }
    }

    /// To be called in a round without a packet while something is held; whether slots were offered.
    pub(crate) fn idle(&mut self, ring: &mut SplitRing) -> bool {
        self.idle = self.idle.saturating_add(1);
        if self.idle < PATIENCE {
            return false;
        }
        self.give_up(ring);
        true
    }

    /// Offers all that is held, in whatever order.
    pub(crate) fn give_up(&mut self, ring: &mut SplitRing) {
        self.kept = 0;
        self.go_on(ring);
    }

    /// Forgets what was held: the ring begins anew, in order.
    pub(crate) fn forget(&mut self) {
        self.held.fill(false);
        (self.count, self.kept, self.idle) = (0, 0, 0);
    }
}
