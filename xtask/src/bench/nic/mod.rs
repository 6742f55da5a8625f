//! `cargo xtask bench-nic A B`: the papers' figures on two network cards of this machine, and what the IOMMU costs.
//!
//! A and B forward to each other. Something has to send to both: another machine, or two more ports of this one, at the other
//! ends of their cables (`--ends C D`), which are needed for latency. Emulated ports bring their own sources, so that all of it
//! can be tried without a card: `cargo xtask bench-nic emulated:0 emulated:1`.

mod iommu;
mod perf;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use ringway::PortName;

use super::latency::{self, Ports};
use super::programs::{machine, ringway, two_cores};
use super::tables::Table;
use perf::{Counters, Perf};

/// Arguments of `cargo xtask bench-nic`.
#[derive(Debug, Args)]
pub struct NicArgs {
    /// One port: a PCI address (0000:03:00.0 or 03:00.0), or emulated:N
    a: PortName,
    /// The other port
    b: PortName,
    /// Two more ports, at the other ends of A's and B's cables: they time packets [default for emulated ports: emulated:2
    /// emulated:3]
    #[arg(long, num_args = 2, value_names = ["C", "D"])]
    ends: Vec<PortName>,
    /// The processor that forwards [default: the first that this process may use]
    #[arg(long, value_name = "NUMBER")]
    core: Option<usize>,
    /// Batch sizes
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64, 128, 256])]
    batches: Vec<u16>,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Buffers of the pools with which the IOMMU is put to the test
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [4096, 32_768, 262_144])]
    pools: Vec<u32>,
}

/// What one run forwarded, and what the processor counted.
#[derive(Clone, Debug)]
struct Run {
    mpps: f64,
    /// By the names that `perf` has for them, a packet.
    counters: Counters,
}

/// Runs all of it and prints tables.
pub fn run(arguments: &NicArgs) -> Result<ExitCode> {
    let root = crate::workspace()?;
    let ports = [arguments.a, arguments.b];
    for port in ports.iter().chain(&arguments.ends) {
        check(port)?;
    }
    let program = ringway(&root)?;
    let core = arguments.core.unwrap_or(two_cores().0);
    let perf = Perf::find(core);
    println!("on {}, forwarding on processor {core}; {perf}", machine());
    let bench = Bench { program: &program, ports, core, seconds: arguments.seconds, perf };
    let mut table = Table::new(&bench.columns("batch"));
    for &batch in &arguments.batches {
        let run = bench.forward(&["--batch".to_owned(), batch.to_string()])?;
        table.row(cells(batch.to_string(), &run));
    }
    println!("\nForwarding over batch size, both directions together, a packet\n\n{}", table.text());
    bench.latency(&arguments.ends)?;
    iommu::run(&bench, &arguments.pools)?;
    Ok(ExitCode::SUCCESS)
}

/// What keeps a port from being used, before anything is measured.
fn check(port: &PortName) -> Result<()> {
    let PortName::Pci(address) = port else { return Ok(()) };
    let folder = Path::new("/sys/bus/pci/devices").join(address.to_string());
    if !folder.exists() {
        bail!(
            "there is no PCI function {address}: `cargo xtask status` lists the network cards of this machine"
        );
    }
    let driver = std::fs::read_link(folder.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match driver.as_deref() {
        Some("vfio-pci") => Ok(()),
        Some(other) => bail!("{address} belongs to the kernel's driver {other}: cargo xtask bind {address}"),
        None => bail!("{address} has no driver: cargo xtask bind {address}"),
    }
}

fn cells(first: String, run: &Run) -> impl Iterator<Item = String> {
    let count = |(_, count): &(String, Option<f64>)| match count {
        Some(count) if *count < 10.0 => format!("{count:.3}"),
        Some(count) => format!("{count:.1}"),
        None => "not counted here".to_owned(),
    };
    let counters: Vec<String> = run.counters.iter().map(count).collect();
    [first, format!("{:.2}", run.mpps)].into_iter().chain(counters)
}

/// What all measurements share.
struct Bench<'a> {
    program: &'a Path,
    ports: [PortName; 2],
    core: usize,
    seconds: f64,
    perf: Perf,
}

impl Bench<'_> {
    fn columns(&self, first: &str) -> Vec<String> {
        let fixed = [first.to_owned(), "Mpps".to_owned()];
        fixed.into_iter().chain(self.perf.events().map(str::to_owned)).collect()
    }

    /// Forwards for a while.
    fn forward(&self, more: &[String]) -> Result<Run> {
        let [a, b] = self.ports.map(|port| port.to_string());
        let mut arguments = vec!["forward".to_owned(), a, b, "--touch".to_owned(), "write".to_owned()];
        arguments.extend(["--cores".to_owned(), self.core.to_string()]);
        arguments.extend(["--duration".to_owned(), self.seconds.to_string()]);
        arguments.extend_from_slice(more);
        let (summary, counters) = self.perf.summary(self.program, &arguments, self.core)?;
        let number =
            |name: &str| summary[name].as_f64().with_context(|| format!("the summary has no {name}"));
        let (packets, seconds) = (number("forwarded")?, number("seconds")?);
        if packets == 0.0 {
            let [a, b] = self.ports;
            bail!(
                "no packet came: let another machine send 64-byte packets to {a} and {b}, or name two more ports of this one \
                 that they are cabled to: run `ringway generate` on those, or --ends for latency"
            );
        }
        let counters =
            counters.into_iter().map(|(name, count)| (name, count.map(|count| count / packets))).collect();
        Ok(Run { mpps: packets / seconds / 1e6, counters })
    }

    fn latency(&self, ends: &[PortName]) -> Result<()> {
        let names = self.ports.map(|port| port.to_string());
        let is_emulated = self.ports.iter().all(|port| matches!(port, PortName::Emulated(_)));
        let ends: Vec<String> = match ends {
            [] if is_emulated => latency::EMULATED.ends.map(str::to_owned).into(),
            ends => ends.iter().map(PortName::to_string).collect(),
        };
        let ([a, b], [c, d]) = (&names, ends.as_slice()) else {
            println!(
                "latency is not measured: it needs two more ports at the other ends of the cables (--ends C D)"
            );
            return Ok(());
        };
        let ports = Ports { forwarded: [a, b], ends: [c, d] };
        let capacity = latency::capacity(self.program, &ports, self.core, self.seconds)?;
        let all = latency::measure(self.program, &ports, self.core, self.seconds, capacity)?;
        println!(
            "Latency; capacity {:.2} Mpps in each direction\n\n{}",
            capacity / 1e6,
            latency::table(&all)
        );
        let path = crate::workspace()?.join("target/bench-nic-latency.svg");
        crate::cache::write_whole(&path, latency::plot(&all)?.as_bytes())?;
        println!("drawn in {}", path.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_not_there_is_named_with_the_way_out() {
        let error = check(&"ffff:ff:1f.7".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("ffff:ff:1f.7") && error.contains("cargo xtask status"), "{error}");
        check(&"emulated:0".parse().unwrap()).unwrap();
    }
}
