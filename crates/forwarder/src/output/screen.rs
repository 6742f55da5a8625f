//! The live view: what ports and queues do right now, on a terminal's own screen.
//!
//! Contract: while it is there, notes and warnings are shown on it; when it goes, all of them are printed where they would
//! have been otherwise. Nothing is read from the terminal: signals end a run, as without the view.

use super::live::{View, dropped};
use super::rates::{Rate, grouped};
use super::terminal::Ansi;
use crate::engine::PortTotals;
use ratatui_core::backend::Backend;
use ratatui_core::layout::{Constraint, Layout};
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::{Frame, Terminal};
use ratatui_core::text::Line;
use ratatui_widgets::block::Block;
use ratatui_widgets::gauge::Gauge;
use ratatui_widgets::paragraph::{Paragraph, Wrap};
use ratatui_widgets::table::{Row, Table};
use std::fmt;
use std::io;
use std::time::Duration;

/// With the units in the border they fit into 80 columns, beside a PCI address.
const COLUMNS: [&str; 8] =
    ["port", "received", " Gbit/s", "    sent", " Gbit/s", "  dropped", "   missed", "starved"];
const WIDTHS: [u16; 7] = [8, 7, 8, 7, 9, 9, 7];
const UNITS: &str = " received and sent in Mpps and Gbit/s on the wire ";

/// A terminal's alternate screen.
pub(super) struct Screen(Terminal<Ansi>);

impl Screen {
    /// Takes the terminal of standard output.
    pub(super) fn enter() -> io::Result<Self> {
        Ok(Self(Terminal::new(Ansi::enter()?)?))
    }

    /// Shows what is.
    pub(super) fn draw(&mut self, view: &View<'_>) -> io::Result<()> {
        draw(&mut self.0, view)
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen")
    }
}

fn draw<B: Backend>(terminal: &mut Terminal<B>, view: &View<'_>) -> Result<(), B::Error> {
    terminal.draw(|frame| paint(frame, view)).map(|_| ())
}

fn paint(frame: &mut Frame<'_>, view: &View<'_>) {
    let rows = rows(view);
    let height = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(3);
    let [title, table, status, notes, progress] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height),
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let strong = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(format!("{}   {}", view.title, view.clock)).style(strong), title);
    let heading = Row::new(COLUMNS).style(strong);
    let widths = [Constraint::Min(12)].into_iter().chain(WIDTHS.map(Constraint::Length));
    let block = Block::bordered().title(UNITS);
    frame.render_widget(Table::new(rows, widths).header(heading).block(block), table);
    frame.render_widget(Paragraph::new(view.status).wrap(Wrap { trim: true }), status);
    // The last ones, as far as there is room.
    let first = view.notes.len().saturating_sub(notes.height.into());
    let lines: Vec<Line<'_>> = view.notes.iter().skip(first).map(|note| Line::from(note.as_str())).collect();
    frame.render_widget(Paragraph::new(lines).style(Style::new().add_modifier(Modifier::DIM)), notes);
    match view.share {
        Some(share) => {
            let label = view.left.clone().unwrap_or_else(|| format!("{:.0} %", share * 100.0));
            let gauge = Gauge::default().ratio(share.clamp(0.0, 1.0)).label(label);
            frame.render_widget(gauge, progress);
        }
        None => frame.render_widget(Paragraph::new("Ctrl-C ends it"), progress),
    }
}

/// A row a port, and one a queue.
fn rows(view: &View<'_>) -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    for (index, port) in view.now.ports.iter().enumerate() {
        let before = view.before.and_then(|before| before.ports.get(index));
        rows.push(of_port(before, port, view.time));
        let queues = port.statistics.receive.len().max(port.statistics.transmit.len());
        rows.extend((0..queues).map(|queue| of_queue(before, port, queue, view.time)));
    }
    rows
}

fn of_port(before: Option<&PortTotals>, now: &PortTotals, time: Duration) -> Row<'static> {
    let sums = |port: &PortTotals| {
        let (received, sent) = (port.statistics.received(), port.statistics.sent());
        [received.packets, received.bytes, sent.packets, sent.bytes]
    };
    let starved = now.statistics.received().starved;
    let missed = |port: &PortTotals| port.statistics.missed.unwrap_or_default();
    let lost = dropped(now) > before.map(dropped).unwrap_or_default()
        || missed(now) > before.map(missed).unwrap_or_default();
    let style = if lost { Style::new().fg(Color::Red) } else { Style::new() };
    let missed = now.statistics.missed.map_or_else(|| "-".to_owned(), grouped);
    let last = [grouped(dropped(now)), missed, grouped(starved)];
    row(now.name.clone(), before.map(sums).unwrap_or_default(), sums(now), time, last).style(style)
}

fn of_queue(before: Option<&PortTotals>, now: &PortTotals, queue: usize, time: Duration) -> Row<'static> {
    let sums = |port: &PortTotals| {
        let received = port.statistics.receive.get(queue);
        let sent = port.statistics.transmit.get(queue);
        let [packets, bytes] = received.map(|queue| [queue.packets, queue.bytes]).unwrap_or_default();
        let [sent, sent_bytes] = sent.map(|queue| [queue.packets, queue.bytes]).unwrap_or_default();
        [packets, bytes, sent, sent_bytes]
    };
    let received = now.statistics.receive.get(queue);
    let sent = now.statistics.transmit.get(queue);
    let errors =
        received.map_or(0, |queue| queue.errors).saturating_add(sent.map_or(0, |queue| queue.errors));
    let last = [grouped(errors), String::new(), grouped(received.map_or(0, |queue| queue.starved))];
    row(format!("  queue {queue}"), before.map(sums).unwrap_or_default(), sums(now), time, last)
        .style(Style::new().add_modifier(Modifier::DIM))
}

fn row(name: String, before: [u64; 4], now: [u64; 4], time: Duration, last: [String; 3]) -> Row<'static> {
    let mut new = now.iter().zip(before).map(|(now, before)| now.saturating_sub(before));
    let mut rate = || Rate::new(new.next().unwrap_or_default(), new.next().unwrap_or_default(), time);
    let rates = [rate(), rate()]
        .into_iter()
        .flat_map(|Rate { mpps, gbits }| [format!("{mpps:8.3}"), format!("{gbits:7.3}")]);
    let [dropped, missed, starved] = last;
    let last = [format!("{dropped:>9}"), format!("{missed:>9}"), format!("{starved:>7}")];
    Row::new([name].into_iter().chain(rates).chain(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Sample;
    use ratatui_core::backend::TestBackend;
    use ringway_port::{ReceiveStatistics, Statistics, TransmitStatistics};
    use std::time::Instant;

    fn sample(at: Instant, packets: u64, missed: u64) -> Sample {
        let queue = |packets: u64| ReceiveStatistics { packets, bytes: packets * 60, errors: 0, starved: 3 };
        let mut statistics = Statistics::default();
        statistics.receive = vec![queue(packets), queue(0)];
        statistics.transmit = vec![TransmitStatistics { packets: 0, bytes: 0, errors: 0 }];
        statistics.missed = Some(missed);
        let port = PortTotals { name: "emulated:0".to_owned(), statistics, dropped: 7, unsent: 0 };
        Sample { at, ports: vec![port], forwarded: 0, slept: 0 }
    }

    fn lines(view: &View<'_>, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        draw(&mut terminal, view).unwrap();
        let buffer = terminal.backend().buffer();
        let symbol = |x, y| buffer.cell((x, y)).map(|cell| cell.symbol().to_owned()).unwrap_or_default();
        (0..height)
            .map(|y| (0..width).map(|x| symbol(x, y)).collect::<String>().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn it_shows_rates_drops_queues_notes_and_the_time_that_is_left() {
        let (before, now) = (sample(Instant::now(), 1_000_000, 5), sample(Instant::now(), 3_000_000, 1234));
        let notes: Vec<String> = (0..30).map(|number| format!("note {number}")).collect();
        let view = View {
            title: "ringway receive on emulated:0",
            clock: "   4.0 s",
            status: "12 flows",
            before: Some(&before),
            now: &now,
            time: Duration::from_secs(2),
            share: Some(0.5),
            left: Some("50 %, about 4 s left".to_owned()),
            notes: &notes,
        };
        let lines = lines(&view, 80, 20);
        let text = lines.join("\n");
        for part in [
            "ringway receive on emulated:0      4.0 s",
            "received and sent in Mpps",
            "starved",
            "1.000",
            "0.672",
            "1,234",
            "  queue 0",
            "  queue 1",
            "12 flows",
            "note 29",
            "50 %, about 4 s left",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("note 1\n"), "the oldest make room\n{text}");
        assert!(lines.iter().any(|line| line.contains("emulated:0") && line.contains('7')), "{text}");
    }

    #[test]
    fn a_terminal_that_is_too_small_is_no_mistake() {
        let now = sample(Instant::now(), 1, 0);
        for (width, height) in [(1, 1), (10, 3), (200, 1), (0, 0)] {
            let view = View {
                title: "",
                clock: "",
                status: "",
                before: None,
                now: &now,
                time: Duration::ZERO,
                share: Some(f64::MAX),
                left: None,
                notes: &[],
            };
            assert_eq!(lines(&view, width, height).len(), usize::from(height));
        }
    }
}
