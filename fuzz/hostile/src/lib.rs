//! Hostile devices and packets, played from a string of bytes.
//!
//! Between a driver and the software model of its device stands a back end that lies ([`lies`]); between two steps of the
//! program the device does what no device should ([`case`]): it writes anything into rings, strikes at any address, raises
//! any interrupt, changes its registers, disappears; and memory of packets is written over past everybody (`beneath`). After each step the books are compared ([`memory`]): no buffer handed
//! out twice, none both lent and held, none too many, nothing changed that was not lent. After the end all buffers are
//! back, and the same device, honest again, works.
//!
//! The same scripts are what `cargo fuzz` mutates (`fuzz/fuzz_targets`) and what runs with fixed seeds ([`run`]) in the test
//! command. What this is not: a test of what drivers do well; that is in their crates.
#![forbid(unsafe_code)]

mod beneath;
pub mod case;
pub mod flow;
mod ixgbe;
pub mod lies;
pub mod memory;
pub mod packets;
mod program;
pub mod run;
pub mod script;
pub mod soak;
mod virtio;

pub use case::Seen;
pub use memory::Violation;

/// Plays a script on a hostile 82599.
///
/// # Errors
/// What was violated.
pub fn hostile_ixgbe(script: &[u8]) -> Result<Seen, Violation> {
    case::play::<ixgbe::Ixgbe>(script)
}

/// Plays a script on a hostile virtio-net.
///
/// # Errors
/// What was violated.
pub fn hostile_virtio(script: &[u8]) -> Result<Seen, Violation> {
    case::play::<virtio::Virtio>(script)
}

/// All classes.
pub const CLASSES: &[run::Class] = &[
    run::Class {
        name: "hostile-ixgbe",
        corpus: "hostile_ixgbe",
        length: 1500,
        play: hostile_ixgbe,
        threads: 12,
    },
    run::Class {
        name: "hostile-virtio",
        corpus: "hostile_virtio",
        length: 1500,
        play: hostile_virtio,
        threads: 12,
    },
    run::Class {
        name: "hostile-packets",
        corpus: "hostile_packets",
        length: 2500,
        play: packets::play,
        threads: 8,
    },
    run::Class { name: "soak", corpus: "hostile_packets", length: 1200, play: soak::play, threads: 3 },
    run::Class { name: "flow-parse", corpus: "flow_parse", length: 256, play: flow::parse, threads: 2 },
    run::Class { name: "flow-expand", corpus: "flow_expand", length: 256, play: flow::expand, threads: 2 },
];
