//! Traffic between the two ends of a wire pair: what must come through a forwarder unharmed.

pub mod frames;
pub mod ping;
pub mod transfer;
