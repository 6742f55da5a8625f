//! The network device on top of the rings (virtio 1.2, section 5.1).

mod configuration;
mod control;
mod filter;
mod header;
mod layers;
mod offloads;
mod port;
mod receive;
mod received;
mod request;
mod segments;
mod start;
mod steering;
mod transmit;

pub(crate) use start::open;
