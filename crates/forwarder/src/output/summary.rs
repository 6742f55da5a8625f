//! What a run came to, for people and for programs.

use super::latency::LatencySummary;
use super::rates::{Rate, grouped};
use super::table::Table;
use crate::engine::{Outcome, StoppedBy};
use crate::ports::{Emulation, Stream};
use ringway_port::{Information, Statistics};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The summary of a run: this is the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Port by port, in the order in which they were named.
    pub ports: Vec<PortSummary>,
    /// How long packets were forwarded.
    pub seconds: f64,
    /// Packets handed from one port to the other.
    pub forwarded: u64,
    /// Packets dropped between the ports and by them, whatever the cause.
    pub dropped: u64,
    /// Times that threads slept until a packet came, with `--interrupts`.
    pub slept: u64,
    /// What ended the run.
    pub stopped_by: StoppedBy,
    /// Streams whose packets were counted and checked from end to end: those of emulated ports.
    pub streams: Vec<Stream>,
    /// How long packets took from each end to the other, with `--latency`.
    pub latency: Vec<(String, LatencySummary)>,
    /// Packets a second that each emulated source made, whether there was room or not; null where they wait for room.
    pub offered: Option<f64>,
    /// What the driver did against the specification, as the emulated ports saw it.
    pub violations: Vec<String>,
    /// What went wrong.
    pub errors: Vec<String>,
}

/// One port's counters. Bytes are without framing and FCS.
#[derive(Clone, Debug, Serialize)]
pub struct PortSummary {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: &'static str,
    /// Its own Ethernet address.
    pub mac: String,
    /// Packets given to the program.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets that the device had no receive buffer for; null where it doesn't count them.
    pub missed: Option<u64>,
    /// Packets dropped because what the device said of them was wrong.
    pub receive_errors: u64,
    /// Rounds in which packets waited for a free buffer.
    pub starved: u64,
    /// Packets handed to the device.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets dropped because the device can't send them.
    pub transmit_errors: u64,
    /// Packets for this port, dropped because its transmit ring was full.
    pub dropped: u64,
    /// Packets that the device was given but had not sent when the run ended.
    pub unsent: u64,
    /// Queue by queue.
    pub queues: Vec<QueueSummary>,
    /// What the device counts itself, under its own names.
    pub device: BTreeMap<&'static str, u64>,
}

/// What one receive queue and the transmit queue of the same number did, in packets.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueueSummary {
    /// Given to the program.
    pub received_packets: u64,
    /// Handed to the device.
    pub sent_packets: u64,
}

impl Summary {
    /// Of what a run came to, on the ports of `information`.
    pub fn new(outcome: &Outcome, information: &[Information], emulation: Option<&Emulation>) -> Self {
        let ports: Vec<PortSummary> = outcome
            .last
            .ports
            .iter()
            .zip(information)
            .map(|(port, information)| {
                let (received, sent) = (port.statistics.received(), port.statistics.sent());
                PortSummary {
                    name: port.name.clone(),
                    driver: information.driver,
                    mac: information.mac.to_string(),
                    received_packets: received.packets,
                    received_bytes: received.bytes,
                    missed: port.statistics.missed,
                    receive_errors: received.errors,
                    starved: received.starved,
                    sent_packets: sent.packets,
                    sent_bytes: sent.bytes,
                    transmit_errors: sent.errors,
                    dropped: port.dropped,
                    unsent: port.unsent,
                    queues: queues(&port.statistics),
                    device: port.statistics.device.iter().copied().collect(),
                }
            })
            .collect();
        let dropped = |port: &PortSummary| {
            port.dropped.saturating_add(port.receive_errors).saturating_add(port.transmit_errors)
        };
        Self {
            dropped: ports.iter().map(dropped).fold(0, u64::saturating_add),
            ports,
            seconds: outcome.seconds,
            forwarded: outcome.last.forwarded,
            slept: outcome.last.slept,
            stopped_by: outcome.stopped_by,
            streams: emulation.map(Emulation::streams).unwrap_or_default(),
            latency: Vec::new(),
            offered: emulation.and_then(Emulation::rate),
            violations: emulation.map(Emulation::violations).unwrap_or_default(),
            errors: outcome.failures.iter().map(ToString::to_string).collect(),
        }
    }

    /// Whether every packet whose way was checked arrived once, whole and in order, and the emulated ports had nothing
    /// to complain of.
    pub fn is_lossless(&self) -> bool {
        self.streams.iter().all(Stream::is_whole) && self.violations.is_empty()
    }

    /// The summary for people.
    pub fn text(&self) -> String {
        let mut table = Table::new(&[
            "port",
            "received",
            "missed",
            "receive errors",
            "starved",
            "sent",
            "transmit errors",
            "ring full",
            "unsent",
        ]);
        for port in &self.ports {
            let missed = port.missed.map_or_else(|| "-".to_owned(), grouped);
            let numbers = [
                port.receive_errors,
                port.starved,
                port.sent_packets,
                port.transmit_errors,
                port.dropped,
                port.unsent,
            ];
            let first = [port.name.clone(), grouped(port.received_packets), missed];
            table.row(first.into_iter().chain(numbers.map(grouped)).collect());
        }
        let sent_bytes = self.ports.iter().map(|port| port.sent_bytes).fold(0, u64::saturating_add);
        let time = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        let rate = Rate::new(self.forwarded, sent_bytes, time);
        let mut text = table.render();
        text.push_str(&self.queues_text());
        // Writing to a string doesn't fail.
        let _ = writeln!(
            text,
            "forwarded {} packets in {:.2} s: {:.3} Mpps, {:.3} Gbit/s on the wire; dropped {}; ended by {}",
            grouped(self.forwarded),
            self.seconds,
            rate.mpps,
            rate.gbits,
            grouped(self.dropped),
            self.stopped_by,
        );
        if self.slept > 0 {
            let _ = writeln!(text, "slept {} times until a packet came", grouped(self.slept));
        }
        if !self.streams.is_empty() {
            text.push('\n');
            text.push_str(&self.streams_text());
        }
        for (name, latency) in &self.latency {
            let _ = write!(text, "\n{name}\n{}", latency.text());
        }
        text
    }

    /// Of ports with several queues: how packets were spread.
    fn queues_text(&self) -> String {
        if self.ports.iter().all(|port| port.queues.len() < 2) {
            return String::new();
        }
        let mut table = Table::new(&["queue", "received", "sent"]);
        for port in &self.ports {
            for (number, queue) in port.queues.iter().enumerate() {
                let name = format!("{} {number}", port.name);
                table.row(vec![name, grouped(queue.received_packets), grouped(queue.sent_packets)]);
            }
        }
        table.render()
    }

    /// Of sources that don't wait: how much was lost, and where.
    fn loss_text(&self, offered: f64) -> String {
        let sum = |of: &dyn Fn(&Stream) -> u64| self.streams.iter().map(of).fold(0, u64::saturating_add);
        let (sent, lost) = (sum(&|stream| stream.sent), sum(&|stream| stream.lost));
        let missed = self.ports.iter().filter_map(|port| port.missed).fold(0, u64::saturating_add);
        let silent: Vec<&str> =
            self.ports.iter().filter(|port| port.missed.is_none()).map(|port| port.name.as_str()).collect();
        let silent = match silent.as_slice() {
            [] => String::new(),
            names => format!(" (uncounted by {}, whose device has no counter for it)", names.join(" and ")),
        };
        let full = self.ports.iter().map(|port| port.dropped).fold(0, u64::saturating_add);
        format!(
            "{} of {} packets were lost ({:.3} %) at {:.3} Mpps from each source: {} missed by the cards, which had no \
             receive buffer{silent}, {} dropped at full transmit rings; those that arrived came once, whole and in order\n",
            grouped(lost),
            grouped(sent),
            lost as f64 * 100.0 / sent.max(1) as f64,
            offered / 1e6,
            grouped(missed),
            grouped(full),
        )
    }

    fn streams_text(&self) -> String {
        let mut table = Table::new(&[
            "stream",
            "sent",
            "received",
            "lost",
            "under way",
            "out of order",
            "doubled",
            "damaged",
        ]);
        for stream in &self.streams {
            let numbers = [
                stream.sent,
                stream.received,
                stream.lost,
                stream.under_way,
                stream.out_of_order,
                stream.doubled,
                stream.damaged,
            ];
            let name = format!("{} to {}", stream.from, stream.to);
            table.row([name].into_iter().chain(numbers.map(grouped)).collect());
        }
        let under_way = self.streams.iter().any(|stream| stream.under_way > 0);
        let mut text = table.render();
        let whole = self.streams.iter().all(Stream::is_whole);
        let sound = self.streams.iter().all(Stream::is_sound);
        let nothing = self.streams.iter().all(|stream| stream.sent == 0);
        text.push_str(&match (whole, sound, self.offered) {
            (true, ..) if nothing => "no source has made a packet: nothing can be said of them\n".to_owned(),
            (true, ..) if under_way => {
                "every packet arrived, once, whole and in order, but for those under way at the end\n"
                    .to_owned()
            }
            (true, ..) => "every packet arrived, once, whole and in order\n".to_owned(),
            (false, true, Some(offered)) => self.loss_text(offered),
            _ => "PACKETS WERE LOST OR SPOILED\n".to_owned(),
        });
        for violation in &self.violations {
            // Writing to a string doesn't fail.
            let _ = writeln!(text, "THE DRIVER BROKE THE SPECIFICATION: {violation}");
        }
        text
    }
}

fn queues(statistics: &Statistics) -> Vec<QueueSummary> {
    let sent = statistics.transmit.iter().map(|queue| queue.packets).chain(std::iter::repeat(0));
    let both = statistics.receive.iter().zip(sent);
    both.map(|(received, sent_packets)| QueueSummary { received_packets: received.packets, sent_packets })
        .collect()
}
