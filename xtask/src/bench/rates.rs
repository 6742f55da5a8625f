//! Packets per second over batch size: the driver against devices that only write descriptors, and the whole forwarder with
//! the model.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ringway_benches::forwarding::SIZES;

use super::document::Document;
use super::peers::PEERS;
use super::plot::{Plot, places};
use super::programs::{machine, median, ringway, summary, timed, two_cores};
use super::tables::Table;
use crate::tool;

/// Seconds of a window. On a machine that does other things, too, some windows are undisturbed.
const WINDOW: f64 = 0.005;
/// Batch sizes of the whole forwarder.
const MODELLED: [usize; 4] = [1, 8, 32, 256];

pub(super) fn run(root: &Path, document: &mut Document, seconds: f64) -> Result<()> {
    let bare = timed(root)?.join("bare-forward");
    let ringway = ringway(root)?;
    let (core, other) = two_cores();
    let mut ours = Vec::new();
    for size in SIZES {
        ours.push((size, bare_rate(&bare, size, seconds, other, &[core])?));
    }
    let undisturbed: Vec<(usize, f64)> = ours.iter().map(|(size, rate)| (*size, rate.best)).collect();
    let ours: Vec<(usize, f64)> = ours.iter().map(|(size, rate)| (*size, rate.median)).collect();
    let both = bare_rate(&bare, 32, seconds, other, &[core, other])?;
    let mut modelled = Vec::new();
    for kind in ["82599", "virtio-net"] {
        for size in MODELLED {
            modelled.push((kind, size, modelled_rate(&ringway, kind, size, seconds, &[core])?));
        }
    }
    let pair = modelled_rate(&ringway, "82599", 32, seconds, &[core, other])?;
    let columns: Vec<String> =
        ["Mpps, both directions".to_owned()].into_iter().chain(SIZES.iter().map(usize::to_string)).collect();
    let mut table = Table::new(&columns);
    table.row(row("**Ringway ixgbe**, devices that write descriptors only, median", &ours));
    table.row(row("the same, best 5 ms in a hundred", &undisturbed));
    for peer in PEERS {
        table.row(row(&format!("{} (rerun)", peer.name), peer.mpps));
    }
    for kind in ["82599", "virtio-net"] {
        let values: Vec<(usize, f64)> =
            modelled.iter().filter(|(of, ..)| *of == kind).map(|&(_, size, rate)| (size, rate)).collect();
        table.row(row(&format!("`ringway forward`, emulated {kind}: the model's rate"), &values));
    }
    let mut lines = vec![
        ("Ringway ixgbe, median".to_owned(), places(&SIZES, ours.iter().copied())),
        ("Ringway ixgbe, best 5 ms in a hundred".to_owned(), places(&SIZES, undisturbed)),
    ];
    for peer in PEERS.iter().filter(|peer| peer.mpps.len() > 1) {
        lines.push((format!("{} (rerun)", peer.name), places(&SIZES, peer.mpps.iter().copied())));
    }
    let svg = Plot {
        title: "Forwarding on one core, both directions, devices that write descriptors only",
        across: "batch size",
        up: "Mpps",
        names: SIZES.iter().map(usize::to_string).collect(),
        lines,
        ..Plot::default()
    }
    .draw()?;
    let plot = document.plot("rates", "packets per second over batch size", svg);
    document.put("rates", &format!("On {}; windows of 5 ms.\n\n{}\n{plot}", machine(), table.text()))?;
    let one = ours.iter().find(|(size, _)| *size == 32).map(|(_, rate)| *rate).unwrap_or_default();
    let alone = modelled.iter().find(|(kind, size, _)| (*kind, *size) == ("82599", 32));
    let mut table = Table::new(&["Mpps at batch 32", "1 core", "2 cores"]);
    table.row([
        "ixgbe, devices that write descriptors only".to_owned(),
        format!("{one:.1}"),
        format!("{:.1}", both.median),
    ]);
    table.row([
        "`ringway forward`, emulated 82599".to_owned(),
        alone.map_or_else(String::new, |(.., rate)| format!("{rate:.1}")),
        format!("{pair:.1}"),
    ]);
    document.put("cores", &table.text())
}

fn row(name: &str, values: &[(usize, f64)]) -> impl Iterator<Item = String> {
    let of = |size: &usize| values.iter().find(|(batch, _)| batch == size).map(|(_, rate)| *rate);
    let cells: Vec<String> =
        SIZES.iter().map(|size| of(size).map_or_else(String::new, |rate| format!("{rate:.1}"))).collect();
    [name.to_owned()].into_iter().chain(cells)
}

/// Mpps over many short windows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    median: f64,
    /// All but one in a hundred are slower.
    best: f64,
}

impl Rate {
    fn of(mut rates: Vec<f64>) -> Self {
        rates.sort_by(f64::total_cmp);
        let best = rates.get(rates.len() * 99 / 100).copied().unwrap_or_default();
        Self { median: median(rates), best }
    }
}

/// The rate of `bare-forward`.
fn bare_rate(program: &Path, size: usize, seconds: f64, device: usize, cores: &[usize]) -> Result<Rate> {
    let windows = (seconds / WINDOW).ceil().max(1.0);
    let mut command = Command::new(program);
    command.args([size.to_string(), WINDOW.to_string(), windows.to_string(), device.to_string()]);
    command.args(cores.iter().map(usize::to_string));
    let text = tool::output_of(&mut command)?;
    let rates = text.lines().map(|line| line.trim().parse::<f64>());
    Ok(Rate::of(rates.collect::<Result<_, _>>().with_context(|| format!("not a rate in {text}"))?))
}

/// Mpps of `ringway forward` between two emulated ports.
fn modelled_rate(program: &Path, kind: &str, size: usize, seconds: f64, cores: &[usize]) -> Result<f64> {
    let mut arguments: Vec<String> =
        ["forward", "emulated:0", "emulated:1", "--emulate", kind, "--touch", "write"]
            .map(str::to_owned)
            .into();
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    arguments.extend(["--batch".to_owned(), size.to_string(), "--cores".to_owned(), cores.join(",")]);
    arguments.extend(["--duration".to_owned(), seconds.to_string()]);
    let summary = summary(program, &arguments)?;
    let number = |name: &str| summary[name].as_f64().with_context(|| format!("the summary has no {name}"));
    Ok(number("forwarded")? / number("seconds")? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_what_one_window_in_a_hundred_exceeds() {
        let rate = Rate::of((0..200).map(f64::from).rev().collect());
        assert_eq!(rate, Rate { median: 100.0, best: 198.0 });
        assert_eq!(Rate::of(Vec::new()), Rate { median: 0.0, best: 0.0 });
    }
}
