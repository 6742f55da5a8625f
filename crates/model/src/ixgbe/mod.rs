//! An Intel 82599 in software, written from its datasheet (331520): what a driver sees of it, and the cable's end.
//!
//! ```text
//!   front.rs      the seam of ringway-pci (config.rs)      handle.rs   what steps it, the thread
//!   access.rs     reading and writing registers (table.rs, registers.rs)
//!   receive.rs    filters.rs ─▶ headers.rs ─▶ steering.rs (director.rs), rss.rs, checksum.rs ─▶ descriptors
//!   transmit.rs   descriptors (context.rs) ─▶ segment.rs ─▶ the wire
//!   interrupts.rs · link.rs · eeprom.rs · module.rs (the SFP's memories) · phy.rs · host.rs (firmware)
//! ```
//!
//! What it does not do, and a driver must not wait for: flow director matches perfectly or not at all (no signatures), received packets are never
//! coalesced, headers never split from data, and there are no virtual functions, no traffic classes, no security
//! offloads, no time stamps of packets (a clock there is).

mod access;
pub(crate) mod checksum;
mod clock;
mod config;
mod context;
mod core;
mod director;
mod eeprom;
mod filters;
mod front;
mod handle;
pub(crate) mod headers;
mod host;
mod interrupts;
mod link;
mod module;
mod options;
mod pause;
mod phy;
mod receive;
mod registers;
mod rss;
mod segment;
mod steering;
mod table;
mod transmit;

#[cfg(feature = "vfio-user")]
pub(crate) use config::{CONFIG_BYTES, MSIX_BYTES, VECTORS};
pub use front::Ixgbe;
#[cfg(feature = "vfio-user")]
pub(crate) use front::Shared;
pub use handle::{Handle, Monitor};
pub use options::{LinkSpeed, Options, Personality};
#[cfg(feature = "vfio-user")]
pub(crate) use registers::BAR_BYTES;
