//! The 82599 model under a driver that knows nothing but the datasheet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod driver;
mod frames;
mod hostile;
mod interrupts;
mod moving;
mod offloads;
mod receiving;
mod registers;
