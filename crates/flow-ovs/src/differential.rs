//! The comparison with Open vSwitch's C, packet by packet and bit for bit.
//!
//! A case is a packet, its metadata and the state of its `struct dp_packet`, made from a seed and a number, so
//! that a run can be split, resumed and repeated. Both sides get the same bytes, ending at a page that can't be
//! touched, and value buffers filled with the same junk. Compared are the map, the values, every byte of
//! `struct dp_packet`, and the hashes; for some of the cases also the other hashes and the two textual forms.

mod case;
mod compare;
mod metadata;
mod mutate;
mod named;
mod oracle;
mod random;
pub mod speed;

pub use case::Case;
pub use compare::{Comparison, Difference, OVER_READ, compare, compare_expanded};
pub use named::Named;
pub use oracle::{sizes_agree, target_version};
