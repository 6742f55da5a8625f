//! Released is gone.

use ringway_dma::Quiesced;
use ringway_packet::ReceiveBuffers;

fn release(buffers: ReceiveBuffers, stopped: &Quiesced) {
    buffers.release(stopped);
    buffers.release(stopped);
}

fn main() {}
