//! Latency through the forwarder: percentiles to 99.999 at 10, 50 and 90 % of what it can do, packets at equal distances and
//! as a Poisson process, polling and with interrupts.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::document::Document;
use super::plot::Plot;
use super::programs::{machine, ringway, summary, two_cores};
use super::tables::Table;

/// Shares of the capacity.
const LOADS: [u32; 3] = [10, 50, 90];
/// The percentiles in tables and plots.
const PERCENTILES: [f64; 6] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999];

/// Four ports: two forward, two are the ends of their cables.
#[derive(Clone, Debug)]
pub(super) struct Ports<'a> {
    pub(super) forwarded: [&'a str; 2],
    pub(super) ends: [&'a str; 2],
}

pub(super) const EMULATED: Ports<'static> =
    Ports { forwarded: ["emulated:0", "emulated:1"], ends: ["emulated:2", "emulated:3"] };

/// One run's percentiles, in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) share: u32,
    pub(super) poisson: bool,
    pub(super) interrupts: bool,
    pub(super) times: Vec<(f64, f64)>,
    pub(super) lost: u64,
}

pub(super) fn run(root: &Path, document: &mut Document, seconds: f64) -> Result<()> {
    let program = ringway(root)?;
    let (core, _) = two_cores();
    let capacity = capacity(&program, &EMULATED, core, seconds)?;
    let all = measure(&program, &EMULATED, core, seconds, capacity)?;
    let head = format!(
        "On {}. Two emulated 82599s forward, two are the ends of their cables; forwarder and both ends on one core, all four \
         cards on the other. Capacity, measured first: {:.2} Mpps in each direction.\n",
        machine(),
        capacity / 1e6
    );
    let plot = document.plot("latency", "latency over percentiles", plot(&all)?);
    document.put("latency", &format!("{head}\n{}\n{plot}", table(&all)))
}

fn arguments(ports: &Ports<'_>, core: usize, seconds: f64, load: f64) -> Vec<String> {
    let [a, b] = ports.forwarded;
    let [c, d] = ports.ends;
    let mut arguments: Vec<String> = ["forward", a, b, "--latency", c, d].map(str::to_owned).into();
    arguments.extend(["--load".to_owned(), format!("{load:.3}kpps")]);
    arguments.extend(["--cores".to_owned(), core.to_string()]);
    arguments.extend(["--duration".to_owned(), seconds.to_string()]);
    arguments
}

/// What arrives in each direction, in packets a second, when more is sent than can be forwarded.
pub(super) fn capacity(program: &Path, ports: &Ports<'_>, core: usize, seconds: f64) -> Result<f64> {
    // More than a 10 Gbit/s link carries.
    let summary = summary(program, &arguments(ports, core, seconds, 15_000.0))?;
    let received: u64 = streams(&summary).iter().filter_map(|stream| stream["received"].as_u64()).sum();
    let seconds = summary["seconds"].as_f64().context("the summary has no seconds")?;
    Ok(received as f64 / 2.0 / seconds)
}

pub(super) fn measure(
    program: &Path,
    ports: &Ports<'_>,
    core: usize,
    seconds: f64,
    capacity: f64,
) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for interrupts in [false, true] {
        for poisson in [false, true] {
            for share in LOADS {
                let load = capacity * f64::from(share) / 100.0 / 1e3;
                let mut arguments = arguments(ports, core, seconds, load);
                arguments.extend(poisson.then(|| "--poisson".to_owned()));
                arguments.extend(interrupts.then(|| "--interrupts".to_owned()));
                let summary = summary(program, &arguments)?;
                let lost = streams(&summary).iter().filter_map(|stream| stream["lost"].as_u64()).sum();
                all.push(Measured { share, poisson, interrupts, times: times(&summary)?, lost });
            }
        }
    }
    Ok(all)
}

fn streams(summary: &Value) -> &[Value] {
    summary["streams"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Percentiles in microseconds; of two directions the slower one.
fn times(summary: &Value) -> Result<Vec<(f64, f64)>> {
    let directions = summary["latency"].as_array().context("the summary has no latency")?;
    let at = |wanted: f64| -> Option<f64> {
        let of = |direction: &Value| {
            direction[1]["percentiles"]
                .as_array()?
                .iter()
                .find(|pair| pair[0].as_f64() == Some(wanted))
                .and_then(|pair| pair[1].as_f64())
        };
        directions.iter().filter_map(of).reduce(f64::max)
    };
    Ok(PERCENTILES.into_iter().filter_map(|percent| Some((percent, at(percent)? / 1e3))).collect())
}

pub(super) fn table(all: &[Measured]) -> String {
    let columns: Vec<String> = ["µs", "load"]
        .map(str::to_owned)
        .into_iter()
        .chain(PERCENTILES.iter().map(|percent| format!("{percent} %")))
        .chain(["lost packets".to_owned()])
        .collect();
    let mut table = Table::new(&columns);
    for measured in all {
        let cells = measured.times.iter().map(|(_, time)| format!("{time:.1}"));
        let head = [name(measured), format!("{} %", measured.share)];
        table.row(head.into_iter().chain(cells).chain([measured.lost.to_string()]));
    }
    table.text()
}

fn name(measured: &Measured) -> String {
    let mode = if measured.interrupts { "interrupts" } else { "polling" };
    let pace = if measured.poisson { "Poisson" } else { "constant" };
    format!("{mode}, {pace}")
}

pub(super) fn plot(all: &[Measured]) -> Result<String> {
    let lines = all.iter().map(|measured| {
        let points = measured.times.iter().enumerate().map(|(place, &(_, time))| (place as f64, time));
        (format!("{}, {} %", name(measured), measured.share), points.collect())
    });
    Plot {
        title: "Latency through the forwarder",
        across: "packets in a hundred",
        up: "µs",
        logarithmic: true,
        names: PERCENTILES.iter().map(|percent| format!("{percent} %")).collect(),
        lines: lines.collect(),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_two_directions_the_slower_counts() {
        let summary = json!({ "latency": [
            ["a to b", { "percentiles": [[50.0, 1000], [99.0, 9000]] }],
            ["b to a", { "percentiles": [[50.0, 2000], [99.0, 8000]] }],
        ] });
        assert_eq!(times(&summary).unwrap(), [(50.0, 2.0), (99.0, 9.0)]);
        assert!(times(&json!({})).is_err());
    }
}
