//! The tables and plots of instructions in docs/performance.md, and what all tables are made with.

use anyhow::Result;
use ringway_benches::forwarding::{Part, SIZES};

use super::baseline::Figures;
use super::document::Document;
use super::instructions::{EVENTS, POOL, SUBJECTS, TOLD, WITH_FLOW};
use super::peers::{PAPERS, PEERS};
use super::plot::{Plot, places};

/// A table in Markdown.
#[derive(Debug)]
pub(super) struct Table {
    text: String,
}

impl Table {
    pub(super) fn new<S: AsRef<str>>(columns: &[S]) -> Self {
        let mut table = Self { text: String::new() };
        table.row(columns.iter().map(|column| column.as_ref().to_owned()));
        table.row(columns.iter().map(|_| "---".to_owned()));
        table
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.text.push('|');
        for cell in cells {
            self.text.push_str(&format!(" {cell} |"));
        }
        self.text.push('\n');
    }

    pub(super) fn text(self) -> String {
        self.text
    }
}

/// A figure with one decimal, or nothing.
pub(super) fn shown(figure: Option<&f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.1}"))
}

fn numbers(sizes: &[usize]) -> impl Iterator<Item = String> {
    sizes.iter().map(usize::to_string)
}

/// Puts all that is known of instructions into the document.
pub(super) fn instructions(document: &mut Document, figures: &Figures) -> Result<()> {
    let plot = plot(document, figures)?;
    document.put("instructions", &format!("{}\n{plot}", by_batch(figures)))?;
    document.put("parts", &parts(figures))?;
    document.put("counters", &counters(figures))?;
    document.put("flow-instructions", &format!("{}\n{}", with_flow(figures), parser(figures)))?;
    document.put("pool-instructions", &pool(figures))
}

fn by_batch(figures: &Figures) -> String {
    let columns: Vec<String> = ["batch".to_owned()].into_iter().chain(numbers(&SIZES)).collect();
    let mut table = Table::new(&columns);
    for subject in SUBJECTS {
        let name = |size: &usize| shown(figures.get(&format!("{}/forward/{size}", subject.driver)));
        table.row([format!("**{}**", subject.driver)].into_iter().chain(SIZES.iter().map(name)));
        let budget =
            |size: &usize| subject.budget(*size).map_or_else(String::new, |budget| budget.to_string());
        table.row([format!("{}, budget", subject.driver)].into_iter().chain(SIZES.iter().map(budget)));
    }
    for peer in PEERS {
        let of = |size: &usize| {
            let found = peer.instructions.iter().find(|(batch, _)| batch == size);
            found.map_or_else(String::new, |(_, figure)| format!("{figure:.0}"))
        };
        table.row([peer.name.to_owned()].into_iter().chain(SIZES.iter().map(of)));
    }
    table.text()
}

fn plot(document: &mut Document, figures: &Figures) -> Result<String> {
    let mut lines = Vec::new();
    for subject in SUBJECTS {
        let of = |&size: &usize| Some((size, *figures.get(&format!("{}/forward/{size}", subject.driver))?));
        lines.push((format!("Ringway {}", subject.driver), places(&SIZES, SIZES.iter().filter_map(of))));
    }
    for peer in PEERS.iter().filter(|peer| peer.instructions.len() > 1) {
        lines.push((peer.name.to_owned(), places(&SIZES, peer.instructions.iter().copied())));
    }
    let svg = Plot {
        title: "Instructions per forwarded packet",
        across: "batch size",
        up: "instructions",
        names: numbers(&SIZES).collect(),
        lines,
        ..Plot::default()
    }
    .draw()?;
    Ok(document.plot("instructions", "instructions per forwarded packet over batch size", svg))
}

fn parts(figures: &Figures) -> String {
    let mut table = Table::new(&["", "all", "receive", "touch and loop", "transmit", "reclaim"]);
    for subject in SUBJECTS {
        for size in TOLD {
            let name = format!("{}/forward/{size}", subject.driver);
            let parts = Part::ALL.into_iter().filter(|part| *part != Part::Flow);
            let cells = parts.map(|part| shown(figures.get(&format!("{name}/{}", part.name()))));
            let head = [format!("{}, batch {size}", subject.driver), shown(figures.get(&name))];
            table.row(head.into_iter().chain(cells));
        }
    }
    table.text()
}

fn counters(figures: &Figures) -> String {
    let mut table = Table::new(&[
        "per packet",
        "instructions",
        "loads",
        "stores",
        "conditional branches",
        "of them foreseen wrongly",
        "indirect branches",
        "cycles",
    ]);
    for subject in SUBJECTS {
        for size in TOLD {
            let name = format!("{}/forward/{size}", subject.driver);
            let cells = EVENTS.map(|(event, _)| shown(figures.get(&format!("{name}/{event}"))));
            let head = [format!("**{}**, batch {size}", subject.driver), shown(figures.get(&name))];
            table.row(head.into_iter().chain(cells).chain([String::new()]));
        }
    }
    for counted in PAPERS {
        let branches = [counted.branches.to_string(), counted.wrong.to_string(), String::new()];
        let numbers = [counted.instructions, counted.loads, counted.stores].map(|number| number.to_string());
        let head = [format!("{}, batch {} (papers)", counted.name, counted.batch)];
        let cells = head.into_iter().chain(numbers).chain(branches);
        table.row(cells.chain([counted.cycles.to_string()]));
    }
    table.text()
}

fn with_flow(figures: &Figures) -> String {
    let columns: Vec<String> = ["batch".to_owned()].into_iter().chain(numbers(&WITH_FLOW)).collect();
    let mut table = Table::new(&columns);
    for subject in SUBJECTS {
        let of = |kind: &'static str| {
            move |size: &usize| figures.get(&format!("{}/{kind}/{size}", subject.driver)).copied()
        };
        let row = |what: &str, values: &dyn Fn(&usize) -> Option<f64>| {
            let cells: Vec<String> = WITH_FLOW.iter().map(|size| shown(values(size).as_ref())).collect();
            [format!("{}{what}", subject.driver)].into_iter().chain(cells)
        };
        table.row(row(", forwarding with extraction", &of("flow")));
        let added = |size: &usize| Some(of("flow")(size)? - of("forward")(size)?);
        table.row(row(", what extraction adds", &added));
    }
    let parser = figures.get("flow/udp-ipv4").copied();
    table.row(
        ["the parser alone, UDP over IPv4".to_owned()]
            .into_iter()
            .chain(WITH_FLOW.iter().map(|_| shown(parser.as_ref()))),
    );
    table.text()
}

fn parser(figures: &Figures) -> String {
    let mut table = Table::new(&["packet", "instructions of the parser"]);
    for (name, figure) in figures {
        if let Some(kind) = name.strip_prefix("flow/") {
            table.row([kind.to_owned(), format!("{figure:.0}")]);
        }
    }
    table.text()
}

fn pool(figures: &Figures) -> String {
    let columns: Vec<String> = ["buffers at once".to_owned()].into_iter().chain(numbers(&POOL)).collect();
    let mut table = Table::new(&columns);
    let cells = POOL.iter().map(|size| shown(figures.get(&format!("pool/{size}"))));
    table.row(["packets made and dropped".to_owned()].into_iter().chain(cells));
    for (driver, what, name) in [("ixgbe", "get", "pool-get"), ("ixgbe", "put", "pool-put")] {
        let figure = |size: &usize| shown(figures.get(&format!("{driver}/forward/{size}/{name}")));
        let row = [format!("a queue's {what}, a magazine at a time")];
        table.row(row.into_iter().chain(POOL.iter().map(figure)));
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_open() {
        let figures: Figures = [("ixgbe/forward/32".to_owned(), 50.04)].into();
        let text = by_batch(&figures);
        assert!(text.starts_with("| batch | 1 | 2 | 4 | 8 |"), "{text}");
        assert!(text.contains("| **ixgbe** |  |  |  |  |  | 50.0 |"), "{text}");
        assert!(text.contains("| ixy (C) |  |  |  | 149 |"), "{text}");
    }

    #[test]
    fn what_extraction_adds_is_a_difference() {
        let figures: Figures = [
            ("ixgbe/forward/32".to_owned(), 50.0),
            ("ixgbe/flow/32".to_owned(), 130.0),
            ("flow/udp-ipv4".to_owned(), 78.0),
        ]
        .into();
        let text = with_flow(&figures);
        assert!(text.contains("| ixgbe, what extraction adds |  | 80.0 |"), "{text}");
        assert!(parser(&figures).contains("| udp-ipv4 | 78 |"));
    }
}
