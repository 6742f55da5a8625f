//! The options that all commands share which run on one port.

use super::forward::{EmulateArgument, OutputOptions, RingOptions};
use super::values;
use clap::Args;
use std::time::Duration;

/// How a command on one port runs, and when it ends.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// Rings and packet memory.
    #[command(flatten)]
    pub rings: RingOptions,
    /// The most packets that are moved at once
    #[arg(long, value_name = "PACKETS", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch: u16,
    /// The processor to run on [default: where the system puts it]
    #[arg(long, value_name = "NUMBER", value_parser = values::core)]
    pub core: Option<usize>,
    /// End after this time: seconds, or with a unit (250ms, 5m)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub duration: Option<Duration>,
    /// End when this many packets are sent, or have been received (then it may be a few more)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,
    /// What emulated ports are.
    #[command(flatten)]
    pub emulate: EmulateArgument,
    /// What is printed, and how.
    #[command(flatten)]
    pub output: OutputOptions,
}
