//! What the program prints.
//!
//! Contract: results go to standard output, everything else to standard error, as plain lines. Where standard output is a
//! terminal, what happens meanwhile is shown on a screen of its own instead. That standard error is closed ends nothing.

pub mod console;
pub mod csv;
pub mod flows;
pub mod latency;
pub mod live;
pub mod progress;
pub mod rates;
mod screen;
pub mod summary;
pub mod table;
mod terminal;

pub use console::{Console, Say};
