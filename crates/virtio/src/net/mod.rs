//! The network device on top of the rings (virtio 1.2, section 5.1).

mod configuration;
mod control;
mod header;
mod port;
mod receive;
mod segments;
mod start;
mod transmit;

pub(crate) use start::open;
