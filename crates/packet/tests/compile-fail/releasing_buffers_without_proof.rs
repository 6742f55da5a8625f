//! What a device may still use goes back against the proof that it stopped, not for the asking.

use ringway_packet::{ReceiveBuffers, TransmitBuffers};

fn received(buffers: ReceiveBuffers) {
    buffers.release();
}

fn sent(buffers: TransmitBuffers, device: &ringway_dma::Attachment) {
    buffers.release(device);
}

fn main() {}
