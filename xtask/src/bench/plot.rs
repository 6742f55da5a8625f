//! Lines in an SVG file.

use std::fmt::Display;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

/// A plot of lines, each under a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) across: &'a str,
    pub(super) up: &'a str,
    /// Whether the upward axis is logarithmic.
    pub(super) logarithmic: bool,
    /// What stands at 0, 1, 2 … of the axis across, instead of numbers.
    pub(super) names: Vec<String>,
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
}

const SIZE: (u32, u32) = (900, 480);

impl Plot<'_> {
    /// The plot as SVG. Points across are places in `names`.
    pub(super) fn draw(&self) -> Result<String> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let most = points().map(|&(_, y)| y).fold(0.0, f64::max).max(1e-3) * 1.1;
        let least = points().map(|&(_, y)| y).filter(|y| *y > 0.0).fold(most, f64::min) / 1.5;
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE).map_err(said)?;
            if self.logarithmic {
                self.on(&area, (least..most * 1.5).log_scale())?;
            } else {
                self.on(&area, 0.0..most)?;
            }
            area.present().map_err(said)?;
        }
        Ok(svg)
    }

    fn on<Y>(&self, area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, up: Y) -> Result<()>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let last = self.names.len().saturating_sub(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .margin(15)
            .caption(self.title, ("sans-serif", 20))
            .x_label_area_size(40)
            .y_label_area_size(65)
            .build_cartesian_2d(0.0..last.max(1.0), up)
            .map_err(said)?;
        chart
            .configure_mesh()
            .x_desc(self.across)
            .y_desc(self.up)
            .x_labels(self.names.len().max(2))
            .x_label_formatter(&|place| self.names.get(place.round() as usize).cloned().unwrap_or_default())
            .draw()
            .map_err(said)?;
        for (index, (name, points)) in self.lines.iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
            let drawn = chart.draw_series(line).map_err(said)?;
            drawn.label(name.as_str()).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour));
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw().map_err(said)
    }
}

/// Points at the places of `sizes` in `names`.
pub(super) fn places(names: &[usize], points: impl IntoIterator<Item = (usize, f64)>) -> Vec<(f64, f64)> {
    points
        .into_iter()
        .filter_map(|(size, value)| Some((names.iter().position(|&name| name == size)? as f64, value)))
        .collect()
}

fn said(error: impl Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_on_either_axis_with_their_names() {
        for logarithmic in [false, true] {
            let plot = Plot {
                title: "what",
                logarithmic,
                names: vec!["1".into(), "2".into(), "4".into()],
                lines: vec![("ours".into(), places(&[1, 2, 4], [(1, 5.0), (4, 3.0)]))],
                ..Plot::default()
            };
            let svg = plot.draw().unwrap();
            assert!(svg.contains("<polyline") && svg.contains("ours") && svg.contains("what"), "{svg}");
        }
    }
}
