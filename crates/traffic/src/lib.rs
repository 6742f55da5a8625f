//! What tests, benchmarks and the program share about traffic: making marked packets, finding out what became of them,
//! and capture files.
//!
//! ```text
//!   pace::Pacer ──▶ generator::Generator ──▶ … ──▶ check::Checker ──▶ Totals
//!    when            shapes, sizes, flows           lost, doubled,      latency::Latency
//!                    mark::Mark in each             late, damaged
//!
//!   end::End          a generator and a checker in one, for the far end of a model's wire
//!
//!   capture::Reader   frames of a pcap or pcapng file
//!   capture::Writer   frames into a pcapng file
//! ```
//!
//! Nothing here knows of ports or drivers, or sends anything: frames are bytes, without FCS, and times are nanoseconds of
//! whichever clock the caller has.
//!
//! ```
//! use ringway_traffic::check::{Checker, Verdict};
//! use ringway_traffic::generator::{Generator, Plan, Sizes};
//!
//! let mut generator = Generator::new(&Plan { sizes: Sizes::Imix, flows: 1000, ..Plan::default() })?;
//! let mut checker = Checker::default();
//! let mut frame = [0; 1514];
//! for time in 0..5000 {
//!     let length = generator.next(&mut frame, time).expect("1514 bytes are enough");
//!     assert!(matches!(checker.take(&frame[..length]), Verdict::Fresh(mark) if mark.time == time));
//! }
//! assert!(checker.totals().is_clean());
//! # Ok::<(), ringway_traffic::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod capture;
pub mod check;
pub mod end;
mod error;
pub mod frame;
pub mod generator;
pub mod latency;
pub mod mark;
pub mod pace;

pub use error::Error;
