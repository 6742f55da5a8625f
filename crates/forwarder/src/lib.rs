//! The program `ringway`: forwards packets between network cards, from user space.
//!
//! The program is thin: arguments, threads, output. Drivers, memory and packets are the crates below it. What is
//! here as a library is for the workspace's own chores (`cargo xtask`), its benchmarks, and programs that want the
//! engine:
//!
//! | module | what it is |
//! |---|---|
//! | [`engine`] | workers that move packets from receive queues to transmit queues, and the run that they are part of |
//! | [`tasks`] | what workers run beside forwarding |
//! | [`ports`] | from a port's name to an open port: driver, address space, packet pool |
//! | [`commands`] | a module each: `forward`, `generate`, `receive`, `capture`, `replay`, `echo`, `flows`, `ports`, `model` |
//! | [`binding`] | `bind`, `unbind`, `status` and `doctor` |
//! | [`matching`] | which packets are meant, in Open vSwitch's syntax |
//! | [`cli`], [`output`], [`machine`] | arguments; lines, tables, JSON; processors, NUMA nodes, signals |
#![forbid(unsafe_code)]

pub mod binding;
pub mod cli;
pub mod commands;
pub mod engine;
mod error;
pub mod machine;
pub mod matching;
pub mod output;
mod port_name;
pub mod ports;
pub mod tasks;

pub use error::Error;
pub use port_name::{ParsePortNameError, PortName};
