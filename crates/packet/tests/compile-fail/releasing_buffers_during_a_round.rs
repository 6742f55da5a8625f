//! Who has a round in hand has the buffers with it.

use ringway_dma::Quiesced;
use ringway_packet::{Batch, ReceiveBuffers};

fn release(mut buffers: ReceiveBuffers, batch: &mut Batch, stopped: &Quiesced) -> Option<()> {
    let round = buffers.receive(batch).ok()?;
    buffers.release(stopped);
    drop(round);
    Some(())
}

fn main() {}
