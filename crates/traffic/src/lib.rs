//! What tests, benchmarks and the program share about traffic: capture files.
//!
//! ```text
//!   capture::Reader   frames of a pcap or pcapng file, one after the other
//!   capture::Writer   frames into a pcapng file, with interfaces and nanoseconds
//! ```
//!
//! Nothing here knows of ports or drivers.
#![forbid(unsafe_code)]

pub mod capture;
