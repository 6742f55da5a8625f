//! A queue's buffers are one thread's at a time.

use ringway_packet::{Batch, ReceiveBuffers};

fn two(buffers: &mut ReceiveBuffers, mut first: Batch, mut second: Batch) {
    std::thread::scope(|scope| {
        scope.spawn(|| buffers.receive(&mut first).is_ok());
        scope.spawn(|| buffers.receive(&mut second).is_ok());
    });
}

fn main() {}
