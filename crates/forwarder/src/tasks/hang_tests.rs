//! Transmit queues that stand still, under each task that sends: as under `forward`, they are found and started anew, or end
//! the run.

use super::echo::{Echo, Station};
use super::generating::Generating;
use super::replaying::{Replay, Replaying, Timing};
use crate::engine::memory_port::{Wire, open};
use crate::engine::{Active, Event, Limits, Options, Outcome, Session, StoppedBy, Task, Watch, Workers};
use ringway_dma::AddressSpace;
use ringway_packet::{Pool, PoolOptions};
use ringway_port::{MacAddress, ReceiveQueue, TransmitQueue};
use ringway_traffic::capture::Writer;
use ringway_traffic::frame::Shape;
use ringway_traffic::generator::{Generator, Plan, Sizes};
use ringway_traffic::pace::{Pace, Pacer};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const BUFFERS: u32 = 512;
/// What the ring takes before it stands still.
const ROOM: usize = 100;
/// Packets a second, where a task has a pace: few, for they are kept.
const PACE: Pace = Pace::Constant(2000.0);
const BATCH: usize = 32;
const OURS: (MacAddress, Ipv4Addr) = (MacAddress([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));

/// A port whose transmit queue stands still as soon as it is full.
struct Bench {
    pool: Pool,
    wire: Arc<Wire>,
}

/// Counts what was told of.
#[derive(Default)]
struct Told(Vec<(String, u64)>);

impl Watch for Told {
    fn stood_still(&mut self, port: &str, packets: u64) {
        self.0.push((port.to_owned(), packets));
    }
}

/// A task on a port, and what must live as long.
type Made = (Box<dyn Task>, Option<(Replay, tempfile::TempDir)>);
type Make = fn(&Pool, Box<dyn ReceiveQueue>, Box<dyn TransmitQueue>) -> Made;

fn generating(pool: &Pool, _: Box<dyn ReceiveQueue>, transmit: Box<dyn TransmitQueue>) -> Made {
    let shape = Shape::default();
    let sizes = Sizes::Fixed(shape.shortest());
    let plan = Plan { shape, sizes, flows: 1, fields: Vec::new(), seed: 1 };
    let generator = Generator::new(&plan).unwrap();
    (Box::new(Generating::new(transmit, pool, generator, Pacer::new(PACE, 1), BATCH)), None)
}

fn replaying(pool: &Pool, _: Box<dyn ReceiveQueue>, transmit: Box<dyn TransmitQueue>) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.pcapng");
    let mut writer = Writer::create(&path, &["a"]).unwrap();
    for number in 0..50u8 {
        writer.write(0, Duration::from_millis(number.into()), &[number; 60]).unwrap();
    }
    writer.flush().unwrap();
    let (task, replay) = Replaying::start(transmit, pool, BATCH, path, Timing::Paced(PACE), None).unwrap();
    (Box::new(task), Some((replay, folder)))
}

fn answering(_: &Pool, receive: Box<dyn ReceiveQueue>, transmit: Box<dyn TransmitQueue>) -> Made {
    let station = Station::new(OURS.0, [IpAddr::V4(OURS.1)]);
    (Box::new(Echo::new(receive, transmit, station, BATCH)), None)
}

const TASKS: [(&str, Make); 3] = [("generating", generating), ("replaying", replaying), ("echo", answering)];

/// RFC 826: who has our address?
fn question() -> Vec<u8> {
    let (theirs, asks) = ([2, 0, 0, 0, 0, 2], [0, 1, 0x08, 0, 6, 4, 0, 1]);
    let frame =
        [&[0xff; 6][..], &theirs, &[0x08, 0x06], &asks, &theirs, &[10, 0, 0, 2], &[0; 6], &OURS.1.octets()];
    frame.concat()
}

impl Bench {
    fn new() -> Self {
        let options = PoolOptions { buffers: BUFFERS, ..PoolOptions::default() };
        let pool = Pool::new(&AddressSpace::emulated(), options).unwrap();
        let wire = Wire::new("a", &Arc::default());
        wire.room.store(ROOM, Ordering::Relaxed);
        // For the task that answers.
        wire.offer(std::iter::repeat_with(question).take(ROOM + 50));
        Self { pool, wire }
    }

    /// Runs the task until more was sent than the ring has room for, with more questions once it was started anew, or until
    /// the run ends by itself.
    fn run(&self, make: Make) -> (Outcome, Told) {
        let (control, receive, transmit) = open(&self.wire, &self.pool);
        let (task, keep) = make(&self.pool, receive, transmit);
        let (events, receiver) = channel();
        let workers = Workers::start(vec![vec![task]], &Options::default(), &events).unwrap();
        let session = Session::new(workers, vec![Active::new(control).unwrap().0], vec![0], receiver);
        let limits = Limits { duration: Some(Duration::from_secs(60)), interval: Duration::from_secs(1) };
        let mut told = Told::default();
        let outcome = std::thread::scope(|scope| {
            if self.wire.restarts.load(Ordering::Relaxed) {
                scope.spawn(|| self.end_after_more(&events));
            }
            session.run(limits, &mut told)
        });
        drop(keep);
        (outcome, told)
    }

    fn end_after_more(&self, events: &std::sync::mpsc::Sender<Event>) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut asked = false;
        while self.wire.sent().len() < ROOM + 20 && Instant::now() < deadline {
            if self.wire.room.load(Ordering::Relaxed) > ROOM && !std::mem::replace(&mut asked, true) {
                self.wire.offer(std::iter::repeat_with(question).take(20));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = events.send(Event::Signal(2));
    }
}

/// All tasks at once: a hang takes seconds.
fn under_each_task(check: impl Fn(&str, Make) + Sync) {
    std::thread::scope(|scope| {
        for (name, make) in TASKS {
            let check = &check;
            scope.spawn(move || check(name, make));
        }
    });
}

#[test]
fn a_queue_that_stands_still_under_any_task_that_sends_is_started_anew_and_counted() {
    under_each_task(|name, make| {
        let bench = Bench::new();
        bench.wire.restarts.store(true, Ordering::Relaxed);
        let (outcome, told) = bench.run(make);
        assert_eq!(outcome.stopped_by, StoppedBy::Signal, "{name}: {:?}", outcome.failures);
        assert_eq!(told.0, [("a".to_owned(), ROOM as u64)], "{name}");
        assert!(bench.wire.sent().len() >= ROOM + 20, "{name} goes on");
        assert_eq!(outcome.last.ports[0].unsent, ROOM as u64, "{name}");
        assert_eq!(bench.pool.available(), BUFFERS, "{name}");
    });
}

#[test]
fn a_queue_that_stands_still_for_good_under_any_task_that_sends_ends_the_run_with_the_ports_name() {
    under_each_task(|name, make| {
        let bench = Bench::new();
        let (outcome, _) = bench.run(make);
        assert_eq!(outcome.stopped_by, StoppedBy::Error, "{name}");
        let said = outcome.failures[0].to_string();
        for part in ["a: ", "stopped sending", "100 packets", "link up"] {
            assert!(said.contains(part), "{name}: {part} in {said}");
        }
        assert_eq!(outcome.last.ports[0].unsent, ROOM as u64, "{name}");
        assert_eq!(bench.pool.available(), BUFFERS, "{name}");
    });
}
