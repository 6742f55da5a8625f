//! A line a port and interval: what was received and sent, and what was dropped.

use super::Console;
use super::rates::Rate;
use crate::engine::{PortTotals, Sample};
use std::time::{Duration, Instant};

/// Prints rates, and remembers what was printed last.
#[derive(Debug)]
pub struct Live {
    console: Console,
    started: Instant,
    duration: Option<Duration>,
    before: Option<Sample>,
}

impl Live {
    /// For a run that starts now and lasts `duration`, if it has one.
    pub fn new(console: Console, duration: Option<Duration>) -> Self {
        Self { console, started: Instant::now(), duration, before: None }
    }

    /// Prints what happened since the last sample.
    pub fn show(&mut self, sample: &Sample) {
        let since = self.before.as_ref().map_or(self.started, |before| before.at);
        let time = sample.at.saturating_duration_since(since);
        let elapsed = sample.at.saturating_duration_since(self.started).as_secs_f64();
        let clock = match self.duration {
            Some(duration) => format!("{elapsed:5.1}/{:.1} s", duration.as_secs_f64()),
            None => format!("{elapsed:6.1} s"),
        };
        let width = sample.ports.iter().map(|port| port.name.len()).max().unwrap_or_default();
        for (index, port) in sample.ports.iter().enumerate() {
            let before = self.before.as_ref().and_then(|before| before.ports.get(index));
            let line = line(before, port, time);
            self.console.note(format_args!("{clock}  {:width$}  {line}", port.name));
        }
        self.before = Some(sample.clone());
    }
}

/// Everything that was dropped at a port, on its way in or out.
fn dropped(port: &PortTotals) -> u64 {
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
}
