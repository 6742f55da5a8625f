//! Time of both drivers' calls: receive, transmit, and forward (receive, touch a byte, transmit with reclaim).
//!
//! On the model, stepped by hand on the same thread; only the driver's calls are timed, lap by lap of 448 packets, and not
//! what the device does between them. They do take the marks of lent buffers, which hardware has none of: some 60
//! instructions a packet. What a lap leaves in the caches is the device's too. So these times compare builds of Ringway on
//! one machine; what a packet takes is told by instructions (`cargo xtask bench`).
#![allow(clippy::expect_used, reason = "a measurement that can't go on has failed")]

mod common;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_benches::forwarding::SIZES;
use ringway_benches::stepped::{Driver, Stepped};
use ringway_packet::{Batch, Supply};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Packets of a lap: fewer than a ring has descriptors, and whole batches of 64.
const LAP: usize = 448;
const FRAME: [u8; 60] = [2; 60];

/// What there is at one batch size: as many batches as make a lap, the last of them maybe smaller.
struct Laps {
    port: Stepped,
    supply: Supply,
    batches: Vec<Batch>,
}

impl Laps {
    fn new(driver: Driver, size: usize) -> Self {
        let port = Stepped::open(driver, &FRAME).expect("the model opens");
        let batches = (0..LAP.div_ceil(size)).map(|_| Batch::new(&port.pool, size)).collect();
        Self { supply: Supply::new(&port.pool), port, batches }
    }

    fn receive(&mut self) -> Duration {
        self.port.device_turn(LAP);
        let Self { port, batches, .. } = self;
        let start = Instant::now();
        for batch in batches.iter_mut() {
            black_box(port.receive.receive(batch).unwrap_or(0));
        }
        let time = start.elapsed();
        let received: usize = batches.iter_mut().map(Batch::clear).sum();
        assert_eq!(received, LAP);
        time
    }

    fn transmit(&mut self) -> Duration {
        let Self { port, supply, batches } = self;
        let mut left = LAP;
        for batch in batches.iter_mut() {
            left -= supply.fill(batch, left).expect("the pool is the batch's");
            for mut frame in batch.frames() {
                frame.append(FRAME.len()).expect("there is room").copy_from_slice(&FRAME);
            }
        }
        assert_eq!(left, 0);
        let start = Instant::now();
        for batch in batches.iter_mut() {
            black_box(port.transmit.transmit(batch).unwrap_or(0));
        }
        let time = start.elapsed();
        assert!(batches.iter().all(Batch::is_empty));
        port.device_turn(0);
        time
    }

    fn forward(&mut self) -> Duration {
        self.port.device_turn(LAP);
        let Self { port, batches, .. } = self;
        let batch = batches.first_mut().expect("there is one");
        let mut sent = 0;
        let start = Instant::now();
        while port.receive.receive(batch).unwrap_or(0) > 0 {
            for mut frame in batch.frames() {
                if let [byte, ..] = frame.data_mut() {
                    *byte = byte.wrapping_add(1);
                }
            }
            sent += port.transmit.transmit(batch).unwrap_or(0);
        }
        let time = start.elapsed();
        assert_eq!(sent, LAP);
        time
    }
}

fn sizes(
    group: &mut BenchmarkGroup<'_, WallTime>,
    driver: Driver,
    mut lap: impl FnMut(&mut Laps) -> Duration,
) {
    // The device takes some fifty times as long as the driver, and isn't timed: so a little will do.
    group.warm_up_time(Duration::from_millis(2)).measurement_time(Duration::from_millis(8)).sample_size(10);
    group.throughput(Throughput::Elements(LAP as u64));
    for size in SIZES {
        let mut laps = Laps::new(driver, size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| lap(&mut laps)).sum());
        });
    }
}

fn queues(criterion: &mut Criterion) {
    for driver in Driver::ALL {
        let name = driver.name();
        sizes(&mut criterion.benchmark_group(format!("{name}/receive")), driver, Laps::receive);
        sizes(&mut criterion.benchmark_group(format!("{name}/transmit")), driver, Laps::transmit);
        sizes(&mut criterion.benchmark_group(format!("{name}/forward")), driver, Laps::forward);
    }
}

criterion_group! { name = benches; config = common::brief(); targets = queues }
criterion_main!(benches);
