//! Network cards in software, in an address space of their own, each with a source of numbered packets and a sink that
//! checks them.
//!
//! The driver is the one for hardware, and so are its rings and the forwarder. Only the cards' side is software: it runs
//! on threads of its own, and its sources wait for room in a receive ring, so nothing need be lost.

use super::{OpenOptions, OpenPorts, drivers, make_pool};
use crate::{Error, PortName};
use ringway_dma::AddressSpace;
use ringway_model::traffic::{Totals, Traffic, TrafficMonitor, TrafficOptions};
use ringway_model::virtio::{Faults, Handle, Monitor, Options, RunningGroup, VirtioNet, run_together};
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
    faults: Faults,
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
        cards.push(Card { name, traffic, device: handle.monitor(), faults: handle.faults() });
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

    /// What the cards can be made to do wrong, card by card: for tests of programs that stand on them.
    pub fn faults(&self) -> Vec<Faults> {
        self.cards.iter().map(|card| card.faults.clone()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        Active, Direction, Event, Limits, Outcome, Rewrite, Sample, Session, StoppedBy, Watch, Workers,
    };
    use ringway_dma::BufferSize;
    use ringway_port::{Opened, PortOptions};
    use std::sync::mpsc::{Sender, channel};
    use std::time::{Duration, Instant};

    /// Runs a function at each sample, with the number of packets forwarded so far.
    struct At<F>(F);

    impl<F: FnMut(u64)> Watch for At<F> {
        fn sample(&mut self, sample: &Sample) {
            (self.0)(sample.forwarded);
        }
    }

    fn open_two() -> OpenPorts {
        let options =
            OpenOptions { port: PortOptions::default(), buffers: 4096, buffer_size: BufferSize::default() };
        open(&[0, 1], &options).unwrap()
    }

    fn run(opened: Vec<Opened>, mut at_sample: impl FnMut(u64, &Sender<Event>)) -> Outcome {
        let (events, receiver) = channel();
        let (mut controls, mut receive, mut transmit) = (Vec::new(), Vec::new(), Vec::new());
        for port in opened {
            controls.push(Active::new(port.control).unwrap().0);
            receive.extend(port.receive);
            transmit.extend(port.transmit);
        }
        transmit.reverse();
        let directions = receive
            .into_iter()
            .zip(transmit)
            .map(|(receive, transmit)| Direction::new(receive, transmit, Rewrite::default()))
            .collect();
        let workers = Workers::start(directions, &crate::engine::Options::default(), &events).unwrap();
        let limits = Limits { duration: None, interval: Duration::from_millis(1) };
        let session = Session::new(workers, controls, vec![1, 0], receiver);
        session.run(limits, &mut At(|forwarded| at_sample(forwarded, &events)))
    }

    #[test]
    fn a_card_that_is_pulled_out_is_named_and_all_memory_comes_back() {
        let OpenPorts { opened, emulation, pool } = open_two();
        let faults = emulation.as_ref().unwrap().faults();
        let outcome = run(opened, |forwarded, _| {
            if forwarded > 1000 {
                faults[1].remove();
            }
        });
        assert_eq!(outcome.stopped_by, StoppedBy::Error);
        let text = outcome.failures[0].to_string();
        assert!(text.contains("emulated:1") && text.contains("gone"), "{text}");
        assert!(outcome.last.forwarded > 1000);
        let space = pool.address_space().clone();
        drop((emulation, pool));
        assert_eq!(space.usage(), ringway_dma::Usage::default());
    }

    #[test]
    fn the_cards_see_a_driver_that_keeps_to_the_specification() {
        let OpenPorts { opened, mut emulation, pool } = open_two();
        let outcome = run(opened, |forwarded, events| {
            if forwarded > 1000 {
                // Asked more than once, it ends all the same.
                let _ = events.send(Event::Signal(2));
            }
        });
        assert_eq!(outcome.stopped_by, StoppedBy::Signal);
        let emulation = emulation.as_mut().unwrap();
        assert_eq!(emulation.violations(), Vec::<String>::new());
        emulation.stop_sources();
        let streams = emulation.streams();
        assert_eq!((streams[0].from.as_str(), streams[0].to.as_str()), ("emulated:0", "emulated:1"));
        assert_eq!((streams[1].from.as_str(), streams[1].to.as_str()), ("emulated:1", "emulated:0"));
        assert_eq!((pool.available(), pool.lost()), (pool.buffers(), 0));
    }

    #[test]
    fn what_has_not_arrived_is_under_way_until_it_is_settled_that_it_is_lost() {
        let OpenPorts { opened, mut emulation, .. } = open_two();
        let emulation = emulation.as_mut().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while emulation.streams().iter().any(|stream| stream.sent == 0) {
            assert!(Instant::now() < deadline, "no source ever sent a packet");
            std::thread::sleep(Duration::from_millis(1));
        }
        emulation.stop_sources();
        drop(opened);
        let stream = emulation.streams().remove(0);
        // The rings were filled and never emptied.
        assert!(stream.sent > 0 && stream.under_way == stream.sent, "{stream:?}");
        assert!(stream.is_whole());
        assert!(!emulation.is_quiet());
        emulation.settle();
        let stream = emulation.streams().remove(0);
        assert_eq!((stream.lost, stream.under_way), (stream.sent, 0));
        assert!(!stream.is_whole());
    }
}
