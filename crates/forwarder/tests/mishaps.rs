//! What happens to marked packets on the model's wire is found by the receiver and counted exactly; and the histogram of
//! latencies is that of a delay that is known. The drivers are those for hardware; the devices are stepped by hand, on a
//! clock that is set, so that every run is the same.
//!
//! ```text
//!   Generating ─▶ card 0 ═cable═ card 1 ─▶ Direction ─▶ card 2 ═cable, spoiled═ card 3 ─▶ Receiving
//! ```
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use ringway::engine::{Direction, Options, Rewrite, Task};
use ringway::machine::clock::Clock;
use ringway::ports::drivers;
use ringway::tasks::generating::Generating;
use ringway::tasks::receiving::{Findings, Receiving, Report};
use ringway_dma::AddressSpace;
use ringway_model::ixgbe::{self, Ixgbe};
use ringway_model::virtio::{self, VirtioNet};
use ringway_model::wire::{Mishap, Spoiled, Wire, cable_pair};
use ringway_model::{Device, run_together};
use ringway_packet::{Pool, PoolOptions};
use ringway_pci::{Backend, Function};
use ringway_port::{Opened, PortOptions};
use ringway_traffic::check::FLOWS;
use ringway_traffic::frame::Shape;
use ringway_traffic::generator::{Generator, Plan};
use ringway_traffic::pace::{Pace, Pacer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A round of everything takes so long, in nanoseconds.
const ROUND: u64 = 1000;
const BATCH: usize = 8;

/// Which devices the four cards are.
#[derive(Clone, Copy, Debug)]
enum Cards {
    Ixgbe,
    Virtio,
    Both,
}

const ALL: [Cards; 3] = [Cards::Ixgbe, Cards::Virtio, Cards::Both];

fn card(
    space: &AddressSpace,
    is_virtio: bool,
    index: u8,
    wire: Box<dyn Wire>,
) -> (Box<dyn Backend>, Box<dyn Device>) {
    let (name, mac) = (format!("emulated:{index}"), [2, 0, 0, 0, 0, index]);
    if is_virtio {
        let options = virtio::Options { name, mac, polls: true, ..Default::default() };
        let (backend, mut handle) = VirtioNet::create(space, options);
        handle.attach(wire);
        (backend, Box::new(handle))
    } else {
        let (backend, mut handle) = Ixgbe::create(space, ixgbe::Options { name, mac, ..Default::default() });
        handle.attach(wire);
        (backend, Box::new(handle))
    }
}

/// Everything, in one hand.
struct Bench {
    generating: Generating,
    forwarding: Direction,
    receiving: Receiving,
    devices: Vec<Box<dyn Device>>,
    time: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    report: Report,
    _opened: Vec<Opened>,
}

impl Bench {
    fn new(cards: Cards, plan: &Plan, mishap: impl FnMut(u64) -> Mishap + Send + 'static) -> Self {
        let space = AddressSpace::emulated();
        let pool = Pool::new(&space, PoolOptions { buffers: 8192, ..PoolOptions::default() }).unwrap();
        let ((first, second), (third, fourth)) = (cable_pair(), cable_pair());
        let wires: [Box<dyn Wire>; 4] = [
            Box::new(first),
            Box::new(second),
            Box::new(third),
            Box::new(Spoiled::new(Box::new(fourth), mishap)),
        ];
        let (mut devices, mut functions) = (Vec::new(), Vec::new());
        for (index, wire) in (0u8..).zip(wires) {
            let is_virtio = match cards {
                Cards::Ixgbe => false,
                Cards::Virtio => true,
                Cards::Both => index % 2 == 1,
            };
            let (backend, device) = card(&space, is_virtio, index, wire);
            functions.push(Function::new(backend).unwrap());
            devices.push(device);
        }
        // The drivers' control queues need devices that run.
        let running = run_together(devices);
        let mut opened: Vec<Opened> = functions
            .into_iter()
            .map(|function| drivers::open(function, &pool, &PortOptions::default()).unwrap())
            .collect();
        opened.iter_mut().for_each(|port| port.control.set_promiscuous(true).unwrap());
        let devices = running.stop();

        let (time, stop) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let clock = || Clock::Set(Arc::clone(&time));
        let generator = Generator::new(plan).unwrap();
        // Two packets a round.
        let pacer = Pacer::new(Pace::Constant(2e9 / ROUND as f64), 1);
        let generating = Generating::new(opened[0].transmit.remove(0), &pool, generator, pacer, BATCH)
            .until(&stop)
            .by(clock());
        let options = Options { batch: BATCH, ..Options::default() };
        let (receive, transmit) = (opened[1].receive.remove(0), opened[2].transmit.remove(0));
        let forwarding = Direction::new(receive, transmit, Rewrite::default(), &options);
        let receiving = Receiving::new(opened[3].receive.remove(0), FLOWS, BATCH).by(clock());
        let report = receiving.report();
        Self { generating, forwarding, receiving, devices, time, stop, report, _opened: opened }
    }

    /// Each task and each device once, in the order of the packets' way: what isn't delayed arrives in the same round.
    fn round(&mut self) {
        self.time.fetch_add(ROUND, Ordering::Relaxed);
        self.generating.round(None).unwrap();
        let Self { devices, forwarding, .. } = self;
        devices[0].turn();
        devices[1].turn();
        forwarding.round(None).unwrap();
        devices[2].turn();
        devices[3].turn();
        self.receiving.round(None).unwrap();
    }

    /// So many packets, and then until all are there. How many were made, and what was found.
    fn run(mut self, packets: u64) -> (u64, Findings) {
        let made = |bench: &Self| bench.generating.counters().read().handled;
        while made(&self) < packets {
            self.round();
        }
        self.stop.store(true, Ordering::Relaxed);
        // More than the longest delay takes.
        for _ in 0..400 {
            self.round();
        }
        self.receiving.drain(Instant::now() + Duration::from_secs(60)).unwrap();
        (made(&self), self.report.read())
    }
}

fn plan(flows: u32) -> Plan {
    Plan { shape: Shape::default(), flows, ..Plan::default() }
}

#[test]
fn without_a_mishap_every_packet_arrives_in_the_round_in_which_it_was_made() {
    for cards in ALL {
        let (made, found) = Bench::new(cards, &plan(4), |_| Mishap::None).run(5000);
        assert_eq!((found.totals.received, found.totals.is_clean()), (made, true), "{cards:?}: {found:?}");
        assert_eq!((found.latency.percentile(0.0), found.latency.percentile(100.0)), (0, 0), "{cards:?}");
    }
}

/// Packets of a run, and how often there is each mishap: once in a thousand, none to the last ones.
const PACKETS: u64 = 20_000;
const RUNS: u64 = 19;

/// Of four flows in turn: packet n is of flow n modulo 4.
fn of_four_flows(number: u64) -> Mishap {
    match number % 1000 {
        _ if number >= RUNS * 1000 => Mishap::None,
        // Two in a row, of different flows, and two of one flow in a row.
        100 | 101 | 200 | 204 => Mishap::Lost,
        300 | 303 => Mishap::Doubled,
        // In the time stamp and in the time to live: each under a checksum.
        500 => Mishap::Damaged { byte: 55, bits: 0x10 },
        510 => Mishap::Damaged { byte: 22, bits: 0x04 },
        // In what says that there is a mark: nobody knows it any more.
        520 => Mishap::Damaged { byte: 42, bits: 0x01 },
        // The next packet is of another flow: within each flow the order stays.
        600 => Mishap::Swapped,
        _ => Mishap::None,
    }
}

#[test]
fn what_is_lost_doubled_and_damaged_is_counted_exactly_flow_by_flow() {
    for cards in ALL {
        let (made, found) = Bench::new(cards, &plan(4), of_four_flows).run(PACKETS);
        let totals = found.totals;
        // What is damaged leaves a gap too.
        assert_eq!((totals.lost, totals.received), (RUNS * 7, made - RUNS * 7), "{cards:?}: {totals:?}");
        assert_eq!((totals.duplicates, totals.out_of_order), (RUNS * 2, 0), "{cards:?}: {totals:?}");
        assert_eq!((totals.damaged, totals.foreign), (RUNS * 2, RUNS), "{cards:?}: {totals:?}");
        assert_eq!(found.latency.count(), totals.received, "each packet is timed once");
        let of_flows: Vec<(u64, u64)> =
            found.flows.iter().map(|(_, totals)| (totals.lost, totals.duplicates)).collect();
        assert_eq!(
            of_flows,
            [(5, 1), (1, 0), (1, 0), (0, 1)].map(|(lost, doubled)| (RUNS * lost, RUNS * doubled))
        );
    }
}

#[test]
fn packets_of_one_flow_that_change_places_are_out_of_order_and_none_is_lost() {
    for cards in ALL {
        let swapped = |number: u64| match number % 1000 {
            _ if number >= RUNS * 1000 => Mishap::None,
            100 | 200 => Mishap::Swapped,
            300 => Mishap::Doubled,
            _ => Mishap::None,
        };
        let (made, found) = Bench::new(cards, &plan(1), swapped).run(PACKETS);
        let totals = found.totals;
        assert_eq!((totals.out_of_order, totals.duplicates), (RUNS * 2, RUNS), "{cards:?}: {totals:?}");
        assert_eq!((totals.received, totals.lost, totals.damaged), (made, 0, 0), "{cards:?}: {totals:?}");
    }
}

#[test]
fn the_histogram_is_that_of_the_delays_that_packets_had() {
    const SHORT: u32 = 50;
    const LONG: u32 = 300;
    for cards in ALL {
        let delay = |number: u64| Mishap::Delayed(if number < 18_000 { SHORT } else { LONG });
        let (made, found) = Bench::new(cards, &plan(4), delay).run(PACKETS);
        assert_eq!((found.totals.received, found.totals.is_clean()), (made, true), "{cards:?}");
        let [short, long] = [SHORT, LONG].map(|rounds| u64::from(rounds) * ROUND);
        let latency = &found.latency;
        // Three digits are kept.
        for (percent, expected) in
            [(0.0, short), (50.0, short), (89.0, short), (91.0, long), (99.999, long), (100.0, long)]
        {
            let seen = latency.percentile(percent);
            assert!(
                seen.abs_diff(expected) * 1000 <= expected,
                "{cards:?}: {percent} %: {seen}, not {expected}"
            );
        }
        let mean = (18_000 * short + (made - 18_000) * long) as f64 / made as f64;
        assert!(
            (latency.mean() / mean - 1.0).abs() < 0.001,
            "{cards:?}: {} instead of {mean}",
            latency.mean()
        );
        assert_eq!(latency.count(), made);
    }
}
