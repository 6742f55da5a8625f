//! What a device writes at any time is read as atomics.

fn ring(block: &ringway_dma::Block) {
    let _ = block.ring::<u64>(0, 8);
}

fn main() {}
