//! Several queues, on threads of their own; two ports in one address space; interrupts.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Rig, batch_of, frame, number, rings, without};
use ringway_model::run_together;
use ringway_model::virtio::{Features, Options};
use ringway_model::wire::channel;
use ringway_packet::Batch;
use ringway_port::{PortOptions, ReceiveQueue, TransmitQueue};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PAIRS: u16 = 4;
/// Far more than any of these takes.
const LIMIT: Duration = Duration::from_secs(120);

fn pairs(count: u16) -> PortOptions {
    PortOptions { receive_queues: count, transmit_queues: count, ..rings(64, 64) }
}

fn multiqueue() -> Options {
    Options { queue_pairs: PAIRS, ..Options::default() }
}

#[test]
fn each_pair_sends_and_receives() {
    for used in 1..=PAIRS {
        let mut rig = Rig::new(multiqueue(), 1024);
        let mut port = rig.open(&pairs(used));
        assert_eq!(rig.device.monitor().active_pairs(), used);
        assert_eq!((port.receive.len(), port.transmit.len()), (used.into(), used.into()));
        for (queue, transmit) in port.transmit.iter_mut().enumerate() {
            let mut batch = batch_of(&rig.pool, [frame(queue as u64, 60)]);
            assert_eq!(transmit.transmit(&mut batch).unwrap(), 1);
            rig.run();
            assert_eq!(number(&rig.device.take_sent().unwrap()), queue as u64);
        }
        let mut flows = 0u64;
        let mut seen = vec![0u64; used.into()];
        let mut batch = Batch::new(&rig.pool, 32);
        for flow in 0..200u64 {
            // Another source each time, so another flow.
            let mut frame = frame(flow, 60);
            frame[8..12].copy_from_slice(&(flow as u32).to_be_bytes());
            assert!(rig.device.inject(&frame));
            flows += 1;
            for (queue, receive) in port.receive.iter_mut().enumerate() {
                let received = receive.receive(&mut batch).unwrap() as u64;
                seen[queue] += received;
                batch.clear();
            }
        }
        assert_eq!(seen.iter().sum::<u64>(), flows);
        let counted = port.control.statistics().unwrap();
        let per_queue: Vec<u64> = counted.receive.iter().map(|queue| queue.packets).collect();
        assert_eq!(per_queue, seen);
        assert_eq!(
            counted.transmit.iter().map(|queue| queue.packets).collect::<Vec<_>>(),
            vec![1; used.into()]
        );
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn the_larger_number_of_queues_counts_for_both_directions() {
    let mut rig = Rig::new(multiqueue(), 1024);
    let port = rig.open(&PortOptions { receive_queues: 1, transmit_queues: 3, ..rings(64, 64) });
    assert_eq!((port.receive.len(), port.transmit.len()), (3, 3));
    assert_eq!(rig.device.monitor().active_pairs(), 3);
}

#[test]
fn a_queue_that_is_dropped_leaves_the_others_alone() {
    let mut rig = Rig::new(multiqueue(), 1024);
    let mut port = rig.open(&pairs(2));
    port.transmit.remove(0);
    port.receive.remove(1);
    for sent in 0..200 {
        let mut batch = batch_of(&rig.pool, [frame(sent, 60)]);
        assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
        rig.run();
        assert_eq!(number(&rig.device.take_sent().unwrap()), sent);
    }
    port.control.check().unwrap();
    drop(port);
    rig.is_clean();
}

#[test]
fn queues_work_after_the_control_handle_is_gone() {
    let mut rig = Rig::new(Options::default(), 512);
    let mut port = rig.open(&rings(64, 64));
    drop(port.control);
    let mut batch = Batch::new(&rig.pool, 8);
    for sent in 0..200 {
        assert!(rig.device.inject(&frame(sent, 60)));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
        assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
        rig.run();
        assert_eq!(number(&rig.device.take_sent().unwrap()), sent);
    }
    drop(port.transmit);
    assert_ne!(rig.device.monitor().status(), 0, "the receive queue still uses it");
    drop((port.receive, batch));
    rig.is_clean();
}

#[test]
fn two_ports_in_one_address_space_pass_buffers_on_without_a_copy() {
    // Both receive rings, what is under way, and nothing for copies.
    let mut left = Rig::new(Options::default(), 3 * 64);
    let second = Options { name: "emulated:1".to_owned(), ..Options::default() };
    let mut right = Rig::with_pool(&left.space, &left.pool, second);
    let mut from = left.open(&rings(64, 64));
    let mut to = right.open(&rings(64, 64));
    let mut batch = Batch::new(&left.pool, 32);
    let mut places = std::collections::BTreeSet::new();
    for lap in 0..100u64 {
        for index in 0..32 {
            assert!(left.device.inject(&frame(lap * 32 + index, 60)));
        }
        assert_eq!(from.receive[0].receive(&mut batch).unwrap(), 32);
        places.extend(batch.frames().map(|frame| frame.data().as_ptr() as usize));
        let free = left.pool.available();
        assert_eq!(to.transmit[0].transmit(&mut batch).unwrap(), 32);
        assert_eq!(left.pool.available(), free, "no other buffer is taken");
        right.run();
        for index in 0..32 {
            assert_eq!(number(&right.device.take_sent().unwrap()), lap * 32 + index);
        }
        assert_eq!(to.transmit[0].reclaim().unwrap(), 32);
        assert_eq!(left.pool.available(), free + 32, "the same come back");
    }
    assert!(places.len() <= 128, "they go round: {} places", places.len());
    assert!(places.iter().all(|place| place % 2048 == 256), "each at its headroom");
    drop((from, to, batch));
    left.is_clean();
    right.is_clean();
}

#[test]
fn queues_run_on_threads_of_their_own() {
    let mut rig = Rig::new(multiqueue(), 2048);
    let port = rig.open(&pairs(PAIRS));
    let (wire, end) = channel(256);
    let mut device = rig.device;
    device.attach(Box::new(wire));
    let monitor = device.monitor();
    let device = device.run();
    let total = 4_000u64;
    let stop = AtomicBool::new(false);
    let (sent, received) = std::thread::scope(|scope| {
        let pool = &rig.pool;
        let stop = &stop;
        let senders: Vec<_> = port
            .transmit
            .into_iter()
            .enumerate()
            .map(|(queue, transmit)| {
                scope
                    .spawn(move || send_numbers(transmit, pool, queue as u64, total / u64::from(PAIRS), stop))
            })
            .collect();
        let receivers: Vec<_> =
            port.receive.into_iter().map(|receive| scope.spawn(move || receive_all(receive, stop))).collect();
        // Whatever comes out goes back in, to any queue.
        let deadline = Instant::now() + LIMIT;
        let (mut echoed, mut next) = (0, vec![0u64; PAIRS.into()]);
        while echoed < total && Instant::now() < deadline {
            let Some(frame) = end.receive() else {
                std::thread::yield_now();
                continue;
            };
            let (queue, order) = ((number(&frame) >> 32) as usize, number(&frame) & 0xffff_ffff);
            assert_eq!(order, next[queue], "in order on queue {queue}");
            next[queue] += 1;
            echoed += 1;
            while end.send(frame.clone()).is_err() {
                std::thread::yield_now();
            }
        }
        while end.waiting() > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        while monitor.statistics().received_frames < total && Instant::now() < deadline {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        let sent: u64 = senders.into_iter().map(|thread| thread.join().unwrap()).sum();
        let received: u64 = receivers.into_iter().map(|thread| thread.join().unwrap()).sum();
        (sent, received)
    });
    assert_eq!((sent, received), (total, total));
    let counted = { port.control }.statistics().unwrap();
    assert_eq!((counted.sent().packets, counted.received().packets), (total, total));
    rig.device = device.stop();
    rig.is_clean();
}

fn send_numbers(
    mut transmit: Box<dyn TransmitQueue>,
    pool: &ringway_packet::Pool,
    queue: u64,
    count: u64,
    stop: &AtomicBool,
) -> u64 {
    let mut sent = 0;
    let mut batch = Batch::new(pool, 32);
    while sent < count || transmit.pending() > 0 {
        while (sent + batch.len() as u64) < count && batch.room() > 0 {
            let mut frame = frame(queue << 32 | (sent + batch.len() as u64), 60);
            frame[6..12].copy_from_slice(&[2, 0, 0, 0, 1, queue as u8]);
            let Ok(packet) = pool.packet_from(&frame) else { break };
            batch.push(packet).unwrap();
        }
        sent += transmit.transmit(&mut batch).unwrap() as u64;
        transmit.reclaim().unwrap();
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::yield_now();
    }
    sent
}

fn receive_all(mut receive: Box<dyn ReceiveQueue>, stop: &AtomicBool) -> u64 {
    let mut batch = Batch::new(receive.pool(), 32);
    let mut received = 0;
    loop {
        let last = stop.load(Ordering::Relaxed);
        let count = receive.receive(&mut batch).unwrap() as u64;
        received += count;
        batch.clear();
        if last && count == 0 {
            return received;
        }
        std::thread::yield_now();
    }
}

/// Whether the counter is readable within `time`.
fn is_readable(counter: &OwnedFd, time: Duration) -> bool {
    let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    let mut watched = [PollFd::new(counter, PollFlags::IN)];
    poll(&mut watched, Some(&timeout)).unwrap() > 0
}

fn drain(counter: &OwnedFd) {
    let mut value = [0; 8];
    let _ = rustix::io::read(counter, &mut value);
}

const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn an_interrupt_comes_when_it_was_asked_for_and_not_before() {
    for options in [Options::default(), without(Features::EVENT_IDX)] {
        let mut rig = Rig::new(options, 512);
        let mut port = rig.open(&PortOptions { interrupts: true, ..rings(64, 64) });
        let receive = &mut port.receive[0];
        let counter = receive.interrupt().unwrap().clone();
        let mut batch = Batch::new(&rig.pool, 32);
        for round in 0..200 {
            assert!(rig.device.inject(&frame(round, 60)));
            assert!(!is_readable(&counter, AT_ONCE), "round {round}");
            assert!(!receive.enable_interrupt(), "a packet is there");
            assert_eq!(receive.receive(&mut batch).unwrap(), 1);
            assert!(receive.enable_interrupt());
            assert_eq!(receive.receive(&mut batch).unwrap(), 0, "a look takes nothing back");
            assert!(!is_readable(&counter, AT_ONCE));
            assert!(rig.device.inject(&frame(round, 60)));
            assert!(is_readable(&counter, AT_ONCE), "round {round}");
            drain(&counter);
            assert_eq!(receive.receive(&mut batch).unwrap(), 1);
            assert!(rig.device.inject(&frame(round, 60)));
            assert!(is_readable(&counter, AT_ONCE), "it goes on until it is disabled");
            drain(&counter);
            assert_eq!(receive.receive(&mut batch).unwrap(), 1);
            receive.disable_interrupt();
            assert!(rig.device.inject(&frame(round, 60)));
            assert_eq!(receive.receive(&mut batch).unwrap(), 1);
            assert!(!is_readable(&counter, AT_ONCE));
            batch.clear();
        }
        assert_eq!(rig.device.statistics().interrupts, 400);
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn without_interrupts_none_is_sent() {
    for options in [Options::default(), without(Features::EVENT_IDX)] {
        let mut rig = Rig::new(options, 512);
        let mut port = rig.open(&rings(64, 64));
        assert!(port.receive[0].interrupt().is_none());
        let mut batch = Batch::new(&rig.pool, 32);
        for sent in 0..500 {
            assert!(rig.device.inject(&frame(sent, 60)));
            assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
            assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
            rig.run();
        }
        let counted = rig.device.statistics();
        assert_eq!(counted.interrupts, 0);
        assert!(counted.suppressed >= 1000, "{}", counted.suppressed);
    }
}

#[test]
fn no_wake_up_is_lost_between_a_device_and_a_thread_that_sleeps() {
    for options in [Options::default(), without(Features::EVENT_IDX)] {
        let mut rig = Rig::new(options, 512);
        let mut port = rig.open(&PortOptions { interrupts: true, ..rings(64, 64) });
        let (wire, end) = channel(64);
        let mut device = rig.device;
        device.attach(Box::new(wire));
        let running = run_together(vec![device]);
        let mut batch = Batch::new(&rig.pool, 32);
        let receive = &mut port.receive[0];
        let counter = receive.interrupt().unwrap().clone();
        let total = 3_000u64;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for sent in 0..total {
                    while end.send(frame(sent, 60)).is_err() {
                        std::thread::yield_now();
                    }
                    if sent % 3 == 0 {
                        // Let the other side go to sleep.
                        while end.waiting() > 0 {
                            std::thread::yield_now();
                        }
                    }
                }
            });
            let mut received = 0;
            while received < total {
                let count = receive.receive(&mut batch).unwrap() as u64;
                received += count;
                batch.clear();
                if count == 0 && receive.enable_interrupt() {
                    assert!(is_readable(&counter, LIMIT), "asleep for ever after {received}");
                    drain(&counter);
                }
            }
        });
        rig.device = running.stop().pop().unwrap();
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn each_receive_queue_has_an_interrupt_of_its_own() {
    let mut rig = Rig::new(multiqueue(), 1024);
    let mut port = rig.open(&PortOptions { interrupts: true, ..pairs(PAIRS) });
    let counters: Vec<_> = port.receive.iter().map(|queue| queue.interrupt().unwrap().clone()).collect();
    let mut batch = Batch::new(&rig.pool, 32);
    let mut seen = vec![0; PAIRS.into()];
    for queue in &mut port.receive {
        assert!(queue.enable_interrupt());
    }
    for flow in 0..100u32 {
        let mut frame = frame(flow.into(), 60);
        frame[8..12].copy_from_slice(&flow.to_be_bytes());
        assert!(rig.device.inject(&frame));
        let readable: Vec<usize> =
            (0..counters.len()).filter(|&index| is_readable(&counters[index], AT_ONCE)).collect();
        let &[index] = &readable[..] else { panic!("{readable:?}") };
        drain(&counters[index]);
        assert_eq!(port.receive[index].receive(&mut batch).unwrap(), 1);
        seen[index] += 1;
        batch.clear();
    }
    assert_eq!(seen.iter().sum::<u32>(), 100);
    drop((port, batch));
    rig.is_clean();
}
