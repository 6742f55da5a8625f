//! The options of `ringway capture` and `ringway replay`.

use super::RunOptions;
use super::values::{self, RateArgument};
use crate::PortName;
use crate::matching::Match;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const CAPTURE_EXAMPLES: &str = "\
Examples:
  ringway capture 0000:03:00.0 --write web.pcapng --duration 60
  ringway capture 03:00.0 --write web.pcapng --rotate-size 1GB --rotate-time 1h --snap-length 128
  ringway capture 03:00.0 --write web.pcapng --match tcp,tp_dst=80,nw_src=10.0.0.0/8
  ringway capture emulated:0 --write test.pcapng --packets 1000

tcpdump, tshark and Wireshark read the files, and so do `ringway replay` and `ringway flows`.";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  ringway replay web.pcapng 0000:03:00.0
  ringway replay web.pcap 03:00.0 --speed 10
  ringway replay web.pcapng 03:00.0 --rate 1Gbit/s --loops 100
  ringway replay web.pcapng emulated:0 --as-fast-as-possible";

/// The options of `ringway capture`.
#[derive(Args, Clone, Debug)]
pub struct CaptureOptions {
    /// The port to capture on: a PCI address (0000:03:00.0 or 03:00.0), or emulated:N. It belongs to the capture: what it
    /// receives goes nowhere else
    pub port: PortName,
    /// The capture file (pcapng); one that exists is overwritten
    #[arg(short, long, value_name = "FILE")]
    pub write: PathBuf,
    /// Only the packets that have all of these fields, as ovs-ofctl(8) writes them: tcp,tp_dst=80,nw_src=10.0.0.0/8
    #[arg(long = "match", value_name = "FLOW", value_parser = values::of_one_port)]
    pub matching: Option<Match>,
    /// The most bytes of each packet that are kept
    #[arg(short, long, value_name = "BYTES", default_value_t = 65_550, value_parser = clap::value_parser!(u32).range(14..=65_550))]
    pub snap_length: u32,
    /// Go on in another file after so many bytes (10MB, 1GB); files are numbered: web-00001.pcapng
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub rotate_size: Option<u64>,
    /// Go on in another file after so long
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub rotate_time: Option<Duration>,
    /// How it runs, and when it ends.
    #[command(flatten)]
    pub run: RunOptions,
}

/// The options of `ringway replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayOptions {
    /// The capture file (pcap or pcapng)
    pub file: PathBuf,
    /// The port to send from: a PCI address (0000:03:00.0 or 03:00.0), or emulated:N
    pub port: PortName,
    /// So many times as fast as it was captured
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, value_parser = values::speed, conflicts_with_all = ["rate", "as_fast_as_possible"])]
    pub speed: f64,
    /// At this rate, whatever the file says: 500kpps, 2Mpps
    #[arg(long, value_name = "RATE", value_parser = values::any_rate, conflicts_with = "as_fast_as_possible")]
    pub rate: Option<RateArgument>,
    /// One packet after the other, whatever the file says
    #[arg(long)]
    pub as_fast_as_possible: bool,
    /// How often; 0: until something else ends it
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub loops: u64,
    /// How it runs, and when it ends.
    #[command(flatten)]
    pub run: RunOptions,
}
