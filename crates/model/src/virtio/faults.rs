//! What a broken or hostile device does, on demand.
//!
//! A test asks [`Handle::faults`](super::Handle::faults) for a [`Faults`] and turns a knob; it may do so while the
//! device runs on another thread. A device without a plan pays for this with one predicted branch a completion.

use super::handle::Shared;
use super::queue::Queue;
use std::sync::Arc;

/// Faults to come. Each of the queue's is done once, with the next completion or publication.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) refuse_features: bool,
    pub(crate) refuse_vectors: bool,
    pub(crate) buffers: Option<u16>,
    wrong_id: Option<(u16, u32)>,
    excess: Option<(u16, u32)>,
    duplicate: Option<u16>,
    jump: Option<(u16, u16)>,
}

impl Plan {
    /// Completes, wrongly where that is planned for this queue.
    #[cold]
    pub(crate) fn complete(&mut self, index: u16, queue: &mut Queue, head: u16, length: u32) {
        let id = take_for(&mut self.wrong_id, index).unwrap_or(head.into());
        let length = take_for(&mut self.excess, index).map_or(length, |excess| length.wrapping_add(excess));
        queue.complete(id, length);
        if self.duplicate == Some(index) {
            self.duplicate = None;
            queue.complete(id, length);
        }
    }

    #[cold]
    pub(crate) fn jump(&mut self, index: u16, queue: &mut Queue) {
        if let Some(by) = take_for(&mut self.jump, index) {
            queue.jump(by);
        }
    }
}

fn take_for<T: Copy>(planned: &mut Option<(u16, T)>, index: u16) -> Option<T> {
    let (_, value) = planned.take_if(|(queue, _)| *queue == index)?;
    Some(value)
}

/// The knobs. Queues are named by their index: receive queue n is 2n, transmit queue n is 2n + 1.
#[derive(Clone, Debug)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl Faults {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(self.shared.lock().faults.get_or_insert_default());
    }

    /// Stops looking at a queue, or goes on.
    pub fn stall(&self, queue: u16, on: bool) {
        if let Some(slot) = self.shared.lock().queues.get_mut(usize::from(queue)) {
            slot.stalled = on;
        }
    }

    /// Keeps what a queue has completed from the driver, until [`release`](Self::release).
    pub fn hold(&self, queue: u16) {
        if let Some(slot) = self.shared.lock().queues.get_mut(usize::from(queue)) {
            slot.completions.held = true;
        }
    }

    /// How many completions of a queue are held.
    pub fn held(&self, queue: u16) -> usize {
        let device = self.shared.lock();
        device.queues.get(usize::from(queue)).map_or(0, |slot| slot.completions.waiting())
    }

    /// Uses what is held, at once: the one at `order[0]` first (0 is the oldest), and so on; the rest follow, oldest
    /// first.
    pub fn release(&self, queue: u16, order: &[usize]) {
        let mut device = self.shared.lock();
        if let Some(slot) = device.queues.get_mut(usize::from(queue)) {
            slot.completions.arrange(order);
            slot.completions.held = false;
        }
        device.publish(queue);
    }

    /// Pulls the function out: registers and configuration space read all ones, memory is not accessed any more, no
    /// interrupt comes.
    pub fn remove(&self) {
        self.shared.lock().gone = true;
    }

    /// Puts it back, as it is after power-up.
    pub fn insert(&self) {
        let mut device = self.shared.lock();
        device.gone = false;
        device.function_reset();
    }

    /// Moves the used index on by `by` entries that were never written, with the next publication.
    pub fn jump_used_index(&self, queue: u16, by: u16) {
        self.plan(|plan| plan.jump = Some((queue, by)));
    }

    /// Uses `id` instead of the right one, with the next completion.
    pub fn wrong_id(&self, queue: u16, id: u32) {
        self.plan(|plan| plan.wrong_id = Some((queue, id)));
    }

    /// Says that `excess` bytes more were written than were, with the next completion.
    pub fn excess_length(&self, queue: u16, excess: u32) {
        self.plan(|plan| plan.excess = Some((queue, excess)));
    }

    /// Uses the next completion's buffer twice.
    pub fn duplicate_completion(&self, queue: u16) {
        self.plan(|plan| plan.duplicate = Some(queue));
    }

    /// Says in the header of the next received frame that it lies in so many buffers.
    pub fn wrong_buffer_count(&self, buffers: u16) {
        self.plan(|plan| plan.buffers = Some(buffers));
    }

    /// Refuses FEATURES_OK whatever was accepted.
    pub fn refuse_features(&self, on: bool) {
        self.plan(|plan| plan.refuse_features = on);
    }

    /// Answers every mapping to a vector with "no vector".
    pub fn refuse_vectors(&self, on: bool) {
        self.plan(|plan| plan.refuse_vectors = on);
    }

    /// Enters the error state: DEVICE_NEEDS_RESET.
    pub fn need_reset(&self) {
        self.shared.lock().need_reset();
    }

    /// Sets the link.
    pub fn link(&self, up: bool) {
        self.shared.lock().set_link(up);
    }

    /// Sends an interrupt nobody asked for.
    pub fn interrupt(&self, vector: u16) {
        self.shared.lock().interrupts.send(vector, false);
    }

    /// Forgets all that was planned and lets every queue go on. A removed function stays removed.
    pub fn clear(&self) {
        let mut device = self.shared.lock();
        device.faults = None;
        for slot in &mut device.queues {
            slot.stalled = false;
        }
    }
}
