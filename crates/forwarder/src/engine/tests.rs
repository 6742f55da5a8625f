//! The engine's behaviour, on ports in memory.

mod hangs;

use super::memory_port::{Wire, open};
use super::*;
use ringway_dma::AddressSpace;
use ringway_packet::{Pool, PoolOptions};
use ringway_port::{Error, Link, MacAddress};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BUFFERS: u32 = 512;

/// Two ports that forward to each other.
struct Bench {
    pool: Pool,
    a: Arc<Wire>,
    b: Arc<Wire>,
    log: Arc<Mutex<Vec<String>>>,
}

/// A watcher that ends nothing and notes a little.
#[derive(Default)]
struct Notes {
    samples: usize,
    restored: Vec<String>,
    links: Arc<Mutex<Vec<String>>>,
}

impl Watch for Notes {
    fn sample(&mut self, _sample: &Sample) {
        self.samples += 1;
    }

    fn link(&mut self, port: &str, link: &Link) {
        self.links.lock().unwrap().push(format!("{port} {}", link.is_up()));
    }

    fn restored(&mut self, port: &str, mode: Reception, result: Result<(), Error>) {
        self.restored.push(format!("{port} {mode} {}", result.is_ok()));
    }
}

/// Ends the run when it is dropped: also when what was waited for never came, so that a test fails and doesn't hang.
struct End<'a>(&'a Sender<Event>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        // After the run nobody listens.
        let _ = self.0.send(Event::Signal(2));
    }
}

const FOREVER: Limits = Limits { duration: None, interval: Duration::from_millis(5) };

impl Bench {
    fn new() -> Self {
        let pool =
            Pool::new(&AddressSpace::emulated(), PoolOptions { buffers: BUFFERS, ..PoolOptions::default() })
                .unwrap();
        let log = Arc::default();
        Self { pool, a: Wire::new("a", &log), b: Wire::new("b", &log), log }
    }

    fn session(&self, options: &Options, rewrite: Rewrite) -> (Session, Sender<Event>) {
        let (events, receiver) = channel();
        let (control_a, receive_a, transmit_a) = open(&self.a, &self.pool);
        let (control_b, receive_b, transmit_b) = open(&self.b, &self.pool);
        let directions: Vec<Box<dyn Task>> = vec![
            Box::new(Direction::new(receive_a, transmit_b, rewrite, options)),
            Box::new(Direction::new(receive_b, transmit_a, rewrite, options)),
        ];
        let ports = [control_a, control_b].map(|control| Active::new(control).unwrap().0).into();
        let workers = Workers::start(shares(directions, options.cores.len()), options, &events).unwrap();
        (Session::new(workers, ports, vec![1, 0], receiver), events)
    }

    /// Runs until `done`, which is asked now and then, and ends with a signal.
    fn run_until(&self, options: &Options, done: impl Fn(&Self) -> bool + Sync) -> Outcome {
        let (session, events) = self.session(options, Rewrite::default());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _end = End(&events);
                wait_for(|| done(self));
            });
            session.run(FOREVER, &mut Notes::default())
        })
    }

    fn logged(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Packets of several lengths that carry their numbers.
fn numbered(count: u32, port: u8) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            let mut packet = vec![port; 60 + number as usize % 200];
            packet[20..24].copy_from_slice(&number.to_be_bytes());
            packet
        })
        .collect()
}

fn one_and_two_workers() -> [Options; 2] {
    let core = crate::machine::cpu::allowed()[0];
    [Options::default(), Options { cores: vec![core, core], ..Options::default() }]
}

#[test]
fn every_packet_arrives_once_in_order_and_unchanged_at_every_batch_size() {
    for options in one_and_two_workers() {
        for batch in [1, 2, 31, 32, 33, 255, 256] {
            let bench = Bench::new();
            let (from_a, from_b) = (numbered(3000, 1), numbered(2000, 2));
            bench.a.offer(from_a.clone());
            bench.b.offer(from_b.clone());
            let outcome = bench.run_until(&Options { batch, ..options.clone() }, |bench| {
                bench.a.sent().len() == 2000 && bench.b.sent().len() == 3000
            });
            assert_eq!(bench.b.sent(), from_a);
            assert_eq!(bench.a.sent(), from_b);
            assert_eq!(outcome.stopped_by, StoppedBy::Signal);
            assert!(outcome.failures.is_empty());
            assert_eq!(outcome.last.forwarded, 5000);
            assert_eq!(outcome.last.ports[0].statistics.received().packets, 3000);
            assert_eq!(outcome.last.ports[0].statistics.sent().packets, 2000);
            assert_eq!(outcome.last.ports[1].dropped, 0);
            assert_eq!(bench.pool.available(), BUFFERS);
        }
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted_for_the_port_that_it_was_for() {
    let bench = Bench::new();
    bench.b.room.store(100, Ordering::Relaxed);
    bench.a.offer(numbered(1000, 1));
    bench.b.offer(numbered(10, 2));
    let outcome = bench.run_until(&Options::default(), |bench| {
        bench.a.incoming.lock().unwrap().is_empty()
            && bench.a.sent().len() == 10
            && bench.b.sent().len() == 100
    });
    assert_eq!(bench.b.sent(), numbered(1000, 1)[..100]);
    assert_eq!(outcome.last.forwarded, 110);
    assert_eq!(outcome.last.ports[1].dropped, 900);
    assert_eq!(outcome.last.ports[0].dropped, 0);
    assert_eq!(
        outcome.last.ports[1].unsent, 100,
        "the device never sent them, and the end did not wait for ever"
    );
    assert_eq!(bench.pool.available(), BUFFERS);
}

#[test]
fn packets_can_wait_for_room_and_then_none_is_lost_and_the_other_direction_goes_on() {
    let bench = Bench::new();
    bench.b.room.store(10, Ordering::Relaxed);
    bench.a.offer(numbered(500, 1));
    bench.b.offer(numbered(300, 2));
    let options = Options { when_full: WhenFull::Wait, ..Options::default() };
    let (session, events) = bench.session(&options, Rewrite::default());
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let _end = End(&events);
            wait_for(|| bench.a.sent().len() == 300 && bench.b.sent().len() == 10);
            assert!(bench.a.incoming.lock().unwrap().len() >= 500 - 32, "nothing more is received meanwhile");
            bench.b.room.store(usize::MAX, Ordering::Relaxed);
            wait_for(|| bench.b.sent().len() == 500);
        });
        session.run(FOREVER, &mut Notes::default())
    });
    assert_eq!(bench.b.sent(), numbered(500, 1));
    assert_eq!(outcome.last.ports[1].dropped, 0);
    assert_eq!(outcome.last.forwarded, 800);
}

#[test]
fn a_limit_on_packets_is_met_exactly_by_one_worker_and_by_two() {
    for options in one_and_two_workers() {
        for (when_full, limit) in [(WhenFull::Drop, 1001), (WhenFull::Wait, 1), (WhenFull::Wait, 640)] {
            let bench = Bench::new();
            bench.a.offer(numbered(5000, 1));
            bench.b.offer(numbered(5000, 2));
            let options = Options { packets: Some(limit), when_full, ..options.clone() };
            let (session, _events) = bench.session(&options, Rewrite::default());
            let outcome = session.run(FOREVER, &mut Notes::default());
            assert_eq!(outcome.stopped_by, StoppedBy::Packets);
            assert_eq!(outcome.last.forwarded, limit);
            assert_eq!(bench.a.sent().len() + bench.b.sent().len(), limit as usize);
            assert_eq!(bench.pool.available(), BUFFERS);
        }
    }
}

#[test]
fn packets_that_are_dropped_do_not_count_against_the_limit() {
    let bench = Bench::new();
    bench.b.room.store(5, Ordering::Relaxed);
    bench.a.offer(numbered(300, 1));
    bench.b.offer(numbered(400, 2));
    let options = Options { packets: Some(405), ..Options::default() };
    let (session, _events) = bench.session(&options, Rewrite::default());
    let outcome = session.run(FOREVER, &mut Notes::default());
    assert_eq!((outcome.stopped_by, outcome.last.forwarded), (StoppedBy::Packets, 405));
    assert_eq!(bench.a.sent().len(), 400);
}

#[test]
fn a_duration_ends_the_run_after_reports_at_each_interval() {
    let bench = Bench::new();
    let (session, _events) = bench.session(&Options::default(), Rewrite::default());
    let mut notes = Notes::default();
    let limits = Limits { duration: Some(Duration::from_millis(100)), interval: Duration::from_millis(1) };
    let outcome = session.run(limits, &mut notes);
    assert_eq!(outcome.stopped_by, StoppedBy::Duration);
    assert!(outcome.seconds >= 0.1);
    assert!(notes.samples >= 1);
}

#[test]
fn times_beyond_what_the_clock_holds_never_come() {
    let bench = Bench::new();
    let (session, events) = bench.session(&Options::default(), Rewrite::default());
    events.send(Event::Signal(2)).unwrap();
    let limits = Limits { duration: Some(Duration::MAX), interval: Duration::MAX };
    assert_eq!(session.run(limits, &mut Notes::default()).stopped_by, StoppedBy::Signal);
}

#[test]
fn a_cable_that_is_pulled_out_and_put_back_is_told_of_once_each() {
    let bench = Bench::new();
    let (session, events) = bench.session(&Options::default(), Rewrite::default());
    let mut notes = Notes::default();
    let links = Arc::clone(&notes.links);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _end = End(&events);
            bench.b.unplugged.store(true, Ordering::Relaxed);
            wait_for(|| links.lock().unwrap().len() == 1);
            bench.b.unplugged.store(false, Ordering::Relaxed);
            wait_for(|| links.lock().unwrap().len() == 2);
        });
        session.run(FOREVER, &mut notes);
    });
    assert_eq!(*links.lock().unwrap(), ["b false", "b true"]);
}

#[test]
fn the_end_comes_in_order_and_puts_promiscuous_mode_back() {
    let bench = Bench::new();
    bench.b.promiscuous.store(true, Ordering::Relaxed);
    let (session, events) = bench.session(&Options::default(), Rewrite::default());
    assert!(bench.a.promiscuous.load(Ordering::Relaxed));
    events.send(Event::Signal(2)).unwrap();
    let mut notes = Notes::default();
    session.run(FOREVER, &mut notes);
    assert_eq!(notes.restored, ["a promiscuous mode true"]);
    assert!(!bench.a.promiscuous.load(Ordering::Relaxed));
    assert!(bench.b.promiscuous.load(Ordering::Relaxed), "it was on before");
    let log = bench.logged();
    assert_eq!(log[..2], ["a: promiscuous", "a: not promiscuous"]);
    assert!(
        log[2..6].iter().all(|line| line.contains("receive dropped") || line.contains("transmit dropped"))
    );
    assert_eq!(log[6..], ["a: control dropped", "b: control dropped"]);
}

#[test]
fn a_panic_in_a_worker_stops_the_others_and_every_port_is_restored_and_dropped() {
    for options in one_and_two_workers() {
        let bench = Bench::new();
        bench.b.panics.store(true, Ordering::Relaxed);
        bench.a.offer(numbered(100, 1));
        let (session, _events) = bench.session(&options, Rewrite::default());
        let outcome = session.run(FOREVER, &mut Notes::default());
        assert_eq!(outcome.stopped_by, StoppedBy::Panic);
        let [Failure::Panicked { worker, message }] = outcome.failures.as_slice() else {
            panic!("{:?}", outcome.failures)
        };
        assert!(worker.starts_with("worker-"), "{worker}");
        assert!(message.contains("told to panic"), "{message}");
        let log = bench.logged();
        assert_eq!(log.iter().filter(|line| line.ends_with(" dropped")).count(), 6, "{log:?}");
        assert_eq!(log.iter().filter(|line| line.ends_with(": not promiscuous")).count(), 2, "{log:?}");
        assert_eq!(log[log.len() - 2..], ["a: control dropped", "b: control dropped"]);
        assert_eq!(bench.pool.available(), BUFFERS);
    }
}

#[test]
fn a_port_that_is_lost_ends_the_run_and_is_named() {
    for options in one_and_two_workers() {
        let bench = Bench::new();
        bench.a.offer(numbered(64, 1));
        let (session, _events) = bench.session(&options, Rewrite::default());
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for(|| bench.b.sent().len() == 64);
                bench.b.lost.store(true, Ordering::Relaxed);
            });
            let limits = Limits { duration: Some(Duration::from_secs(120)), ..FOREVER };
            session.run(limits, &mut Notes::default())
        });
        assert_eq!(outcome.stopped_by, StoppedBy::Error);
        let text = outcome.failures[0].to_string();
        assert!(text.starts_with("b: the device is gone"), "{text}");
        assert_eq!(bench.logged().iter().filter(|line| line.ends_with(" dropped")).count(), 6);
        assert_eq!(bench.pool.available(), BUFFERS);
    }
}

#[test]
fn a_session_that_is_dropped_ends_in_order_too() {
    let bench = Bench::new();
    drop(bench.session(&Options::default(), Rewrite::default()));
    let log = bench.logged();
    assert_eq!(log[log.len() - 4..log.len() - 2], ["a: not promiscuous", "a: control dropped"]);
    assert_eq!(log[log.len() - 2..], ["b: not promiscuous", "b: control dropped"]);
    assert_eq!(bench.pool.available(), BUFFERS);
}

#[test]
fn a_worker_that_cannot_be_pinned_ends_the_run_with_the_reason() {
    let bench = Bench::new();
    let options = Options { cores: vec![usize::MAX], ..Options::default() };
    let (session, _events) = bench.session(&options, Rewrite::default());
    let outcome = session.run(FOREVER, &mut Notes::default());
    assert_eq!(outcome.stopped_by, StoppedBy::Error);
    assert!(outcome.failures[0].to_string().contains("--cores"), "{}", outcome.failures[0]);
}

#[test]
fn addresses_are_rewritten_and_bytes_touched_only_as_asked() {
    let bench = Bench::new();
    let packet: Vec<u8> = (0..64).collect();
    bench.a.offer([packet.clone(), vec![9; 11], Vec::new()]);
    let rewrite = Rewrite { source: Some(MacAddress([0xaa; 6])), destination: Some(MacAddress([0xbb; 6])) };
    let options = Options { touch: Touch::Write, packets: Some(3), ..Options::default() };
    let (session, _events) = bench.session(&options, rewrite);
    session.run(FOREVER, &mut Notes::default());
    let mut expected = packet;
    expected[..6].fill(0xbb);
    expected[6..12].fill(0xaa);
    expected[48] += 1;
    assert_eq!(bench.b.sent(), [expected, vec![9; 11], Vec::new()]);
}

#[test]
fn sources_are_quietened_before_the_workers_stop_and_what_is_under_way_arrives() {
    struct Source {
        wire: Arc<Wire>,
        sink: Arc<Wire>,
        quiet_asked: usize,
    }
    impl Watch for Source {
        fn quieten(&mut self) {
            self.wire.offer(numbered(200, 1));
        }

        fn is_quiet(&mut self) -> bool {
            self.quiet_asked += 1;
            self.sink.sent().len() == 200
        }
    }
    let bench = Bench::new();
    let (session, events) = bench.session(&Options::default(), Rewrite::default());
    events.send(Event::Signal(2)).unwrap();
    let mut source = Source { wire: Arc::clone(&bench.a), sink: Arc::clone(&bench.b), quiet_asked: 0 };
    let outcome = session.run(FOREVER, &mut source);
    assert_eq!(outcome.last.forwarded, 200);
    assert!(source.quiet_asked > 0);
}

#[test]
fn a_port_that_cannot_receive_all_groups_is_promiscuous_instead_until_it_is_dropped() {
    let bench = Bench::new();
    let (control, _receive, _transmit) = open(&bench.a, &bench.pool);
    let (port, switched) = Active::receiving(control, Reception::Groups).unwrap();
    assert!(matches!(switched, Promiscuity::SwitchedOn(Reception::Everything)), "{switched:?}");
    assert!(bench.a.promiscuous.load(Ordering::Relaxed));
    drop(port);
    assert!(!bench.a.promiscuous.load(Ordering::Relaxed));
}

fn sleeping() -> Options {
    let interrupts = Interrupts { idle: Duration::from_micros(10), moderation: Moderation::Adaptive };
    Options { interrupts: Some(interrupts), ..Options::default() }
}

#[test]
fn a_worker_without_packets_sleeps_until_one_comes_and_leaves_none_lying() {
    let bench = Bench::new();
    let outcome = bench.run_until(&sleeping(), |bench| {
        for round in 1..=50 {
            wait_for(|| bench.a.armed.load(Ordering::Relaxed) && bench.b.armed.load(Ordering::Relaxed));
            bench.a.offer(numbered(1, 0xa));
            wait_for(|| bench.b.sent().len() == round);
        }
        true
    });
    assert_eq!(outcome.last.forwarded, 50);
    // One that came between arming and the last look, on a busy machine, needs no sleep.
    assert!(outcome.last.slept >= 1, "{}", outcome.last.slept);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
}

#[test]
fn a_signal_ends_a_run_whose_workers_sleep() {
    let bench = Bench::new();
    let armed = |bench: &Bench| bench.a.armed.load(Ordering::Relaxed);
    let outcome = bench.run_until(&sleeping(), armed);
    // Ended by the call to stop: what a look without an interrupt takes would be a second each.
    assert_eq!((outcome.stopped_by, outcome.last.forwarded), (StoppedBy::Signal, 0));
    assert!(!bench.a.armed.load(Ordering::Relaxed), "interrupts stayed on");
}

#[test]
fn packets_that_wait_for_room_keep_a_worker_awake() {
    let bench = Bench::new();
    bench.b.room.store(0, Ordering::Relaxed);
    bench.a.offer(numbered(8, 0xa));
    let options = Options { when_full: WhenFull::Wait, ..sleeping() };
    let outcome = bench.run_until(&options, |bench| {
        wait_for(|| bench.a.incoming.lock().unwrap().is_empty());
        bench.b.room.store(usize::MAX, Ordering::Relaxed);
        wait_for(|| bench.b.sent().len() == 8);
        true
    });
    assert_eq!(outcome.last.forwarded, 8);
}

#[test]
fn interrupts_come_as_often_as_is_asked_for() {
    let bench = Bench::new();
    let (mut session, _events) = bench.session(&sleeping(), Rewrite::default());
    assert_eq!(session.moderate(Moderation::Fixed(Duration::from_micros(30))).unwrap(), Vec::<String>::new());
    assert_eq!(bench.b.moderation.load(Ordering::Relaxed), 30);
    session.moderate(Moderation::Adaptive).unwrap();
    assert_eq!(bench.a.moderation.load(Ordering::Relaxed), 0);
}

#[test]
fn a_link_that_interrupts_is_asked_for_after_an_interrupt_and_not_each_time() {
    let mut bench = Bench::new();
    bench.b = Wire::interrupting("b", &bench.log);
    let (session, events) = bench.session(&sleeping(), Rewrite::default());
    let mut notes = Notes::default();
    let links = Arc::clone(&notes.links);
    let asked = |wire: &Wire| wire.link_asked.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _end = End(&events);
            bench.b.plug(false);
            wait_for(|| links.lock().unwrap().len() == 1);
            let (a, b) = (asked(&bench.a), asked(&bench.b));
            // By then A was looked after thrice.
            wait_for(|| asked(&bench.a) >= a + 3);
            // All are asked now and then, every tenth time or less.
            let of_b = asked(&bench.b) - b;
            assert!(of_b <= (asked(&bench.a) - a) / 5, "B said nothing and was asked {of_b} times");
            bench.b.plug(true);
            wait_for(|| links.lock().unwrap().len() == 2);
        });
        session.run(FOREVER, &mut notes)
    });
    assert_eq!(*links.lock().unwrap(), ["b false", "b true"]);
}

#[test]
fn a_worker_that_sleeps_still_takes_sent_buffers_back() {
    let bench = Bench::new();
    // The device takes packets, and has not sent them yet.
    bench.b.room.store(64, Ordering::Relaxed);
    let outcome = bench.run_until(&sleeping(), |bench| {
        bench.a.offer(numbered(8, 0xa));
        wait_for(|| bench.b.held.load(Ordering::Relaxed) == 8);
        wait_for(|| bench.a.armed.load(Ordering::Relaxed) && bench.b.armed.load(Ordering::Relaxed));
        bench.b.room.store(usize::MAX, Ordering::Relaxed);
        // Nothing comes any more, and nothing interrupts.
        wait_for(|| bench.b.held.load(Ordering::Relaxed) == 0);
        true
    });
    assert_eq!((outcome.last.forwarded, outcome.last.ports[1].unsent), (8, 0));
}
