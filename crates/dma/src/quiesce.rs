//! Proof that a device has stopped.
//!
//! A ring's memory and the buffers that it holds go back only against a [`Quiesced`], which the owner of the
//! function mints once bus mastering is off and the function is reset (rule 2). Without it they are kept: memory
//! then goes only by way of unmapping, and the buffers' numbers are never used again.

use crate::AddressSpace;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one open device for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId(u64);

/// An open device and the address space that it is in: what rings and the buffers in them are made for.
#[derive(Debug)]
pub struct Attachment {
    id: DeviceId,
    space: AddressSpace,
}

impl Attachment {
    /// A device that was just opened in `space`.
    pub fn new(space: AddressSpace) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Only uniqueness is asked of it.
        Self { id: DeviceId(NEXT.fetch_add(1, Ordering::Relaxed)), space }
    }

    /// Names the device.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The memory that it reaches.
    pub fn address_space(&self) -> &AddressSpace {
        &self.space
    }
}

/// The device no longer reads or writes memory, and won't before it is opened again.
#[derive(Debug)]
pub struct Quiesced {
    device: DeviceId,
}

impl Quiesced {
    /// States that `device` has stopped.
    ///
    /// # Safety
    /// The device's bus mastering is off and its queues are reset, or nothing is reachable for it any more.
    pub unsafe fn new(device: DeviceId) -> Self {
        Self { device }
    }

    /// The device that has stopped.
    pub fn device(&self) -> DeviceId {
        self.device
    }
}

/// What must not go before its device has stopped: rings, and the buffers that they hold.
pub trait Park: Send + std::fmt::Debug {
    /// Gives everything back. Called once, after the device stopped.
    fn release(self: Box<Self>, stopped: &Quiesced);
}

/// Who keeps what must outlive a device's use of it: the owner of the function.
pub trait Keeper: Send + Sync + std::fmt::Debug {
    /// Keeps it until the device has stopped, and releases it then.
    fn keep(&self, what: Box<dyn Park>);
}

/// A queue's ring and buffers in the hands of the program: when it is dropped, they go to the device's keeper
/// instead of going away.
#[derive(Debug)]
pub struct Kept<T: Park + 'static> {
    value: ManuallyDrop<T>,
    keeper: Arc<dyn Keeper>,
}

impl<T: Park + 'static> Kept<T> {
    /// Entrusts `value` to `keeper`, from its drop on. The device is open for at least as long.
    pub fn new(value: T, keeper: Arc<dyn Keeper>) -> Self {
        Self { value: ManuallyDrop::new(value), keeper }
    }
}

impl<T: Park + 'static> Deref for Kept<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Park + 'static> DerefMut for Kept<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Park + 'static> Drop for Kept<T> {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and never used after.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        self.keeper.keep(Box::new(value));
    }
}
