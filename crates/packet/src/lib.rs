//! Packet buffers, batches and the pool they come from.
