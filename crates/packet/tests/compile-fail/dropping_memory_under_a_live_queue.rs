//! A queue's rings and buffers are kept until the device has stopped: they can't be had out of the queue before.

use ringway_dma::{Kept, Park};

fn free<T: Park + 'static>(queue: Kept<T>) {
    drop(*queue);
}

fn main() {}
