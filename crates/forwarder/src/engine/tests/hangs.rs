//! Transmit queues that stand still.

use super::*;

#[test]
fn a_transmit_queue_that_stands_still_is_started_anew_and_what_was_in_it_counts_as_unsent() {
    let bench = Bench::new();
    bench.b.room.store(100, Ordering::Relaxed);
    bench.b.restarts.store(true, Ordering::Relaxed);
    bench.a.offer(numbered(150, 1));
    let outcome = bench.run_until(&Options::default(), |bench| {
        wait_for(|| bench.logged().iter().any(|line| line == "b: restarted") && bench.b.sent().len() == 100);
        bench.a.offer(numbered(20, 1));
        wait_for(|| bench.b.sent().len() == 120);
        true
    });
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    let port = &outcome.last.ports[1];
    assert_eq!((port.dropped, port.unsent), (50, 100), "none is lost without being counted");
    assert_eq!(bench.logged().iter().filter(|line| *line == "b: restarted").count(), 1);
    assert_eq!(bench.pool.available(), BUFFERS);
}

#[test]
fn a_transmit_queue_that_stands_still_for_good_ends_the_run_with_the_ports_name() {
    let bench = Bench::new();
    bench.b.room.store(100, Ordering::Relaxed);
    bench.a.offer(numbered(150, 1));
    let (session, _events) = bench.session(&Options::default(), Rewrite::default());
    let outcome = session.run(FOREVER, &mut Notes::default());
    assert_eq!(outcome.stopped_by, StoppedBy::Error);
    let said = outcome.failures[0].to_string();
    for part in ["b: ", "stopped sending", "100 packets", "link up"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(bench.pool.available(), BUFFERS);
}

#[test]
fn a_port_that_obeys_pause_frames_may_be_held_up_for_long() {
    let bench = Bench::new();
    bench.b.room.store(100, Ordering::Relaxed);
    bench.b.obeys.store(true, Ordering::Relaxed);
    bench.a.offer(numbered(150, 1));
    // Looked after once a second, with more looks than a hang takes.
    let looks = |bench: &Bench| bench.b.link_asked.load(Ordering::Relaxed);
    let outcome =
        bench.run_until(&Options::default(), |bench| bench.b.sent().len() == 100 && looks(bench) > 10);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(bench.pool.available(), BUFFERS);
}
