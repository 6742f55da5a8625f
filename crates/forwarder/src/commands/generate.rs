//! `ringway generate`: packets of any shape out of one port.

use super::one_port::OnePort;
use super::print_summary;
use super::running;
use super::watcher::Watcher;
use crate::cli::{GenerateOptions, Lengths, PacketArguments, RateArgument};
use crate::engine::{Outcome, Reception, StoppedBy};
use crate::output::csv::Rows;
use crate::output::rates::{self, Rate, grouped};
use crate::ports::Emulation;
use crate::tasks::generating::Generating;
use crate::{Error, PortName};
use ringway_port::{Information, Link, MacAddress};
use ringway_traffic::capture::Reader;
use ringway_traffic::end::Arrivals;
use ringway_traffic::frame::{Shape, Template};
use ringway_traffic::generator::{Generator, Plan, Sizes};
use ringway_traffic::pace::{Pace, Pacer};
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Of the order of sizes and of distances in time: every run is the same.
const SEED: u64 = 1;
const FCS: usize = 4;

/// What a run came to: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    port: String,
    driver: &'static str,
    mac: String,
    /// Packets and bytes handed to the device; bytes are without FCS.
    sent_packets: u64,
    sent_bytes: u64,
    /// Packets that the device was given but had not sent at the end.
    unsent: u64,
    transmit_errors: u64,
    seconds: f64,
    mpps: f64,
    /// On the wire, framing and FCS counted.
    gbits: f64,
    /// Packets a second that were asked for; null: as many as possible.
    offered: Option<f64>,
    /// What a receiver at the other end of an emulated card's wire found.
    arrived: Option<Arrived>,
    stopped_by: StoppedBy,
    errors: Vec<String>,
}

/// What arrived on an emulated card's wire.
#[derive(Clone, Copy, Debug, Serialize)]
struct Arrived {
    received: u64,
    lost: u64,
    out_of_order: u64,
    doubled: u64,
    damaged: u64,
    foreign: u64,
}

/// Generates until something ends it.
///
/// # Errors
/// When packets can't be made as asked, the port can't be opened, or it fails on the way.
pub fn run(options: &GenerateOptions) -> Result<ExitCode, Error> {
    let mut plan = plan(&options.packets_made)?;
    // Refused before a port is opened.
    check(&options.packets_made, &plan)?;
    let (mut port, (receive, transmit)) = OnePort::open(options.port, &options.run, Reception::Groups)?;
    let (console, info) = (port.console, port.information().clone());

    plan.shape.source = options.packets_made.source_mac.unwrap_or(info.mac);
    let room = port.pool.packet_capacity();
    // Before all of a range are made: those that fit into no buffer can be gigabytes.
    if let Sizes::Range(_, last) = plan.sizes
        && last > room as usize
    {
        return Err(Error::TooLong { wanted: last, room });
    }
    let generator = generator(&options.packets_made, &plan)?;
    if generator.longest() > room as usize {
        return Err(Error::TooLong { wanted: generator.longest(), room });
    }
    if !generator.marks_all() {
        console.warn("some packets have no room for number and time: a receiver counts them as foreign");
    }
    let rate = packets_a_second(options.rate, generator.mean(), &info.name, port.link())?;
    let pace = match rate {
        None => Pace::Unlimited,
        Some(rate) if options.poisson => Pace::Poisson(rate),
        Some(rate) => Pace::Constant(rate),
    };
    let pacer = Pacer::new(pace, SEED);
    let task = Generating::new(transmit, &port.pool, generator, pacer, options.run.batch.into());
    console.note(format_args!(
        "generating on {}, {}; {}",
        options.port,
        how_fast(rate, options.poisson),
        running::how_to_end(options.run.duration, options.run.packets, "sent")
    ));
    let live = port.live("generate on", None);
    let outcome = port.run(Box::new(task), false, |up| Watcher::of(up, live))?;
    drop(receive);
    let arrived = arrived(port.emulation.as_ref(), options.port, &outcome);
    port.leave();
    conclude(options, summary(&outcome, &info, rate, arrived), outcome)
}

/// What the receiver on an emulated card's wire found, when all that was sent has come there.
fn arrived(emulation: Option<&Emulation>, port: PortName, outcome: &Outcome) -> Option<Arrived> {
    const LIMIT: Duration = Duration::from_secs(10);
    let emulation = emulation.filter(|_| matches!(port, PortName::Emulated(_)))?;
    let sent: u64 = outcome.last.ports.iter().map(|port| port.statistics.sent().packets).sum();
    let deadline = Instant::now() + LIMIT;
    loop {
        let Arrivals { totals, .. } = emulation.arrivals().into_iter().next()?;
        let seen = totals.received.saturating_add(totals.damaged).saturating_add(totals.foreign);
        if seen >= sent || Instant::now() >= deadline {
            return Some(Arrived {
                received: totals.received,
                lost: totals.lost.max(sent.saturating_sub(seen)),
                out_of_order: totals.out_of_order,
                doubled: totals.duplicates,
                damaged: totals.damaged,
                foreign: totals.foreign,
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What is to be made; the source's Ethernet address is that of a port that isn't open yet.
fn plan(arguments: &PacketArguments) -> Result<Plan, Error> {
    let base = if arguments.ipv6 { Shape::default().v6() } else { Shape::default() };
    let (source, destination) = base.addresses;
    let shape = Shape {
        destination: arguments.destination_mac.unwrap_or(MacAddress([0x02, 0, 0, 0, 0xff, 0x02])),
        vlans: arguments.vlan.clone(),
        addresses: (arguments.source_ip.unwrap_or(source), arguments.destination_ip.unwrap_or(destination)),
        protocol: arguments.protocol.into(),
        ports: (arguments.source_port, arguments.destination_port),
        ..base
    };
    let sizes = match arguments.size {
        None => Sizes::Fixed(shape.shortest()),
        Some(Lengths::Imix) => Sizes::Imix,
        Some(Lengths::Bytes(first, last)) if first == last => Sizes::Fixed(first.saturating_sub(FCS)),
        Some(Lengths::Bytes(first, last)) => {
            Sizes::Range(first.saturating_sub(FCS), last.saturating_sub(FCS))
        }
    };
    let fields = arguments.vary.iter().map(|&field| field.into()).collect();
    Ok(Plan { shape, sizes, flows: arguments.flows, fields, seed: SEED })
}

/// Whether there is such a generator; of a range only the ends are made.
fn check(arguments: &PacketArguments, plan: &Plan) -> Result<(), Error> {
    let lengths = match plan.sizes {
        Sizes::Range(first, last) => vec![Sizes::Fixed(first), Sizes::Fixed(last)],
        sizes => vec![sizes],
    };
    for sizes in lengths {
        generator(arguments, &Plan { sizes, ..plan.clone() })?;
    }
    Ok(())
}

fn generator(arguments: &PacketArguments, plan: &Plan) -> Result<Generator, Error> {
    let Some(path) = &arguments.template else { return Ok(Generator::new(plan)?) };
    let mut reader = Reader::open(path)?;
    let mut templates = Vec::new();
    while let Some(frame) = reader.next_whole()? {
        templates.push(Template::of(frame.bytes.into_owned())?);
    }
    Ok(Generator::of_templates(templates, plan)?)
}

/// The rate in packets; `mean` is a packet's mean length without FCS.
pub(super) fn packets_a_second(
    rate: Option<RateArgument>,
    mean: f64,
    port: &str,
    link: &Link,
) -> Result<Option<f64>, Error> {
    let bits = (mean + rates::FRAMING as f64) * 8.0;
    Ok(match rate {
        None => None,
        Some(RateArgument::Packets(packets)) => Some(packets),
        Some(RateArgument::Bits(rate)) => Some(rate / bits),
        Some(RateArgument::Percent(percent)) => match link {
            Link::Up { speed: Some(megabits) } => Some(f64::from(*megabits) * 1e4 * percent / bits),
            _ => return Err(Error::NoSpeed { port: port.to_owned() }),
        },
    })
}

fn how_fast(rate: Option<f64>, poisson: bool) -> String {
    match rate {
        None => "as fast as it goes".to_owned(),
        Some(rate) if poisson => format!("{:.6} Mpps on average, at random distances", rate / 1e6),
        Some(rate) => format!("{:.6} Mpps", rate / 1e6),
    }
}

fn summary(outcome: &Outcome, info: &Information, offered: Option<f64>, arrived: Option<Arrived>) -> Summary {
    let (sent, unsent) =
        outcome.last.ports.first().map(|port| (port.statistics.sent(), port.unsent)).unwrap_or_default();
    let time = Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
    let rate = Rate::new(sent.packets, sent.bytes, time);
    Summary {
        port: info.name.clone(),
        driver: info.driver,
        mac: info.mac.to_string(),
        sent_packets: sent.packets,
        sent_bytes: sent.bytes,
        unsent,
        transmit_errors: sent.errors,
        seconds: outcome.seconds,
        mpps: rate.mpps,
        gbits: rate.gbits,
        offered,
        arrived,
        stopped_by: outcome.stopped_by,
        errors: outcome.failures.iter().map(ToString::to_string).collect(),
    }
}

fn conclude(options: &GenerateOptions, summary: Summary, outcome: Outcome) -> Result<ExitCode, Error> {
    print_summary(options.run.output, &summary, Rows::One, Summary::text)?;
    if !outcome.failures.is_empty() {
        return Err(Error::Failed(outcome.failures));
    }
    Ok(super::status(summary.is_lossless()))
}

impl Summary {
    /// Whether all that was made was sent, and arrived once, whole and in order as far as that is known.
    fn is_lossless(&self) -> bool {
        let arrived = self.arrived.is_none_or(|Arrived { lost, out_of_order, doubled, damaged, .. }| {
            [lost, out_of_order, doubled, damaged] == [0; 4]
        });
        arrived && self.unsent == 0 && self.transmit_errors == 0
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}: sent {} packets in {:.2} s: {:.3} Mpps, {:.3} Gbit/s on the wire; not sent {}; ended by {}\n",
            self.port,
            grouped(self.sent_packets),
            self.seconds,
            self.mpps,
            self.gbits,
            grouped(self.unsent.saturating_add(self.transmit_errors)),
            self.stopped_by,
        );
        if let Some(Arrived { received, lost, out_of_order, doubled, damaged, foreign }) = self.arrived {
            text.push_str(&format!(
                "at the wire's other end: received {}, lost {}, out of order {}, doubled {}, damaged {}, foreign {}\n",
                grouped(received),
                grouped(lost),
                grouped(out_of_order),
                grouped(doubled),
                grouped(damaged),
                grouped(foreign),
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_or_did_not_arrive_as_it_was_is_lost() {
        let whole = Arrived { received: 5, lost: 0, out_of_order: 0, doubled: 0, damaged: 0, foreign: 9 };
        let summary = |unsent, transmit_errors, arrived| Summary {
            port: "a".to_owned(),
            driver: "b",
            mac: String::new(),
            sent_packets: 5,
            sent_bytes: 300,
            unsent,
            transmit_errors,
            seconds: 1.0,
            mpps: 0.0,
            gbits: 0.0,
            offered: None,
            arrived,
            stopped_by: StoppedBy::Packets,
            errors: Vec::new(),
        };
        assert!(summary(0, 0, None).is_lossless() && summary(0, 0, Some(whole)).is_lossless());
        assert!(!summary(1, 0, None).is_lossless() && !summary(0, 1, None).is_lossless());
        for spoiled in [
            Arrived { lost: 1, ..whole },
            Arrived { out_of_order: 1, ..whole },
            Arrived { doubled: 1, ..whole },
            Arrived { damaged: 1, ..whole },
        ] {
            assert!(!summary(0, 0, Some(spoiled)).is_lossless(), "{spoiled:?}");
        }
    }
}
