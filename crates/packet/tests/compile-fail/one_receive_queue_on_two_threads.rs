//! A queue's buffers are one thread's at a time.

use ringway_packet::{Batch, ReceiveBuffers};

/// As two threads of a scope would be. The standard library's own are not used: what the compiler says of them depends on
/// whether its source is installed.
fn on_two_threads(_: impl FnOnce() -> bool + Send, _: impl FnOnce() -> bool + Send) {}

fn two(buffers: &mut ReceiveBuffers, mut first: Batch, mut second: Batch) {
    on_two_threads(|| buffers.receive(&mut first).is_ok(), || buffers.receive(&mut second).is_ok());
}

fn main() {}
