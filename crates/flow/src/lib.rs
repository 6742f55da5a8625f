#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "samples")]
extern crate alloc;

mod bytes;
mod extract;
mod hash;
mod key;
mod layout;
mod metadata;
mod miniflow;
mod outcome;
#[cfg(feature = "samples")]
pub mod samples;
mod tunnel;

pub use extract::{extract, extract_batch, extract_by_general_path};
pub use hash::{
    Crc32c, HashKind, MICROSOFT_KEY, Murmur, Toeplitz, hash_five_tuple_of_flow, hash_five_tuple_of_words,
};
pub use key::{Dpctl, FiveTuple, FlowKey, Mac, MplsLabel, Ofctl, ServiceHeader, TunnelKey, Vlan};
pub use layout::{At, Layout, MAX_PACKET_WORDS, MAX_WORDS, V3_1, V3_5, V3_6, V3_7};
pub use metadata::{Connection, ConnectionTuple, METADATA_OFFSETS, Metadata, PacketType, VlanLimit};
pub use miniflow::Miniflow;
pub use outcome::{ABSENT, Extraction, Layers, Malformed, Protocols, Reason};
pub use tunnel::{TUNNEL_CHECKSUM, TUNNEL_DONT_FRAGMENT, TUNNEL_KEY, TUNNEL_OAM, TUNNEL_OFFSETS, Tunnel};
