//! What the program asks of the machine: processors, NUMA nodes, and signals.

pub mod clock;
pub mod cpu;
pub mod numa;
pub mod signals;
