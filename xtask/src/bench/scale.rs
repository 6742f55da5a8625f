//! What grows with what: memory and mappings, start-up, and a packet's cost as there are more flows.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::document::Document;
use super::plot::Plot;
use super::programs::{machine, timed};
use super::tables::Table;
use crate::tool;

/// Numbers of flows.
const FLOWS: [u64; 7] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];
/// Packets that are looked at, at least.
const PACKETS: u64 = 4_000_000;

pub(super) fn run(root: &Path, document: &mut Document) -> Result<()> {
    let program = timed(root)?.join("scale");
    let mut points = Vec::new();
    let mut table = Table::new(&["flows", "ns a packet"]);
    for flows in FLOWS {
        let passes = (PACKETS / flows).max(3);
        let result = asked(&program, &["flows", &flows.to_string(), &passes.to_string()])?;
        let time = result["nanoseconds"].as_f64().context("no time")?;
        points.push((points.len() as f64, time));
        table.row([flows.to_string(), format!("{time:.1}")]);
    }
    let svg = Plot {
        title: "Looking at a packet: parser and flow table, flows in a random order",
        across: "flows",
        up: "ns a packet",
        names: FLOWS.iter().map(u64::to_string).collect(),
        lines: vec![("ringway flows".to_owned(), points)],
        ..Plot::default()
    }
    .draw()?;
    let plot = document.plot("flows", "cost of a packet over the number of flows", svg);
    document.put("flows", &format!("On {}.\n\n{}\n{plot}", machine(), table.text()))?;
    document.put("pools", &pools(&asked(&program, &["pools"])?))?;
    document.put("queues", &queues(&asked(&program, &["queues"])?))
}

fn asked(program: &Path, arguments: &[&str]) -> Result<Value> {
    let text = tool::output_of(Command::new(program).args(arguments))?;
    serde_json::from_str(&text).with_context(|| format!("{} printed no JSON", program.display()))
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_default()
}

fn kib(bytes: f64) -> String {
    format!("{:.1}", bytes / 1024.0)
}

fn pools(rows: &Value) -> String {
    const PAGES: [(&str, f64); 3] = [("4 KiB", 4096.0), ("2 MiB", 2_097_152.0), ("1 GiB", 1_073_741_824.0)];
    let mut table = Table::new(&[
        "buffers of 2 KiB",
        "pages",
        "start-up, ms",
        "memory for packets, MiB",
        "other memory a buffer, bytes",
        "mappings asked of the IOMMU",
        "entries of its table: 4 KiB",
        "2 MiB",
        "1 GiB",
    ]);
    for row in rows.as_array().map(Vec::as_slice).unwrap_or_default() {
        let bytes = number(row, "bytes");
        let mut cells = vec![
            number(row, "buffers").to_string(),
            row["page"].as_str().unwrap_or_default().to_owned(),
            format!("{:.2}", number(row, "microseconds") / 1e3),
            format!("{:.1}", bytes / 1_048_576.0),
            format!("{:.0}", number(row, "private") / number(row, "buffers").max(1.0)),
            number(row, "mappings").to_string(),
        ];
        cells.extend(PAGES.map(|(_, page)| (bytes / page).ceil().to_string()));
        table.row(cells);
    }
    table.text()
}

fn queues(rows: &Value) -> String {
    let mut table = Table::new(&[
        "queues each way",
        "descriptors",
        "memory for rings, KiB",
        "of it a pair of queues, KiB",
        "mappings",
        "buffers in receive rings, MiB",
    ]);
    for row in rows.as_array().map(Vec::as_slice).unwrap_or_default() {
        let queues = number(row, "queues").max(1.0);
        table.row([
            queues.to_string(),
            number(row, "ring").to_string(),
            kib(number(row, "bytes")),
            kib(number(row, "bytes") / queues),
            number(row, "mappings").to_string(),
            format!("{:.1}", number(row, "buffers") * 2048.0 / 1_048_576.0),
        ]);
    }
    table.text()
}
