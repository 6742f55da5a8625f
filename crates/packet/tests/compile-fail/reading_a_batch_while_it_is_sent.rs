//! During a round the packets are the round's.

use ringway_packet::{Batch, TransmitBuffers};

fn send(buffers: &mut TransmitBuffers, batch: &mut Batch) -> Option<usize> {
    let round = buffers.send(batch, 0).ok()?;
    let length = batch.frame(0)?.len();
    drop(round);
    Some(length)
}

fn main() {}
