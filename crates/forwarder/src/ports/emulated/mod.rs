//! Network cards in software, in an address space of their own, each with a source of numbered packets and a sink that
//! checks them.
//!
//! The driver is the one for hardware, and so are its rings and the forwarder. Only the cards' side is software: it runs
//! on threads of its own. Its sources wait for room in a receive ring, so nothing need be lost; or they make packets at a
//! rate, and what finds no room is lost and counted.

mod card;
mod marked;
mod stream;

pub use card::Kind;
pub use stream::Stream;

use super::{OpenOptions, OpenPorts, drivers, make_pool};
use crate::{Error, PortName};
use card::{Card, Made, WireMonitor};
use ringway_dma::AddressSpace;
use ringway_model::wire::{Wire, cable_pair};
use ringway_model::{Device, RunningGroup, run_together};
use ringway_pci::Function;
use ringway_traffic::end::Arrivals;
use std::num::NonZero;

/// With fewer processors than these, all cards share a thread: worker, main thread and one a card would be too many.
const PROCESSORS_FOR_THREADS: usize = 4;

/// What emulated ports are.
#[derive(Clone, Debug, PartialEq)]
pub struct EmulationOptions {
    /// The devices, one after the other; the last one is also for all that follow. None: 82599s.
    pub kinds: Vec<Kind>,
    /// Packets a second that each source makes, whether there is room for them or not. `None`: as many as there is
    /// room for.
    pub rate: Option<f64>,
    /// Flows that each source makes packets of, in turn.
    pub flows: u16,
    /// What the cards are plugged into.
    pub wiring: Wiring,
}

impl Default for EmulationOptions {
    fn default() -> Self {
        Self { kinds: Vec::new(), rate: None, flows: 1, wiring: Wiring::default() }
    }
}

/// What emulated cards are plugged into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wiring {
    /// Each into a generator and a receiver of marked packets (`ringway-traffic`).
    #[default]
    Sources,
    /// The first half of them into the second half, one by one.
    Cables,
}

/// The cards' side of emulated ports. Dropped, it stops.
#[derive(Debug)]
pub struct Emulation {
    groups: Vec<RunningGroup<Box<dyn Device>>>,
    cards: Vec<Card>,
    rate: Option<f64>,
    settled: bool,
    /// The system gave no thread to go on with.
    stands_still: bool,
}

/// Makes the cards, lets them run, and opens them.
pub(super) fn open(numbers: &[u16], options: &OpenOptions) -> Result<OpenPorts, Error> {
    let space = AddressSpace::emulated();
    let pool = make_pool(&space, options, None)?;
    let mut functions = Vec::new();
    let mut devices = Vec::new();
    let mut cards = Vec::new();
    let EmulationOptions { kinds, rate, flows, wiring } = &options.emulation;
    let mut cables = cables(numbers.len());
    for (index, &number) in numbers.iter().enumerate() {
        let kind = kinds.get(index).or(kinds.last()).copied().unwrap_or_default();
        let [high, low] = number.to_be_bytes();
        let name = PortName::Emulated(number).to_string();
        let mac = [0x02, 0, 0, 0, high, low];
        let wire = match wiring {
            Wiring::Sources => {
                let (wire, monitor) = marked::end(mac, *rate, *flows)?;
                (wire, WireMonitor::Marked(monitor))
            }
            Wiring::Cables => (cables.next().ok_or(Error::NoPorts)?, WireMonitor::Cable),
        };
        let Made { backend, device, card } = card::make(&space, kind, name, mac, wire);
        functions.push(Function::new(backend)?);
        devices.push(device);
        cards.push(card);
    }
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let shares = if processors < PROCESSORS_FOR_THREADS {
        vec![devices]
    } else {
        devices.into_iter().map(|device| vec![device]).collect()
    };
    let groups = shares.into_iter().map(run).collect::<Result<_, _>>()?;
    let emulation = Emulation { groups, cards, rate: *rate, settled: false, stands_still: false };
    let opened = functions
        .into_iter()
        .enumerate()
        .map(|(index, function)| drivers::open(function, &pool, &options.of_port(index)))
        .collect::<Result<_, _>>()?;
    Ok(OpenPorts { opened, emulation: Some(emulation), pool })
}

/// The ends of cables between the first half of so many cards and the second half, card by card.
fn cables(cards: usize) -> impl Iterator<Item = Box<dyn Wire>> {
    let (near, far): (Vec<_>, Vec<_>) = (0..cards / 2).map(|_| cable_pair()).unzip();
    near.into_iter().chain(far).map(|end| Box::new(end) as Box<dyn Wire>)
}

fn run(devices: Vec<Box<dyn Device>>) -> Result<RunningGroup<Box<dyn Device>>, Error> {
    let group = run_together(devices);
    match group.error() {
        Some(error) => Err(Error::System(error.kind().into())),
        None => Ok(group),
    }
}

impl Emulation {
    /// The rate at which each source makes packets; `None`: it waits for room, and nothing may be lost.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Lets the sources make packets: before, the ports would not be ready for them.
    pub fn start_sources(&self) {
        for card in &self.cards {
            match &card.wire {
                WireMonitor::Marked(marked) => marked.start(),
                WireMonitor::Cable => {}
            }
        }
    }

    /// Lets the sources make no more packets. What they made until now is under way or has arrived.
    pub fn stop_sources(&mut self) {
        for card in &self.cards {
            match &card.wire {
                WireMonitor::Marked(marked) => marked.stop(),
                WireMonitor::Cable => {}
            }
        }
        // A source may be in the midst of a round. When its thread has ended, it isn't, and everything is counted.
        let groups = std::mem::take(&mut self.groups);
        self.groups = groups.into_iter().map(|group| run_together(group.stop())).collect();
        // Without a thread nothing arrives any more.
        self.stands_still = self.groups.iter().any(|group| group.error().is_some());
    }

    /// Whether all that the sources made has arrived, in whatever state.
    pub fn is_quiet(&self) -> bool {
        let arrived = |stream: &Stream| stream.received.saturating_add(stream.damaged) >= stream.sent;
        self.stands_still || self.streams().iter().all(arrived)
    }

    /// A number that grows with each packet that arrives.
    pub fn progress(&self) -> u64 {
        let arrived =
            |(_, arrivals): (&Card, Arrivals)| arrivals.totals.received.wrapping_add(arrivals.totals.damaged);
        self.sources().map(arrived).fold(0, u64::wrapping_add)
    }

    /// From now on, what has not arrived is lost.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// What was sent from each card to the next.
    pub fn streams(&self) -> Vec<Stream> {
        let ends: Vec<_> = self.sources().collect();
        let next = ends.iter().cycle().skip(1);
        ends.iter().zip(next).map(|(from, to)| Stream::between(*from, *to, self.settled)).collect()
    }

    /// The cards with sources, and what these have made and received.
    fn sources(&self) -> impl Iterator<Item = (&Card, Arrivals)> {
        self.cards.iter().filter_map(|card| match &card.wire {
            WireMonitor::Marked(marked) => Some((card, marked.read())),
            WireMonitor::Cable => None,
        })
    }

    /// What generators on the cards' wires made, and what receivers there found; card by card.
    pub fn arrivals(&self) -> Vec<Arrivals> {
        self.sources().map(|(_, arrivals)| arrivals).collect()
    }

    /// Pulls a card out of its slot, as a hand does: for tests of programs that stand on it.
    pub fn remove(&self, index: usize) {
        if let Some(card) = self.cards.get(index) {
            card.remove();
        }
    }

    /// What the cards say that the driver did against the rules.
    pub fn violations(&self) -> Vec<String> {
        self.cards.iter().flat_map(Card::violations).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        Active, Direction, Event, Limits, Outcome, Rewrite, Sample, Session, StoppedBy, Task, Watch, Workers,
    };
    use ringway_dma::BufferSize;
    use ringway_model::ixgbe::Personality;
    use ringway_port::{Offloads, Opened, PortOptions};
    use std::sync::mpsc::{Sender, channel};
    use std::time::{Duration, Instant};

    /// Runs a function at each sample, with the number of packets forwarded so far.
    struct At<F>(F);

    impl<F: FnMut(u64)> Watch for At<F> {
        fn sample(&mut self, sample: &Sample) {
            (self.0)(sample.forwarded);
        }
    }

    fn open_two(kinds: &[Kind]) -> OpenPorts {
        let options = OpenOptions {
            port: PortOptions::default(),
            offloads: Vec::new(),
            buffers: 4096,
            buffer_size: BufferSize::default(),
            largest_page: ringway_dma::PageSize::Huge1G,
            emulation: EmulationOptions { kinds: kinds.to_vec(), ..EmulationOptions::default() },
        };
        let ports = open(&[0, 1], &options).unwrap();
        ports.emulation.as_ref().unwrap().start_sources();
        ports
    }

    /// One device for both ports, and two that share nothing but memory.
    const PAIRS: [&[Kind]; 4] = [
        &[Kind::Ixgbe(Personality::Fibre82599)],
        &[Kind::VirtioNet],
        &[Kind::Ixgbe(Personality::X550), Kind::VirtioNet],
        &[Kind::VirtioNet, Kind::Ixgbe(Personality::Backplane82599)],
    ];

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
            .map(|(receive, transmit)| {
                Box::new(Direction::new(
                    receive,
                    transmit,
                    Rewrite::default(),
                    &crate::engine::Options::default(),
                )) as Box<dyn Task>
            })
            .collect();
        let workers = Workers::start(vec![directions], &crate::engine::Options::default(), &events).unwrap();
        let limits = Limits { duration: None, interval: Duration::from_millis(1) };
        let session = Session::new(workers, controls, vec![1, 0], receiver);
        session.run(limits, &mut At(|forwarded| at_sample(forwarded, &events)))
    }

    /// Two lines, since processors fetch them in pairs.
    const LINES: usize = 128;

    #[test]
    fn what_one_worker_writes_shares_no_cache_line_with_what_another_uses() {
        assert!(align_of::<Direction>() >= LINES);
        assert!(align_of::<crate::engine::TaskCounters>() >= LINES);
        assert!(align_of::<ringway_port::ReceiveCounters>() >= LINES);
        assert!(align_of::<ringway_port::TransmitCounters>() >= LINES);
        let all = Offloads::HASH | Offloads::RECEIVE_CHECKSUM | Offloads::TCP_UDP_CHECKSUM;
        for (kind, offloads) in [Kind::Ixgbe(Personality::Fibre82599), Kind::VirtioNet]
            .into_iter()
            .flat_map(|kind| [(kind, Offloads::NONE), (kind, all)])
        {
            let options = OpenOptions {
                port: PortOptions { receive_queues: 2, transmit_queues: 2, ..PortOptions::default() },
                offloads: vec![offloads],
                buffers: 4096,
                buffer_size: BufferSize::default(),
                largest_page: ringway_dma::PageSize::Huge1G,
                emulation: EmulationOptions { kinds: vec![kind], ..EmulationOptions::default() },
            };
            let OpenPorts { opened, .. } = open(&[0], &options).unwrap();
            for port in &opened {
                assert_eq!((port.receive.len(), port.transmit.len()), (2, 2));
                assert!(port.receive.iter().all(|queue| align_of_val(&**queue) >= LINES), "{kind:?}");
                assert!(port.transmit.iter().all(|queue| align_of_val(&**queue) >= LINES), "{kind:?}");
                // So each is at lines of its own, which it fills to the end: queues are whole lines long.
                let whole = |bytes: usize| bytes.is_multiple_of(LINES) && bytes > 0;
                assert!(port.receive.iter().all(|queue| whole(size_of_val(&**queue))), "{kind:?}");
                assert!(port.transmit.iter().all(|queue| whole(size_of_val(&**queue))), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_card_that_is_pulled_out_is_named_and_all_memory_comes_back() {
        PAIRS.into_iter().for_each(pulled_out);
    }

    fn pulled_out(kinds: &[Kind]) {
        let OpenPorts { opened, emulation, pool } = open_two(kinds);
        let outcome = run(opened, |forwarded, _| {
            if forwarded > 1000 {
                emulation.as_ref().unwrap().remove(1);
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
        PAIRS.into_iter().for_each(kept);
    }

    fn kept(kinds: &[Kind]) {
        let OpenPorts { opened, mut emulation, pool } = open_two(kinds);
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
        let OpenPorts { opened, mut emulation, .. } = open_two(&[]);
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
