//! What happens, while it happens: lines on standard error, or a screen of its own on a terminal.

use super::console::{Console, Say, line as print_line};
use super::progress;
use super::rates::Rate;
use super::screen::Screen;
use crate::engine::{PortTotals, Sample};
use std::fmt::{self, Display};
use std::time::{Duration, Instant};

/// What a run goes towards.
#[derive(Default)]
pub struct Goal {
    /// It ends after so long.
    pub duration: Option<Duration>,
    /// It ends with so many packets.
    pub packets: Option<u64>,
    /// It ends when this is 1.
    pub share: Option<Box<dyn Fn() -> Option<f64> + Send>>,
}

impl fmt::Debug for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duration, packets, .. } = self;
        f.debug_struct("Goal").field("duration", duration).field("packets", packets).finish_non_exhaustive()
    }
}

/// Prints or shows what happens, and remembers what was shown last.
#[derive(Debug)]
pub struct Live {
    console: Console,
    title: String,
    started: Instant,
    goal: Goal,
    before: Option<Sample>,
    screen: Option<Screen>,
    /// A screen is wanted and not tried yet.
    wanted: bool,
    /// What was said while the screen was there.
    notes: Vec<String>,
}

/// What a screen shows.
pub(super) struct View<'a> {
    /// What it is about.
    pub(super) title: &'a str,
    /// How long it runs.
    pub(super) clock: &'a str,
    /// What the command itself has to say.
    pub(super) status: &'a str,
    /// What was shown last, and what is now, with the time between.
    pub(super) before: Option<&'a Sample>,
    pub(super) now: &'a Sample,
    pub(super) time: Duration,
    /// How far it is, if there is an end, and in words.
    pub(super) share: Option<f64>,
    pub(super) left: Option<String>,
    /// What was said.
    pub(super) notes: &'a [String],
}

impl Live {
    /// For a run that starts now. `title` says what it is.
    pub fn new(console: Console, title: String, goal: Goal) -> Self {
        Self {
            console,
            title,
            started: Instant::now(),
            goal,
            before: None,
            screen: None,
            wanted: console.is_live(),
            notes: Vec::new(),
        }
    }

    /// Shows what happened since the last sample, port by port.
    pub fn show(&mut self, sample: &Sample) {
        self.show_with(sample, None);
    }

    /// The same in the command's own words, instead of a line a port.
    pub fn tell(&mut self, sample: &Sample, status: &str) {
        self.show_with(sample, Some(status));
    }

    fn show_with(&mut self, sample: &Sample, status: Option<&str>) {
        let since = self.before.as_ref().map_or(self.started, |before| before.at);
        let time = sample.at.saturating_duration_since(since);
        let elapsed = sample.at.saturating_duration_since(self.started);
        let clock = clock(elapsed, self.goal.duration);
        let share = self.share(sample, elapsed);
        let left = share.and_then(|share| progress::left(elapsed, share));
        if std::mem::take(&mut self.wanted) {
            // Without one, lines do.
            self.screen = Screen::enter().ok();
        }
        match &mut self.screen {
            Some(screen) => {
                let view = View {
                    title: &self.title,
                    clock: &clock,
                    status: status.unwrap_or_default(),
                    before: self.before.as_ref(),
                    now: sample,
                    time,
                    share,
                    left,
                    notes: &self.notes,
                };
                if screen.draw(&view).is_err() {
                    self.leave();
                }
            }
            None => self.print(sample, &clock, status, left.as_deref(), time),
        }
        self.before = Some(sample.clone());
    }

    fn print(&self, sample: &Sample, clock: &str, status: Option<&str>, left: Option<&str>, time: Duration) {
        let left = left.map(|left| format!("  {left}")).unwrap_or_default();
        if let Some(status) = status {
            self.console.note(format_args!("{clock}  {status}{left}"));
            return;
        }
        let width = sample.ports.iter().map(|port| port.name.len()).max().unwrap_or_default();
        let last = sample.ports.len().saturating_sub(1);
        for (index, port) in sample.ports.iter().enumerate() {
            let before = self.before.as_ref().and_then(|before| before.ports.get(index));
            let line = line(before, port, time);
            let left = if index == last { left.as_str() } else { "" };
            self.console.note(format_args!("{clock}  {:width$}  {line}{left}", port.name));
        }
    }

    /// How far the run is, by the end that is nearest.
    fn share(&self, sample: &Sample, elapsed: Duration) -> Option<f64> {
        let Goal { duration, packets, share } = &self.goal;
        let of_time = duration.map(|duration| elapsed.as_secs_f64() / duration.as_secs_f64());
        let of_packets = packets.and_then(|packets| progress::share(packets_of(sample), packets));
        progress::furthest([of_time, of_packets, share.as_ref().and_then(|share| share())])
    }

    /// Gives the terminal back, and prints what was said meanwhile.
    fn leave(&mut self) {
        if self.screen.take().is_some() {
            self.notes.drain(..).for_each(print_line);
        }
    }

    fn say(&mut self, text: String) {
        if self.screen.is_some() {
            self.notes.push(text);
        } else {
            print_line(text);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Say for Live {
    fn note(&mut self, text: impl Display) {
        if self.console.says().0 {
            self.say(text.to_string());
        }
    }

    fn detail(&mut self, text: impl Display) {
        if self.console.says().1 {
            self.say(text.to_string());
        }
    }

    fn warn(&mut self, text: impl Display) {
        self.say(format!("warning: {text}"));
    }
}

/// How far a run is, as the first column of its lines.
pub fn clock(elapsed: Duration, duration: Option<Duration>) -> String {
    let elapsed = elapsed.as_secs_f64();
    match duration {
        Some(duration) => format!("{elapsed:5.1}/{:.1} s", duration.as_secs_f64()),
        None => format!("{elapsed:6.1} s"),
    }
}

/// The packets that a limit counts: those that were forwarded, or sent or received where nothing is.
fn packets_of(sample: &Sample) -> u64 {
    let sum =
        |count: &dyn Fn(&PortTotals) -> u64| sample.ports.iter().map(count).fold(0, u64::saturating_add);
    match sample.forwarded {
        0 => sum(&|port| port.statistics.sent().packets).max(sum(&|port| port.statistics.received().packets)),
        forwarded => forwarded,
    }
}

/// Everything that was dropped at a port, on its way in or out.
pub(super) fn dropped(port: &PortTotals) -> u64 {
    let (received, sent) = (port.statistics.received(), port.statistics.sent());
    port.dropped.saturating_add(received.errors).saturating_add(sent.errors)
}

fn line(before: Option<&PortTotals>, now: &PortTotals, time: Duration) -> String {
    let received = |port: &PortTotals| (port.statistics.received().packets, port.statistics.received().bytes);
    let sent = |port: &PortTotals| (port.statistics.sent().packets, port.statistics.sent().bytes);
    let rate = |count: &dyn Fn(&PortTotals) -> (u64, u64)| {
        let (packets, bytes) = count(now);
        let (packets_before, bytes_before) = before.map(count).unwrap_or_default();
        Rate::new(packets.saturating_sub(packets_before), bytes.saturating_sub(bytes_before), time)
    };
    let dropped = dropped(now).saturating_sub(before.map(dropped).unwrap_or_default());
    format!("received {}  sent {}  dropped {dropped}", rate(&received), rate(&sent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_port::{ReceiveStatistics, Statistics, TransmitStatistics};

    fn port(received: u64, sent: u64, dropped: u64) -> PortTotals {
        let mut statistics = Statistics::default();
        let bytes = received * 60;
        statistics.receive.push(ReceiveStatistics { packets: received, bytes, errors: 1, starved: 0 });
        statistics.transmit.push(TransmitStatistics { packets: sent, bytes: sent * 1514, errors: 0 });
        PortTotals { name: "a".to_owned(), statistics, dropped, unsent: 0 }
    }

    #[test]
    fn a_line_shows_what_is_new_since_the_last_one() {
        let (before, now) = (port(1_000_000, 5, 7), port(3_000_000, 5, 17));
        assert_eq!(
            line(Some(&before), &now, Duration::from_secs(2)),
            "received   1.000 Mpps   0.672 Gbit/s  sent   0.000 Mpps   0.000 Gbit/s  dropped 10"
        );
        assert!(line(None, &now, Duration::from_secs(1)).ends_with("dropped 18"));
    }

    #[test]
    fn how_far_a_run_is_says_the_end_that_is_nearest() {
        let console = Console::default();
        let sample = Sample { at: Instant::now(), ports: vec![port(100, 5, 0)], forwarded: 0, slept: 0 };
        let share =
            |goal: Goal| Live::new(console, String::new(), goal).share(&sample, Duration::from_secs(3));
        assert_eq!(share(Goal::default()), None);
        let duration = Some(Duration::from_secs(12));
        assert_eq!(share(Goal { duration, ..Goal::default() }), Some(0.25));
        assert_eq!(share(Goal { duration, packets: Some(200), ..Goal::default() }), Some(0.5));
        let own: Box<dyn Fn() -> Option<f64> + Send> = Box::new(|| Some(0.75));
        assert_eq!(share(Goal { duration, packets: Some(200), share: Some(own) }), Some(0.75));
    }
}
