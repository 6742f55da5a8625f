//! The options of `ringway flows`.

use super::{EmulationArguments, RunOptions, SourceArguments};
use crate::PortName;
use crate::matching::Match;
use clap::{Args, ValueEnum};
use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

pub(super) const EXAMPLES: &str = "\
Examples:
  ringway flows 0000:03:00.0 0000:03:00.1 --duration 60
  ringway flows web.pcapng --by bytes --top 50
  ringway flows web.pcapng --match udp,tp_dst=53
  ringway flows web.pcapng --bidirectional --top 1000000 --json > flows.json

Packets that ports receive are dropped after they were looked at.";

/// The options of `ringway flows`.
#[derive(Args, Clone, Debug)]
pub struct FlowsOptions {
    /// What to look at: ports (PCI addresses or emulated:N), or one capture file (pcap or pcapng)
    #[arg(required = true, value_name = "PORT|FILE")]
    pub sources: Vec<Source>,
    /// How many flows are printed
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub top: u32,
    /// What makes a flow large
    #[arg(long, value_enum, default_value_t = By::Packets)]
    pub by: By,
    /// Take both directions of a conversation for one flow, with a count for each
    #[arg(long)]
    pub bidirectional: bool,
    /// How many flows are kept; packets of others are counted as such
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=1 << 28))]
    pub table: u32,
    /// Only the packets that have all of these fields, as ovs-ofctl(8) writes them: tcp,tp_dst=80,nw_src=10.0.0.0/8.
    /// in_port is the port's place on the command line, or the interface's in the file, from 1
    #[arg(long = "match", value_name = "FLOW")]
    pub matching: Option<Match>,
    /// What emulated sources make.
    #[command(flatten)]
    pub source: SourceArguments,
    /// How it runs, and when it ends.
    #[command(flatten)]
    pub run: RunOptions,
}

impl FlowsOptions {
    /// What emulated ports are.
    pub fn emulation(&self) -> EmulationArguments {
        EmulationArguments { source: self.source, emulate: self.run.emulate.clone() }
    }
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A port.
    Port(PortName),
    /// A capture file: whatever doesn't name a port.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::File(text.into()), Self::Port))
    }
}

/// What makes a flow large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Its packets
    Packets,
    /// Its bytes
    Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, CommandLine};
    use clap::Parser;

    fn flows(arguments: &[&str]) -> Result<FlowsOptions, clap::Error> {
        match CommandLine::try_parse_from(["ringway", "flows"].iter().chain(arguments))?.command {
            Some(Command::Flows(options)) => Ok(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_names_no_port_is_a_file() {
        let options = flows(&["03:00.0", "emulated:1", "./emulated:1", "web.pcap"]).unwrap();
        let is_port: Vec<bool> =
            options.sources.iter().map(|source| matches!(source, Source::Port(_))).collect();
        assert_eq!(is_port, [true, true, false, false]);
        assert_eq!((options.top, options.table, options.by), (20, 1_000_000, By::Packets));
    }

    #[test]
    fn a_source_is_needed_and_a_table_has_at_least_a_flow() {
        for arguments in [&[][..], &["a.pcap", "--table", "0"], &["a.pcap", "--by", "size"]] {
            assert_eq!(flows(arguments).unwrap_err().exit_code(), 2);
        }
    }
}
