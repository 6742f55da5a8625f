//! One queue of the device: its registers, its doorbell, and the queue itself while it is enabled.

use super::chain::Chain;
use super::common::NO_VECTOR;
use super::faults::Plan;
use super::moderation::Moderation;
use super::order::{Order, Picker};
use super::queue::{Layout, Queue};
use super::violation::{Breach, Rule, breach};
use crate::Memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a doorbell holds while nobody has rung it. Section 4.1.5.2: a notification carries a queue's index, which
/// has 16 bits.
pub(crate) const SILENT: u32 = u32::MAX;

/// A queue's place in the device.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: u16,
    pub(crate) layout: Layout,
    pub(crate) vector: u16,
    bell: Arc<AtomicU32>,
    /// The driver notified the device, and it has not come to the end of the ring since.
    due: bool,
    /// Looks at the ring without being told to.
    polls: bool,
    /// A fault: the device doesn't look at this queue.
    pub(crate) stalled: bool,
    pub(crate) queue: Option<Queue>,
    pub(crate) completions: Completions,
    pub(crate) moderation: Moderation,
}

/// Used entries that are written later, in another order.
#[derive(Debug)]
pub(crate) struct Completions {
    picker: Picker,
    waiting: Vec<(u16, u32)>,
    /// They stay until the test lets go.
    pub(crate) held: bool,
}

impl Completions {
    pub(crate) fn new(order: Order) -> Self {
        Self { picker: Picker::new(order), waiting: Vec::new(), held: false }
    }

    fn are_delayed(&self) -> bool {
        self.held || self.picker.order() != Order::AsGiven || !self.waiting.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Arranges what is held: the n-th to be used is the one at `order[n]`; the rest follow as they are.
    pub(crate) fn arrange(&mut self, order: &[usize]) {
        let mut rest: Vec<Option<(u16, u32)>> = self.waiting.drain(..).map(Some).collect();
        let named = order.iter().filter_map(|&index| rest.get_mut(index)?.take()).collect::<Vec<_>>();
        self.waiting = named;
        self.waiting.extend(rest.into_iter().flatten());
    }
}

impl Slot {
    pub(crate) fn new(index: u16, size: u16, polls: bool) -> Self {
        Self {
            index,
            layout: Layout { size, ..Layout::default() },
            vector: NO_VECTOR,
            bell: Arc::new(AtomicU32::new(SILENT)),
            due: false,
            polls,
            stalled: false,
            queue: None,
            completions: Completions::new(Order::AsGiven),
            moderation: Moderation::default(),
        }
    }

    /// Section 2.6.1 and 4.1.4.3.1: disabled, `size` offered again, no vector, no notification pending.
    pub(crate) fn reset(&mut self, size: u16) {
        self.queue = None;
        self.layout = Layout { size, ..Layout::default() };
        self.vector = NO_VECTOR;
        self.due = false;
        self.completions = Completions::new(Order::AsGiven);
        self.moderation = Moderation::default();
        self.bell.store(SILENT, Ordering::Relaxed);
    }

    /// The doorbell, to hand to a driver.
    pub(crate) fn bell(&self) -> &Arc<AtomicU32> {
        &self.bell
    }

    pub(crate) fn ring_bell(&self, value: u32) {
        self.bell.store(value, Ordering::Release);
    }

    pub(crate) fn is_rung(&self) -> bool {
        self.bell.load(Ordering::Acquire) != SILENT
    }

    /// Forgets a notification.
    pub(crate) fn silence(&self) {
        self.bell.store(SILENT, Ordering::Relaxed);
    }

    /// Whether it may have work: decided without looking at memory.
    #[inline]
    pub(crate) fn may_have_work(&self) -> bool {
        let Some(queue) = &self.queue else { return false };
        !self.stalled && (queue.has_next() || self.due || self.polls || self.is_rung())
    }

    /// Whether a chain can be taken. Looks at the available ring only when the driver said that there is something, and
    /// asks to be told again when there is nothing (section 2.7.10).
    #[inline]
    pub(crate) fn ready(&mut self, memory: &mut Memory<'_>) -> Result<bool, Breach> {
        if self.stalled {
            return Ok(false);
        }
        match &self.queue {
            Some(queue) if queue.has_next() => Ok(true),
            Some(_) => self.look(memory),
            None => Ok(false),
        }
    }

    fn look(&mut self, memory: &mut Memory<'_>) -> Result<bool, Breach> {
        if self.is_rung() {
            let value = self.bell.swap(SILENT, Ordering::AcqRel);
            self.due = true;
            if value != u32::from(self.index) && value != SILENT {
                return Err(breach(Rule::NotificationValue, format!("{value:#x}")));
            }
        }
        let Some(queue) = &mut self.queue else { return Ok(false) };
        if self.polls {
            let found = queue.refresh(memory)?;
            if !found {
                queue.disarm(memory)?;
            }
            return Ok(found);
        }
        if !self.due {
            return Ok(false);
        }
        if queue.refresh(memory)? {
            return Ok(true);
        }
        queue.arm(memory)?;
        if queue.refresh(memory)? {
            return Ok(true);
        }
        self.due = false;
        Ok(false)
    }

    /// Takes the next chain.
    #[inline]
    pub(crate) fn take(&mut self, memory: &mut Memory<'_>, chain: &mut Chain) -> Result<bool, Breach> {
        if !self.ready(memory)? {
            return Ok(false);
        }
        let Some(queue) = &mut self.queue else { return Ok(false) };
        queue.take(memory, chain)
    }

    /// Puts a chain back that was taken and not used; the last one put back comes first.
    #[cold]
    pub(crate) fn put_back(&mut self, head: u16) {
        if let Some(queue) = &mut self.queue {
            queue.put_back(head);
        }
    }

    /// Gives a chain back to the driver with `length` bytes written: with the next [`publish`](Self::publish), or later.
    #[inline]
    pub(crate) fn complete(
        &mut self,
        head: u16,
        length: u32,
        faults: &mut Option<Box<Plan>>,
    ) -> Result<(), Breach> {
        if self.completions.are_delayed() {
            return self.delay(head, length);
        }
        if let Some(queue) = &mut self.queue {
            match faults {
                None => queue.complete(head.into(), length),
                Some(plan) => plan.complete(self.index, queue, head, length),
            }
        }
        Ok(())
    }

    #[cold]
    fn delay(&mut self, head: u16, length: u32) -> Result<(), Breach> {
        if self.completions.waiting.iter().any(|&(waiting, _)| waiting == head) {
            return Err(breach(Rule::HeadInFlight, format!("descriptor {head}")));
        }
        self.completions.waiting.push((head, length));
        Ok(())
    }

    /// Whether there is anything to show.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        let waiting = !self.completions.held && !self.completions.waiting.is_empty();
        waiting || self.queue.as_ref().is_some_and(Queue::has_news)
    }

    /// Shows the driver what was completed. Whether it wants to be told; `None`: nothing is new.
    pub(crate) fn publish(
        &mut self,
        memory: &mut Memory<'_>,
        faults: &mut Option<Box<Plan>>,
    ) -> Result<Option<bool>, Breach> {
        let Some(queue) = &mut self.queue else { return Ok(None) };
        if !self.completions.held && !self.completions.waiting.is_empty() {
            let mut waiting = std::mem::take(&mut self.completions.waiting);
            self.completions.picker.arrange(&mut waiting);
            for (head, length) in waiting.drain(..) {
                match faults {
                    None => queue.complete(head.into(), length),
                    Some(plan) => plan.complete(self.index, queue, head, length),
                }
            }
            self.completions.waiting = waiting;
        }
        if let Some(plan) = faults {
            plan.jump(self.index, queue);
        }
        queue.publish(memory)
    }
}
