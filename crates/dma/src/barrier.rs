//! Barriers between memory and a device.
//!
//! Between a driver's stores to memory and the store to a doorbell register stands [`before_doorbell`]; between
//! publishing and looking whether the other side wants to be told stands [`full`].

use std::sync::atomic::{Ordering, fence};

/// All stores before it are visible to the device before a store to a device register after it.
///
/// On x86-64 stores to write-back memory are never reordered after a store to uncached memory, so a compiler
/// barrier serves. On aarch64 it takes a barrier for the outer shareable domain.
#[inline(always)]
pub fn before_doorbell() {
    fence(Ordering::Release);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier changes no register and no memory.
    unsafe {
        std::arch::asm!("dmb oshst", options(nostack, preserves_flags))
    };
}

/// All stores before it are visible to everyone before any load after it (virtio 1.2, section 2.7.13.3.1).
#[inline(always)]
pub fn full() {
    fence(Ordering::SeqCst);
}
