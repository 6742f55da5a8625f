//! Time of Internet checksums: of bytes, of a packet that a generator makes, and of one that a receiver checks.
#![allow(clippy::expect_used, reason = "a measurement that can't go on has failed")]

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etherparse::checksum::Sum16BitWords;
use ringway_traffic::check::Checker;
use ringway_traffic::generator::{Generator, Plan, Sizes};
use std::hint::black_box;

/// Lengths without FCS: the shortest frame, a middling one, and the longest without a tag.
const LENGTHS: [usize; 3] = [60, 590, 1514];

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum/sum");
    group.throughput(Throughput::Elements(1));
    for length in LENGTHS {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| Sum16BitWords::new().add_slice(black_box(&bytes)).ones_complement());
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("checksum/make");
    group.throughput(Throughput::Elements(1));
    for length in LENGTHS {
        let mut generator = generator(length);
        let mut frame = vec![0; 2048];
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| generator.next(black_box(&mut frame), 7));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("checksum/check");
    group.throughput(Throughput::Elements(1));
    for length in LENGTHS {
        let mut generator = generator(length);
        let mut frame = vec![0; 2048];
        let made = generator.next(&mut frame, 7).expect("it fits");
        frame.truncate(made);
        let mut checker = Checker::default();
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| checker.take(black_box(&frame)));
        });
    }
    group.finish();
}

fn generator(length: usize) -> Generator {
    Generator::new(&Plan { sizes: Sizes::Fixed(length), ..Plan::default() }).expect("there are such packets")
}

criterion_group! { name = benches; config = common::brief(); targets = checksum }
criterion_main!(benches);
