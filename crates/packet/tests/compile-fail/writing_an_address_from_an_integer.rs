//! An address word takes what was lent, and nothing else.

use ringway_dma::{AddressWord, Descriptor};
use std::sync::atomic::{AtomicU64, Ordering};

fn write(descriptor: &Descriptor) {
    descriptor.address.store(0x1000, Ordering::Relaxed);
}

fn lend(descriptor: &Descriptor) {
    descriptor.address.lend(0x1000);
}

fn reach_inside(descriptor: &Descriptor) -> &AtomicU64 {
    &descriptor.address.0
}

fn make() -> AddressWord {
    AddressWord(AtomicU64::new(0x1000))
}

fn main() {}
