//! The order in which buffers are used. A device may use them in any order (virtio 1.2, section 2.7.9), and a
//! driver that relies on more is wrong; this is how a test finds it.

/// In which order a queue's buffers are used. Frames keep their order in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// As they were made available.
    #[default]
    AsGiven,
    /// Of those at hand, up to 16, the newest first.
    Reversed,
    /// Of those at hand, up to 16, any; the same sequence for the same seed.
    Shuffled(
        /// The seed.
        u64,
    ),
}

/// How many a device looks ahead.
const WINDOW: usize = 16;

/// Picks the next buffer of a queue, or the next completion.
#[derive(Debug)]
pub(crate) struct Picker {
    order: Order,
    state: u64,
    /// Heads put back, the last on top: they come first.
    back: Vec<u16>,
    window: Vec<u16>,
}

impl Picker {
    pub(crate) fn new(order: Order) -> Self {
        let state = match order {
            Order::Shuffled(seed) => seed | 1,
            _ => 1,
        };
        Self { order, state, back: Vec::new(), window: Vec::new() }
    }

    /// Whether it has no part in what comes next.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.order == Order::AsGiven && self.back.is_empty()
    }

    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        !self.back.is_empty() || !self.window.is_empty()
    }

    pub(crate) fn wants_more(&self) -> bool {
        let limit = if self.order == Order::AsGiven { 1 } else { WINDOW };
        self.back.is_empty() && self.window.len() < limit
    }

    pub(crate) fn holds(&self, head: u16) -> bool {
        self.window.contains(&head) || self.back.contains(&head)
    }

    pub(crate) fn add(&mut self, head: u16) {
        self.window.push(head);
    }

    pub(crate) fn put_back(&mut self, head: u16) {
        self.back.push(head);
    }

    pub(crate) fn pick(&mut self) -> Option<u16> {
        if let Some(head) = self.back.pop() {
            return Some(head);
        }
        let last = self.window.len().checked_sub(1)?;
        let index = match self.order {
            Order::AsGiven => 0,
            Order::Reversed => last,
            Order::Shuffled(_) => self.random(last.wrapping_add(1)),
        };
        Some(self.window.remove(index))
    }

    /// Puts completions into this order.
    pub(crate) fn arrange<T>(&mut self, completions: &mut [T]) {
        match self.order {
            Order::AsGiven => {}
            Order::Reversed => completions.reverse(),
            Order::Shuffled(_) => {
                for end in (1..completions.len()).rev() {
                    let other = self.random(end.wrapping_add(1));
                    completions.swap(end, other);
                }
            }
        }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Xorshift: any generator serves, as long as it repeats. Below `limit`, which is not 0.
    fn random(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 33) as usize % limit.max(1)
    }
}
