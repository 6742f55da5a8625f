//! What the program prints.
//!
//! Contract: results go to standard output, everything else to standard error. Plain lines, the same on a terminal and
//! in a file. That standard error is closed ends nothing.

pub mod console;
pub mod flows;
pub mod latency;
pub mod live;
pub mod rates;
pub mod summary;
pub mod table;

pub use console::Console;
