//! So is a batch.

fn twice(batch: ringway_packet::Batch) -> (ringway_packet::Batch, ringway_packet::Batch) {
    (batch.clone(), batch)
}

fn main() {}
