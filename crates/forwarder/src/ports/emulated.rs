//! Network cards in software, in an address space of their own, each with a source of numbered packets and a sink that
//! checks them.
//!
//! The driver is the one for hardware, and so are its rings and the forwarder. Only the cards' side is software: it runs
//! on threads of its own, and its sources wait for room in a receive ring, so nothing need be lost.

use super::{OpenOptions, OpenPorts, drivers, make_pool};
use crate::{Error, PortName};
use ringway_dma::AddressSpace;
use ringway_model::traffic::{Totals, Traffic, TrafficMonitor, TrafficOptions};
use ringway_model::virtio::{Handle, Monitor, Options, RunningGroup, VirtioNet, run_together};
use ringway_pci::Function;
use serde::Serialize;
use std::num::NonZero;

/// With fewer processors than these, all cards share a thread: worker, main thread and one a card would be too many.
const PROCESSORS_FOR_THREADS: usize = 4;

/// Packets from the source at one emulated port to the sink at another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// The port whose source sent them.
    pub from: String,
    /// The port whose sink should have got them.
    pub to: String,
    /// Packets that the source put on the wire.
    pub sent: u64,
    /// Packets of this stream that the sink got, each counted once.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that were still on their way when the run ended, if it ended in the midst of them.
    pub under_way: u64,
    /// Packets that came after a later one.
    pub out_of_order: u64,
    /// Packets that came again.
    pub doubled: u64,
    /// Packets that came with other bytes than they were sent with.
    pub damaged: u64,
}

impl Stream {
    /// Whether every packet that is not on its way still came once, in order and as it was sent.
    pub fn is_whole(&self) -> bool {
        [self.lost, self.out_of_order, self.doubled, self.damaged] == [0; 4]
    }
}

/// The cards' side of emulated ports. Dropped, it stops.
#[derive(Debug)]
pub struct Emulation {
    groups: Vec<RunningGroup>,
    cards: Vec<Card>,
    settled: bool,
}

/// One card, from outside.
#[derive(Debug)]
struct Card {
    name: String,
    traffic: TrafficMonitor,
    device: Monitor,
}

/// Makes the cards, lets them run, and opens them.
pub(super) fn open(numbers: &[u16], options: &OpenOptions) -> Result<OpenPorts, Error> {
    let space = AddressSpace::emulated();
    let pool = make_pool(&space, options, None)?;
    let mut functions = Vec::new();
    let mut handles = Vec::new();
    let mut cards = Vec::new();
    for &number in numbers {
        let name = PortName::Emulated(number).to_string();
        let [high, low] = number.to_be_bytes();
        let mac = [0x02, 0, 0, 0, high, low];
        let made = Options { name: name.clone(), mac, polls: true, ..Options::default() };
        let (backend, mut handle) = VirtioNet::create(&space, made);
        let (wire, traffic) = Traffic::new(&TrafficOptions { destination: mac, ..TrafficOptions::default() });
        handle.attach(Box::new(wire));
        cards.push(Card { name, traffic, device: handle.monitor() });
        functions.push(Function::new(backend)?);
        handles.push(handle);
    }
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let shares = if processors < PROCESSORS_FOR_THREADS {
        vec![handles]
    } else {
        handles.into_iter().map(|handle| vec![handle]).collect()
    };
    let groups = shares.into_iter().map(run).collect::<Result<_, _>>()?;
    let emulation = Emulation { groups, cards, settled: false };
    let opened = functions
        .into_iter()
        .map(|function| drivers::open(function, &pool, &options.port))
        .collect::<Result<_, _>>()?;
    Ok(OpenPorts { opened, emulation: Some(emulation), pool })
}

fn run(handles: Vec<Handle>) -> Result<RunningGroup, Error> {
    let group = run_together(handles);
    match group.error() {
        Some(error) => Err(Error::System(error.kind().into())),
        None => Ok(group),
    }
}

impl Emulation {
    /// Lets the sources make no more packets. What they made until now is under way or has arrived.
    pub fn stop_sources(&mut self) {
        self.cards.iter().for_each(|card| card.traffic.stop());
        // A source may be in the midst of a round. When its thread has ended, it isn't, and everything is counted.
        let groups = std::mem::take(&mut self.groups);
        self.groups = groups.into_iter().map(|group| run_together(group.stop())).collect();
    }

    /// Whether all that the sources made has arrived, in whatever state.
    pub fn is_quiet(&self) -> bool {
        self.streams().iter().all(|stream| stream.received.saturating_add(stream.damaged) >= stream.sent)
    }

    /// A number that grows with each packet that arrives.
    pub fn progress(&self) -> u64 {
        let arrived = |totals: Totals| totals.received.wrapping_add(totals.corrupted);
        self.cards.iter().map(|card| arrived(card.traffic.totals())).fold(0, u64::wrapping_add)
    }

    /// From now on, what has not arrived is lost.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// What was sent from each card to the next.
    pub fn streams(&self) -> Vec<Stream> {
        let next = self.cards.iter().cycle().skip(1);
        self.cards.iter().zip(next).map(|(from, to)| self.stream(from, to)).collect()
    }

    fn stream(&self, from: &Card, to: &Card) -> Stream {
        let sent = from.traffic.totals().sent;
        let Totals { received, lost, out_of_order, duplicates, corrupted, .. } = to.traffic.totals();
        let missing = sent.saturating_sub(received).saturating_sub(corrupted);
        // A damaged packet leaves a gap in the numbers too, and is not counted twice.
        let gaps = lost.saturating_sub(corrupted).min(missing);
        Stream {
            from: from.name.clone(),
            to: to.name.clone(),
            sent,
            received,
            lost: if self.settled { missing } else { gaps },
            under_way: if self.settled { 0 } else { missing.saturating_sub(gaps) },
            out_of_order,
            doubled: duplicates,
            damaged: corrupted,
        }
    }

    /// What the cards say that the driver did against the specification.
    pub fn violations(&self) -> Vec<String> {
        let of_card = |card: &Card| {
            let violations = card.device.violations();
            violations.iter().map(|violation| format!("{}: {violation}", card.name)).collect::<Vec<_>>()
        };
        self.cards.iter().flat_map(of_card).collect()
    }
}
