//! How long packets took, as a table, as JSON and as a plot.

use super::table::Table;
use crate::Error;
use plotters::prelude::*;
use ringway_traffic::latency::{Latency, PERCENTILES};
use serde::Serialize;
use std::fmt::Display;
use std::path::Path;

/// Percentiles of how long packets took, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct LatencySummary {
    /// Packets that were timed.
    pub packets: u64,
    /// The mean.
    pub mean: f64,
    /// Each percentile and the time within which so many packets came; 0 is the shortest time, 100 the longest.
    pub percentiles: Vec<(f64, u64)>,
}

impl LatencySummary {
    /// Of what was counted.
    pub fn new(latency: &Latency) -> Self {
        let percentiles = PERCENTILES.iter().map(|&percent| (percent, latency.percentile(percent)));
        Self {
            packets: latency.count(),
            mean: latency.mean(),
            percentiles: if latency.count() > 0 { percentiles.collect() } else { Vec::new() },
        }
    }

    /// A table of two lines.
    pub fn text(&self) -> String {
        if self.packets == 0 {
            return "latency: no packet was timed\n".to_owned();
        }
        let name = |&(percent, _): &(f64, u64)| match percent {
            0.0 => "shortest".to_owned(),
            100.0 => "longest".to_owned(),
            percent => format!("{percent} %"),
        };
        let names: Vec<String> = self.percentiles.iter().map(name).collect();
        let columns = ["latency in µs", "mean"].into_iter().chain(names.iter().map(String::as_str));
        let mut table = Table::new(&columns.collect::<Vec<_>>());
        let microseconds = |nanoseconds: f64| format!("{:.3}", nanoseconds / 1e3);
        let times = self.percentiles.iter().map(|&(_, time)| microseconds(time as f64));
        table.row([String::new(), microseconds(self.mean)].into_iter().chain(times).collect());
        table.render()
    }
}

/// Draws curves of percentiles, each under a name, into an SVG file: how many packets in a hundred took how long, the last
/// ones spread out.
///
/// # Errors
/// When the file can't be written.
pub fn plot(path: &Path, curves: &[(&str, &Latency)]) -> Result<(), Error> {
    let mut svg = String::new();
    draw(&mut svg, curves).map_err(|reason| Error::Plot { path: path.to_owned(), reason })?;
    std::fs::write(path, svg)
        .map_err(|error| Error::Plot { path: path.to_owned(), reason: error.to_string() })
}

fn draw(svg: &mut String, curves: &[(&str, &Latency)]) -> Result<(), String> {
    const SIZE: (u32, u32) = (960, 540);
    /// Five nines and a little.
    const LAST: f64 = 6.0;
    fn said(error: impl Display) -> String {
        error.to_string()
    }
    // Nines: 90 % is 1, 99 % is 2.
    let nines = |percent: f64| -(1.0 - percent / 100.0).max(1e-6).log10();
    let longest = curves.iter().map(|(_, latency)| latency.percentile(100.0)).max().unwrap_or(1).max(1);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(said)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(20)
        .caption("latency", ("sans-serif", 22))
        .x_label_area_size(45)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..LAST, (0.1..longest as f64 / 1e3 * 1.5).log_scale())
        .map_err(said)?;
    chart
        .configure_mesh()
        .x_desc("packets in a hundred")
        .y_desc("µs")
        .x_labels(7)
        .x_label_formatter(&|nines| format!("{} %", (1.0 - 10f64.powf(-nines)) * 100.0))
        .draw()
        .map_err(said)?;
    for (index, (name, latency)) in curves.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let points =
            latency.curve().into_iter().map(|(percent, time)| (nines(percent).min(LAST), time as f64 / 1e3));
        let line = LineSeries::new(points, colour.stroke_width(2));
        let drawn = chart.draw_series(line).map_err(said)?;
        drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw().map_err(said)?;
    area.present().map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency() -> Latency {
        let mut latency = Latency::default();
        (1..=1000u64).for_each(|time| latency.record(time * 1000));
        latency
    }

    #[test]
    fn a_table_names_the_percentiles_in_microseconds() {
        let text = LatencySummary::new(&latency()).text();
        for part in ["shortest", "99.999 %", "longest", " 1.000", "500.", "1000."] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(LatencySummary::new(&Latency::default()).text().contains("no packet"));
    }

    #[test]
    fn a_plot_is_an_svg_with_a_line_for_each_curve_and_a_bad_place_is_named() {
        let mut svg = String::new();
        draw(&mut svg, &[("polling", &latency()), ("idle", &Latency::default())]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("<polyline") && svg.contains("polling"), "{svg}");
        let error = plot(Path::new("/nonexistent/plot.svg"), &[("a", &latency())]).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/plot.svg"), "{error}");
    }
}
